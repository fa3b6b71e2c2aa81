package compare

import (
	"strings"

	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// The recordings of the cryptographic services show octets that another server cannot come to: what a key does that the
// server made, what is random, what is padded at random. Their length must match, and where a result is a function of
// what the client sent (a key encrypts the same block alike each time, and decrypts it again) that must hold.

// services is what the answers to cryptographic operations have taught the client.
type services struct {
	octets      map[uint32]bool   // the tags of results
	data        uint32            // the tag Data
	iv          uint32            // the tag IV/Counter/Nonce
	correlation uint32            // the tag Correlation Value
	pending     uint32            // the tag Asynchronous Correlation Value
	objectType  uint32            // the tag Object Type
	last        map[string][]byte // the last value of a result, by the name of its variable ("$MAC_DATA")
	recorded    map[string][]byte // octets of the case -> octets that the server gave instead
	replaced    bool              // the last request had octets of the server in place of the case's
	pair        map[string]bool   // identifiers of asymmetric keys
}

func newServices(r *registry.Registry) services {
	s := services{data: r.MustTag("Data"), iv: r.MustTag("IVCounterNonce"), correlation: r.MustTag("CorrelationValue"), pending: r.MustTag("AsynchronousCorrelationValue"),
		objectType: r.MustTag("ObjectType"), last: map[string][]byte{}, recorded: map[string][]byte{}, pair: map[string]bool{}}
	s.octets = map[uint32]bool{s.data: true, s.iv: true}
	for _, name := range []string{"MACData", "SignatureData", "AuthenticatedEncryptionTag"} {
		s.octets[r.MustTag(name)] = true
	}
	return s
}

// variable is the name that the cases give to a variable that holds a result: "MACData" -> "$MAC_DATA".
var variable = map[string]string{
	"Data": "$DATA", "MACData": "$MAC_DATA", "SignatureData": "$SIGNATURE_DATA", "IVCounterNonce": "$IV_COUNTER_NONCE",
	"AuthenticatedEncryptionTag": "$AUTHENTICATED_ENCRYPTION_TAG",
}

// result is the value of a variable that no answer was seen to set, because the case shows octets in its place.
func (s *services) result(v oasis.Var) ([]byte, bool) {
	name := strings.TrimRight(string(v), "0123456789_")
	octets, ok := s.last[name]
	return octets, ok
}

// replace puts octets that the server gave in place of those of the case.
func (s *services) replace(n *rawttlv.Node) {
	octets, ok := n.Value.([]byte)
	if !ok || !s.octets[n.Tag] {
		return
	}
	if given, ok := s.recorded[string(octets)]; ok {
		n.Value, s.replaced = given, true
	}
}

// note remembers a result.
func (c *comparison) note(got *rawttlv.Node) {
	if octets, ok := got.Value.([]byte); ok && c.octets[got.Tag] {
		c.last[variable[c.reg.TagName(got.Tag)]] = octets
	}
}

// newStream gives the variable of a Correlation Value another value when the request began another stream, and that of an
// Asynchronous Correlation Value when it began other asynchronous work.
func (c *comparison) newStream(want *rawttlv.Node) {
	v, ok := want.Value.(oasis.Var)
	if ok && (want.Tag == c.correlation || want.Tag == c.pending) && c.payload().Child(want.Tag) == nil {
		delete(c.vars, v)
	}
}

// payload is the request's payload, of a case of one item.
func (c *comparison) payload() *rawttlv.Node {
	return c.request.Child(c.tags.batchItem).Child(c.tags.requestPayload)
}

// serverResult says whether other octets than the case's are right.
func (c *comparison) serverResult(want, got *rawttlv.Node) bool {
	w, ok := want.Value.([]byte)
	g, same := got.Value.([]byte)
	if asked := c.payload().Child(c.pending); want.Tag == c.pending && asked != nil {
		return rawttlv.SameValue(asked.Value, got.Value) // a recorded value: the answer repeats that of the request
	}
	if !ok || !same || len(w) != len(g) || !c.octets[want.Tag] || c.replaced {
		return false
	}
	if given, ok := c.recorded[string(w)]; ok {
		return string(given) == string(g)
	}
	switch {
	case c.operation == "RNGRetrieve":
		return true
	case c.operation == "Encrypt" && c.payload().Child(c.iv) == nil && c.answerIV:
		return true
	case c.operation == "Encrypt" && c.pair[c.object]:
		return true // random padding
	case c.origin[c.object] == originServer && (c.operation == "Encrypt" || c.operation == "Decrypt"):
		c.recorded[string(w)] = g
		return true
	}
	return false
}
