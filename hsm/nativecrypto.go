package hsm

/*
typedef unsigned long ulong_t;
typedef struct { ulong_t mechanism; void *param; ulong_t len; } mechanism;

// CK_GCM_PARAMS and CK_ECDH1_DERIVE_PARAMS (PKCS#11 3.0 sections 2.11.5 and 2.3.16). They hold pointers, which Go memory
// that is passed to C must not.
typedef struct { void *iv; ulong_t ivLen, ivBits; void *aad; ulong_t aadLen, tagBits; } gcmParams;
typedef struct { ulong_t kdf, sharedLen; void *shared; ulong_t publicLen; void *public; } ecdhParams;
typedef struct { ulong_t type; void *value; ulong_t len; } attribute;

// operate is an Init call and its one-part operation. tagBits other than 0 says that param is the IV of GCM. began tells
// which of the two returned.
static ulong_t operate(void *init, void *op, ulong_t s, ulong_t mech, void *param, ulong_t plen, void *aad, ulong_t aadLen,
	ulong_t tagBits, ulong_t key, void *in, ulong_t ilen, void *out, ulong_t *olen, int *began) {
	gcmParams g = {param, plen, plen * 8, aadLen ? aad : 0, aadLen, tagBits};
	mechanism m = {mech, plen ? param : 0, plen};
	if (tagBits) { m.param = &g; m.len = sizeof g; }
	ulong_t rv = ((ulong_t (*)(ulong_t, mechanism *, ulong_t))init)(s, &m, key);
	*began = rv == 0;
	if (rv) return rv;
	return ((ulong_t (*)(ulong_t, void *, ulong_t, void *, ulong_t *))op)(s, in, ilen, out, olen);
}

static ulong_t check(void *init, void *op, ulong_t s, ulong_t mech, void *param, ulong_t plen, ulong_t key, void *in, ulong_t ilen,
	void *sig, ulong_t slen, int *began) {
	mechanism m = {mech, plen ? param : 0, plen};
	ulong_t rv = ((ulong_t (*)(ulong_t, mechanism *, ulong_t))init)(s, &m, key);
	*began = rv == 0;
	if (rv) return rv;
	return ((ulong_t (*)(ulong_t, void *, ulong_t, void *, ulong_t))op)(s, in, ilen, sig, slen);
}

// ecdh is C_DeriveKey with CKM_ECDH1_DERIVE and CKD_NULL. The template is flat: see fill in native.go.
static ulong_t ecdh(void *derive, ulong_t s, ulong_t base, void *point, ulong_t plen, ulong_t n, ulong_t *spec, unsigned char *data, ulong_t *key) {
	ecdhParams p = {1, 0, 0, plen, point};
	mechanism m = {0x1050, &p, sizeof p};
	attribute a[32];
	for (ulong_t i = 0; i < n; i++) { a[i].type = spec[3*i]; a[i].value = data + spec[3*i+1]; a[i].len = spec[3*i+2]; }
	return ((ulong_t (*)(ulong_t, mechanism *, ulong_t, attribute *, ulong_t, ulong_t *))derive)(s, &m, base, a, n, key);
}
*/
import "C"

import (
	"unsafe"

	p11 "github.com/miekg/pkcs11"
)

// gcm is the part of a GCM mechanism that is not its IV.
type gcm struct {
	aad     []byte
	tagBits int // 0: the mechanism is not GCM
}

// nonNull is a pointer for empty input, too: tokens refuse NULL.
func nonNull(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		b = []byte{0}
	}
	return pointer(b)
}

// oneCall is a pair of PKCS#11 functions: Init and the operation in one part.
type oneCall struct {
	initName, name string
	init, op       unsafe.Pointer
}

