package hsm

import (
	"encoding/binary"

	p11 "github.com/miekg/pkcs11"
)

// template is a list of attributes in one flat piece of memory, which native passes to the module without a copy and
// which its maker can wipe.
type template struct {
	spec []uint // three per attribute: type, offset in data, length
	data []byte
}

// newTemplate makes room for a value of some octets besides the usual attributes, so that it is never moved and left
// behind unwiped.
func newTemplate(room int) *template {
	return &template{spec: make([]uint, 0, 3*24), data: make([]byte, 0, 512+room)}
}

func (t *template) len() int { return len(t.spec) / 3 }

func (t *template) octets(kind uint, value []byte) *template {
	t.spec = append(t.spec, kind, uint(len(t.data)), uint(len(value)))
	t.data = append(t.data, value...)
	return t
}

func (t *template) number(kind, value uint) *template {
	return t.octets(kind, binary.NativeEndian.AppendUint64(nil, uint64(value)))
}

func (t *template) flag(kind uint, value bool) *template {
	if value {
		return t.octets(kind, []byte{1})
	}
	return t.octets(kind, []byte{0})
}

// wipe overwrites the values.
func (t *template) wipe() { clear(t.data) }

// list is the template as miekg/pkcs11 takes it.
func (t *template) list() []*p11.Attribute {
	out := make([]*p11.Attribute, 0, t.len())
	for i := 0; i < len(t.spec); i += 3 {
		out = append(out, &p11.Attribute{Type: t.spec[i], Value: t.data[t.spec[i+1]:][:t.spec[i+2]]})
	}
	return out
}

// mechanism is a CKM_ code with its parameter, which holds no pointers other than null.
type mechanism struct {
	code  uint
	param []byte
}

func (m mechanism) list() []*p11.Mechanism {
	if m.param == nil {
		return []*p11.Mechanism{p11.NewMechanism(m.code, nil)}
	}
	return []*p11.Mechanism{p11.NewMechanism(m.code, m.param)}
}

// usageFlags are the usage attributes of each class with the Usage that sets them; the rest is written as false.
var usageFlags = map[Class][]struct {
	kind  uint
	usage Usage
}{
	ClassSecretKey: {
		{p11.CKA_ENCRYPT, UsageEncrypt}, {p11.CKA_DECRYPT, UsageDecrypt}, {p11.CKA_SIGN, UsageSign}, {p11.CKA_VERIFY, UsageVerify},
		{p11.CKA_WRAP, UsageWrap}, {p11.CKA_UNWRAP, UsageUnwrap}, {p11.CKA_DERIVE, UsageDerive},
	},
	ClassPrivateKey: {
		{p11.CKA_DECRYPT, UsageDecrypt}, {p11.CKA_SIGN, UsageSign}, {p11.CKA_SIGN_RECOVER, 0},
		{p11.CKA_UNWRAP, UsageUnwrap}, {p11.CKA_DERIVE, UsageDerive},
	},
	ClassPublicKey: {
		{p11.CKA_ENCRYPT, UsageEncrypt}, {p11.CKA_VERIFY, UsageVerify}, {p11.CKA_VERIFY_RECOVER, 0},
		{p11.CKA_WRAP, UsageWrap}, {p11.CKA_DERIVE, UsageDerive},
	},
}

// classCodes and keyTypeCodes are the PKCS#11 numbers.
var (
	classCodes = map[Class]uint{
		ClassSecretKey: p11.CKO_SECRET_KEY, ClassPrivateKey: p11.CKO_PRIVATE_KEY, ClassPublicKey: p11.CKO_PUBLIC_KEY,
		ClassCertificate: p11.CKO_CERTIFICATE, ClassData: p11.CKO_DATA,
	}
	keyTypeCodes = map[KeyType]uint{
		KeyAES: p11.CKK_AES, KeyDES3: p11.CKK_DES3, KeyGeneric: p11.CKK_GENERIC_SECRET, KeyRSA: p11.CKK_RSA, KeyEC: p11.CKK_EC,
	}
)

// keyTemplate has every flag of a key spelled out (PKCS#11 defaults differ from token to token). Session keys have no
// CKA_ID and no label.
func keyTemplate(class Class, spec KeySpec, persistent bool) *template {
	t := bareTemplate(class, spec, persistent)
	if persistent {
		t.octets(p11.CKA_LABEL, []byte(spec.Label))
		t.octets(p11.CKA_ID, spec.ID[:])
	}
	return t
}

// bareTemplate is keyTemplate without label and CKA_ID.
func bareTemplate(class Class, spec KeySpec, persistent bool) *template {
	t := newTemplate(0)
	t.number(p11.CKA_CLASS, classCodes[class])
	t.number(p11.CKA_KEY_TYPE, keyTypeCodes[spec.Type])
	t.flag(p11.CKA_TOKEN, persistent)
	t.flag(p11.CKA_PRIVATE, class != ClassPublicKey)
	if class != ClassPublicKey {
		t.flag(p11.CKA_SENSITIVE, true)
		t.flag(p11.CKA_EXTRACTABLE, spec.Extractable)
	}
	for _, f := range usageFlags[class] {
		t.flag(f.kind, spec.Usage&f.usage != 0)
	}
	return t
}

// findTemplate names a persistent object. CKO_DATA has no CKA_ID on some tokens (SoftHSM among them): its CKA_OBJECT_ID
// carries the TokenID instead.
func findTemplate(ref Ref) *template {
	t := newTemplate(0).number(p11.CKA_CLASS, classCodes[ref.Class]).flag(p11.CKA_TOKEN, true)
	return t.octets(idAttribute(ref.Class), ref.ID[:])
}

func idAttribute(class Class) uint {
	if class == ClassData {
		return p11.CKA_OBJECT_ID
	}
	return p11.CKA_ID
}
