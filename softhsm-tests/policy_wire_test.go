package softhsmtests

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// wire speaks to the listeners of all policies of one server, as the same client. What is made by the first one, of the
// default policy, is there for the others.
type wire struct {
	t     *testing.T
	reg   *registry.Registry
	first *harness.Conn
	conns map[string]*harness.Conn
	uids  map[string]string
}

// node is an item of a message.
type node = rawttlv.Node

func newWire(t *testing.T) *wire {
	t.Helper()
	offer(t, tls.TLS_AES_256_GCM_SHA384) // the one that every policy takes
	reg, err := registry.Load(registry.Shared(t), "1.4")
	if err != nil {
		t.Fatal(err)
	}
	var extra []string
	for _, policy := range strictPolicies {
		extra = append(extra, "--listener", policy+"=127.0.0.1:0")
	}
	s := harness.Start(t, harness.Dir(t), extra...)
	w := &wire{t: t, reg: reg, first: s.Connect(t), conns: map[string]*harness.Conn{}, uids: map[string]string{}}
	for _, policy := range strictPolicies {
		w.conns[policy] = s.ConnectListener(t, policy)
	}
	return w
}

func (w *wire) tag(name string) uint32 { return w.reg.MustTag(name) }

func (w *wire) enum(name, value string) *node {
	return rawttlv.Enum(w.tag(name), w.reg.MustEnum(name, value))
}

func (w *wire) int(name string, v int) *node { return rawttlv.Int(w.tag(name), int32(v)) }

func (w *wire) bytes(name string, octets int) *node {
	return rawttlv.Bytes(w.tag(name), []byte(strings.Repeat("KEYBYTES", octets/8+1)[:octets]))
}

func (w *wire) structure(name string, children ...*node) *node {
	return rawttlv.Struct(w.tag(name), children...)
}

func (w *wire) id(name string) *node { return rawttlv.Text(w.tag("UniqueIdentifier"), w.uids[name]) }

func (w *wire) item(operation string, payload ...*node) message.Item {
	return message.Item{Operation: w.reg.MustEnum("Operation", operation), Payload: payload}
}

// attribute is an attribute of a value node.
func (w *wire) attribute(name string, value *node) *node {
	v := *value
	v.Tag = w.tag("AttributeValue")
	return w.structure("Attribute", rawttlv.Text(w.tag("AttributeName"), name), &v)
}

// key is the attributes of a key: "AES 128 Encrypt Decrypt", with a date that makes it Active.
func (w *wire) key(text string) []*node {
	f := strings.Fields(text)
	bits, err := strconv.Atoi(f[1])
	if err != nil {
		panic(err)
	}
	mask, err := w.reg.Mask("CryptographicUsageMask", strings.Join(f[2:], " "))
	if err != nil {
		panic(err)
	}
	return []*node{
		w.attribute("Cryptographic Algorithm", w.enum("CryptographicAlgorithm", f[0])),
		w.attribute("Cryptographic Length", w.int("CryptographicLength", bits)),
		w.attribute("Cryptographic Usage Mask", rawttlv.Int(0, int32(mask))),
		w.attribute("Activation Date", rawttlv.Date(0, time.Now().Add(-time.Hour))),
	}
}

func (w *wire) create(text string) message.Item {
	return w.item("Create", w.enum("ObjectType", "SymmetricKey"), w.structure("TemplateAttribute", w.key(text)...))
}

// pair is a Create Key Pair request: "RSA 2048", or "EC 256 P_256" with the curve.
func (w *wire) pair(text, private, public string) message.Item {
	f := strings.Fields(text)
	var common []*node
	common = append(common, w.attribute("Cryptographic Algorithm", w.enum("CryptographicAlgorithm", f[0])))
	if bits, err := strconv.Atoi(f[1]); err == nil && bits > 0 {
		common = append(common, w.attribute("Cryptographic Length", w.int("CryptographicLength", bits)))
	}
	if len(f) > 2 {
		common = append(common, w.attribute("Cryptographic Domain Parameters", w.structure("CryptographicDomainParameters", w.enum("RecommendedCurve", f[2]))))
	}
	common = append(common, w.attribute("Activation Date", rawttlv.Date(0, time.Now().Add(-time.Hour))))
	half := func(name, uses string) *node {
		mask, err := w.reg.Mask("CryptographicUsageMask", uses)
		if err != nil {
			panic(err)
		}
		return w.structure(name, w.attribute("Cryptographic Usage Mask", rawttlv.Int(0, int32(mask))))
	}
	return w.item("CreateKeyPair", w.structure("CommonTemplateAttribute", common...), half("PrivateKeyTemplateAttribute", private), half("PublicKeyTemplateAttribute", public))
}