// operate makes both calls into a buffer that its caller has sized, so that there is no call for the size, no second
// computation and no leak (tokens.md section 9, rule 17).
func (n *native) operate(call oneCall, s uint, m mechanism, g gcm, key uint, in, out []byte) (size int, began bool, rv uint) {
	length, started := C.ulong_t(len(out)), C.int(0)
	code := C.operate(call.init, call.op, C.ulong_t(s), C.ulong_t(m.code), pointer(m.param), C.ulong_t(len(m.param)), pointer(g.aad),
		C.ulong_t(len(g.aad)), C.ulong_t(g.tagBits), C.ulong_t(key), nonNull(in), C.ulong_t(len(in)), pointer(out), &length, &started)
	return int(length), started != 0, uint(code)
}

func (n *native) verify(s uint, m mechanism, key uint, data, sig []byte) (began bool, rv uint) {
	var started C.int
	code := C.check(unsafe.Pointer(n.list.verifyInit), unsafe.Pointer(n.list.verify), C.ulong_t(s), C.ulong_t(m.code), pointer(m.param),
		C.ulong_t(len(m.param)), C.ulong_t(key), nonNull(data), C.ulong_t(len(data)), nonNull(sig), C.ulong_t(len(sig)), &started)
	return started != 0, uint(code)
}

func (n *native) ecdh(s, base uint, point []byte, t *template) (uint, uint) {
	var key C.ulong_t
	rv := C.ecdh(unsafe.Pointer(n.list.deriveKey), C.ulong_t(s), C.ulong_t(base), nonNull(point), C.ulong_t(len(point)),
		C.ulong_t(t.len()), ulongs(t.spec), (*C.uchar)(pointer(t.data)), &key)
	return uint(key), uint(rv)
}

// operate counts and classifies what native.operate does. The result is a part of out.
func (m *module) operate(call oneCall, s session, mech mechanism, g gcm, key handle, in, out []byte) ([]byte, error) {
	size, began, rv := m.native.operate(call, uint(s), mech, g, uint(key), in, out)
	if !began {
		return nil, m.code(call.initName, rv)
	}
	if err := m.code(call.initName, p11.CKR_OK); err != nil {
		return nil, err
	}
	if err := m.code(call.name, rv); err != nil {
		return nil, err
	}
	if size > len(out) {
		return nil, &Error{Kind: KindInternal, Call: call.name, Text: "length of a result"}
	}
	return out[:size:size], nil
}

// encrypt is C_EncryptInit and C_Encrypt, or their inverse.
func (m *module) encrypt(s session, decrypt bool, mech mechanism, g gcm, key handle, in, out []byte) ([]byte, error) {
	list := m.native.list
	call := oneCall{"C_EncryptInit", "C_Encrypt", unsafe.Pointer(list.encryptInit), unsafe.Pointer(list.encrypt)}
	if decrypt {
		call = oneCall{"C_DecryptInit", "C_Decrypt", unsafe.Pointer(list.decryptInit), unsafe.Pointer(list.decrypt)}
	}
	return m.operate(call, s, mech, g, key, in, out)
}

func (m *module) sign(s session, mech mechanism, key handle, in, out []byte) ([]byte, error) {
	list := m.native.list
	call := oneCall{"C_SignInit", "C_Sign", unsafe.Pointer(list.signInit), unsafe.Pointer(list.sign)}
	return m.operate(call, s, mech, gcm{}, key, in, out)
}

// verify says whether a signature is valid.
func (m *module) verify(s session, mech mechanism, key handle, data, sig []byte) (bool, error) {
	began, rv := m.native.verify(uint(s), mech, uint(key), data, sig)
	if !began {
		return false, m.code("C_VerifyInit", rv)
	}
	if err := m.code("C_VerifyInit", p11.CKR_OK); err != nil {
		return false, err
	}
	if rv == p11.CKR_SIGNATURE_INVALID || rv == p11.CKR_SIGNATURE_LEN_RANGE {
		return false, m.code("C_Verify", p11.CKR_OK) // the call did what it is for
	}
	return rv == p11.CKR_OK, m.code("C_Verify", rv)
}

// ecdh derives a shared secret as a session object.
func (m *module) ecdh(s session, private handle, point []byte, t *template) (handle, error) {
	h, rv := m.native.ecdh(uint(s), uint(private), point, t)
	return handle(h), m.code("C_DeriveKey", rv)
}
