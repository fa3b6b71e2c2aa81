package pebble

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 7, time.UTC)

func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t testing.TB) *Store {
	t.Helper()
	s := open(t, vfs.NewMem())
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, metadata.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func structure(members ...[]byte) ttlv.Item {
	b, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	for _, m := range members {
		b = append(b, m...)
	}
	return ttlv.Make(ttlv.End(b, mark))
}

func nameValue(name string) ttlv.Item {
	return structure(ttlv.AppendText(nil, kmip.TagNameValue, name), ttlv.AppendEnum(nil, kmip.TagNameType, 1))
}

func text(s string) ttlv.Item { return ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, s)) }

func enum(v uint32) ttlv.Item { return ttlv.Make(ttlv.AppendEnum(nil, kmip.TagAttributeValue, v)) }

func integer(v int32) ttlv.Item { return ttlv.Make(ttlv.AppendInt(nil, kmip.TagAttributeValue, v)) }

func date(v time.Time) ttlv.Item { return ttlv.Make(ttlv.AppendTime(nil, kmip.TagAttributeValue, v)) }

// key is a record as a storage client makes them, with 15 attributes and no key bytes.
func key(owner, uid string, n int, names ...string) *metadata.Record {
	at := epoch.Add(time.Duration(n) * time.Millisecond)
	r := &metadata.Record{
		UID: uid, Owner: owner, Created: at, Phase: metadata.PhaseLive, ObjectType: kmip.ObjectTypeSymmetricKey,
		Handle: metadata.Handle{TokenSerial: "0011223344556677", ID: [16]byte{1, byte(n)}, Class: 4, Residency: 1},
		Frame:  make([]byte, 96), ValueBits: 256,
		Attributes: []metadata.Attribute{
			{Name: "Unique Identifier", Value: text(uid)},
			{Name: "Object Type", Value: enum(2)},
			{Name: "Cryptographic Algorithm", Value: enum(3)},
			{Name: "Cryptographic Length", Value: integer(256)},
			{Name: "Cryptographic Usage Mask", Value: integer(12)},
			{Name: "State", Value: enum(2)},
			{Name: "Initial Date", Value: date(at)},
			{Name: "Activation Date", Value: date(at)},
			{Name: "Last Change Date", Value: date(at)},
			{Name: "Original Creation Date", Value: date(at)},
			{Name: "Sensitive", Value: ttlv.Make(ttlv.AppendBool(nil, kmip.TagAttributeValue, true))},
			{Name: "Object Group", Value: text("pool")},
			{Name: "x-volume", Value: text(fmt.Sprint("vol", n%16))},
			{Name: "Digest", Value: structure(
				ttlv.AppendEnum(nil, kmip.TagHashingAlgorithm, 6),
				ttlv.AppendBytes(nil, kmip.TagDigestValue, fmt.Appendf(nil, "%032d", n)),
				ttlv.AppendEnum(nil, kmip.TagKeyFormatType, 1))},
		},
	}
	for i, name := range names {
		r.Attributes = append(r.Attributes, metadata.Attribute{Name: "Name", Index: int32(i), Value: nameValue(name)})
	}
	return r
}

func put(t testing.TB, s *Store, r *metadata.Record) {
	t.Helper()
	if err := s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r, Expect: r.Revision}}}); err != nil {
		t.Fatalf("Commit of %s: %v", r.UID, err)
	}
}
