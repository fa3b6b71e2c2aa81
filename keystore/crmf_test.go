package keystore

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
)

// prover signs the CertRequest of a CRMF request with ECDSA and SHA-256; nil gives a request without signature.
type prover struct{ key *ecdsa.PrivateKey }

func (p prover) Sign(data []byte) (algorithm, sig []byte) {
	if p.key == nil {
		return nil, nil
	}
	sum := sha256.Sum256(data)
	sig, err := ecdsa.SignASN1(rand.Reader, p.key, sum[:])
	if err != nil {
		panic(err)
	}
	algorithm, err = asn1.Marshal(struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}})
	if err != nil {
		panic(err)
	}
	return algorithm, sig
}

// crmfRequest makes a CertReqMessages (RFC 4211) with a proof of possession.
func crmfRequest(t *testing.T, key prover, subject string, spki []byte, extra ...asn1.RawValue) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	constructed := func(class, tag int, contents ...[]byte) []byte {
		return marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: slices.Concat(contents...)})
	}
	var fields [][]byte
	if subject != "" {
		name, err := ParseName(subject)
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, constructed(asn1.ClassContextSpecific, 5, name))
	}
	if spki != nil {
		var v asn1.RawValue
		if err := unmarshalAll(spki, &v); err != nil {
			t.Fatal(err)
		}
		fields = append(fields, constructed(asn1.ClassContextSpecific, 6, v.Bytes))
	}
	for _, e := range extra {
		fields = append(fields, marshal(e))
	}
	certReq := constructed(0, asn1.TagSequence, marshal(1), constructed(0, asn1.TagSequence, fields...))
	algorithm, sig := key.Sign(certReq)
	proof := marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}) // raVerified
	if sig != nil {
		proof = constructed(asn1.ClassContextSpecific, 1, algorithm, marshal(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}))
	}
	return constructed(0, asn1.TagSequence, constructed(0, asn1.TagSequence, certReq, proof))
}

// contextField is a field of a CertTemplate.
func contextField(t *testing.T, tag int, values ...any) asn1.RawValue {
	t.Helper()
	var contents []byte
	for _, v := range values {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, der...)
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: contents}
}

func TestCertifyCRMF(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	key, other := newECKey(t), newECKey(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pub := c.must(c.register(publicKey(t, key)))
	names := []byte{0x30, 7, 0x82, 5, 'c', '.', 'n', 'e', 't'}
	extensions := contextField(t, 9, struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}{asn1.ObjectIdentifier{2, 5, 29, 17}, names})
	validity := contextField(t, 4, contextField(t, 1, epoch.Add(36*time.Hour)))
	good := crmfRequest(t, prover{key}, "CN=crmf,O=ACME", spki, extensions)
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	var top asn1.RawValue
	if err := unmarshalAll(good, &top); err != nil {
		t.Fatal(err)
	}
	two, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: slices.Concat(top.Bytes, top.Bytes)})
	if err != nil {
		t.Fatal(err)
	}
	bad := kmip.ResultReasonInvalidField
	for _, tc := range []struct {
		name   string
		der    []byte
		reason kmip.ResultReason
	}{
		{"good", good, 0},
		{"one message", top.Bytes, 0},
		{"with an end", crmfRequest(t, prover{key}, "CN=crmf,O=ACME", spki, validity, extensions), 0},
		{"forged", forged, bad},
		{"cut", good[:len(good)-2], bad},
		{"two messages", two, bad},
		{"no proof", crmfRequest(t, prover{}, "CN=crmf", spki), bad},
		{"signed by another key", crmfRequest(t, prover{other}, "CN=crmf", spki), bad},
		{"no subject", crmfRequest(t, prover{key}, "", spki), bad},
		{"no key", crmfRequest(t, prover{key}, "CN=crmf", nil), bad},
		{"extension not well formed", crmfRequest(t, prover{key}, "CN=crmf", spki, contextField(t, 9, 5)), bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			uid, err := c.certify(pub, &kmip.CertifyRequest{CertificateRequestType: kmip.CertificateRequestTypeCRMF, CertificateRequest: tc.der})
			wantReason(t, "Certify", err, tc.reason)
			if err != nil {
				return
			}
			cert := c.x509(uid)
			if got := cert.Subject.String(); got != "CN=crmf,O=ACME" || !slices.Equal(cert.DNSNames, []string{"c.net"}) {
				t.Errorf("got subject %s, names %v", got, cert.DNSNames)
			}
			if want := epoch.Add(36 * time.Hour); tc.name == "with an end" && !cert.NotAfter.Equal(want) {
				t.Errorf("ends %s, want %s", cert.NotAfter, want)
			}
		})
	}
}

// No octet of a request can make its reading panic or pass.
func FuzzCertificateRequest(f *testing.F) {
	key := ecKey()
	f.Add(csr(f, key))
	f.Add([]byte{0x30, 3, 0x30, 1, 2})
	b := newBench(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, typ := range []kmip.CertificateRequestType{kmip.CertificateRequestTypePKCS10, kmip.CertificateRequestTypeCRMF} {
			w, err := certificateRequest(b.s.policy, typ, der)
			if (w == nil) == (err == nil) {
				t.Errorf("%s: got %v, %v", typ, w, err)
			}
		}
	})
}
