package hsm

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"math/big"
	"time"

	p11 "github.com/miekg/pkcs11"
)

// transportKey is an AES-256 key that only the token and this process know. All key material crosses the interface
// wrapped under it, since tokens refuse plain reads and often plain writes.
type transportKey struct {
	handle handle
	value  [32]byte
	gen    uint64

	users   int  // guarded by device.transportMu
	retired bool // guarded by device.transportMu
}

// The ways to share the transport key, best first.
const (
	transportECDH   = "ecdh-p256"
	transportOAEP   = "rsa-oaep-sha256"
	transportCreate = "create-object"
)

// transportSpec: it wraps and unwraps and never leaves the token.
var transportSpec = KeySpec{Type: KeyAES, Bits: 256, Usage: UsageWrap | UsageUnwrap}

// useTransport borrows the transport key until the end of the work.
func (w *work) useTransport() (*transportKey, error) {
	if w.key != nil {
		return w.key, nil
	}
	w.transportMu.Lock()
	defer w.transportMu.Unlock()
	if w.info.Capabilities.Transport == "" {
		return nil, refuse(KindUnsupported, "the token offers no way to move keys in or out")
	}
	if w.transport == nil {
		w.dead = true // a login whose transport key could not be made is as good as none
		return nil, down("transport", nil)
	}
	w.transport.users++
	w.key = w.transport
	return w.key, nil
}

func (d *device) doneWith(k *transportKey) {
	d.transportMu.Lock()
	k.users--
	last := k.retired && k.users == 0
	d.transportMu.Unlock()
	if last {
		d.bury(k)
	}
}

// bury destroys a retired key that nobody uses any more. After a new login its handle may name something else.
func (d *device) bury(k *transportKey) {
	clear(k.value[:])
	if k.gen != d.gen.Load() {
		return
	}
	d.anchorMu.Lock()
	defer d.anchorMu.Unlock()
	if err := d.p11.destroyObject(d.anchor, k.handle); err != nil {
		d.log.Warn().Err(err).Msg("an old transport key was not destroyed")
	}
}

// renewTransport makes a new transport key; calls that use the old one finish with it.
func (d *device) renewTransport() error {
	if d.info.Capabilities.Transport == "" {
		return nil
	}
	d.anchorMu.Lock()
	k, _, err := d.newTransport()
	d.anchorMu.Unlock()
	if err != nil {
		return err
	}
	d.replaceTransport(k)
	return nil
}

// hasTransport says whether there is a transport key, if the token can share one at all.
func (d *device) hasTransport() bool {
	d.transportMu.Lock()
	defer d.transportMu.Unlock()
	return d.transport != nil || d.info.Capabilities.Transport == ""
}

// replaceTransport takes nil, too.
func (d *device) replaceTransport(k *transportKey) {
	d.transportMu.Lock()
	old := d.transport
	d.transport = k
	unused := false
	if old != nil {
		old.retired = true
		unused = old.users == 0
	}
	d.transportMu.Unlock()
	if unused {
		d.bury(old)
	}
}

// rotate renews the transport key on schedule until ctx ends.
func (d *device) rotate(ctx context.Context) {
	defer close(d.stopped)
	if d.cfg.TransportRotation < 0 {
		return
	}
	ticker := time.NewTicker(d.cfg.TransportRotation)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.rotateOnce(ctx)
		}
	}
}

func (d *device) rotateOnce(ctx context.Context) {
	open, err := d.gate.lock(ctx, false)
	if err != nil {
		return // closing
	}
	defer open()
	if err := d.renewTransport(); err != nil {
		d.log.Warn().Err(err).Msg("the transport key was not replaced on schedule; the old one stays")
	}
}

