package registry

import (
	"regexp"
	"strings"
)

var (
	brackets     = strings.NewReplacer("(", " ", ")", " ")
	beforeWord   = regexp.MustCompile(`\W([A-Za-z][a-z])`)
	noWord       = regexp.MustCompile(`\W`)
	leadingDigit = regexp.MustCompile(`^(\d+)(.*)`)
)

// Normal is the name of a tag, type or value as messages in XML and JSON have it: the six steps of KMIP Additional Message
// Encodings 1.0 section 4.1.3. "IV/Counter/Nonce" becomes IVCounterNonce, "3DES" DES3, "SHA-256" SHA_256.
func Normal(name string) string {
	words := strings.Fields(beforeWord.ReplaceAllString(brackets.Replace(name), " $1")) // steps 1 and 2
	for i, w := range words {
		w = noWord.ReplaceAllString(w, "_") // step 3
		if i == 0 {
			w = leadingDigit.ReplaceAllString(w, "$2$1") // step 4
		}
		words[i] = strings.ToUpper(w[:1]) + w[1:] // step 5
	}
	return strings.Join(words, "") // step 6
}
