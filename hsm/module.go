package hsm

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"
)

// module makes every PKCS#11 call of this package, counts it, and turns its result into an *Error.
type module struct {
	ctx    *p11.Ctx
	native *native
	health health

	mu       sync.Mutex                        // of changes of counters
	counters atomic.Pointer[map[string]*calls] // by name of the call; the map is replaced, never changed

	// after, when set by a test, may turn the result of a call into a failure.
	after atomic.Pointer[func(call string) p11.Error]
}

// calls count one kind of call.
type calls struct{ made, failed atomic.Uint64 }

// handle is a PKCS#11 object handle.
type handle = p11.ObjectHandle

// loadModule loads the module without initialising it.
func loadModule(path string) (*module, error) {
	ctx := p11.New(path)
	if ctx == nil {
		return nil, errors.New("the module does not load")
	}
	n, err := openNative(path)
	if err != nil {
		ctx.Destroy()
		return nil, err
	}
	return &module{ctx: ctx, native: n}, nil
}

func (m *module) unload() {
	m.native.close()
	m.ctx.Destroy()
}

// result counts a call and classifies its error.
func (m *module) result(call string, err error) error {
	if after := m.after.Load(); err == nil && after != nil {
		if code := (*after)(call); code != 0 {
			err = code
		}
	}
	c := m.counter(call)
	c.made.Add(1)
	if err == nil {
		return nil
	}
	c.failed.Add(1)
	var code p11.Error
	if errors.As(err, &code) && code != 0 {
		return &Error{Kind: judge(call, uint(code)).kind, Call: call, Code: uint(code)}
	}
	return &Error{Kind: KindInternal, Call: call, Text: fmt.Sprintf("%T", err)}
}

func (m *module) code(call string, rv uint) error {
	if rv == p11.CKR_OK {
		return m.result(call, nil)
	}
	return m.result(call, p11.Error(rv))
}

func (m *module) counted() map[string]Counter {
	out := map[string]Counter{}
	if known := m.counters.Load(); known != nil {
		for name, c := range *known {
			failed := c.failed.Load() // first: there are no more failures than calls
			out[name] = Counter{Calls: c.made.Load(), Failures: failed}
		}
	}
	return out
}

// counter takes no lock but for the first call of a kind.
func (m *module) counter(call string) *calls {
	if known := m.counters.Load(); known != nil && (*known)[call] != nil {
		return (*known)[call]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	more := map[string]*calls{}
	if known := m.counters.Load(); known != nil {
		maps.Copy(more, *known)
	}
	if more[call] == nil {
		more[call] = new(calls)
		m.counters.Store(&more)
	}
	return more[call]
}

// fateOf is the fate of an error of this package; errors that are not a CKR_ code keep the session.
func fateOf(err error) fate {
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return judge(e.Call, e.Code).fate
	}
	return fateKeep
}

// hasCode says whether the error is this CKR_ value.
func hasCode(err error, code uint) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func (m *module) initialize() error { return m.result("C_Initialize", m.ctx.Initialize()) }

func (m *module) finalize() error { return m.result("C_Finalize", m.ctx.Finalize()) }

func (m *module) slots() ([]uint, error) {
	s, err := m.ctx.GetSlotList(true)
	return s, m.result("C_GetSlotList", err)
}

func (m *module) tokenInfo(slot uint) (p11.TokenInfo, error) {
	i, err := m.ctx.GetTokenInfo(slot)
	return i, m.result("C_GetTokenInfo", err)
}

func (m *module) openSession(slot uint) (p11.SessionHandle, error) {
	s, err := m.ctx.OpenSession(slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	return s, m.result("C_OpenSession", err)
}

func (m *module) closeSession(s p11.SessionHandle) error {
	return m.result("C_CloseSession", m.ctx.CloseSession(s))
}

// login takes a login that exists already for success (PKCS#11 3.0 section 5.6: it is per process, not per session).
func (m *module) login(s p11.SessionHandle, pin PIN) error {
	err := m.ctx.Login(s, p11.CKU_USER, string(pin))
	if errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
		err = nil
	}
	return m.result("C_Login", err)
}

