package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// A stored value is one TTLV structure followed by its CRC-32C (4 octets, big-endian): TTLV alone would not notice a
// flipped bit inside a value. The first member is the format, major<<16 | minor.
//
// The rule of formats: a newer major is refused (ErrFormat). Of a newer minor, members that are not known are ignored,
// and the record may be read but not replaced (CheckReplaceable), because replacing would lose them. In our own and older
// formats an unknown member is damage.
const (
	formatMajor = 1
	formatMinor = 0
)

// The tags of stored values, in the extension range of the specification. They are never reused.
const (
	tagRecord     ttlv.Tag = 0x540100
	tagFormat     ttlv.Tag = 0x540101 // Integer
	tagPhase      ttlv.Tag = 0x540102 // Integer
	tagUID        ttlv.Tag = 0x540103 // texts are Byte Strings: whatever octets came in can be stored
	tagOwner      ttlv.Tag = 0x540104
	tagUser       ttlv.Tag = 0x540105
	tagRevision   ttlv.Tag = 0x540106 // Long Integer
	tagCreated    ttlv.Tag = 0x540107 // Byte String, see appendInstant
	tagObjectType ttlv.Tag = 0x540108 // Integer
	tagHandle     ttlv.Tag = 0x540109 // Structure
	tagAttribute  ttlv.Tag = 0x54010A // Structure, repeated
	tagFrame      ttlv.Tag = 0x54010B
	tagValueBits  ttlv.Tag = 0x54010C // Integer
	tagDue        ttlv.Tag = 0x54010D

	tagAttrName  ttlv.Tag = 0x540110
	tagAttrIndex ttlv.Tag = 0x540111 // Integer

	tagSerial    ttlv.Tag = 0x540118
	tagID        ttlv.Tag = 0x540119
	tagClass     ttlv.Tag = 0x54011A // Integer
	tagResidency ttlv.Tag = 0x54011B // Integer

	tagIntent    ttlv.Tag = 0x540120
	tagOperation ttlv.Tag = 0x540121
	tagAt        ttlv.Tag = 0x540122
)

// limits bound what is stored. They are wider than those of the network, as a record holds many attributes.
var limits = ttlv.Limits{MaxSize: 16 << 20, MaxDepth: 40, MaxItems: 1 << 20}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

// EncodeRecord is the stored form of a record. It fails for a record that could not be read back: an attribute without
// a proper TTLV value, or a record that is too large.
func EncodeRecord(r *Record) ([]byte, error) {
	b, mark := ttlv.Begin(make([]byte, 0, recordSize(r)), tagRecord)
	b = ttlv.AppendInt(b, tagFormat, formatMajor<<16|formatMinor)
	b = ttlv.AppendInt(b, tagPhase, int32(r.Phase))
	b = appendString(b, tagUID, r.UID)
	b = appendString(b, tagOwner, r.Owner)
	b = appendString(b, tagUser, r.User)
	b = ttlv.AppendLong(b, tagRevision, int64(r.Revision))
	b = appendInstant(b, tagCreated, r.Created)
	b = ttlv.AppendInt(b, tagObjectType, int32(r.ObjectType))
	b = appendHandle(b, r.Handle)
	for i := range r.Attributes {
		a := &r.Attributes[i]
		var inner int
		b, inner = ttlv.Begin(b, tagAttribute)
		b = appendString(b, tagAttrName, a.Name)
		if a.Index != 0 {
			b = ttlv.AppendInt(b, tagAttrIndex, a.Index)
		}
		b = ttlv.AppendItem(b, kmip.TagAttributeValue, a.Value)
		b = ttlv.End(b, inner)
	}
	if len(r.Frame) > 0 {
		b = ttlv.AppendBytes(b, tagFrame, r.Frame)
	}
	if r.ValueBits != 0 {
		b = ttlv.AppendInt(b, tagValueBits, int32(r.ValueBits))
	}
	b = appendInstant(b, tagDue, r.Due)
	b = ttlv.End(b, mark)
	if int(int32(r.ValueBits)) != r.ValueBits {
		return nil, errors.New("metadata: record is not storable: ValueBits is out of range")
	}
	if _, err := ttlv.Parse(b, limits); err != nil {
		return nil, fmt.Errorf("metadata: record is not storable: %w", err)
	}
	return seal(b), nil
}

// recordSize is a guess a little above the encoded size, so that encoding allocates once.
func recordSize(r *Record) int {
	n := 320 + len(r.UID) + len(r.Owner) + len(r.User) + len(r.Handle.TokenSerial) + len(r.Frame)
	for i := range r.Attributes {
		n += 56 + len(r.Attributes[i].Name) + len(r.Attributes[i].Value.Value)
	}
	return n
}

