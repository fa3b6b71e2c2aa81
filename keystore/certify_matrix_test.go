package keystore

import (
	"context"

	"kmipd/kmip"
)

// certificateScenes are the scenes of the failure matrix for Certify, Re-certify and Revoke of a certificate.
func certificateScenes() []scene {
	count := func(c client, t kmip.ObjectType) int { return len(c.find(at("Object Type", enumValue(t)))) }
	return []scene{
		{name: "Certify", makes: true,
			setup: func(c client) string {
				c.root("main")
				return c.must(c.register(publicKey(c.t, ecKey())))
			},
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationCertify, uid, c.s.Certify, pkcs10(csr(c.t, ecKey()), named("new")))
				return err
			},
			done: func(c client, uid string) bool {
				made := doneByName(c, uid)
				if linked := (object{c.record(uid)}).linked(kmip.LinkTypeCertificateLink) != ""; linked != made {
					c.t.Errorf("the public key is linked: %t, the certificate is there: %t", linked, made)
				}
				return made
			}},
		{name: "Certify new key", makes: true, setup: func(c client) string { c.root("main"); return "" },
			request: func(ctx context.Context, c client, tx kmip.Tx, _ string) error {
				_, err := item(ctx, c, tx, kmip.OperationCertify, "", c.s.Certify, pkcs10(csr(c.t, ecKey()), named("new")))
				return err
			},
			done: func(c client, uid string) bool {
				made := doneByName(c, uid)
				if keys := count(c, kmip.ObjectTypePublicKey); (keys == 1) != made {
					c.t.Errorf("%d public keys, the certificate is there: %t", keys, made)
				}
				return made
			}},
		{name: "Re-certify", makes: true,
			setup: func(c client) string {
				c.root("main")
				return c.must(c.certify("", pkcs10(csr(c.t, ecKey()), named("new"))))
			},
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationReCertify, uid, c.s.ReCertify, &kmip.ReCertifyRequest{})
				return err
			},
			done: func(c client, uid string) bool {
				holders := c.find(named("new"))
				if len(holders) != 1 {
					c.t.Errorf("the Name is that of %v", holders)
					return false
				}
				made := holders[0] != uid
				if n := count(c, kmip.ObjectTypeCertificate); (n == 2) != made {
					c.t.Errorf("%d certificates, the new one has the Name: %t", n, made)
				}
				pub := (object{c.record(uid)}).linked(kmip.LinkTypePublicKeyLink)
				c.wantLink(pub, kmip.LinkTypeCertificateLink, holders[0])
				return made
			}},
		{name: "Revoke certificate",
			setup: func(c client) string {
				c.root("main")
				return c.must(c.certify("", pkcs10(csr(c.t, ecKey()))))
			},
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationRevoke, uid, c.s.Revoke, &kmip.RevokeRequest{
					RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeKeyCompromise}})
				return err
			},
			done: func(c client, uid string) bool {
				o := object{c.record(uid)}
				e, err := c.s.entry(context.Background(), o)
				if err != nil || e.Record == nil {
					c.t.Errorf("the entry of the certificate: %v", err)
					return false
				}
				revoked := c.state(uid) == kmip.StateCompromised
				if noted := !e.get(attrRevoked).IsZero(); noted != revoked {
					c.t.Errorf("revoked: %t, in the authority's entry: %t", revoked, noted)
				}
				return revoked
			}},
	}
}