// loggedIn says whether the session lives and is the user's.
func (m *module) loggedIn(s p11.SessionHandle) error {
	i, err := m.ctx.GetSessionInfo(s)
	if err == nil && i.State != p11.CKS_RW_USER_FUNCTIONS {
		err = p11.Error(p11.CKR_USER_NOT_LOGGED_IN)
	}
	return m.result("C_GetSessionInfo", err)
}

func (m *module) generateKey(s p11.SessionHandle, mech mechanism, t *template) (handle, error) {
	h, err := m.ctx.GenerateKey(s, mech.list(), t.list())
	return h, m.result("C_GenerateKey", err)
}

func (m *module) generateKeyPair(s p11.SessionHandle, mech mechanism, public, private *template) (handle, handle, error) {
	pub, priv, err := m.ctx.GenerateKeyPair(s, mech.list(), public.list(), private.list())
	return pub, priv, m.result("C_GenerateKeyPair", err)
}

func (m *module) copyObject(s p11.SessionHandle, h handle, t *template) (handle, error) {
	c, err := m.ctx.CopyObject(s, h, t.list())
	return c, m.result("C_CopyObject", err)
}

func (m *module) setAttributes(s p11.SessionHandle, h handle, t *template) error {
	return m.result("C_SetAttributeValue", m.ctx.SetAttributeValue(s, h, t.list()))
}

func (m *module) destroyObject(s p11.SessionHandle, h handle) error {
	return m.result("C_DestroyObject", m.ctx.DestroyObject(s, h))
}

func (m *module) deriveKey(s p11.SessionHandle, mech []*p11.Mechanism, base handle, t *template) (handle, error) {
	h, err := m.ctx.DeriveKey(s, mech, base, t.list())
	return h, m.result("C_DeriveKey", err)
}

// find lists the handles of all objects that match, in pieces, since a token may return fewer than asked for.
func (m *module) find(s p11.SessionHandle, t *template) (out []handle, err error) {
	if err := m.result("C_FindObjectsInit", m.ctx.FindObjectsInit(s, t.list())); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.result("C_FindObjectsFinal", m.ctx.FindObjectsFinal(s))) }()
	for {
		some, _, err := m.ctx.FindObjects(s, 1000)
		if err := m.result("C_FindObjects", err); err != nil {
			return nil, err
		}
		if len(some) == 0 {
			return out, nil
		}
		out = append(out, some...)
	}
}

func (m *module) createObject(s p11.SessionHandle, t *template) (handle, error) {
	h, rv := m.native.createObject(uint(s), t)
	return handle(h), m.code("C_CreateObject", rv)
}

func (m *module) unwrapKey(s p11.SessionHandle, mech mechanism, unwrapping handle, blob []byte, t *template) (handle, error) {
	if len(blob) == 0 {
		return 0, refuse(KindInvalidData, "empty wrapped value")
	}
	h, rv := m.native.unwrapKey(uint(s), mech, uint(unwrapping), blob, t)
	return handle(h), m.code("C_UnwrapKey", rv)
}

// wrapKey needs one call while the blob is not longer than room says.
func (m *module) wrapKey(s p11.SessionHandle, mech mechanism, wrapping, key handle, room int) ([]byte, error) {
	out := make([]byte, max(room, defaultWrapRoom))
	n, rv := m.native.wrapKey(uint(s), mech, uint(wrapping), uint(key), out)
	if rv == p11.CKR_BUFFER_TOO_SMALL && n > len(out) && n <= maxAttribute {
		out = make([]byte, n)
		n, rv = m.native.wrapKey(uint(s), mech, uint(wrapping), uint(key), out)
	}
	if err := m.code("C_WrapKey", rv); err != nil {
		return nil, err
	}
	return out[:n:n], nil
}

const (
	defaultWrapRoom = 4096     // a wrapped RSA-4096 key takes 2.4 KiB
	maxAttribute    = 64 << 20 // no attribute or blob is longer
)

