package text

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"kmipd/kmip/ttlv"
)

// check holds what a reader accepted against everything else here: the binary parser, both writers, both readers. It returns
// the Text Strings, for the readers of the standard library.
func check(t *testing.T, e Encoding, msg string) (texts []string, ok bool) {
	out, err := decode(t, e, msg)
	if err != nil {
		var own *Error
		if !errors.As(err, &own) || own.Offset > len(msg) {
			t.Fatalf("%T %v", err, err)
		}
		return nil, false
	}
	it, err := ttlv.Parse(out, limits)
	if err != nil {
		t.Fatalf("%s becomes %x: %v", msg, out, err)
	}
	for _, to := range []Encoding{XML, JSON} {
		text, err := encode(t, to, it)
		if err != nil && to == XML && e == JSON {
			continue // a character that XML lacks
		}
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decode(t, to, text); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%s becomes %x, then %s, then %x, %v", msg, out, text, again, err)
		}
	}
	return textsOf(it, nil), true
}

func textsOf(it ttlv.Item, list []string) []string {
	if it.Type == ttlv.TextString {
		return append(list, it.Text())
	}
	for m := range it.Members {
		list = textsOf(m, list)
	}
	return list
}

// FuzzXML: what is accepted is XML, too, for encoding/xml, with the same texts.
func FuzzXML(f *testing.F) {
	for _, v := range vectors(f) {
		if v.enc == XML {
			f.Add(v.text)
		}
	}
	f.Fuzz(func(t *testing.T, msg string) {
		got, ok := check(t, XML, msg)
		if !ok {
			return
		}
		var want []string
		// White space in values is the one thing that encoding/xml leaves as it is written (XML 1.0 section 3.3.3).
		blank := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
		for d := xml.NewDecoder(strings.NewReader(msg)); ; {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%q is not accepted by encoding/xml: %v", msg, err)
			}
			start, _ := tok.(xml.StartElement)
			attr := map[string]string{}
			for _, a := range start.Attr {
				if a.Name.Space == "" {
					attr[a.Name.Local] = a.Value
				}
			}
			if attr["type"] == "TextString" {
				want = append(want, blank.Replace(attr["value"]))
			}
		}
		for i := range got {
			got[i] = blank.Replace(got[i])
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q has the texts %q, for encoding/xml %q", msg, got, want)
		}
	})
}

// FuzzJSON: what is accepted is JSON, too, for encoding/json, with the same texts.
func FuzzJSON(f *testing.F) {
	for _, v := range vectors(f) {
		if v.enc == JSON {
			f.Add(v.text)
		}
	}
	f.Fuzz(func(t *testing.T, msg string) {
		got, ok := check(t, JSON, msg)
		if !ok {
			return
		}
		type item struct {
			Tag, Name, Type string
			Value           json.RawMessage
		}
		var want []string
		var walk func(raw []byte)
		walk = func(raw []byte) {
			var it item
			if err := json.Unmarshal(raw, &it); err != nil {
				t.Fatalf("%q is not accepted by encoding/json: %v", msg, err)
			}
			var members []json.RawMessage
			var s string
			switch {
			case it.Type == "TextString":
				if err := json.Unmarshal(it.Value, &s); err != nil {
					t.Fatalf("%q: %v", msg, err)
				}
				want = append(want, s)
			case json.Unmarshal(it.Value, &members) == nil:
				for _, m := range members {
					walk(m)
				}
			}
		}
		walk([]byte(strings.TrimPrefix(msg, "\ufeff")))
		if !slices.Equal(got, want) {
			t.Fatalf("%q has the texts %q, for encoding/json %q", msg, got, want)
		}
	})
}