// parameters are Cryptographic Parameters: "BlockCipherMode=CBC PaddingMethod=PKCS5", in the order of the standard.
func (w *wire) parameters(text string) *node {
	out := w.structure("CryptographicParameters")
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		if n, err := strconv.Atoi(value); err == nil {
			out.Children = append(out.Children, w.int(name, n))
			continue
		}
		out.Children = append(out.Children, w.enum(name, value))
	}
	return out
}

// block is the Key Block of a key in a format.
func (w *wire) block(format, algorithm string, bits int, material *node) *node {
	return w.structure("KeyBlock", w.enum("KeyFormatType", format), w.structure("KeyValue", material),
		w.enum("CryptographicAlgorithm", algorithm), w.int("CryptographicLength", bits))
}

// keep sends a request by the first listener, where it must work, and remembers the identifiers that it gives: of a pair
// NAME and NAME.pub.
func (w *wire) keep(name string, item message.Item) {
	w.t.Helper()
	r, err := message.Do(w.first, item)
	if err != nil {
		w.t.Fatalf("making %s: %v", name, err)
	}
	w.uids[name] = r.Identifier()
	if private, public := r.PairIdentifiers(); private != "" {
		w.uids[name], w.uids[name+".pub"] = private, public
	}
}

// The outcomes of a cell.
var outcomes = map[byte]string{'F': "InvalidField", 'P': "PermissionDenied", 'K': "KeyFormatTypeNotSupported", 'E': "EncodingOptionError"}

// try sends a request by the listener of each strict policy. cells has a letter for each: + it works, F, P, K and E are the
// Result Reasons of outcomes, and o is for what the policy allows and the token or the server cannot do: any answer that
// is not the policy's. A refusal names policy and field.
func (w *wire) try(name, cells, field string, item message.Item) {
	w.t.Helper()
	for i, policy := range strictPolicies {
		_, err := message.Do(w.conns[policy], item)
		var f *message.Failure
		if err != nil && !errors.As(err, &f) {
			w.t.Fatalf("%s: %s: %v", policy, name, err)
		}
		switch c := cells[i]; {
		case c == 'o' && err != nil && strings.Contains(f.Message, "policy"), c == '+' && err != nil:
			w.t.Errorf("%s: %s: got %v, want it allowed", policy, name, err)
		case c == '+' || c == 'o':
		case err == nil:
			w.t.Errorf("%s: %s: got success, want %s", policy, name, outcomes[c])
		case f.Reason != w.reg.MustEnum("ResultReason", outcomes[c]) || !strings.Contains(f.Message, "policy "+policy) || !strings.Contains(f.Message, field):
			w.t.Errorf("%s: %s: got %v, want %s that names policy %s and %q", policy, name, err, outcomes[c], policy, field)
		}
	}
}

// names are all values of an enumeration of KMIP 1.4, by the numbers from 1 on.
func (w *wire) names(enum string) []string {
	var out []string
	for v := uint32(1); ; v++ {
		name := w.reg.ValueName(w.tag(enum), rawttlv.Enumeration, v)
		if name == "" {
			return out
		}
		out = append(out, name)
	}
}

// every tries each value of an enumeration; those that rows does not name get the cells of other.
func (w *wire) every(enum string, rows map[string]string, other, field string, make func(value string) message.Item) {
	w.t.Helper()
	seen := 0
	for _, name := range w.names(enum) {
		cells, ok := rows[name]
		if !ok {
			cells = other
		} else {
			seen++
		}
		w.try(fmt.Sprintf("%s %s", enum, name), cells, field, make(name))
	}
	if seen != len(rows) {
		w.t.Errorf("%s: %d of %d rows are values of it", enum, seen, len(rows))
	}
}
