// Package metadatatest is what any metadata.Store must do: a suite of rules, and a model that random batches are compared
// with.
package metadatatest

import (
	"fmt"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Epoch is when the first record of Key was made.
var Epoch = time.Date(2026, 5, 1, 12, 0, 0, 7, time.UTC)

// Structure is an attribute value of members made by the Append functions of package ttlv.
func Structure(members ...[]byte) ttlv.Item {
	b, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	for _, m := range members {
		b = append(b, m...)
	}
	return ttlv.Make(ttlv.End(b, mark))
}

// Name is a Name attribute's value.
func Name(name string) ttlv.Item {
	return Structure(ttlv.AppendText(nil, kmip.TagNameValue, name), ttlv.AppendEnum(nil, kmip.TagNameType, 1))
}

// Link is a Link attribute's value.
func Link(kind uint32, uid string) ttlv.Item {
	return Structure(ttlv.AppendEnum(nil, kmip.TagLinkType, kind), ttlv.AppendText(nil, kmip.TagLinkedObjectIdentifier, uid))
}

// Application is an Application Specific Information attribute's value.
func Application(namespace, data string) ttlv.Item {
	return Structure(ttlv.AppendText(nil, kmip.TagApplicationNamespace, namespace), ttlv.AppendText(nil, kmip.TagApplicationData, data))
}

// Digest is a Digest attribute's value of the SHA-256 kind.
func Digest(sum []byte) ttlv.Item {
	return Structure(ttlv.AppendEnum(nil, kmip.TagHashingAlgorithm, 6), ttlv.AppendBytes(nil, kmip.TagDigestValue, sum),
		ttlv.AppendEnum(nil, kmip.TagKeyFormatType, 1))
}

// Text, Enum, Integer, Date and Bool are attribute values of their types.
func Text(s string) ttlv.Item { return ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, s)) }

// Enum is an Enumeration.
func Enum(v uint32) ttlv.Item { return ttlv.Make(ttlv.AppendEnum(nil, kmip.TagAttributeValue, v)) }

// Integer is an Integer.
func Integer(v int32) ttlv.Item { return ttlv.Make(ttlv.AppendInt(nil, kmip.TagAttributeValue, v)) }

// Date is a Date-Time.
func Date(t time.Time) ttlv.Item { return ttlv.Make(ttlv.AppendTime(nil, kmip.TagAttributeValue, t)) }

// Bool is a Boolean.
func Bool(v bool) ttlv.Item { return ttlv.Make(ttlv.AppendBool(nil, kmip.TagAttributeValue, v)) }

// Key is a record as a storage client makes them: fifteen attributes and the names. The number n sets its creation, n
// milliseconds after Epoch, and varies its values.
func Key(owner, uid string, n int, names ...string) *metadata.Record {
	at := Epoch.Add(time.Duration(n) * time.Millisecond)
	r := &metadata.Record{
		UID: uid, Owner: owner, Created: at, Phase: metadata.PhaseLive, ObjectType: kmip.ObjectTypeSymmetricKey,
		Handle:    metadata.Handle{TokenSerial: "0011223344556677", ID: [16]byte{1, byte(n)}, Class: 4, Residency: 1},
		Frame:     append(make([]byte, 95), 1),
		ValueBits: 256,
		Attributes: []metadata.Attribute{
			{Name: "Unique Identifier", Value: Text(uid)},
			{Name: "Object Type", Value: Enum(2)},
			{Name: "Cryptographic Algorithm", Value: Enum(3)},
			{Name: "Cryptographic Length", Value: Integer(256)},
			{Name: "Cryptographic Usage Mask", Value: Integer(12)},
			{Name: "State", Value: Enum(2)},
			{Name: "Initial Date", Value: Date(at)},
			{Name: "Activation Date", Value: Date(at)},
			{Name: "Last Change Date", Value: Date(at)},
			{Name: "Original Creation Date", Value: Date(at)},
			{Name: "Sensitive", Value: Bool(true)},
			{Name: "Extractable", Value: Bool(true)},
			{Name: "Object Group", Value: Text("pool")},
			{Name: "x-volume", Value: Text(fmt.Sprint("vol", n%16))},
			{Name: "Digest", Value: Digest(fmt.Appendf(nil, "%032d", n))},
		},
	}
	return WithNames(r, names...)
}

// WithNames sets the record's Name attributes and returns it.
func WithNames(r *metadata.Record, names ...string) *metadata.Record {
	var kept []metadata.Attribute
	for _, a := range r.Attributes {
		if a.Name != "Name" {
			kept = append(kept, a)
		}
	}
	r.Attributes = kept
	for i, name := range names {
		r.Attributes = append(r.Attributes, metadata.Attribute{Name: "Name", Index: int32(i), Value: Name(name)})
	}
	return r
}

// Put commits records with the revisions they have.
func Put(t testing.TB, s metadata.Store, records ...*metadata.Record) {
	t.Helper()
	var b metadata.Batch
	for _, r := range records {
		b.Puts = append(b.Puts, metadata.Put{Record: r, Expect: r.Revision})
	}
	if err := s.Commit(t.Context(), &b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}
