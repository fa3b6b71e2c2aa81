package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// The parsers of single values. Errors are fit to stand after the name of what was parsed.

// clock is a variable for the tests of relative dates.
var clock = time.Now

// parseDate reads RFC 3339, a day (its beginning in UTC), now, or a distance from now. KMIP knows whole seconds.
func parseDate(s string) (time.Time, error) {
	now := clock().UTC().Truncate(time.Second)
	switch {
	case s == "now":
		return now, nil
	case strings.HasPrefix(s, "+"), strings.HasPrefix(s, "-"):
		if d, err := parseDistance(s); err == nil {
			return now.Add(d), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date such as 2026-01-31T12:00:00Z, 2026-01-31, now, +720h or -30d", s)
}

// parseDistance is a duration that may be in days.
func parseDistance(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// parseInterval reads seconds or a duration of whole seconds.
func parseInterval(s string) (uint32, error) {
	if n, err := strconv.ParseUint(s, 0, 32); err == nil {
		return uint32(n), nil
	}
	d, err := parseDistance(s)
	if err != nil || d < 0 || d%time.Second != 0 || d/time.Second > 1<<32-1 {
		return 0, fmt.Errorf("%q is neither seconds nor a duration such as 1h30m", s)
	}
	return uint32(d / time.Second), nil
}

func parseBig(s string) (*big.Int, error) {
	n, ok := new(big.Int).SetString(s, 0)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

// parseHex allows the usual ways to group octets.
func parseHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "\n", "", "\r", "", "\t", "").Replace(strings.TrimPrefix(s, "0x")))
	if err != nil {
		// The value may be secret, and the package's error may quote it.
		return nil, errors.New("the value is not hexadecimal")
	}
	return b, nil
}

// appendScalar appends an item of a type that is not Structure, read from text. enum names the values of an enumeration
// or mask; "" when the tag has none.
func appendScalar(b []byte, tag ttlv.Tag, typ ttlv.Type, enum, text string) ([]byte, error) {
	switch typ {
	case ttlv.TextString:
		if !utf8.ValidString(text) {
			return b, errors.New("the text is not UTF-8")
		}
		return ttlv.AppendText(b, tag, text), nil
	case ttlv.Integer:
		if isMask(enum) {
			n, err := parseMask(enum, text)
			return ttlv.AppendInt(b, tag, n), err
		}
		n, err := strconv.ParseInt(text, 0, 32)
		return ttlv.AppendInt(b, tag, int32(n)), notNumber(err, text, "an Integer (32 bits)")
	case ttlv.LongInteger:
		n, err := strconv.ParseInt(text, 0, 64)
		return ttlv.AppendLong(b, tag, n), notNumber(err, text, "a Long Integer (64 bits)")
	case ttlv.BigInteger:
		n, err := parseBig(text)
		if err != nil {
			return b, err
		}
		return ttlv.AppendBigInt(b, tag, n), nil
	case ttlv.Enumeration:
		v, err := parseEnum(enum, text)
		return ttlv.AppendEnum(b, tag, v), err
	case ttlv.Boolean:
		v, err := strconv.ParseBool(text)
		if err != nil {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
		return ttlv.AppendBool(b, tag, v), err
	case ttlv.ByteString:
		v, err := parseHex(text)
		return ttlv.AppendBytes(b, tag, v), err
	case ttlv.DateTime:
		t, err := parseDate(text)
		return ttlv.AppendTime(b, tag, t), err
	case ttlv.Interval:
		n, err := parseInterval(text)
		return ttlv.AppendInterval(b, tag, n), err
	}
	return b, fmt.Errorf("values of type %s cannot be written here", typ)
}

func notNumber(err error, text, what string) error {
	if err != nil {
		return fmt.Errorf("%q is not %s", text, what)
	}
	return nil
}

// prefixes are the types that a value may name before itself.
var prefixes = []struct {
	prefix string
	typ    ttlv.Type
}{
	{"text:", ttlv.TextString}, {"int:", ttlv.Integer}, {"long:", ttlv.LongInteger}, {"big:", ttlv.BigInteger},
	{"enum:", ttlv.Enumeration}, {"bool:", ttlv.Boolean}, {"bytes:", ttlv.ByteString}, {"date:", ttlv.DateTime},
	{"interval:", ttlv.Interval}, {"struct:", ttlv.Structure},
}

// typed splits the type prefix off a value; 0 when there is none.
func typed(text string) (ttlv.Type, string) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(text, p.prefix); ok {
			return p.typ, rest
		}
	}
	return 0, text
}

// enumOf is the enumeration or mask of a tag.
func enumOf(tag ttlv.Tag) string { return kmip.TagEnum(tag) }
