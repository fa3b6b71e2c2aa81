package hsmtest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"

	"kmipd/hsm"
)

// abuser tries operations at random.
type abuser struct {
	*rig
	rnd  *rand.Rand
	refs []hsm.Ref
	bits map[hsm.Ref]int
	spki [][]byte
}

// suiteAbuse pairs every key with every operation and parameter at random. A token must refuse or obey: nothing internal,
// no lost session, and above all no crash (SoftHSM 2.6.1 crashes on 14 of 708 such pairs when nobody checks them first).
func suiteAbuse(r *rig) {
	const seed = 20250301
	a := &abuser{rig: r, rnd: rand.New(rand.NewPCG(seed, seed)), bits: map[hsm.Ref]int{}}
	for _, k := range []struct {
		kind hsm.KeyType
		n    int
	}{{hsm.KeyAES, 16}, {hsm.KeyAES, 24}, {hsm.KeyAES, 32}, {hsm.KeyDES3, 24}, {hsm.KeyGeneric, 1}, {hsm.KeyGeneric, 16}, {hsm.KeyGeneric, 32}, {hsm.KeyGeneric, 200}} {
		ref, bits := r.secretKey(k.kind, counted(k.n))
		a.add(ref, bits)
	}
	pairs := []hsm.PairSpec{rsaPair(2048)}
	if bits := r.tok.Info().Capabilities.RSABits; len(bits) > 0 && bits[0] == 1024 {
		pairs = append(pairs, rsaPair(1024))
	}
	for _, c := range r.tok.Info().Capabilities.Curves {
		pairs = append(pairs, pair(hsm.KeySpec{Type: hsm.KeyEC, Curve: c, Usage: hsm.UsageSign | hsm.UsageDerive}, hsm.UsageVerify))
	}
	for _, p := range pairs {
		private, public, spki := r.generatePair(p)
		a.add(private, p.Private.Bits)
		a.add(public, p.Private.Bits)
		a.spki = append(a.spki, spki)
	}
	a.everyPair()
	for range 4000 {
		a.once(a.refs[a.rnd.IntN(len(a.refs))])
	}
	r.must(r.tok.Healthy(r.ctx()), "Healthy after abuse")
}

func (a *abuser) add(ref hsm.Ref, bits int) {
	a.refs = append(a.refs, ref)
	a.bits[ref] = bits
}

// everyPair tries each key with each scheme and mode with parameters that are good for some key.
func (a *abuser) everyPair() {
	ctx := a.ctx()
	for _, ref := range a.refs {
		bits := a.bits[ref]
		for mode := hsm.ModeECB; mode <= hsm.ModeGCM; mode++ {
			for _, iv := range [][]byte{nil, counted(8), counted(12), counted(16)} {
				for _, tag := range []int{0, 128} {
					spec := hsm.CipherSpec{Mode: mode, IV: iv, TagBits: tag}
					_, err := a.tok.Encrypt(ctx, ref, bits, spec, counted(32))
					a.judge(err, "Encrypt", ref, spec)
					_, err = a.tok.Decrypt(ctx, ref, bits, spec, counted(32))
					a.judge(err, "Decrypt", ref, spec)
				}
			}
		}
		for scheme := hsm.SignRSAPKCS1v15; scheme <= hsm.SignECDSA; scheme++ {
			for h := hsm.Hash(0); h <= hsm.SHA512; h++ {
				spec := hsm.SignSpec{Scheme: scheme, Hash: h}
				_, err := a.tok.Sign(ctx, ref, spec, counted(max(h.Size(), 1)))
				a.judge(err, "Sign", ref, spec)
				for _, n := range []int{64, 96, 128, 132, 256} {
					_, err = a.tok.Verify(ctx, ref, spec, counted(max(h.Size(), 1)), counted(n))
					a.judge(err, "Verify", ref, spec)
				}
			}
		}
		for _, spec := range append(oaepSpecs(), hsm.RSACipherSpec{}) {
			_, err := a.tok.RSAEncrypt(ctx, ref, spec, counted(16))
			a.judge(err, "RSAEncrypt", ref, spec)
			_, err = a.tok.RSADecrypt(ctx, ref, spec, counted(bits/8))
			a.judge(err, "RSADecrypt", ref, spec)
		}
		for h := hsm.Hash(0); h <= hsm.SHA512; h++ {
			for scheme := hsm.MACHMAC; scheme <= hsm.MACCMAC; scheme++ {
				spec := hsm.MACSpec{Scheme: scheme, Hash: h}
				_, err := a.tok.MAC(ctx, ref, bits, spec, counted(20))
				a.judge(err, "MAC", ref, spec)
			}
		}
		for _, spki := range a.spki {
			_, err := a.tok.ECDH(ctx, ref, spki)
			a.judge(err, "ECDH", ref, len(spki))
		}
	}
}

