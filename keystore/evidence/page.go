package evidence

import (
	"bytes"
	_ "embed" // the template
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// A page ends with its envelope between these two.
const (
	pageMark = "<pre id=\"envelope\">\n"
	pageTail = "</pre>\n</section>\n</main>\n</body>\n</html>\n"
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"utc":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"join": func(list []string) string { return strings.Join(list, ", ") },
	"yes": func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	},
}).Parse(pageText))

// Page is the document as an HTML page for people, on screen and on paper: no scripts, nothing from elsewhere. It holds the
// envelope, and its text has a signature of its own, since it is what a reader believes.
func Page(e *Envelope, signer Signer) ([]byte, error) {
	d := &Document{}
	if err := strictly([]byte(e.Document), d); err != nil {
		return nil, fmt.Errorf("reading the document of the report: %w", err)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, struct {
		*Document
		Envelope *Envelope
		SHA256   string
	}{d, e, hexSHA256([]byte(e.Document))}); err != nil {
		return nil, fmt.Errorf("writing the page of the report: %w", err)
	}
	with := *e
	if signer != nil {
		var err error
		if with.PageSignature, err = sign(signer, b.Bytes()); err != nil {
			return nil, err
		}
	}
	inner, err := with.Encode()
	if err != nil {
		return nil, err
	}
	return assemble(b.Bytes(), inner), nil
}

// assemble puts an envelope behind the text of a page. encoding/json writes no <, > and & as they are.
func assemble(page, inner []byte) []byte {
	out := append([]byte{}, page...)
	out = append(out, pageMark...)
	out = append(out, inner...)
	return append(out, pageTail...)
}

// documentRow is the row of a page that names its document. The hash alone would not do: a page names the document before its
// own, too, and what clients call themselves. The template escapes values, so that none of them can look like this row.
func documentRow(sum string) []byte {
	return []byte("<tr><th scope=\"row\">SHA-256 of the document</th><td><code>" + sum + "</code></td></tr>")
}

// split takes the text of a page and its envelope apart; page is nil for a file that is an envelope.
func split(file []byte) (page, inner []byte) {
	i := bytes.LastIndex(file, []byte(pageMark))
	if i < 0 {
		return nil, file
	}
	inner = file[i+len(pageMark):]
	if end := bytes.IndexByte(inner, '<'); end >= 0 {
		inner = inner[:end]
	}
	return file[:i:i], inner
}
