package hsm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"

	"kmipd/hsm/internal/pss"
)

// The keys of the probe and what they give for the octets 0, 1, 2 and so on. The answers were computed with Go's packages and
// are written down, since Go refuses to compute some of them in FIPS mode.
const probeDES3 = "0123456789abcdef23456789abcdef01456789abcdef0123"

type cipherAnswer struct {
	kind KeyType
	mode CipherMode
	iv   []byte
	n    int // octets of data
	want string
}

func cipherAnswers() []cipherAnswer {
	return []cipherAnswer{
		{KeyAES, ModeECB, nil, 32, "0a940bb5416ef045f1c39458c653ea5a07feef74e1d5036e900eee118e949293"},
		{KeyAES, ModeCBC, counted(16), 32, "c6a13b37878f5b826f4f8162a1c8d87935d9dcdb829fec3352e7bf10b84be4a5"},
		{KeyAES, ModeCBCPad, counted(16), 20, "c6a13b37878f5b826f4f8162a1c8d879cb35046a8d97f0d5bc48b110e91d415e"},
		{KeyAES, ModeCTR, append(counted(12), 255, 255, 255, 255), 20, "656e663fb1c4defc647c4fbd9e415a7bab458197"},
		{KeyAES, ModeGCM, counted(12), 20, "936da5cd621ef15343db6b813aae7e07a33708f56866c68bf427b12adfdc9d1388a14fa6"},
		{KeyDES3, ModeECB, nil, 16, "30329253bd2965402ea437be9266178c"},
		{KeyDES3, ModeCBC, counted(8), 16, "4eba739c998bcb602012c4745ee86610"},
		{KeyDES3, ModeCBCPad, counted(8), 12, "4eba739c998bcb60a7aac962a4100b0d"},
	}
}

// gcmAnswers are GCM with an IV of 1 and of 128 octets.
var gcmAnswers = map[int]string{
	1:   "3a63fcbd84e40aad74265203947004a2571a275936f10196b879c86eb19380f22d12692b",
	128: "4813dedd8221f287e90ea2a6187dfa1b3fbf161258a18a7e58040ad75ee57c20d1efc5c8",
}

// hmacAnswers are the first octets of HMAC over 20 octets with a key of 64; the other two have an AES key of 32 and a
// generic key of 8 octets.
var hmacAnswers = map[Hash]string{
	SHA1: "2c9da38ebf44497064586d52251bba6e", SHA224: "1ed9dbb569e691f1494aea53c44efcc8", SHA256: "172e46f22d48dd2448a20df434c78d7d",
	SHA384: "fc89684a48a9bc8088008e76a8327153", SHA512: "615b43aea1a02401c6f7c545890db0e6",
}

const (
	hmacAnyTypeAnswer = "0cd438c0f4f44637ddeba146b3b3a5f8"
	hmacShortAnswer   = "0c140b41d33e9722b691ea1b79ca8c30"
)

var cmacAnswers = map[KeyType]string{KeyAES: "980ae87b5f4c9c5214f5b6a8455e4c2d", KeyDES3: "4db69ff28a00fc11"}

