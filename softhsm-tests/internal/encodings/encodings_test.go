package encodings

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kmipd/kmip/text"
	"kmipd/kmip/ttlv"
	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawtext"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

var (
	message = regexp.MustCompile(`(?s)<(Request|Response)Message>.*?</(Request|Response)Message>`)
	value   = regexp.MustCompile(`(?s)type="(\w+)"\s+value="([^"]*)"`)
	blanks  = regexp.MustCompile(`\s+`)
)

// standIns are values in place of the variables that files leave open.
var standIns = map[string]string{"TextString": "a value", "Integer": "7", "LongInteger": "8", "BigInteger": "0000000000000001", "Enumeration": "0x00000001",
	"Boolean": "true", "ByteString": "0102", "DateTime": "2020-01-01T10:00:00+10:00", "Interval": "5"}

// messages are those of a file, without variables and without the line breaks inside values that older files have.
func messages(t *testing.T, shared string, e oasis.Entry) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(shared, "kmip", "testcases", e.File))
	if err != nil {
		t.Fatal(err)
	}
	filled := value.ReplaceAllStringFunc(string(raw), func(s string) string {
		m := value.FindStringSubmatch(s)
		typ, v := m[1], m[2]
		switch {
		case strings.HasPrefix(v, "$"):
			v = standIns[typ]
		case typ == "TextString":
			v = blanks.ReplaceAllString(v, " ")
		}
		return fmt.Sprintf(`type="%s" value="%s"`, typ, v)
	})
	return message.FindAllString(filled, -1)
}

// reference is the message in TTLV by the reader of the cases and the raw codec.
func reference(t *testing.T, reg *registry.Registry, msg string) (*rawttlv.Node, []byte) {
	t.Helper()
	pair := "<KMIP>" + msg + "<ResponseMessage/></KMIP>"
	if strings.HasPrefix(msg, "<Response") {
		pair = "<KMIP><RequestMessage/>" + msg + "</KMIP>"
	}
	x, err := oasis.Parse(strings.NewReader(pair), reg)
	if err != nil {
		t.Fatalf("%v in %s", err, msg)
	}
	n := x[0].Request
	if strings.HasPrefix(msg, "<Response") {
		n = x[0].Response
	}
	b, err := rawttlv.Encode(n)
	if err != nil {
		t.Fatalf("%v in %s", err, msg)
	}
	return n, b
}

// TestEveryMessage: the XML of the case becomes the octets that the raw codec makes of it; these become XML and JSON and come
// back; and so they do by way of the other readers and writers, each against each.
func TestEveryMessage(t *testing.T) {
	shared := registry.Shared(t)
	reg, err := registry.Load(shared, "1.4")
	if err != nil {
		t.Fatal(err)
	}
	all, err := oasis.Manifest(shared)
	if err != nil {
		t.Fatal(err)
	}
	lim := ttlv.Limits{MaxSize: 1 << 20, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: ttlv.DefaultLimits.MaxItems}
	count := 0
	for _, e := range all {
		if !slices.Contains(oasis.Versions, e.Version) {
			continue
		}
		list := messages(t, shared, e)
		if len(list) < 2 {
			t.Errorf("%s: %d messages were found", e.File, len(list))
		}
		for i, msg := range list {
			count++
			node, want := reference(t, reg, msg)
			check := func(what string, got []byte, err error) {
				t.Helper()
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, message %d, %s: %v\n%s\ngot  %x\nwant %x", e.File, i+1, what, err, msg, got, want)
				}
			}
			got, err := text.XML.Decode(nil, []byte(msg), lim)
			check("read", got, err)
			for _, enc := range []text.Encoding{text.XML, text.JSON} {
				written, err := enc.Append(nil, ttlv.Make(want))
				if err != nil {
					t.Fatalf("%s, message %d: %v", e.File, i+1, err)
				}
				foreign := rawtext.Codec{Encoding: strings.ToLower(enc.String()), Registry: reg}
				back, err := foreign.Decode(written)
				if err == nil {
					got, err = rawttlv.Encode(back)
				}
				check("written in "+enc.String()+", read by the other reader", got, err)
				got, err = enc.Decode(nil, bytes.Clone(written), lim)
				check("written and read in "+enc.String(), got, err)
				if written, err = foreign.Encode(node); err == nil {
					got, err = enc.Decode(nil, written, lim)
				}
				check("read in "+enc.String()+" from the other writer", got, err)
			}
		}
	}
	if count < 1000 {
		t.Errorf("%d messages only", count)
	}
	t.Logf("%d messages", count)
}
