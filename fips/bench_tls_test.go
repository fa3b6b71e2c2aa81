package fips

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

// What a request costs: its client's certificate is looked at each time.
func BenchmarkCheckChains(b *testing.B) {
	root := issue(b, ecKey(b, elliptic.P384()), nil, true, nil)
	leaf := issue(b, ecKey(b, elliptic.P384()), root, false, nil)
	chain := []*x509.Certificate{leaf.cert, root.cert}
	state := tls.ConnectionState{PeerCertificates: chain[:1], VerifiedChains: [][]*x509.Certificate{chain}}
	r, err := TLSByName("suiteb192")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for b.Loop() {
		if err := r.CheckChains(state, now); err != nil {
			b.Fatal(err)
		}
	}
}