func appendString(b []byte, tag ttlv.Tag, s string) []byte {
	if s == "" {
		return b
	}
	b = ttlv.AppendText(b, tag, s)
	// Same layout, other type: the octets need not be UTF-8.
	b[len(b)-(len(s)+7)&^7-ttlv.HeaderSize+3] = byte(ttlv.ByteString)
	return b
}

// appendInstant writes seconds since 1970 (8 octets, signed) and nanoseconds (4 octets); nothing for the zero time.
func appendInstant(b []byte, tag ttlv.Tag, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	var v [12]byte
	binary.BigEndian.PutUint64(v[:], uint64(t.Unix()))
	binary.BigEndian.PutUint32(v[8:], uint32(t.Nanosecond()))
	return ttlv.AppendBytes(b, tag, v[:])
}

func appendHandle(b []byte, h Handle) []byte {
	if h == (Handle{}) {
		return b
	}
	b, mark := ttlv.Begin(b, tagHandle)
	b = appendString(b, tagSerial, h.TokenSerial)
	b = ttlv.AppendBytes(b, tagID, h.ID[:])
	b = ttlv.AppendInt(b, tagClass, int32(h.Class))
	b = ttlv.AppendInt(b, tagResidency, int32(h.Residency))
	return ttlv.End(b, mark)
}

