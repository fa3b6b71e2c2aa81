package hsm

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
)

// The tests of what key pairs do.

// rsaPair is a key of the vectors with both halves as they go to the token.
type rsaPair struct {
	bits        int
	pkcs8, spki []byte
	known       map[string][]byte
}

func loadRSA(bits int, file string) (*rsaPair, error) {
	p := &rsaPair{bits: bits, known: rsaVector(file)}
	p.pkcs8 = p.known["private-key"]
	parsed, err := x509.ParsePKCS8PrivateKey(p.pkcs8)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errWrong
	}
	p.spki, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	return p, err
}

// with runs f with the pair on the token.
func (p *rsaPair) with(ctx context.Context, token Token, private, public Usage, f func(priv, pub Ref) error) error {
	return token.Scratch(ctx, []ScratchKey{
		{ClassPrivateKey, KeySpec{Type: KeyRSA, Bits: p.bits, Usage: private}, p.pkcs8},
		{ClassPublicKey, KeySpec{Type: KeyRSA, Bits: p.bits, Usage: public}, p.spki},
	}, func(refs []Ref) error { return f(refs[0], refs[1]) })
}

// rsaPlain is what the vectors encrypt.
var rsaPlain = []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

func rsaTests(caps Capabilities) (list []Test) {
	abc := sha256.Sum256([]byte("abc"))
	add := func(m Mechanism, name string, has bool, run func(context.Context, Token) error) {
		list = append(list, Test{Mechanism: m, Name: name, Run: offered(has && caps.Transport != "", run)})
	}
	for _, v := range []struct {
		bits int
		file string
	}{{2048, rsa2048}, {3072, rsa3072}} {
		size := map[int]string{2048: "RSA-2048", 3072: "RSA-3072"}[v.bits]
		pair := func(private, public Usage, f func(context.Context, Token, *rsaPair, Ref, Ref) error) func(context.Context, Token) error {
			return func(ctx context.Context, token Token) error {
				p, err := loadRSA(v.bits, v.file)
				if err != nil {
					return err
				}
				defer clear(p.pkcs8)
				return p.with(ctx, token, private, public, func(priv, pub Ref) error { return f(ctx, token, p, priv, pub) })
			}
		}
		add(MechanismPKCS1Sign, size+" SHA-256", caps.PKCS1v15Sign, pair(UsageSign, UsageVerify, func(ctx context.Context, token Token, p *rsaPair, priv, pub Ref) error {
			spec := SignSpec{Scheme: SignRSAPKCS1v15, Hash: SHA256}
			sig, err := token.Sign(ctx, priv, spec, abc[:])
			if err := equal(sig, p.known["pkcs1-sha256"], err); err != nil {
				return err
			}
			return testVerify(ctx, token, pub, spec, abc[:], p.known["pkcs1-sha256"])
		}))
		add(PSSMechanism(SHA256), size+" SHA-256, salt of 32 octets", caps.signs(SignSpec{Scheme: SignRSAPSS, Hash: SHA256}, 0),
			pair(UsageSign, UsageVerify, func(ctx context.Context, token Token, p *rsaPair, _, pub Ref) error {
				return testVerify(ctx, token, pub, SignSpec{Scheme: SignRSAPSS, Hash: SHA256, Salt: 32}, abc[:], p.known["pss-sha256-salt32"])
			}))
		for _, known := range []struct {
			hash Hash
			name string
		}{{SHA1, "oaep-sha1"}, {SHA256, "oaep-sha256"}} {
			spec := RSACipherSpec{OAEP: true, Hash: known.hash}
			add(OAEPMechanism(known.hash), size+" decryption", caps.rsa(spec), pair(UsageDecrypt, UsageEncrypt,
				func(ctx context.Context, token Token, p *rsaPair, priv, _ Ref) error {
					got, err := token.RSADecrypt(ctx, priv, spec, p.known[known.name])
					return equal(got, rsaPlain, err)
				}))
		}
		add(MechanismPKCS1Crypt, size+" decryption", caps.PKCS1v15Encrypt, pair(UsageDecrypt, UsageEncrypt,
			func(ctx context.Context, token Token, p *rsaPair, priv, _ Ref) error {
				got, err := token.RSADecrypt(ctx, priv, RSACipherSpec{}, p.known["pkcs1-encrypted"])
				return equal(got, rsaPlain, err)
			}))
		if v.bits != 2048 {
			continue
		}
		for h := SHA1; h <= SHA512; h++ {
			spec := SignSpec{Scheme: SignRSAPSS, Hash: h, Salt: h.Size()}
			add(PSSMechanism(h), size+" signature and verification", caps.signs(spec, 0), pair(UsageSign, UsageVerify,
				func(ctx context.Context, token Token, _ *rsaPair, priv, pub Ref) error {
					digest := counted(h.Size())
					sig, err := token.Sign(ctx, priv, spec, digest)
					if err != nil {
						return err
					}
					return testVerify(ctx, token, pub, spec, digest, sig)
				}))
			cipher := RSACipherSpec{OAEP: true, Hash: h}
			add(OAEPMechanism(h), size+" encryption and decryption", caps.rsa(cipher), pair(UsageDecrypt, UsageEncrypt,
				func(ctx context.Context, token Token, _ *rsaPair, priv, pub Ref) error {
					out, err := token.RSAEncrypt(ctx, pub, cipher, rsaPlain)
					if err != nil {
						return err
					}
					got, err := token.RSADecrypt(ctx, priv, cipher, out)
					return equal(got, rsaPlain, err)
				}))
		}
		for _, w := range []struct {
			how   WrapSpec
			known string
		}{{WrapSpec{WrapRSAOAEP, OAEPSHA1}, "oaep-sha1"}, {WrapSpec{WrapRSAOAEP, OAEPSHA256}, "oaep-sha256"}, {WrapSpec{WrapRSAPKCS1v15, 0}, "pkcs1-encrypted"}} {
			has := caps.RSAPKCS1v15
			if w.how.Mechanism == WrapRSAOAEP {
				has = slices.Contains(caps.OAEP, w.how.Hash) || slices.Contains(caps.OAEPComposed, w.how.Hash)
			}
			add(w.how.Name(), size+" key wrapping", has, pair(UsageUnwrap, UsageWrap,
				func(ctx context.Context, token Token, p *rsaPair, priv, pub Ref) error {
					return testWrap(ctx, token, pub, priv, w.how, rsaPlain, p.known[w.known], false)
				}))
		}
	}
	return list
}