// once makes one call with random parameters.
func (a *abuser) once(ref hsm.Ref) {
	ctx, bits := a.ctx(), a.bits[ref]
	if a.rnd.IntN(10) == 0 {
		bits = a.pick(0, 8, 64, 128, 192, 256, 1024, 1<<30, -8)
	}
	h, mgf := hsm.Hash(a.rnd.IntN(7)), hsm.Hash(a.rnd.IntN(7))
	data := a.data()
	switch a.rnd.IntN(8) {
	case 0, 1:
		spec := hsm.CipherSpec{Mode: hsm.CipherMode(a.rnd.IntN(8)), IV: a.some(0, 1, 7, 8, 12, 15, 16, 17, 128, 129, 256), TagBits: a.pick(0, 8, 96, 100, 112, 128, 136, -1)}
		if a.rnd.IntN(3) == 0 {
			spec.AAD = a.data()
		}
		_, err := a.tok.Encrypt(ctx, ref, bits, spec, data)
		a.judge(err, "Encrypt", ref, spec)
		_, err = a.tok.Decrypt(ctx, ref, bits, spec, data)
		a.judge(err, "Decrypt", ref, spec)
	case 2:
		spec := hsm.RSACipherSpec{OAEP: a.rnd.IntN(2) == 0, Hash: h, MGFHash: mgf, Label: a.some(0, 0, 1, 1000)}
		_, err := a.tok.RSAEncrypt(ctx, ref, spec, data)
		a.judge(err, "RSAEncrypt", ref, spec)
		_, err = a.tok.RSADecrypt(ctx, ref, spec, data)
		a.judge(err, "RSADecrypt", ref, spec)
	case 3, 4, 5:
		spec := hsm.SignSpec{Scheme: hsm.SignScheme(a.rnd.IntN(5)), Hash: h, MGFHash: mgf, Salt: a.pick(0, 0, 20, 32, 64, 190, 1000, -1)}
		if h.Size() > 0 && a.rnd.IntN(2) == 0 {
			data = counted(h.Size())
		}
		_, err := a.tok.Sign(ctx, ref, spec, data)
		a.judge(err, "Sign", ref, spec)
		_, err = a.tok.Verify(ctx, ref, spec, data, a.data())
		a.judge(err, "Verify", ref, spec)
	case 6:
		spec := hsm.MACSpec{Scheme: hsm.MACScheme(a.rnd.IntN(4)), Hash: h}
		_, err := a.tok.MAC(ctx, ref, bits, spec, data)
		a.judge(err, "MAC", ref, spec)
	default:
		peer := bytes.Clone(a.spki[a.rnd.IntN(len(a.spki))])
		if a.rnd.IntN(2) == 0 {
			peer[a.rnd.IntN(len(peer))] ^= byte(1 + a.rnd.IntN(255))
		}
		_, err := a.tok.ECDH(ctx, ref, peer)
		a.judge(err, "ECDH", ref, len(peer))
	}
}

func (a *abuser) pick(values ...int) int { return values[a.rnd.IntN(len(values))] }

func (a *abuser) some(lengths ...int) []byte { return octets(a.pick(lengths...)) }

// data is random octets, all zeros or all ones, of a length that is good for something or of none.
func (a *abuser) data() []byte {
	n := a.pick(0, 1, 7, 8, 15, 16, 17, 20, 28, 32, 48, 64, 66, 96, 128, 132, 255, 256, 257, a.rnd.IntN(5000))
	switch a.rnd.IntN(4) {
	case 0:
		return make([]byte, n)
	case 1:
		return bytes.Repeat([]byte{255}, n)
	}
	return octets(n)
}

// judge accepts success and refusals.
func (a *abuser) judge(err error, call string, ref hsm.Ref, spec any) {
	a.Helper()
	if err == nil || errors.Is(err, hsm.ErrInvalidKey) || errors.Is(err, hsm.ErrInvalidData) || errors.Is(err, hsm.ErrUnsupported) {
		return
	}
	a.Errorf("%s with class %d of %d bits, %+v: %v", call, ref.Class, a.bits[ref], spec, err)
}

// suiteCryptoConcurrent uses one key of each kind from many goroutines while keys come and go, more HMAC keys than are kept
// as copies among them.
func suiteCryptoConcurrent(r *rig) {
	ctx := r.ctx()
	key, bits := r.secretKey(hsm.KeyAES, counted(16))
	private, public, _ := r.generatePair(ecPair(hsm.CurveP256))
	gcm := hsm.CipherSpec{Mode: hsm.ModeGCM, IV: counted(12), TagBits: 128}
	mac := hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}
	sign := hsm.SignSpec{Scheme: hsm.SignECDSA}
	want, err := r.tok.MAC(ctx, key, bits, mac, counted(30))
	r.must(err, "MAC")
	work := func() error {
		got, err := r.tok.MAC(ctx, key, bits, mac, counted(30))
		if err != nil || !bytes.Equal(got, want) {
			return errors.Join(err, errors.New("MAC"))
		}
		data, err := r.tok.Encrypt(ctx, key, bits, gcm, counted(100))
		if err != nil {
			return err
		}
		if back, err := r.tok.Decrypt(ctx, key, bits, gcm, data); err != nil || !bytes.Equal(back, counted(100)) {
			return errors.Join(err, errors.New("Decrypt"))
		}
		sig, err := r.tok.Sign(ctx, private, sign, counted(32))
		if err != nil {
			return err
		}
		if ok, err := r.tok.Verify(ctx, public, sign, counted(32), sig); !ok {
			return errors.Join(err, errors.New("Verify"))
		}
		spec := aes(128, hsm.UsageSign)
		ref := r.ref(hsm.ClassSecretKey, spec.ID)
		if err := r.tok.GenerateKey(ctx, spec); err != nil {
			return err
		}
		for range 2 {
			if _, err := r.tok.MAC(ctx, ref, 128, mac, counted(30)); err != nil {
				return err
			}
		}
		return r.tok.Destroy(ctx, ref)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if err := work(); err != nil {
					r.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
