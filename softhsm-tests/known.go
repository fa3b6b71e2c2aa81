package softhsmtests

// known lists the OASIS cases that kmipd is known not to pass, with the section of the standard that explains why. A
// case of the list that passes is a failure of the list. The same departures are in kmip/DIVERGENCES.md.
var known = map[string]string{}