// newTransport walks down the ladder until a way works. A way works when a key comes out of the token and goes in again.
func (d *device) newTransport() (*transportKey, string, error) {
	ways := []struct {
		name string
		make func(*transportKey) error
	}{{transportECDH, d.shareECDH}, {transportOAEP, d.shareOAEP}, {transportCreate, d.shareCreate}}
	var errs []error
	for _, way := range ways {
		if way.name == transportCreate && d.cfg.RefusePlainImport {
			continue
		}
		k := &transportKey{gen: d.gen.Load()}
		err := way.make(k)
		if err == nil {
			err = d.agree(k)
		}
		if err == nil {
			return k, way.name, nil
		}
		if k.handle != 0 {
			err = errors.Join(err, d.p11.destroyObject(d.anchor, k.handle))
		}
		clear(k.value[:])
		if f := fateOf(err); f == fateDoor || f == fateDevice {
			return nil, "", err
		}
		errs = append(errs, err)
	}
	return nil, "", errors.Join(errs...)
}

// shareECDH derives the key from P-256 ECDH between a pair made on the token and one made here. The shared secret is 32
// octets, which are the key as they are: CKD_NULL is the only key derivation that every token has.
func (d *device) shareECDH(k *transportKey) (err error) {
	private := keyTemplate(ClassPrivateKey, KeySpec{Type: KeyEC, Usage: UsageDerive}, false)
	public := keyTemplate(ClassPublicKey, KeySpec{Type: KeyEC, Usage: UsageDerive}, false).octets(p11.CKA_EC_PARAMS, curveDER(CurveP256))
	pub, priv, err := d.p11.generateKeyPair(d.anchor, mechanism{code: p11.CKM_EC_KEY_PAIR_GEN}, public, private)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.p11.destroyObject(d.anchor, pub), d.p11.destroyObject(d.anchor, priv))
	}()
	point, err := d.p11.attribute(d.anchor, pub, p11.CKA_EC_POINT)
	if err != nil {
		return err
	}
	theirs, err := ecdh.P256().NewPublicKey(ecPoint(point))
	if err != nil {
		return err
	}
	ours, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if k.handle, err = d.derive(priv, ours.PublicKey().Bytes()); err != nil {
		return err
	}
	secret, err := ours.ECDH(theirs)
	copy(k.value[:], secret)
	clear(secret)
	return err
}

// derive tries the peer's point raw and as a DER OCTET STRING: PKCS#11 2.40 allows both, tokens one or the other.
func (d *device) derive(private handle, point []byte) (handle, error) {
	t := keyTemplate(ClassSecretKey, transportSpec, false).number(p11.CKA_VALUE_LEN, 32)
	wrapped, err := asn1.Marshal(point)
	if err != nil {
		return 0, err
	}
	var h handle
	for _, p := range [][]byte{point, wrapped} {
		params := p11.NewECDH1DeriveParams(p11.CKD_NULL, nil, p)
		h, err = d.p11.deriveKey(d.anchor, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE, params)}, private, t)
		if err == nil {
			return h, nil
		}
	}
	return 0, err
}

// shareOAEP has the token make the key and wrap it once under an RSA key made here.
func (d *device) shareOAEP(k *transportKey) (err error) {
	ours, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return err
	}
	public, err := d.p11.createObject(d.anchor, rsaTemplate(KeySpec{Type: KeyRSA, Usage: UsageWrap}, &ours.PublicKey, false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.p11.destroyObject(d.anchor, public)) }()
	spec := transportSpec
	spec.Extractable = true // until it has been wrapped
	t := keyTemplate(ClassSecretKey, spec, false).number(p11.CKA_VALUE_LEN, 32)
	if k.handle, err = d.p11.generateKey(d.anchor, mechanism{code: p11.CKM_AES_KEY_GEN}, t); err != nil {
		return err
	}
	blob, err := d.p11.wrapKey(d.anchor, oaepMechanism(SHA256), public, k.handle, 512)
	if err != nil {
		return err
	}
	value, err := rsa.DecryptOAEP(sha256.New(), nil, ours, blob, nil)
	if err != nil || len(value) != len(k.value) {
		return refuse(KindInternal, "the token's OAEP-SHA256 is not ours")
	}
	copy(k.value[:], value)
	clear(value)
	return d.p11.setAttributes(d.anchor, k.handle, newTemplate(0).flag(p11.CKA_EXTRACTABLE, false))
}

