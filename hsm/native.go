package hsm

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// The first entries of CK_FUNCTION_LIST in the fixed order of pkcs11f.h, up to the last one used here.
typedef unsigned long (*fn)();
typedef struct {
	unsigned char version[2];
	fn initialize, finalize, getInfo, getFunctionList, getSlotList, getSlotInfo, getTokenInfo, getMechanismList,
		getMechanismInfo, initToken, initPIN, setPIN, openSession, closeSession, closeAllSessions, getSessionInfo,
		getOperationState, setOperationState, login, logout, createObject, copyObject, destroyObject, getObjectSize,
		getAttributeValue, setAttributeValue, findObjectsInit, findObjects, findObjectsFinal, encryptInit, encrypt,
		encryptUpdate, encryptFinal, decryptInit, decrypt, decryptUpdate, decryptFinal, digestInit, digest, digestUpdate,
		digestKey, digestFinal, signInit, sign, signUpdate, signFinal, signRecoverInit, signRecover, verifyInit, verify,
		verifyUpdate, verifyFinal, verifyRecoverInit, verifyRecover, digestEncryptUpdate, decryptDigestUpdate,
		signEncryptUpdate, decryptVerifyUpdate, generateKey, generateKeyPair, wrapKey, unwrapKey, deriveKey, seedRandom,
		generateRandom;
} functions;

typedef unsigned long ulong_t;
typedef struct { ulong_t type; void *value; ulong_t len; } attribute;
typedef struct { ulong_t mechanism; void *param; ulong_t len; } mechanism;

#define MAX_ATTRIBUTES 32

static void *openModule(const char *path, functions **list) {
	void *module = dlopen(path, RTLD_NOW);
	if (module == NULL) return NULL;
	ulong_t (*get)(functions **) = (ulong_t (*)(functions **))dlsym(module, "C_GetFunctionList");
	if (get == NULL || get(list) != 0) { dlclose(module); return NULL; }
	return module;
}
static void closeModule(void *module) { dlclose(module); }

// fill turns a flat template (types, offsets into data, lengths) into attributes that point into data.
static void fill(attribute *a, ulong_t n, ulong_t *spec, unsigned char *data) {
	for (ulong_t i = 0; i < n; i++) {
		a[i].type = spec[3*i];
		a[i].value = spec[3*i+2] ? data + spec[3*i+1] : NULL;
		a[i].len = spec[3*i+2];
	}
}

