package text

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"kmipd/kmip/registry"
	"kmipd/kmip/ttlv"
)

// vector is a text and what becomes of it: octets, or the end of a reason.
type vector struct {
	line          int
	class         string // read (one way), same (both ways), bad
	enc           Encoding
	text, becomes string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	all, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	for i, line := range strings.Split(string(all), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		left, becomes, _ := strings.Cut(line, " => ")
		class, text, _ := strings.Cut(left, " ")
		enc := XML
		class, ok := strings.CutSuffix(class, "/json")
		if ok {
			enc = JSON
		}
		text = strings.NewReplacer("<LF>", "\n", "<TAB>", "\t", "<CR>", "\r", "<NUL>", "\x00", "<FF>", "\xff", "<BOM>", "\ufeff").Replace(text)
		list = append(list, vector{i + 1, class, enc, text, becomes})
	}
	if len(list) < 150 {
		t.Fatalf("%d vectors only", len(list))
	}
	return list
}

var limits = ttlv.Limits{MaxSize: 4096, MaxDepth: 6, MaxItems: 40}

// decode keeps the text, and sees to it that nothing moves in memory.
func decode(t testing.TB, e Encoding, text string) ([]byte, error) {
	t.Helper()
	dst := make([]byte, 3, 3+e.DecodedSize(len(text), limits))
	out, err := e.Decode(dst, []byte(text), limits)
	if len(out) < 3 || &out[0] != &dst[0] {
		t.Fatalf("%q: the octets moved", text)
	}
	return out[3:], err
}

func encode(t testing.TB, e Encoding, it ttlv.Item) (string, error) {
	t.Helper()
	n, err := e.Size(it)
	if err != nil {
		return "", err
	}
	dst := make([]byte, 0, n)
	out, err := e.Append(dst, it)
	if len(out) != n || err != nil {
		t.Fatalf("%d octets instead of %d, %v", len(out), n, err)
	}
	return string(out), nil
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		out, err := decode(t, v.enc, v.text)
		if v.class == "bad" {
			var e *Error
			if !errors.As(err, &e) || !strings.HasSuffix(e.Reason, v.becomes) || e.Encoding != v.enc {
				t.Errorf("line %d: got %v, want %q", v.line, err, v.becomes)
			}
			continue
		}
		if want := strings.ReplaceAll(v.becomes, " ", ""); err != nil || hex.EncodeToString(out) != want {
			t.Errorf("line %d: %s\ngot  %x, %v\nwant %s", v.line, v.text, out, err, want)
			continue
		}
		it, err := ttlv.Parse(out, limits)
		if err != nil {
			t.Errorf("line %d: %v", v.line, err)
			continue
		}
		text, err := encode(t, v.enc, it)
		if err != nil || v.class == "same" && text != v.text {
			t.Errorf("line %d:\ngot  %s, %v\nwant %s", v.line, text, err, v.text)
		}
		if again, err := decode(t, v.enc, text); err != nil || !bytes.Equal(again, out) {
			t.Errorf("line %d: %s is read as %x, %v", v.line, text, again, err)
		}
	}
}

// The names of types follow the rule of all names.
func TestTypeNames(t *testing.T) {
	for typ := ttlv.Structure; typ <= ttlv.DateTimeExtended; typ++ {
		ident := registry.Normal(typ.String())
		if got, ok := typeByIdent([]byte(ident)); !ok || got != typ || typeIdents[typ] != ident {
			t.Errorf("%s is %q", typ, typeIdents[typ])
		}
	}
}

func TestContentTypes(t *testing.T) {
	for header, want := range map[string]Encoding{
		"application/octet-stream": TTLV, "text/xml": XML, "application/json": JSON, "Text/XML; charset=UTF-8": XML,
		`application/json;charset="utf-8"`: JSON,
	} {
		if got, ok := ByContentType(header); !ok || got != want {
			t.Errorf("%q: got %s, %t", header, got, ok)
		}
	}
	for _, header := range []string{"", "text/plain", "text/xml; charset=iso-8859-1", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml;;;"} {
		if _, ok := ByContentType(header); ok {
			t.Errorf("%q is known", header)
		}
	}
	for _, e := range []Encoding{TTLV, XML, JSON} {
		if got, ok := ByName(strings.ToLower(e.String())); !ok || got != e {
			t.Errorf("%s is not found by name", e)
		}
		if got, ok := ByContentType(e.ContentType()); !ok || got != e {
			t.Errorf("%s is not found by its content type", e)
		}
	}
	if _, ok := ByName("yaml"); ok {
		t.Error("yaml is known")
	}
}