// counted is the octets 0, 1, 2 and so on.
func counted(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func startsWith(got []byte, want string) bool {
	w, err := hex.DecodeString(want)
	return err == nil && bytes.HasPrefix(got, w)
}

// probeServices finds out what keys can do. pub and priv are the RSA pair of the probe, 0 when there is none.
func (w *work) probeServices(caps *Capabilities, pub, priv handle) {
	w.probeCurves(caps)
	if caps.Transport == "" {
		return // without known keys there is nothing to compare with
	}
	all := UsageEncrypt | UsageDecrypt | UsageSign
	aes, err := w.knownKey(KeyAES, all, counted(16))
	if err == nil {
		w.probeCiphers(caps, aes)
	}
	value, err := hex.DecodeString(probeDES3)
	if err == nil && caps.DES3 {
		if des, err := w.knownKey(KeyDES3, all, value); err == nil {
			w.probeCiphers(caps, des)
		}
	}
	w.probeHMAC(caps)
	if pub != 0 && priv != 0 {
		w.probeRSAServices(caps, pub, priv)
	}
}

// knownKey puts a key on the token as a session object.
func (w *work) knownKey(kind KeyType, usage Usage, value []byte) (usable, error) {
	key, blob, err := w.seal(value)
	if err != nil {
		return usable{}, err
	}
	t := keyTemplate(ClassSecretKey, KeySpec{Type: kind, Usage: usage, Extractable: true}, false)
	h, err := w.temp(w.p11.unwrapKey(w.s, mechanism{code: w.traits.in.code}, key.handle, blob, t))
	return usable{Ref{Class: ClassSecretKey}, h, keyFacts{kind: kind, usage: usage, extractable: true}}, err
}

func (w *work) probeCiphers(caps *Capabilities, key usable) {
	for _, a := range cipherAnswers() {
		if a.kind != key.facts.kind || !w.cipherWorks(key, a) {
			continue
		}
		if a.kind == KeyDES3 {
			caps.DES3Modes = append(caps.DES3Modes, a.mode)
		} else {
			caps.AESModes = append(caps.AESModes, a.mode)
		}
		switch a.mode {
		case ModeGCM:
			caps.GCMAnyIV = true
			for n, want := range gcmAnswers {
				caps.GCMAnyIV = caps.GCMAnyIV && w.cipherWorks(key, cipherAnswer{KeyAES, ModeGCM, counted(n), 20, want})
			}
		case ModeECB:
			caps.compose(CompositionECBPad)
		default:
		}
	}
	size := key.facts.kind.blockSize()
	mac, err := w.macCall(key.handle, mechanism{code: cmacCodes[key.facts.kind]}, size, counted(20))
	if err == nil && startsWith(mac, cmacAnswers[key.facts.kind]) {
		caps.CMAC = append(caps.CMAC, key.facts.kind)
	}
}

// compose notes a composition once.
func (c *Capabilities) compose(what Composition) {
	for _, have := range c.Composed {
		if have == what {
			return
		}
	}
	c.Composed = append(c.Composed, what)
}

func (w *work) cipherWorks(key usable, a cipherAnswer) bool {
	spec := CipherSpec{Mode: a.mode, IV: a.iv}
	if a.mode == ModeGCM {
		spec.AAD, spec.TagBits = counted(5), 128
	}
	out, err := w.block(key, spec, counted(a.n), false)
	if err != nil || !startsWith(out, a.want) {
		return false
	}
	back, err := w.block(key, spec, out, true)
	return err == nil && bytes.Equal(back, counted(a.n))
}

func (w *work) probeHMAC(caps *Capabilities) {
	try := func(key usable, h Hash, want string) bool {
		mac, err := w.macCall(key.handle, mechanism{code: hashCodes[h].hmac}, h.Size(), counted(20))
		return err == nil && startsWith(mac, want)
	}
	long, err := w.knownKey(KeyGeneric, UsageSign, counted(64))
	if err != nil {
		return
	}
	for h := SHA1; h <= SHA512; h++ {
		if try(long, h, hmacAnswers[h]) {
			caps.HMAC = append(caps.HMAC, h)
		}
	}
	short, err := w.knownKey(KeyGeneric, UsageSign, counted(8))
	w.traits.hmacAnyLength = err == nil && try(short, SHA256, hmacShortAnswer)
	aes, err := w.knownKey(KeyAES, UsageSign, counted(32))
	if err != nil {
		return
	}
	w.traits.hmacAnyType = try(aes, SHA256, hmacAnyTypeAnswer)
	moves := func(key usable, n int, filled bool, want string) bool {
		h, err := w.temp(w.move(key, n, filled))
		return err == nil && try(usable{handle: h}, SHA256, want)
	}
	if !w.traits.hmacAnyType && w.movesAlone(32, SHA256) && moves(aes, 32, false, hmacAnyTypeAnswer) {
		caps.compose(CompositionMovedKey)
	}
	if !w.traits.hmacAnyLength && !w.cfg.RefuseComposed && moves(short, 8, true, hmacShortAnswer) {
		caps.compose(CompositionFilledKey)
	}
}

// probeRSAServices encrypts, decrypts, signs and verifies with the RSA pair of the probe.
func (w *work) probeRSAServices(caps *Capabilities, pub, priv handle) {
	facts := keyFacts{kind: KeyRSA, modulus: 256}
	public, private := usable{Ref{Class: ClassPublicKey}, pub, facts}, usable{Ref{Class: ClassPrivateKey}, priv, facts}
	caps.PKCS1v15Encrypt = w.rsaEncrypts(public, private, RSACipherSpec{}.mechanism())
	caps.PKCS1v15Sign = w.signWorks(public, private, SignSpec{Scheme: SignRSAPKCS1v15, Hash: SHA256})
	for h := SHA1; h <= SHA512; h++ {
		if w.rsaEncrypts(public, private, oaepMechanism(h)) {
			caps.OAEPEncrypt = append(caps.OAEPEncrypt, h)
		}
		if w.signWorks(public, private, SignSpec{Scheme: SignRSAPSS, Hash: h, Salt: h.Size()}) {
			caps.PSS = append(caps.PSS, h)
		}
	}
	w.probeRaw(caps, public, private)
}

func (w *work) rsaEncrypts(public, private usable, mech mechanism) bool {
	want := []byte("a probe")
	out, err := w.p11.encrypt(w.s, false, mech, gcm{}, public.handle, want, make([]byte, 256))
	if err != nil || len(out) != 256 {
		return false
	}
	back, err := w.p11.encrypt(w.s, true, mech, gcm{}, private.handle, out, make([]byte, 256))
	return err == nil && bytes.Equal(back, want)
}

func (w *work) signWorks(public, private usable, spec SignSpec) bool {
	mech, data := spec.mechanism(0, counted(spec.Hash.Size()))
	sig, err := w.signature(private, mech, data)
	if err != nil {
		return false
	}
	ok, err := w.valid(public, mech, data, sig)
	return err == nil && ok
}

// probeRaw tries RSA without padding, on which the compositions rest.
func (w *work) probeRaw(caps *Capabilities, public, private usable) {
	spec := RSACipherSpec{OAEP: true, Hash: SHA256, Label: []byte("label")}
	want := []byte("a probe")
	if em, err := w.encodeOAEP(public, spec, want); err == nil {
		out, err := w.p11.encrypt(w.s, false, rawRSA, gcm{}, public.handle, em, make([]byte, 256))
		if err == nil {
			if em, err = w.rawDecrypt(private.handle, 256, out); err == nil {
				got, err := spec.scheme().Decode(em)
				if err == nil && bytes.Equal(got, want) {
					caps.compose(CompositionOAEP)
				}
			}
		}
	}
	key, err := probeKey()
	if err != nil {
		return
	}
	sign := SignSpec{Scheme: SignRSAPSS, Hash: SHA384, MGFHash: SHA256, Salt: 20}
	sig, err := w.signComposed(private, sign, counted(48))
	if err == nil && pss.Verify(SHA384.new, SHA256.new, &key.PublicKey, counted(48), sig, 20) {
		caps.compose(CompositionPSS)
	}
}

// probeCurves signs and agrees with fresh session pairs.
func (w *work) probeCurves(caps *Capabilities) {
	for _, c := range caps.Curves {
		if public, priv, err := w.probeEC(c, UsageSign, UsageVerify); err == nil {
			n := c.OrderOctets()
			key := usable{Ref{Class: ClassPrivateKey}, priv, keyFacts{kind: KeyEC, curve: c}}
			mech, digest := SignSpec{Scheme: SignECDSA}.mechanism(c, counted(32))
			sig, err := w.signature(key, mech, digest)
			if err == nil && ecdsa.Verify(public, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])) {
				caps.ECDSA = append(caps.ECDSA, c)
			}
		}
		public, priv, err := w.probeEC(c, UsageDerive, 0)
		if err == nil && caps.Transport != "" && w.ecdhWorks(c, public, priv) {
			caps.ECDH = append(caps.ECDH, c)
		}
	}
}

