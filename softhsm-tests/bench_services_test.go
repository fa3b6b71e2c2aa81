package softhsmtests

import (
	"crypto/x509/pkix"
	"encoding/asn1"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
)

const benchRSAKeys = 8 // they take a while to make

func (b *bencher) gcm(c *benchClient) error     { return c.send(b.turn(b.gcms)) }
func (b *bencher) decrypt(c *benchClient) error { return c.send(b.turn(b.decrypts)) }
func (b *bencher) rsa(c *benchClient) error     { return c.send(b.turn(b.rsas)) }
func (b *bencher) mac(c *benchClient) error     { return c.send(b.turn(b.macs)) }
func (b *bencher) random(c *benchClient) error  { return c.send(b.requests.random) }

// makeActive makes Active keys for f, which gets their identifiers. A key pair's is that of the private key.
func (b *bencher) makeActive(n int, create message.Item, f func(uid string) error) error {
	for range n {
		r, err := message.Do(b.admin, create)
		if err != nil {
			return err
		}
		uid := r.Identifier()
		if create.Operation == message.OpCreateKeyPair {
			uid, _ = r.PairIdentifiers()
		}
		if _, err := message.Do(b.admin, message.Activate(uid)); err != nil {
			return err
		}
		if err := f(uid); err != nil {
			return err
		}
	}
	return nil
}

// makeSealed makes keys that encrypt, and what each of them decrypts, once.
func (b *bencher) makeSealed(int) error {
	if b.decrypts != nil {
		return nil
	}
	return b.makeActive(benchKeys, message.CreateAES(256), func(uid string) error {
		iv := make([]byte, 12)
		encrypt := message.EncryptGCM(uid, iv, make([]byte, 1024))
		r, err := message.Do(b.admin, encrypt)
		if err != nil {
			return err
		}
		data, tag := r.Sealed()
		b.gcms = append(b.gcms, encode(encrypt))
		b.decrypts = append(b.decrypts, encode(message.DecryptGCM(uid, iv, data, tag)))
		return nil
	})
}

// makeRSA makes RSA keys that sign, once.
func (b *bencher) makeRSA(int) error {
	if b.rsas != nil {
		return nil
	}
	return b.makeActive(benchRSAKeys, message.CreateRSA(2048), func(uid string) error {
		b.rsas = append(b.rsas, encode(message.SignPKCS1(uid, make([]byte, 64))))
		return nil
	})
}

// makeMACs makes HMAC keys, once.
func (b *bencher) makeMACs(int) error {
	if b.macs != nil {
		return nil
	}
	return b.makeActive(benchKeys, message.CreateHMAC(), func(uid string) error {
		b.macs = append(b.macs, encode(message.MAC(uid, make([]byte, 1024))))
		return nil
	})
}

// makeReKeys makes keys that are replaced, which can be done once only.
func (b *bencher) makeReKeys(int) error {
	return b.makeOnce(func(c *harness.Conn) ([][]byte, error) {
		r, err := message.Do(c, message.CreateAES(256))
		if err != nil {
			return nil, err
		}
		return [][]byte{encode(message.ReKey(r.Identifier()))}, nil
	})
}

// makeCertifies makes key pairs whose public half is certified once, as every certificate adds a Link to it.
func (b *bencher) makeCertifies(int) error {
	subject, err := asn1.Marshal(pkix.Name{CommonName: "bench"}.ToRDNSequence())
	if err != nil {
		return err
	}
	return b.makeOnce(func(c *harness.Conn) ([][]byte, error) {
		r, err := message.Do(c, message.CreateP256())
		if err != nil {
			return nil, err
		}
		_, public := r.PairIdentifiers()
		return [][]byte{encode(message.Certify(public, subject))}, nil
	})
}