func TestLimits(t *testing.T) {
	nested := func(e Encoding, n int) string {
		if e == XML {
			return strings.Repeat("<Attribute>", n) + strings.Repeat("</Attribute>", n)
		}
		return strings.Repeat(`{"tag":"Attribute","value":[`, n-1) + `{"tag":"Attribute"}` + strings.Repeat(`]}`, n-1)
	}
	many := func(e Encoding, n int) string {
		if e == XML {
			return "<Attribute>" + strings.Repeat("<D/>", n-1) + "</Attribute>"
		}
		return `{"tag":"Attribute","value":[{"tag":"D"}` + strings.Repeat(`,{"tag":"D"}`, n-2) + `]}`
	}
	long := func(e Encoding, n int) string {
		if e == XML {
			return `<D type="TextString" value="` + strings.Repeat("x", n) + `"/>`
		}
		return `{"tag":"D","type":"TextString","value":"` + strings.Repeat("x", n) + `"}`
	}
	for _, e := range []Encoding{XML, JSON} {
		for _, tc := range []struct {
			name, text, want string
		}{
			{"depth", nested(e, limits.MaxDepth-1), ""}, {"too deep", nested(e, limits.MaxDepth), "nested too deeply"},
			{"much too deep", nested(e, 100000), "nested too deeply"},
			{"items", many(e, limits.MaxItems), ""}, {"too many items", many(e, limits.MaxItems+1), "too many items"},
			{"size", long(e, limits.MaxSize-8), ""}, {"too large", long(e, limits.MaxSize-7), "larger than the limit"},
		} {
			out, err := decode(t, e, tc.text)
			if tc.want == "" {
				if _, perr := ttlv.Parse(out, limits); err != nil || perr != nil {
					t.Errorf("%s, %s: %v, %v", e, tc.name, err, perr)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: got %v, want %q", e, tc.name, err, tc.want)
			}
		}
	}
}

// Each part of a mask costs memory while it is read: there are not more of them than a mask has use for.
func TestLongMasks(t *testing.T) {
	for e, text := range map[Encoding]string{
		XML:  `<CryptographicUsageMask type="Integer" value="%s"/>`,
		JSON: `{"tag":"CryptographicUsageMask","type":"Integer","value":"%s"}`,
	} {
		if _, err := decode(t, e, strings.Replace(text, "%s", strings.Repeat("Encrypt|", 512), 1)); err != nil {
			t.Errorf("%s: %v", e, err)
		}
		if _, err := decode(t, e, strings.Replace(text, "%s", strings.Repeat("Encrypt|", 513), 1)); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("%s: got %v", e, err)
		}
	}
}

// What is decoded of a message that is broken further on has the version in it, which the answer needs.
func TestPartIsKept(t *testing.T) {
	for e, text := range map[Encoding]string{
		XML:  `<RequestMessage><RequestHeader><ProtocolVersion><ProtocolVersionMajor type="Integer" value="1"/><ProtocolVersionMinor type="Integer" value="2"/></ProtocolVersion><Nothing/>`,
		JSON: `{"tag":"RequestMessage","value":[{"tag":"RequestHeader","value":[{"tag":"ProtocolVersion","value":[{"tag":"ProtocolVersionMajor","type":"Integer","value":1},{"tag":"ProtocolVersionMinor","type":"Integer","value":2}]},{"tag":"Nothing"}`,
	} {
		out, err := decode(t, e, text)
		if err == nil || len(out) < 56 {
			t.Fatalf("%s: %x, %v", e, out, err)
		}
		if it, err := ttlv.Parse(out[16:56], limits); err != nil || it.Tag != 0x420069 {
			t.Errorf("%s: %x, %v", e, out[16:56], err)
		}
	}
}

