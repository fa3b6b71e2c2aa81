package metadata_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

func encode(t testing.TB, r *metadata.Record) []byte {
	t.Helper()
	b, err := metadata.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resealed is the octets with a checksum that fits.
func resealed(body []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), body...), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func body(sealed []byte) []byte { return sealed[:len(sealed)-4] }

func TestRecordRoundTrip(t *testing.T) {
	full := metadatatest.Key("owner", "uid", 5, "a", "b")
	full.User, full.Revision, full.Due = "user", math.MaxUint64, time.Date(9999, 1, 1, 0, 0, 0, 999999999, time.UTC)
	local := metadatatest.Key("o", "u", 1)
	local.Created = local.Created.In(time.FixedZone("x", 3600))
	for name, r := range map[string]*metadata.Record{
		"full":      full,
		"bare":      {UID: "u", Phase: metadata.PhaseDestroyed},
		"any octet": {UID: "\x00\xff", Owner: "\xc3", User: "\x00", Phase: metadata.PhaseLive, Handle: metadata.Handle{TokenSerial: "\xfe"}},
		"ancient":   {UID: "u", Phase: metadata.PhaseLive, Created: time.Unix(-1<<40, 1).UTC(), Due: time.Unix(1<<60, 0).UTC()},
		"negative":  {UID: "u", Phase: metadata.PhaseLive, ValueBits: -1, Attributes: []metadata.Attribute{{Name: "\xff", Index: -5, Value: metadatatest.Text("")}}},
		"structure": {UID: "u", Phase: metadata.PhaseLive, Attributes: []metadata.Attribute{{Name: "Name", Value: metadatatest.Structure()}}},
		"all of it": {UID: "u", Phase: metadata.PhaseLive, ObjectType: math.MaxUint32},
	} {
		got, err := metadata.DecodeRecord(encode(t, r))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !metadatatest.Same(got, r) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, r)
		}
		if p, err := metadata.PhaseOf(encode(t, r)); err != nil || p != r.Phase {
			t.Errorf("%s: PhaseOf gives %d, %v, want %d", name, p, err, r.Phase)
		}
	}
	got, err := metadata.DecodeRecord(encode(t, local))
	if err != nil || !got.Created.Equal(local.Created) || got.Created.Location() != time.UTC {
		t.Errorf("Created: got %v, %v, want %v in UTC", got.Created, err, local.Created)
	}
	other := metadatatest.Text("v")
	other.Tag = kmip.TagNameValue
	got, err = metadata.DecodeRecord(encode(t, &metadata.Record{UID: "u", Phase: 1, Attributes: []metadata.Attribute{{Name: "x-", Value: other}}}))
	if err != nil || got.Attributes[0].Value.Tag != kmip.TagAttributeValue {
		t.Errorf("tag of a value: got %06X, %v, want Attribute Value", got.Attributes[0].Value.Tag, err)
	}
}

func TestRecordNotStorable(t *testing.T) {
	deep := metadatatest.Text("x")
	for range 60 {
		deep = metadatatest.Structure(ttlv.AppendItem(nil, kmip.TagAttributeValue, deep))
	}
	for name, v := range map[string]ttlv.Item{
		"no value":      {},
		"odd length":    {Type: ttlv.Integer, Value: []byte{1}},
		"not UTF-8":     {Type: ttlv.TextString, Value: []byte{0xff}},
		"nested deeply": deep,
		"too large":     {Type: ttlv.ByteString, Value: make([]byte, 17<<20)},
	} {
		r := &metadata.Record{UID: "u", Phase: 1, Attributes: []metadata.Attribute{{Name: "x-a", Value: v}}}
		if _, err := metadata.EncodeRecord(r); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := metadata.EncodeRecord(&metadata.Record{UID: "u", Phase: 1, ValueBits: 1 << 40}); err == nil {
		t.Error("ValueBits out of range: got no error")
	}
}

// Every flipped bit and every cut is noticed.
func TestRecordDamage(t *testing.T) {
	good := encode(t, metadatatest.Key("owner", "uid", 5, "a"))
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		if _, err := metadata.DecodeRecord(bad); !errors.Is(err, metadata.ErrCorrupt) {
			t.Fatalf("octet %d flipped: got %v, want ErrCorrupt", i, err)
		}
		if _, err := metadata.DecodeRecord(good[:i]); !errors.Is(err, metadata.ErrCorrupt) {
			t.Fatalf("cut at %d: got %v, want ErrCorrupt", i, err)
		}
	}
}

const (
	tagRecord = 0x540100
	tagFormat = 0x540101
	tagPhase  = 0x540102
	tagNew    = 0x5401FF
)

// crafted is a record with a format and members of our making.
func crafted(format int32, members ...[]byte) []byte {
	b, mark := ttlv.Begin(nil, tagRecord)
	b = ttlv.AppendInt(b, tagFormat, format)
	b = ttlv.AppendInt(b, tagPhase, 1)
	for _, m := range members {
		b = append(b, m...)
	}
	return resealed(ttlv.End(b, mark))
}

