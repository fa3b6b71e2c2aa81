package hsm

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// probe finds out by throw-away session objects what the token can do, whatever it claims. Only the sizes of RSA keys
// are taken from its word, since making those takes seconds.
func (d *device) probe(slot uint) error {
	caps := &d.info.Capabilities
	caps.MaxSessions = cap(d.pool.slots)
	k, way, err := d.newTransport()
	if f := fateOf(err); f == fateDoor || f == fateDevice {
		return err
	}
	if err != nil {
		d.log.Warn().Err(err).Msg("the token offers no way to move keys: import, export and wrapping are refused")
	} else {
		caps.Transport = way
		d.replaceTransport(k)
	}
	w := &work{device: d, s: d.anchor, gen: d.gen.Load()}
	defer w.dropTemps()
	caps.KW, caps.KWP = d.traits.kw != 0, d.traits.kwp != 0
	w.probeSecrets(caps)
	w.probePairs(caps, slot)
	w.probeData(caps)
	pub, priv := w.probeRSA(caps)
	w.probeServices(caps, pub, priv)
	return w.p11.loggedIn(d.anchor)
}

// dropTemps is what finish does for a borrowed session.
func (w *work) dropTemps() {
	for _, h := range w.temps {
		w.note(w.p11.destroyObject(w.s, h), "a probe object was not destroyed")
	}
	w.temps = nil
	if w.key != nil {
		w.doneWith(w.key)
		w.key = nil
	}
}

func (w *work) tryGenerate(spec KeySpec) (handle, error) {
	spec.Extractable = true
	t := keyTemplate(ClassSecretKey, spec, false)
	return w.temp(w.p11.generateKey(w.s, secretGenerator(spec, t), t))
}

func (w *work) probeSecrets(caps *Capabilities) {
	for _, bits := range []int{128, 192, 256} {
		if _, err := w.tryGenerate(KeySpec{Type: KeyAES, Bits: bits}); err == nil {
			caps.AESKeyBits = append(caps.AESKeyBits, bits)
		}
	}
	if _, err := w.tryGenerate(KeySpec{Type: KeyDES3, Bits: 192}); err == nil {
		caps.DES3 = true
	}
	if caps.Transport == "" {
		return
	}
	h, err := w.tryGenerate(KeySpec{Type: KeyGeneric, Bits: 160})
	if err != nil {
		return
	}
	caps.GenericBits = true
	value, err := w.exportRaw(h, 0)
	if err != nil {
		return
	}
	defer clear(value)
	w.traits.pads = len(value) == 24
	caps.KWPComposed = w.traits.pads && caps.KWP && !w.cfg.RefuseComposed
	sum, err := w.p11.digestKey(w.s, h)
	want := sha256.Sum256(value[:20])
	caps.DigestKey = err == nil && bytes.Equal(sum, want[:])
}

func (w *work) probePairs(caps *Capabilities, slot uint) {
	for _, c := range []Curve{CurveP256, CurveP384, CurveP521} {
		half := KeySpec{Type: KeyEC, Curve: c}
		pub, priv, err := w.makePair(PairSpec{half, half}, false)
		if err == nil {
			w.temps = append(w.temps, pub, priv)
			caps.Curves = append(caps.Curves, c)
		}
	}
	info, err := w.p11.ctx.GetMechanismInfo(slot, mechanism{code: p11.CKM_RSA_PKCS_KEY_PAIR_GEN}.list())
	if err := w.p11.result("C_GetMechanismInfo", err); err != nil {
		return
	}
	for _, bits := range []uint{1024, 2048, 3072, 4096} {
		if info.MinKeySize <= bits && bits <= info.MaxKeySize {
			caps.RSABits = append(caps.RSABits, int(bits))
		}
	}
}

func (w *work) probeData(caps *Capabilities) {
	want := []byte("probe")
	h, err := w.temp(w.p11.createObject(w.s, dataTemplate(TokenID{}, "probe", want, false)))
	if err != nil {
		return
	}
	got, err := w.p11.attribute(w.s, h, p11.CKA_VALUE)
	caps.Data = err == nil && bytes.Equal(got, want)
}

// probeKey is an RSA key for the probe only.
var probeKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// probeRSA wraps and unwraps under an imported RSA pair with each mechanism.
func (w *work) probeRSA(caps *Capabilities) (pub, priv handle) {
	if caps.Transport == "" {
		return 0, 0
	}
	pub, priv, err := w.probePair()
	if err != nil {
		w.log.Info().Err(err).Msg("the token takes no RSA keys: no RSA wrapping")
		return 0, 0
	}
	facts := keyFacts{kind: KeyRSA, modulus: 256}
	public := wrapper{ref: Ref{Class: ClassPublicKey}, handle: pub, facts: facts}
	private := wrapper{ref: Ref{Class: ClassPrivateKey}, handle: priv, facts: facts}
	for _, how := range []WrapSpec{
		{WrapRSAPKCS1v15, 0}, {WrapRSAOAEP, OAEPSHA1}, {WrapRSAOAEP, OAEPSHA256}, {WrapRSAOAEP, OAEPSHA384}, {WrapRSAOAEP, OAEPSHA512},
	} {
		public.how, private.how = how, how
		switch {
		case w.rsaWorks(public, private):
			if how.Mechanism == WrapRSAPKCS1v15 {
				caps.RSAPKCS1v15 = true
			} else {
				caps.OAEP = append(caps.OAEP, how.Hash)
			}
		case how.Hash > OAEPSHA1 && !w.cfg.RefuseComposed && w.composedWorks(public, private):
			caps.OAEPComposed = append(caps.OAEPComposed, how.Hash)
		}
	}
	return pub, priv
}

// probePair puts the probe key on the token as a session pair.
func (w *work) probePair() (pub, priv handle, err error) {
	key, err := probeKey()
	if err != nil {
		return 0, 0, err
	}
	if pub, err = w.temp(w.p11.createObject(w.s, rsaTemplate(KeySpec{Type: KeyRSA, Usage: UsageWrap | UsageEncrypt | UsageVerify}, &key.PublicKey, false))); err != nil {
		return 0, 0, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return 0, 0, err
	}
	transport, blob, err := w.seal(der)
	if err != nil {
		return 0, 0, err
	}
	t := keyTemplate(ClassPrivateKey, KeySpec{Type: KeyRSA, Usage: UsageUnwrap | UsageDecrypt | UsageSign}, false)
	priv, err = w.temp(w.p11.unwrapKey(w.s, mechanism{code: w.traits.in.code}, transport.handle, blob, t))
	return pub, priv, err
}

// rsaWorks moves a secret through the token's own mechanism.
func (w *work) rsaWorks(public, private wrapper) bool {
	want := make([]byte, 32)
	rand.Read(want) // never fails
	h, err := w.sessionSecret(want)
	if err != nil {
		return false
	}
	mech := w.mechanism(public.how)
	blob, err := w.p11.wrapKey(w.s, mech, public.handle, h, 0)
	if err != nil || len(blob) != public.facts.modulus {
		return false
	}
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyGeneric, Extractable: true}, false)
	back, err := w.temp(w.p11.unwrapKey(w.s, mech, private.handle, blob, t))
	if err != nil {
		return false
	}
	got, err := w.exportRaw(back, 0)
	return err == nil && bytes.Equal(got, want)
}

// composedWorks does the same with the padding in Go.
func (w *work) composedWorks(public, private wrapper) bool {
	want := []byte("a probe of composed OAEP")
	blob, err := w.wrapHere(public, want)
	if err != nil {
		return false
	}
	got, err := w.openOAEP(private, blob)
	return err == nil && bytes.Equal(got, want)
}