static ulong_t wrapKey(functions *f, ulong_t s, ulong_t mech, void *param, ulong_t plen, ulong_t wrapping, ulong_t key, void *out, ulong_t *len) {
	mechanism m = {mech, plen ? param : NULL, plen};
	return ((ulong_t (*)(ulong_t, mechanism *, ulong_t, ulong_t, void *, ulong_t *))f->wrapKey)(s, &m, wrapping, key, out, len);
}
static ulong_t unwrapKey(functions *f, ulong_t s, ulong_t mech, void *param, ulong_t plen, ulong_t unwrapping, void *blob, ulong_t blen,
	ulong_t n, ulong_t *spec, void *data, ulong_t *key) {
	attribute a[MAX_ATTRIBUTES];
	mechanism m = {mech, plen ? param : NULL, plen};
	fill(a, n, spec, data);
	return ((ulong_t (*)(ulong_t, mechanism *, ulong_t, void *, ulong_t, attribute *, ulong_t, ulong_t *))f->unwrapKey)(s, &m, unwrapping, blob, blen, a, n, key);
}
static ulong_t createObject(functions *f, ulong_t s, ulong_t n, ulong_t *spec, void *data, ulong_t *object) {
	attribute a[MAX_ATTRIBUTES];
	fill(a, n, spec, data);
	return ((ulong_t (*)(ulong_t, attribute *, ulong_t, ulong_t *))f->createObject)(s, a, n, object);
}
// getAttributes reads n attributes at once; each has its place of stride octets in out and its length in and out in lens.
// A length of ~0 says: not there or too long.
static ulong_t getAttributes(functions *f, ulong_t s, ulong_t object, ulong_t n, ulong_t *types, ulong_t *lens, unsigned char *out, ulong_t stride) {
	attribute a[MAX_ATTRIBUTES];
	for (ulong_t i = 0; i < n; i++) { a[i].type = types[i]; a[i].value = out + i*stride; a[i].len = lens[i]; }
	ulong_t rv = ((ulong_t (*)(ulong_t, ulong_t, attribute *, ulong_t))f->getAttributeValue)(s, object, a, n);
	for (ulong_t i = 0; i < n; i++) lens[i] = a[i].len;
	return rv;
}
static ulong_t sizeOf(functions *f, ulong_t s, ulong_t object, ulong_t type, ulong_t *len) {
	attribute a = {type, NULL, 0};
	ulong_t rv = ((ulong_t (*)(ulong_t, ulong_t, attribute *, ulong_t))f->getAttributeValue)(s, object, &a, 1);
	*len = a.len;
	return rv;
}
static ulong_t cryptInit(functions *f, int decrypt, ulong_t s, ulong_t mech, ulong_t key) {
	mechanism m = {mech, NULL, 0};
	return ((ulong_t (*)(ulong_t, mechanism *, ulong_t))(decrypt ? f->decryptInit : f->encryptInit))(s, &m, key);
}
static ulong_t crypt1(functions *f, int decrypt, ulong_t s, void *in, ulong_t ilen, void *out, ulong_t *olen) {
	return ((ulong_t (*)(ulong_t, void *, ulong_t, void *, ulong_t *))(decrypt ? f->decrypt : f->encrypt))(s, in, ilen, out, olen);
}
static ulong_t digestInit(functions *f, ulong_t s, ulong_t mech) {
	mechanism m = {mech, NULL, 0};
	return ((ulong_t (*)(ulong_t, mechanism *))f->digestInit)(s, &m);
}
static ulong_t digestKey(functions *f, ulong_t s, ulong_t key) { return ((ulong_t (*)(ulong_t, ulong_t))f->digestKey)(s, key); }
static ulong_t digestFinal(functions *f, ulong_t s, void *out, ulong_t *len) {
	return ((ulong_t (*)(ulong_t, void *, ulong_t *))f->digestFinal)(s, out, len);
}
static ulong_t generateRandom(functions *f, ulong_t s, void *out, ulong_t len) {
	return ((ulong_t (*)(ulong_t, void *, ulong_t))f->generateRandom)(s, out, len);
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// native is the single-call path into the module: buffers are sized by the caller and are Go memory, so that nothing is
// computed twice, leaked after a failure, or left in the C heap. (miekg/pkcs11 asks for the size first, which makes
// SoftHSM wrap twice, leaks when the second call fails, and copies values to the C heap; it keeps the management calls.)
// Both paths share the module's state, since dlopen returns the same library.
type native struct {
	module unsafe.Pointer
	list   *C.functions
}

// notThere is the length of an attribute that the object does not have or that must not be read.
const notThere = ^uint(0)

func openNative(path string) (*native, error) {
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	n := &native{}
	n.module = C.openModule(cpath, &n.list)
	if n.module == nil {
		return nil, errors.New("the module does not load or has no C_GetFunctionList")
	}
	return n, nil
}

func (n *native) close() { C.closeModule(n.module) }

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func ulongs(u []uint) *C.ulong_t { return (*C.ulong_t)(unsafe.Pointer(unsafe.SliceData(u))) }

func (n *native) wrapKey(s uint, m mechanism, wrapping, key uint, out []byte) (int, uint) {
	size := C.ulong_t(len(out))
	rv := C.wrapKey(n.list, C.ulong_t(s), C.ulong_t(m.code), pointer(m.param), C.ulong_t(len(m.param)), C.ulong_t(wrapping), C.ulong_t(key), pointer(out), &size)
	return int(size), uint(rv)
}

func (n *native) unwrapKey(s uint, m mechanism, unwrapping uint, blob []byte, t *template) (uint, uint) {
	var key C.ulong_t
	rv := C.unwrapKey(n.list, C.ulong_t(s), C.ulong_t(m.code), pointer(m.param), C.ulong_t(len(m.param)), C.ulong_t(unwrapping),
		pointer(blob), C.ulong_t(len(blob)), C.ulong_t(t.len()), ulongs(t.spec), pointer(t.data), &key)
	return uint(key), uint(rv)
}

func (n *native) createObject(s uint, t *template) (uint, uint) {
	var object C.ulong_t
	rv := C.createObject(n.list, C.ulong_t(s), C.ulong_t(t.len()), ulongs(t.spec), pointer(t.data), &object)
	return uint(object), uint(rv)
}

// getAttributes fills out, stride octets per type. lens has the room for each before and its length after the call.
func (n *native) getAttributes(s, object uint, types, lens []uint, out []byte, stride int) uint {
	return uint(C.getAttributes(n.list, C.ulong_t(s), C.ulong_t(object), C.ulong_t(len(types)), ulongs(types), ulongs(lens), (*C.uchar)(pointer(out)), C.ulong_t(stride)))
}

// sizeOf is the length of one attribute.
func (n *native) sizeOf(s, object, kind uint) (uint, uint) {
	var size C.ulong_t
	rv := C.sizeOf(n.list, C.ulong_t(s), C.ulong_t(object), C.ulong_t(kind), &size)
	return uint(size), uint(rv)
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func (n *native) cryptInit(s uint, decrypt bool, code, key uint) uint {
	return uint(C.cryptInit(n.list, flag(decrypt), C.ulong_t(s), C.ulong_t(code), C.ulong_t(key)))
}

func (n *native) crypt(s uint, decrypt bool, in, out []byte) (int, uint) {
	size := C.ulong_t(len(out))
	rv := C.crypt1(n.list, flag(decrypt), C.ulong_t(s), pointer(in), C.ulong_t(len(in)), pointer(out), &size)
	return int(size), uint(rv)
}

func (n *native) digestInit(s, code uint) uint {
	return uint(C.digestInit(n.list, C.ulong_t(s), C.ulong_t(code)))
}

func (n *native) digestKey(s, key uint) uint {
	return uint(C.digestKey(n.list, C.ulong_t(s), C.ulong_t(key)))
}

func (n *native) digestFinal(s uint, out []byte) (int, uint) {
	size := C.ulong_t(len(out))
	rv := C.digestFinal(n.list, C.ulong_t(s), pointer(out), &size)
	return int(size), uint(rv)
}

func (n *native) generateRandom(s uint, out []byte) uint {
	return uint(C.generateRandom(n.list, C.ulong_t(s), pointer(out), C.ulong_t(len(out))))
}