// shareCreate writes a random key to the token in plain, once, inside this process.
func (d *device) shareCreate(k *transportKey) (err error) {
	rand.Read(k.value[:]) // crypto/rand.Read never fails: it aborts the process instead
	t := keyTemplate(ClassSecretKey, transportSpec, false).octets(p11.CKA_VALUE, k.value[:])
	defer t.wipe()
	k.handle, err = d.p11.createObject(d.anchor, t)
	return err
}

// agree verifies that both sides hold the same key, by moving a throw-away key out and in. The first time it also finds
// out which mechanisms move keys.
func (d *device) agree(k *transportKey) error {
	if d.traits.out.code == 0 {
		return d.findFormats(k)
	}
	probe, value, err := d.probeOut(k, d.traits.out)
	if err != nil {
		return err
	}
	clear(value)
	return d.p11.destroyObject(d.anchor, probe)
}

// probeOut makes a throw-away AES key and takes it out.
func (d *device) probeOut(k *transportKey, f format) (handle, []byte, error) {
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyAES, Extractable: true, Usage: UsageEncrypt}, false).number(p11.CKA_VALUE_LEN, 32)
	h, err := d.p11.generateKey(d.anchor, mechanism{code: p11.CKM_AES_KEY_GEN}, t)
	if err != nil {
		return 0, nil, err
	}
	blob, err := d.p11.wrapKey(d.anchor, mechanism{code: f.code}, k.handle, h, 0)
	if err == nil {
		var value []byte
		if value, err = f.open(k.value[:], blob); err == nil && len(value) == 32 {
			return h, value, nil
		}
		err = errors.Join(err, refuse(KindUnsupported, "another key wrap format"))
	}
	return 0, nil, errors.Join(err, d.p11.destroyObject(d.anchor, h))
}

// probeIn puts a known AES key in and takes it out again.
func (d *device) probeIn(k *transportKey, in, out format) (err error) {
	value := make([]byte, 32)
	rand.Read(value) // never fails
	blob, err := in.seal(k.value[:], value)
	if err != nil {
		return err
	}
	h, err := d.p11.unwrapKey(d.anchor, mechanism{code: in.code}, k.handle, blob, keyTemplate(ClassSecretKey, KeySpec{Type: KeyAES, Extractable: true}, false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.p11.destroyObject(d.anchor, h)) }()
	back, err := d.p11.wrapKey(d.anchor, mechanism{code: out.code}, k.handle, h, 0)
	if err != nil {
		return err
	}
	got, err := out.open(k.value[:], back)
	if err == nil && !bytes.Equal(got, value) {
		err = refuse(KindUnsupported, "another key wrap format")
	}
	return err
}

// rsaTemplate is an RSA public key.
func rsaTemplate(spec KeySpec, key *rsa.PublicKey, persistent bool) *template {
	t := keyTemplate(ClassPublicKey, spec, persistent)
	return t.octets(p11.CKA_MODULUS, key.N.Bytes()).octets(p11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(key.E)).Bytes())
}

// oaepMechanism is CKM_RSA_PKCS_OAEP with CK_RSA_PKCS_OAEP_PARAMS: MGF1 with the same hash, no label.
func oaepMechanism(h Hash) mechanism {
	c := hashCodes[h]
	var param []byte
	for _, n := range []uint{c.digest, c.mgf, p11.CKZ_DATA_SPECIFIED, 0, 0} {
		param = binary.NativeEndian.AppendUint64(param, uint64(n))
	}
	return mechanism{code: p11.CKM_RSA_PKCS_OAEP, param: param}
}
