package pebble

import (
	"encoding/binary"
	"math"
	"time"

	"kmipd/metadata"
)

// The key space is described in package metadata. Parts of a key that are followed by other parts may hold any octets:
// they are escaped (00 becomes 00 FF) and end with 00 01, which keeps their order and lets no part run into the next. The
// last part of a key stands as it is.

const (
	escape    = 0x00
	escaped00 = 0xFF
	partEnd   = 0x01
)

var (
	formatKey = []byte("m/format") // 4 octets, big-endian
	rulesKey  = []byte("m/index")  // metadata.IndexRules of the indexes, 4 octets; 0 while they are built
)

func appendPart[T string | []byte](b []byte, part T) []byte {
	for i := 0; i < len(part); i++ {
		b = append(b, part[i])
		if part[i] == escape {
			b = append(b, escaped00)
		}
	}
	return append(b, escape, partEnd)
}

func recordKey(uid string) []byte { return append([]byte("o/"), uid...) }

func nameKey(owner, name string) []byte {
	b := make([]byte, 0, len(owner)+len(name)+8)
	return append(appendPart(append(b, "n/"...), owner), name...)
}

func intentKey(id [16]byte) []byte { return append([]byte("i/"), id[:]...) }

func jobKey(id string) []byte { return append([]byte("j/"), id...) }

func clientKey(name string) []byte { return append([]byte("c/"), name...) }

func pendingKey(fingerprint string) []byte { return append([]byte("p/"), fingerprint...) }

func settingKey(key string) []byte { return append([]byte("m/s/"), key...) }

// dueKey orders by instant over the whole range of KMIP dates, with nanoseconds.
func dueKey(at time.Time, uid string) []byte {
	b := make([]byte, 0, 2+12+len(uid))
	b = append(b, "d/"...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Unix())^1<<63)
	b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()))
	return append(b, uid...)
}

const dueUID = 2 + 12 // where the Unique Identifier starts in a due key

// termPrefix is what the index entries of a term have in common. The zero Term stands for all records of the owner.
func termPrefix(owner string, destroyed bool, t metadata.Term) []byte {
	b := make([]byte, 0, 2+len(owner)+len(t.Attr)+len(t.Value)+16+orderSize+40)
	if destroyed {
		b = append(b, "y/"...)
	} else {
		b = append(b, "x/"...)
	}
	return appendPart(appendPart(appendPart(b, owner), t.Attr), t.Value)
}

const orderSize = 8

// appendOrder makes a forward scan newest first: the creation instant, inverted. An instant outside the years 1678 to 2262
// is taken for the nearest one inside.
func appendOrder(b []byte, created time.Time) []byte {
	var n int64
	switch sec := created.Unix(); {
	case sec < math.MinInt64/int64(time.Second):
		n = math.MinInt64
	case sec >= math.MaxInt64/int64(time.Second):
		n = math.MaxInt64
	default:
		n = created.UnixNano()
	}
	return binary.BigEndian.AppendUint64(b, ^(uint64(n) ^ 1<<63))
}

// after is the smallest key behind all keys with the prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// entries are the keys that a record has in x/, y/ and d/; a key may stand twice.
func entries(r *metadata.Record) [][]byte {
	terms := append(metadata.RecordTerms(r), metadata.Term{})
	keys := make([][]byte, 0, len(terms)+1)
	for _, t := range terms {
		k := termPrefix(r.Owner, r.Phase != metadata.PhaseLive, t)
		keys = append(keys, append(appendOrder(k, r.Created), r.UID...))
	}
	if !r.Due.IsZero() {
		keys = append(keys, dueKey(r.Due, r.UID))
	}
	return keys
}

// nameKeys are the keys of the names that a record holds: only a live record holds any.
func nameKeys(r *metadata.Record) []string {
	if r == nil || r.Phase != metadata.PhaseLive {
		return nil
	}
	var keys []string
	for _, n := range r.Names() {
		keys = append(keys, string(nameKey(r.Owner, n)))
	}
	return keys
}