// No value makes the readers work out of proportion: lists of masks are bounded, and what is long is not copied.
func TestLongValues(t *testing.T) {
	many := strings.Repeat("1|", 1<<20)
	lim := ttlv.Limits{MaxSize: 1 << 22, MaxDepth: 6, MaxItems: 40}
	for _, tc := range []struct{ typ, tag, want string }{
		{"Integer", "CryptographicUsageMask", "mask is too long"}, {"Integer", "BatchCount", "number is too long"},
		{"Enumeration", "ObjectType", "Enumeration has an unknown name"}, {"Interval", "Offset", "number is too long"},
		{"LongInteger", "UsageLimitsCount", "number is too long"}, {"Boolean", "BatchOrderOption", "neither true nor false"},
		{"DateTime", "ArchiveDate", "not of the form"}, {"ByteString", "MACSignature", "not hexadecimal"},
	} {
		for e, text := range map[Encoding]string{
			XML:  `<` + tc.tag + ` type="` + tc.typ + `" value="` + many + `"/>`,
			JSON: `{"tag":"` + tc.tag + `","type":"` + tc.typ + `","value":"` + many + `"}`,
		} {
			msg, dst := []byte(text), make([]byte, 0, e.DecodedSize(len(text), lim))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := e.Decode(dst, msg, lim)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: got %v, want %q", e, tc.typ, err, tc.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16 {
				t.Errorf("%s, %s: %d octets were allocated", e, tc.typ, n)
			}
		}
	}
}

func TestErrorsHoldNoValues(t *testing.T) {
	for e, text := range map[Encoding]string{
		XML:  `<KeyMaterial type="Integer" value="secret"/>`,
		JSON: `{"tag":"KeyMaterial","type":"Integer","value":"secret"}`,
	} {
		if _, err := decode(t, e, text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// XML cannot hold every character of a Text String; JSON can.
func TestCharactersThatXMLLacks(t *testing.T) {
	for _, s := range []string{"a\x00b", "\x1f", "\ufffe", "\uffff"} {
		it := ttlv.Make(ttlv.AppendText(nil, 0x420094, s))
		var e *Error
		if _, err := encode(t, XML, it); !errors.As(err, &e) {
			t.Errorf("%q in XML: %v", s, err)
		}
		if _, err := XML.Append(nil, it); !errors.As(err, &e) {
			t.Errorf("%q in XML: %v", s, err)
		}
		text, err := encode(t, JSON, it)
		if err != nil {
			t.Errorf("%q in JSON: %v", s, err)
		}
		if out, err := decode(t, JSON, text); err != nil || ttlv.Make(out).Text() != s {
			t.Errorf("%q in JSON is %s, read as %x, %v", s, text, out, err)
		}
	}
}

// A text that is written in pieces is the one that is written at once, and no piece is anywhere but in the buffer.
func TestPieces(t *testing.T) {
	long := append(bytes.Repeat([]byte("a<\"\n\\"), 1000), 'z')
	b, mark := ttlv.Begin(nil, 0x420008)
	for n := range 300 {
		b = ttlv.AppendText(b, 0x42000A, string(long[:n]))
		b = ttlv.AppendBytes(b, 0x42000B, long[:n])
		b = ttlv.AppendEnum(b, 0x420028, uint32(n))
	}
	b = ttlv.AppendText(b, 0x42000A, string(long))
	b = ttlv.AppendBytes(b, 0x42000B, long)
	it := ttlv.Make(ttlv.End(b, mark))
	for _, e := range []Encoding{XML, JSON} {
		want, err := e.Append([]byte("head "), it)
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range []int{256, 257, 1 << 20} {
			dst := append(make([]byte, 0, room), "head "...)
			var got []byte
			err := e.Write(dst, it, func(piece []byte) error {
				if len(piece) == 0 || &piece[0] != &dst[0] {
					t.Fatalf("%s: a piece of %d octets is elsewhere", e, len(piece))
				}
				got = append(got, piece...)
				return nil
			})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, room for %d: got %d octets, want %d, %v", e, room, len(got), len(want), err)
			}
		}
		calls, failure := 0, errors.New("no")
		if err := e.Write(make([]byte, 0, 256), it, func([]byte) error { calls++; return failure }); err != failure || calls != 1 {
			t.Errorf("%s: got %v after %d calls", e, err, calls)
		}
	}
}

// The binary encoding goes through the same calls.
func TestTTLV(t *testing.T) {
	it := ttlv.Make(ttlv.AppendText(nil, 0x420094, "text"))
	out, err := encode(t, TTLV, it)
	if err != nil || len(out) != it.Size() {
		t.Fatalf("%x, %v", out, err)
	}
	if back, err := decode(t, TTLV, out); err != nil || string(back) != out {
		t.Errorf("%x, %v", back, err)
	}
}