func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func unseal(b []byte, tag ttlv.Tag) (ttlv.Item, error) {
	if len(b) < crcSize {
		return ttlv.Item{}, damaged("cut off")
	}
	body := b[:len(b)-crcSize]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]) {
		return ttlv.Item{}, damaged("checksum differs")
	}
	root, err := ttlv.Parse(body, limits)
	if err != nil {
		return ttlv.Item{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if root.Tag != tag || root.Type != ttlv.Structure {
		return ttlv.Item{}, damaged("another kind of value")
	}
	return root, nil
}

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// DecodeRecord reads the stored form. The record has memory of its own. Errors are ErrCorrupt or ErrFormat.
func DecodeRecord(b []byte) (*Record, error) {
	r := new(Record)
	if err := r.DecodeShared(append([]byte(nil), b...)); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeShared sets r from the stored form. Values and Frame share the memory of b, and the memory of r's Attributes is
// used again: it is for records that are looked at and dropped. After an error r must not be used.
func (r *Record) DecodeShared(b []byte) error {
	root, err := unseal(b, tagRecord)
	if err != nil {
		return err
	}
	minor, err := formatOf(root)
	if err != nil {
		return err
	}
	return r.decode(root, minor > formatMinor)
}

// CheckReplaceable gives ErrFormat for a stored record that a newer kmipd wrote with members that writing it again would
// lose. The octets are ones that DecodeRecord accepted.
func CheckReplaceable(b []byte) error {
	const at = 2 * ttlv.HeaderSize // behind the record's header and the header of its first member, the format
	if len(b) < at+4 {
		return damaged("cut off")
	}
	if binary.BigEndian.Uint32(b[at:])&0xFFFF > formatMinor {
		return ErrFormat
	}
	return nil
}

// PhaseOf reads only the phase of a stored record, for counting. It checks less than DecodeRecord.
func PhaseOf(b []byte) (Phase, error) {
	const at = ttlv.HeaderSize + 16 // behind the record's header and its format
	if len(b) < at+16+crcSize || ttlv.Tag(b[at])<<16|ttlv.Tag(b[at+1])<<8|ttlv.Tag(b[at+2]) != tagPhase {
		return 0, damaged("no phase")
	}
	return Phase(binary.BigEndian.Uint32(b[at+ttlv.HeaderSize:])), nil
}

func formatOf(root ttlv.Item) (minor int32, err error) {
	for m := range root.Members {
		if m.Tag != tagFormat || m.Type != ttlv.Integer {
			break
		}
		if m.Int()>>16 > formatMajor {
			return 0, ErrFormat
		}
		return m.Int() & 0xFFFF, nil
	}
	return 0, damaged("no format")
}

func (r *Record) decode(root ttlv.Item, newer bool) error {
	*r = Record{Attributes: r.Attributes[:0]}
	d := decoder{newer: newer}
	if r.Attributes == nil {
		n := 0
		for m := range root.Members {
			if m.Tag == tagAttribute {
				n++
			}
		}
		r.Attributes = make([]Attribute, 0, n)
	}
	for m := range root.Members {
		switch m.Tag {
		case tagFormat:
		case tagPhase:
			r.Phase = Phase(d.uint(m, uint32(PhaseDestroyed)))
		case tagUID:
			r.UID = d.string(m)
		case tagOwner:
			r.Owner = d.string(m)
		case tagUser:
			r.User = d.string(m)
		case tagRevision:
			r.Revision = d.long(m)
		case tagCreated:
			r.Created = d.instant(m)
		case tagObjectType:
			r.ObjectType = kmip.ObjectType(d.uint(m, 1<<32-1))
		case tagHandle:
			r.Handle = d.handle(m)
		case tagAttribute:
			r.Attributes = append(r.Attributes, d.attribute(m))
		case tagFrame:
			r.Frame = d.bytes(m)
		case tagValueBits:
			r.ValueBits = int(int32(d.uint(m, 1<<32-1)))
		case tagDue:
			r.Due = d.instant(m)
		default:
			d.unknown()
		}
		if d.err != nil {
			return d.err
		}
	}
	if r.Phase == 0 {
		return damaged("no phase")
	}
	if len(r.Attributes) == 0 {
		r.Attributes = nil
	}
	return nil
}

// decoder reads members and remembers the first fault.
type decoder struct {
	newer bool // the value has a newer minor format
	err   error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = damaged(what)
	}
}

func (d *decoder) unknown() {
	if !d.newer {
		d.fail("member is not known")
	}
}

func (d *decoder) is(m ttlv.Item, t ttlv.Type) bool {
	if m.Type != t {
		d.fail("member has another type")
	}
	return m.Type == t
}

func (d *decoder) uint(m ttlv.Item, top uint32) uint32 {
	if !d.is(m, ttlv.Integer) {
		return 0
	}
	if m.Enum() > top {
		d.fail("number is out of range")
	}
	return m.Enum()
}

func (d *decoder) long(m ttlv.Item) uint64 {
	if !d.is(m, ttlv.LongInteger) {
		return 0
	}
	return uint64(m.Long())
}

func (d *decoder) bytes(m ttlv.Item) []byte {
	if !d.is(m, ttlv.ByteString) {
		return nil
	}
	return m.Value
}

func (d *decoder) string(m ttlv.Item) string { return string(d.bytes(m)) }

func (d *decoder) instant(m ttlv.Item) time.Time {
	v := d.bytes(m)
	if len(v) != 12 {
		d.fail("instant is not 12 octets")
		return time.Time{}
	}
	nanos := binary.BigEndian.Uint32(v[8:])
	if nanos >= 1e9 {
		d.fail("nanoseconds are out of range")
	}
	return time.Unix(int64(binary.BigEndian.Uint64(v)), int64(nanos)).UTC()
}

func (d *decoder) id(m ttlv.Item) (id [16]byte) {
	if copy(id[:], d.bytes(m)) != len(id) || len(m.Value) != len(id) {
		d.fail("identifier is not 16 octets")
	}
	return id
}

func (d *decoder) handle(it ttlv.Item) (h Handle) {
	d.is(it, ttlv.Structure)
	for m := range it.Members {
		switch m.Tag {
		case tagSerial:
			h.TokenSerial = d.string(m)
		case tagID:
			h.ID = d.id(m)
		case tagClass:
			h.Class = uint8(d.uint(m, 255))
		case tagResidency:
			h.Residency = uint8(d.uint(m, 255))
		default:
			d.unknown()
		}
	}
	return h
}

func (d *decoder) attribute(it ttlv.Item) (a Attribute) {
	d.is(it, ttlv.Structure)
	for m := range it.Members {
		switch m.Tag {
		case tagAttrName:
			a.Name = intern(d.bytes(m))
		case tagAttrIndex:
			a.Index = int32(d.uint(m, 1<<32-1))
		case kmip.TagAttributeValue:
			a.Value = m
		default:
			d.unknown()
		}
	}
	if a.Value.IsZero() {
		d.fail("attribute has no value")
	}
	return a
}

// EncodeIntent is the stored form of an intent.
func EncodeIntent(in Intent) []byte {
	b, mark := ttlv.Begin(nil, tagIntent)
	b = ttlv.AppendInt(b, tagFormat, formatMajor<<16|formatMinor)
	b = ttlv.AppendBytes(b, tagID, in.ID[:])
	b = appendString(b, tagUID, in.UID)
	b = appendString(b, tagOperation, in.Operation)
	b = ttlv.AppendInt(b, tagClass, int32(in.Class))
	b = appendInstant(b, tagAt, in.At)
	return seal(ttlv.End(b, mark))
}

// DecodeIntent reads the stored form of an intent. Errors are ErrCorrupt or ErrFormat.
func DecodeIntent(b []byte) (in Intent, err error) {
	root, err := unseal(b, tagIntent)
	if err != nil {
		return in, err
	}
	minor, err := formatOf(root)
	if err != nil {
		return in, err
	}
	d := decoder{newer: minor > formatMinor}
	for m := range root.Members {
		switch m.Tag {
		case tagFormat:
		case tagID:
			in.ID = d.id(m)
		case tagUID:
			in.UID = d.string(m)
		case tagOperation:
			in.Operation = d.string(m)
		case tagClass:
			in.Class = uint8(d.uint(m, 255))
		case tagAt:
			in.At = d.instant(m)
		default:
			d.unknown()
		}
	}
	return in, d.err
}
