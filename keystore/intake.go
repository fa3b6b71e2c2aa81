package keystore

import (
	"bytes"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// intake is the way in which an object comes in. Register sets attributes under the rules of who may set what; Import
// takes them all as they are supplied.
type intake struct {
	op     kmip.Operation
	levels []level // Register: what the request and its templates set

	// The rest is Import's.
	supplied []kmip.Attribute
	digests  []kmip.Digest // of supplied, held against what comes in
	present  ttlv.Item     // of supplied: Key Value Present
	state    kmip.State    // of supplied; 0 when it is not among them
	// asProvided keeps a wrapped object wrapped when it cannot be unwrapped.
	asProvided bool
	gone       []replaced
}

func (in *intake) importing() bool { return in.op == kmip.OperationImport }

// set puts the attributes of the request on the object.
func (in *intake) set(o object) error {
	if in.importing() {
		return in.restore(o)
	}
	return o.apply(in.levels)
}

// finish gives the object the attributes that follow from the others.
func (in *intake) finish(s *Store, call *kmip.Call, o object) error {
	if !in.importing() {
		s.finish(call, o, false)
		return nil
	}
	return in.complete(call, o)
}

// registered notes whether the server holds the value of the key. An imported object has the attribute if it was supplied,
// and where its absence would say the contrary.
func (in *intake) registered(o object, present bool) error {
	switch {
	case !in.present.IsZero() && in.present.Bool() != present:
		return badField("Key Value Present contradicts the Key Block")
	case !in.importing() || !in.present.IsZero() || !present:
		o.registered(present)
	}
	return nil
}

// digest sets the SHA-256 Digest of the material. One that was supplied for the same encoding must be the same; those of
// other encodings and hash functions are kept.
func (in *intake) digest(o object, sum []byte, format kmip.KeyFormatType) error {
	o.digest(sum, format)
	for _, d := range in.digests {
		if d.HashingAlgorithm == kmip.HashingAlgorithmSHA256 && (d.KeyFormatType == format || bytes.Equal(d.DigestValue, sum)) {
			if !bytes.Equal(d.DigestValue, sum) {
				return badField("the Digest is not that of the object")
			}
			continue
		}
		o.add("Digest", structValue(&d))
	}
	return nil
}

// keepDigests keeps the supplied Digests of an object whose material the server does not see.
func (in *intake) keepDigests(o object) {
	for _, d := range in.digests {
		o.add("Digest", structValue(&d))
	}
}