// testVerify wants a signature accepted, and neither an altered one nor one of another digest.
func testVerify(ctx context.Context, token Token, pub Ref, spec SignSpec, digest, sig []byte) error {
	for _, c := range []struct {
		digest, sig []byte
		want        bool
	}{{digest, sig, true}, {digest, altered(sig), false}, {altered(digest), sig, false}} {
		ok, err := token.Verify(ctx, pub, spec, c.digest, c.sig)
		if err != nil {
			return err
		}
		if ok != c.want {
			return errWrong
		}
	}
	return nil
}

func curveTests(caps Capabilities) (list []Test) {
	for _, v := range curveVectors {
		x, e := ecdhCurves[v.curve], curves[v.curve].curve
		list = append(list,
			Test{Mechanism: MechanismECDSA, Name: v.name + " signatures", Run: offered(slices.Contains(caps.ECDSA, v.curve), func(ctx context.Context, token Token) error {
				if err := testECDSA(ctx, token, v.curve, e, octets(v.public), octets(v.digest), octets(v.signature)); err != nil || caps.Transport == "" {
					return err // a token that takes no private keys is tested by what it makes: see testPair
				}
				return testSigns(ctx, token, v.curve, x, octets(v.digest), octets(v.ours))
			})},
			Test{Mechanism: MechanismECDH, Name: v.name + " RFC 5903", Run: offered(caps.Transport != "" && slices.Contains(caps.ECDH, v.curve), func(ctx context.Context, token Token) error {
				for _, side := range [][2]string{{v.ours, v.theirs}, {v.theirs, v.ours}} {
					if err := testECDH(ctx, token, v.curve, x, octets(side[0]), octets(side[1]), octets(v.secret)); err != nil {
						return err
					}
				}
				return nil
			})})
	}
	return list
}

var ecdhCurves = map[Curve]ecdh.Curve{CurveP256: ecdh.P256(), CurveP384: ecdh.P384(), CurveP521: ecdh.P521()}

// ecKeys are both halves of a scalar as they go to the token.
func ecKeys(x ecdh.Curve, scalar []byte) (pkcs8, spki []byte, err error) {
	key, err := x.NewPrivateKey(scalar)
	if err != nil {
		return nil, nil, err
	}
	if pkcs8, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, nil, err
	}
	spki, err = x509.MarshalPKIXPublicKey(key.PublicKey())
	return pkcs8, spki, err
}

// testECDSA verifies the known signature.
func testECDSA(ctx context.Context, token Token, c Curve, e elliptic.Curve, point, digest, sig []byte) error {
	public, err := ecdsa.ParseUncompressedPublicKey(e, point)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	return withKey(ctx, token, ClassPublicKey, KeySpec{Type: KeyEC, Curve: c, Usage: UsageVerify}, spki, func(ref Ref) error {
		return testVerify(ctx, token, ref, SignSpec{Scheme: SignECDSA}, digest, sig)
	})
}

// testSigns has the token sign with a known key.
func testSigns(ctx context.Context, token Token, c Curve, x ecdh.Curve, digest, scalar []byte) error {
	pkcs8, spki, err := ecKeys(x, scalar)
	if err != nil {
		return err
	}
	defer clear(pkcs8)
	spec := SignSpec{Scheme: SignECDSA}
	return token.Scratch(ctx, []ScratchKey{
		{ClassPrivateKey, KeySpec{Type: KeyEC, Curve: c, Usage: UsageSign}, pkcs8},
		{ClassPublicKey, KeySpec{Type: KeyEC, Curve: c, Usage: UsageVerify}, spki},
	}, func(refs []Ref) error {
		sig, err := token.Sign(ctx, refs[0], spec, digest)
		if err != nil {
			return err
		}
		return testVerify(ctx, token, refs[1], spec, digest, sig)
	})
}

func testECDH(ctx context.Context, token Token, c Curve, x ecdh.Curve, ours, theirs, secret []byte) error {
	pkcs8, _, err := ecKeys(x, ours)
	if err != nil {
		return err
	}
	_, peer, err := ecKeys(x, theirs)
	if err != nil {
		return err
	}
	return withKey(ctx, token, ClassPrivateKey, KeySpec{Type: KeyEC, Curve: c, Usage: UsageDerive}, pkcs8, func(ref Ref) error {
		got, err := token.ECDH(ctx, ref, peer)
		return equal(got, secret, err)
	})
}