// attributes reads several short attributes in one call; a missing one is nil.
func (m *module) attributes(s p11.SessionHandle, h handle, kinds ...uint) ([][]byte, error) {
	const stride = 256
	buf, lens := make([]byte, stride*len(kinds)), make([]uint, len(kinds))
	for i, kind := range kinds {
		lens[i] = stride
		switch kind {
		case p11.CKA_CLASS, p11.CKA_KEY_TYPE, p11.CKA_MODULUS_BITS, p11.CKA_VALUE_LEN:
			lens[i] = ulongSize // NSS wants numbers to have exactly their room
		}
	}
	rv := m.native.getAttributes(uint(s), uint(h), kinds, lens, buf, stride)
	switch rv {
	case p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_SENSITIVE, p11.CKR_BUFFER_TOO_SMALL:
		rv = p11.CKR_OK // the other attributes have been read all the same (PKCS#11 3.0 section 5.7.5)
	}
	if err := m.code("C_GetAttributeValue", rv); err != nil {
		return nil, err
	}
	out := make([][]byte, len(kinds))
	for i := range kinds {
		if lens[i] <= stride {
			out[i] = buf[i*stride:][:lens[i]:lens[i]]
		}
	}
	return out, nil
}

// readable reads the attributes that can be read. Where all at once fails, as on broken objects, it asks one by one.
func (m *module) readable(s p11.SessionHandle, h handle, kinds ...uint) ([][]byte, error) {
	out, err := m.attributes(s, h, kinds...)
	if err == nil || fateOf(err) >= fateStale {
		return out, err
	}
	out = make([][]byte, len(kinds))
	for i, kind := range kinds {
		one, err := m.attributes(s, h, kind)
		switch {
		case err == nil:
			out[i] = one[0]
		case fateOf(err) >= fateStale:
			return nil, err
		}
	}
	return out, nil
}

// attribute reads one attribute of any length.
func (m *module) attribute(s p11.SessionHandle, h handle, kind uint) ([]byte, error) {
	n, rv := m.native.sizeOf(uint(s), uint(h), kind)
	if err := m.code("C_GetAttributeValue", rv); err != nil {
		return nil, err
	}
	if n == notThere || n > maxAttribute {
		return nil, &Error{Kind: KindInternal, Call: "C_GetAttributeValue", Text: "length of an attribute"}
	}
	out, lens := make([]byte, n), []uint{n}
	if n == 0 {
		return out, nil
	}
	if err := m.code("C_GetAttributeValue", m.native.getAttributes(uint(s), uint(h), []uint{kind}, lens, out, int(n))); err != nil {
		return nil, err
	}
	return out[:min(lens[0], n)], nil
}

// crypt is one-part C_EncryptInit and C_Encrypt, or C_DecryptInit and C_Decrypt, into out.
func (m *module) crypt(s p11.SessionHandle, decrypt bool, code uint, key handle, in, out []byte) (int, error) {
	initName, name := "C_EncryptInit", "C_Encrypt"
	if decrypt {
		initName, name = "C_DecryptInit", "C_Decrypt"
	}
	if err := m.code(initName, m.native.cryptInit(uint(s), decrypt, code, uint(key))); err != nil {
		return 0, err
	}
	n, rv := m.native.crypt(uint(s), decrypt, in, out)
	return n, m.code(name, rv)
}

// digestKey is the SHA-256 of a secret key's value.
func (m *module) digestKey(s p11.SessionHandle, key handle) ([]byte, error) {
	if err := m.code("C_DigestInit", m.native.digestInit(uint(s), p11.CKM_SHA256)); err != nil {
		return nil, err
	}
	if err := m.code("C_DigestKey", m.native.digestKey(uint(s), uint(key))); err != nil {
		return nil, err
	}
	sum := make([]byte, 32)
	n, rv := m.native.digestFinal(uint(s), sum)
	if err := m.code("C_DigestFinal", rv); err != nil {
		return nil, err
	}
	if n != len(sum) {
		return nil, &Error{Kind: KindInternal, Call: "C_DigestFinal", Text: "length of a digest"}
	}
	return sum, nil
}

func (m *module) random(s p11.SessionHandle, out []byte) error {
	// Whole blocks are drawn, so that each use of the generator is under the continuous test.
	whole := out
	if len(out)%healthBlock != 0 {
		whole = make([]byte, (len(out)+healthBlock-1)/healthBlock*healthBlock)
		defer clear(whole)
	}
	if err := m.code("C_GenerateRandom", m.native.generateRandom(uint(s), whole)); err != nil {
		return err
	}
	copy(out, whole)
	return m.health.check(whole)
}