func (w *work) probeEC(c Curve, private, public Usage) (*ecdsa.PublicKey, handle, error) {
	half := KeySpec{Type: KeyEC, Curve: c}
	spec := PairSpec{half, half}
	spec.Private.Usage, spec.Public.Usage = private, public
	pub, priv, err := w.makePair(spec, false)
	if err != nil {
		return nil, 0, err
	}
	w.temps = append(w.temps, pub, priv)
	spki, err := w.readSPKI(pub)
	if err != nil {
		return nil, 0, err
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, 0, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, 0, refuse(KindInternal, "the token's public key is of another type")
	}
	return key, priv, nil
}

func (w *work) ecdhWorks(c Curve, public *ecdsa.PublicKey, priv handle) bool {
	theirs, err := public.ECDH()
	if err != nil {
		return false
	}
	ours, err := map[Curve]ecdh.Curve{CurveP256: ecdh.P256(), CurveP384: ecdh.P384(), CurveP521: ecdh.P521()}[c].GenerateKey(rand.Reader)
	if err != nil {
		return false
	}
	want, err := ours.ECDH(theirs)
	if err != nil {
		return false
	}
	got, err := w.agreeECDH(priv, c, ours.PublicKey().Bytes())
	return err == nil && bytes.Equal(got, want)
}