func TestRecordFormats(t *testing.T) {
	unknown := ttlv.AppendInt(nil, tagNew, 1)
	inner, mark := ttlv.Begin(nil, 0x54010A)
	inner = append(ttlv.AppendInt(inner, kmip.TagAttributeValue, 1), unknown...)
	inner = ttlv.End(inner, mark)
	noFormat, mark := ttlv.Begin(nil, tagRecord)
	noFormat = ttlv.End(noFormat, mark)
	for _, c := range []struct {
		name                  string
		octets                []byte
		decode, checkReplaced error
	}{
		{"ours", crafted(1 << 16), nil, nil},
		{"newer minor", crafted(1<<16 | 1), nil, metadata.ErrFormat},
		{"newer minor with unknown members", crafted(1<<16|1, unknown, inner), nil, metadata.ErrFormat},
		{"newer major", crafted(2<<16, unknown), metadata.ErrFormat, nil},
		{"ours with an unknown member", crafted(1<<16, unknown), metadata.ErrCorrupt, nil},
		{"ours with an unknown inner member", crafted(1<<16, inner), metadata.ErrCorrupt, nil},
		{"no format", resealed(noFormat), metadata.ErrCorrupt, nil},
		{"another kind", metadata.EncodeIntent(metadata.Intent{}), metadata.ErrCorrupt, nil},
		{"no phase", crafted(1<<16, ttlv.AppendInt(nil, tagPhase, 0)), metadata.ErrCorrupt, nil},
		{"phase out of range", crafted(1<<16, ttlv.AppendInt(nil, tagPhase, 9)), metadata.ErrCorrupt, nil},
		{"wrong type", crafted(1<<16, ttlv.AppendInt(nil, 0x540103, 9)), metadata.ErrCorrupt, nil},
		{"short instant", crafted(1<<16, ttlv.AppendBytes(nil, 0x540107, []byte{1})), metadata.ErrCorrupt, nil},
		{"too many nanoseconds", crafted(1<<16, ttlv.AppendBytes(nil, 0x540107, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"))), metadata.ErrCorrupt, nil},
	} {
		_, err := metadata.DecodeRecord(c.octets)
		if !errors.Is(err, c.decode) || (err == nil) != (c.decode == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.decode)
		}
		if err == nil {
			if err := metadata.CheckReplaceable(c.octets); !errors.Is(err, c.checkReplaced) || (err == nil) != (c.checkReplaced == nil) {
				t.Errorf("%s: CheckReplaceable gives %v, want %v", c.name, err, c.checkReplaced)
			}
		}
	}
}

func TestIntent(t *testing.T) {
	want := metadata.Intent{ID: [16]byte{1, 2}, UID: "u", Operation: "Create", Class: 4, At: metadatatest.Epoch}
	b := metadata.EncodeIntent(want)
	if got, err := metadata.DecodeIntent(b); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	b[30] ^= 1
	if _, err := metadata.DecodeIntent(b); !errors.Is(err, metadata.ErrCorrupt) {
		t.Errorf("damaged: got %v, want ErrCorrupt", err)
	}
}

// DecodeShared uses memory again without mixing records up.
func TestDecodeShared(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r metadata.Record
	for range 200 {
		want := metadatatest.RandomRecord(rng, "u")
		if err := r.DecodeShared(encode(t, want)); err != nil || !metadatatest.Same(&r, want) {
			t.Fatalf("got %+v, %v, want %+v", r, err, want)
		}
	}
}

// What decodes is encoded to something that decodes to the same record.
func FuzzRecord(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	f.Add(body(encode(f, metadatatest.Key("owner", "uid", 5, "a", "b"))))
	f.Add(body(crafted(1<<16|1, ttlv.AppendInt(nil, tagNew, 1))))
	f.Add([]byte{})
	for range 10 {
		f.Add(body(encode(f, metadatatest.RandomRecord(rng, "u"))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := metadata.DecodeRecord(b); err != nil && !errors.Is(err, metadata.ErrCorrupt) && !errors.Is(err, metadata.ErrFormat) {
			t.Errorf("got %v, want ErrCorrupt or ErrFormat", err)
		}
		_, _ = metadata.PhaseOf(b)
		r, err := metadata.DecodeRecord(resealed(b))
		if err != nil {
			if !errors.Is(err, metadata.ErrCorrupt) && !errors.Is(err, metadata.ErrFormat) {
				t.Errorf("got %v, want ErrCorrupt or ErrFormat", err)
			}
			return
		}
		again, err := metadata.DecodeRecord(encode(t, r))
		if err != nil || !metadatatest.Same(again, r) {
			t.Errorf("got %+v, %v, want %+v", again, err, r)
		}
		_ = metadata.RecordTerms(r)
		_ = r.Names()
	})
}
