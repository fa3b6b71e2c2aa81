package keystore

import (
	"kmipd/kmip"
	"kmipd/metadata"
)

// finish gives a new object the attributes that follow from the others or from the server. generated tells that the
// server made the material.
func (s *Store) finish(call *kmip.Call, o object, generated bool) {
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return
	}
	if s.cfg.LeaseTime > 0 {
		o.put("Lease Time", intervalValue(s.cfg.LeaseTime))
	}
	if o.get("Fresh").IsZero() {
		o.put("Fresh", boolValue(true))
	}
	if generated {
		o.put("Original Creation Date", timeValue(call.Now))
		if o.get("Random Number Generator").IsZero() {
			rng := s.rng()
			o.put("Random Number Generator", structValue(&rng))
		}
	}
	for _, b := range []struct {
		name  string
		value bool
	}{{"Sensitive", false}, {"Extractable", true}} {
		if o.get(b.name).IsZero() {
			o.put(b.name, boolValue(b.value))
		}
	}
	// History begins here: what was always so is so now (KMIP 1.4 sections 3.49, 3.51).
	o.put("Always Sensitive", boolValue(o.flag("Sensitive")))
	o.put("Never Extractable", boolValue(!o.flag("Extractable")))
	s.limits(o)
}

// limits sets the Usage Limits Count of a new object to its Total (KMIP 1.4 section 3.21).
func (s *Store) limits(o object) {
	v := o.get("Usage Limits")
	if v.IsZero() {
		return
	}
	var u kmip.UsageLimits
	if u.Decode(v) != nil {
		return // checkValue let only well-formed ones in
	}
	u.UsageLimitsCount = &u.UsageLimitsTotal
	o.put("Usage Limits", structValue(&u))
}

// digest sets the SHA-256 Digest of the material and the format that it was computed over (KMIP 1.4 section 3.17).
func (o object) digest(sum []byte, format kmip.KeyFormatType) {
	o.add("Digest", structValue(&kmip.Digest{HashingAlgorithm: kmip.HashingAlgorithmSHA256, DigestValue: sum, KeyFormatType: format}))
}

// checkDates applies the order rules of KMIP 1.4 section 3.24 to 3.27 that hold at creation. Process Start and Protect
// Stop that contradict each other or the activation are accepted and enforced at use, as the OASIS cases want.
func (o object) checkDates() error {
	activation, deactivation := o.date("Activation Date"), o.date("Deactivation Date")
	if !activation.IsZero() && !deactivation.IsZero() && deactivation.Before(activation) {
		return badField("Deactivation Date must not be before Activation Date")
	}
	return nil
}

// link adds a Link to another object.
func (o object) link(t kmip.LinkType, uid string) {
	o.add("Link", structValue(&kmip.Link{LinkType: t, LinkedObjectIdentifier: uid}))
}

// linked is the identifier that the first Link of the type names, or "".
func (o object) linked(t kmip.LinkType) string {
	if uids := o.links(t); len(uids) > 0 {
		return uids[0]
	}
	return ""
}

// links are the identifiers that all Links of the type name.
func (o object) links(t kmip.LinkType) []string {
	var out []string
	for _, a := range o.Attributes {
		var l kmip.Link
		if a.Name == "Link" && l.Decode(a.Value) == nil && l.LinkType == t {
			out = append(out, l.LinkedObjectIdentifier)
		}
	}
	return out
}

// live tells that the object has not been destroyed.
func (o object) live() bool { return o.Phase == metadata.PhaseLive }
