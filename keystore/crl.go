package keystore

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Revocation lists (RFC 5280 section 5). Each certificate that an authority issues has an entry, made with it and outliving
// it: a record of the authorities' owner, which says what object of which client it is. No client can make one, nor revoke a
// copy of a certificate of somebody else. Revoke notes the revocation in the entry, in the same batch as in the object. A
// goroutine of its own makes CRLs of the entries, so that nobody waits for a signature of the authority, and whatever
// stopped it is made good at the next start. A CRL is stored before it is shown, so that its number cannot come twice.

// The attributes of an entry.
const (
	attrSerial  = "y-Serial"
	attrExpires = "y-Expires"
	attrObject  = "y-Object" // Unique Identifier
	attrClient  = "y-Client"
	// Those of a certificate that is revoked. The first is the name of the authority, by which the entry is found.
	attrRevokedBy = "y-Revoked by"
	attrRevoked   = "y-Revoked"
	attrReason    = "y-Reason"  // a Revocation Reason Code
	attrOccurred  = "y-Invalid" // since when the key is thought to be known to others
)

// publishedCRL is the present CRL of an authority.
type publishedCRL struct {
	DER    []byte `json:"der"`
	Number string `json:"number"` // decimal

	list *x509.RevocationList
}

func crlSetting(name string) string { return "crl/" + name }

func entryUID(authority string, serial []byte) string {
	return "certificate-" + authority + "-" + hex.EncodeToString(serial)
}

// newEntry is the entry of a new certificate.
func (s *Store) newEntry(a *authority, cert *x509.Certificate, o object) object {
	serial := cert.SerialNumber.Bytes()
	e := object{&metadata.Record{UID: entryUID(a.name, serial), Owner: caOwner, Created: s.created(), Phase: metadata.PhaseLive,
		ObjectType: kmip.ObjectTypeOpaqueObject}}
	e.put(attrSerial, bytesValue(serial))
	e.put(attrExpires, timeValue(cert.NotAfter))
	e.put(attrObject, textValue(o.UID))
	e.put(attrClient, bytesValue([]byte(o.Owner)))
	return e
}

// saveRevoked is save for an object that Revoke changed.
func (t *tx) saveRevoked(ctx context.Context, o object, before *metadata.Record) error {
	e, err := t.s.entry(ctx, o)
	if err != nil {
		return err
	}
	if e.Record == nil {
		return t.save(ctx, o, before)
	}
	was := e.Clone()
	if err := e.revoke(o); err != nil {
		return err
	}
	b := &metadata.Batch{Puts: []metadata.Put{{Record: o.Record, Expect: before.Revision}, {Record: e.Record, Expect: was.Revision}}}
	t.answer(b, o)
	t.s.notice(b, before, o.Record, t.now, t.own(o.Record))
	if err := t.s.publish(ctx, b, t, t.done()); err != nil {
		return err
	}
	t.item.recorded = true
	t.wrote(e.UID, was)
	t.wrote(o.UID, before)
	t.log[len(t.log)-1].along = 1
	t.told(b)
	t.s.wakeCRLs()
	return nil
}

// entry finds the entry of a certificate; the zero object when no authority of this server issued it as this object.
func (s *Store) entry(ctx context.Context, o object) (object, error) {
	name := o.get(attrAuthority)
	if o.ObjectType != kmip.ObjectTypeCertificate || name.Type != ttlv.TextString {
		return object{}, nil
	}
	var id kmip.X509CertificateIdentifier
	var serial *big.Int
	if id.Decode(o.get("X.509 Certificate Identifier")) != nil || unmarshalAll(id.CertificateSerialNumber, &serial) != nil {
		return object{}, nil
	}
	rec, err := s.meta.Get(ctx, entryUID(name.Text(), serial.Bytes()))
	if isNotFound(err) {
		return object{}, nil
	} else if err != nil {
		return object{}, err
	}
	e := object{rec}
	if e.Owner != caOwner || string(e.get(attrObject).Value) != o.UID || string(e.get(attrClient).Value) != o.Owner {
		return object{}, nil // its attributes were imported, or set by an administrator
	}
	return e, nil
}

// revoke notes in the entry that its object was revoked. The date of the first revocation counts, the reason of the last.
func (o object) revoke(cert object) error {
	var reason kmip.RevocationReason
	if err := reason.Decode(cert.get("Revocation Reason")); err != nil {
		return err
	}
	revoked := cert.get("Compromise Date")
	if revoked.IsZero() {
		revoked = cert.get("Deactivation Date")
	} else {
		o.put(attrOccurred, cert.get("Compromise Occurrence Date").Clone())
	}
	if o.get(attrRevoked).IsZero() {
		o.put(attrRevoked, revoked.Clone())
	}
	o.put(attrRevokedBy, cert.get(attrAuthority).Clone())
	o.put(attrReason, intValue(int32(reason.RevocationReasonCode)))
	return nil
}

// crlReasons are the reason codes of RFC 5280 section 5.3.1; what is not here is unspecified, which has no extension.
var crlReasons = map[kmip.RevocationReasonCode]int{
	kmip.RevocationReasonCodeKeyCompromise: 1, kmip.RevocationReasonCodeCACompromise: 2, kmip.RevocationReasonCodeAffiliationChanged: 3,
	kmip.RevocationReasonCodeSuperseded: 4, kmip.RevocationReasonCodeCessationOfOperation: 5, kmip.RevocationReasonCodePrivilegeWithdrawn: 9,
}

// revoked is an entry as a CRL has it, and when its certificate ends.
func (o object) revoked() (x509.RevocationListEntry, time.Time) {
	e := x509.RevocationListEntry{
		SerialNumber: new(big.Int).SetBytes(o.get(attrSerial).Value), RevocationTime: o.date(attrRevoked).UTC(),
		ReasonCode: crlReasons[kmip.RevocationReasonCode(o.get(attrReason).Int())],
	}
	if d := o.date(attrOccurred); !d.IsZero() {
		if der, err := asn1.MarshalWithParams(d.UTC(), "generalized"); err == nil { // years beyond 9999 have no encoding
			e.ExtraExtensions = []pkix.Extension{{Id: oidInvalidityDate, Value: der}}
		}
	}
	return e, o.date(attrExpires)
}

// entries are the certificates of an authority that are revoked at present, by serial number. One that has ended stays
// until it was on a CRL made after its end (RFC 5280 section 3.3).
func (s *Store) entries(ctx context.Context, a *authority, last time.Time) ([]x509.RevocationListEntry, error) {
	term, _ := metadata.QueryTerm(attrRevokedBy, textValue(a.name))
	found, err := s.meta.Locate(ctx, metadata.Query{Owner: caOwner, Max: -1, Terms: []metadata.Term{term}})
	if err != nil {
		return nil, err
	}
	var list []x509.RevocationListEntry
	for _, uid := range found.UIDs {
		rec, err := s.meta.Get(ctx, uid)
		if isNotFound(err) {
			continue // taken back meanwhile
		} else if err != nil {
			return nil, err
		}
		if e, expires := (object{rec}).revoked(); expires.After(last) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b x509.RevocationListEntry) int { return a.SerialNumber.Cmp(b.SerialNumber) })
	return list, nil
}

// wakeCRLs has the CRLs looked at now.
func (s *Store) wakeCRLs() {
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	select {
	case s.cas.wakeUp <- struct{}{}:
	default: // it is awake already, or not started
	}
}

// keepCRLs starts the goroutine that issues CRLs; it ends with ctx.
func (s *Store) keepCRLs(ctx context.Context) {
	wake := make(chan struct{}, 1)
	s.cas.mu.Lock()
	s.cas.wakeUp = wake
	s.cas.mu.Unlock()
	if _, err := s.authorities(ctx); err != nil {
		s.log.Error().Err(err).Msg("loading the certification authorities")
	}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		tick := time.NewTicker(s.cfg.SettleInterval)
		defer tick.Stop()
		for looks := crlLooks; ; {
			if err := s.issueCRLs(ctx, looks > 0); err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Msg("issuing certificate revocation lists")
				looks = crlLooks
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
				looks = crlLooks
			case <-tick.C:
				looks = max(0, looks-1)
			}
		}
	}()
}

// crlLooks is how many rounds after a revocation look at the entries again: as long as a batch may still take it back.
const crlLooks = 5

// crlTimeout bounds one round of issuing.
const crlTimeout = time.Minute

// issueCRLs issues what is due; look has it compare the lists with the entries, too.
func (s *Store) issueCRLs(ctx context.Context, look bool) error {
	ctx, cancel := context.WithTimeout(ctx, crlTimeout)
	defer cancel()
	list, err := s.authorities(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := s.refreshCRL(ctx, a, look); err != nil {
			return err
		}
	}
	return nil
}

// refreshCRL issues a CRL when there is none, when its time is half over, when the authority has another key or name in its
// certificate, and when what is revoked has changed.
func (s *Store) refreshCRL(ctx context.Context, a *authority, look bool) error {
	now := s.cfg.Clock().UTC()
	c := a.cert()
	if c == nil || !a.crl || now.After(c.NotAfter) {
		return nil
	}
	old, err := s.presentCRL(ctx, a.name)
	if err != nil {
		return err
	}
	var last time.Time
	if old != nil {
		last = old.list.ThisUpdate
	}
	due := old == nil || !now.Before(last.Add(s.crlLife()/2)) ||
		!bytes.Equal(old.list.AuthorityKeyId, c.SubjectKeyId) || !bytes.Equal(old.list.RawIssuer, c.RawSubject)
	if !due && !look {
		return nil
	}
	entries, err := s.entries(ctx, a, last)
	if err != nil {
		return err
	}
	if !due && sameEntries(old.list.RevokedCertificateEntries, entries) {
		return nil
	}
	return s.publishCRL(ctx, a, old, entries, now)
}

func (s *Store) crlLife() time.Duration {
	if s.cfg.Certify.CRLLife > 0 {
		return s.cfg.Certify.CRLLife
	}
	return 7 * 24 * time.Hour
}

func sameEntries(a, b []x509.RevocationListEntry) bool {
	return slices.EqualFunc(a, b, func(a, b x509.RevocationListEntry) bool {
		return a.SerialNumber.Cmp(b.SerialNumber) == 0 && a.ReasonCode == b.ReasonCode && a.RevocationTime.Equal(b.RevocationTime)
	})
}

// issueCRL is what the audit trail calls the publication of a list.
const issueCRL = "issue a revocation list"

// publishCRL signs, stores and shows a CRL. Its number is the time in seconds, so that it goes on rising even when the
// records are restored from an old backup; within one second it counts.
func (s *Store) publishCRL(ctx context.Context, a *authority, old *publishedCRL, entries []x509.RevocationListEntry, now time.Time) error {
	number := big.NewInt(now.Unix())
	if old != nil && old.list.Number != nil && old.list.Number.Cmp(number) >= 0 {
		number = new(big.Int).Add(old.list.Number, big.NewInt(1))
	}
	signer, err := s.signer(ctx, s.policy, a)
	if err != nil {
		return err
	}
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{SignatureAlgorithm: signatureAlgorithm(s.policy, a.public), Number: number, ThisUpdate: now, NextUpdate: now.Add(s.crlLife()),
		RevokedCertificateEntries: entries}, a.cert(), signer)
	if err != nil {
		return err
	}
	p := &publishedCRL{DER: der, Number: number.String()}
	if p.list, err = x509.ParseRevocationList(der); err != nil {
		return err
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	e := ofServer(issueCRL)
	e.Facts = append(e.Facts, fact("authority", a.name), fact("number", p.Number), fact("revoked", strconv.Itoa(len(entries))))
	if err := s.meta.SetSetting(ctx, crlSetting(a.name), b, true, s.payload(e, nil)); err != nil {
		return err
	}
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	s.showCRL(a.name, p)
	s.log.Info().Str("authority", a.name).Str("number", p.Number).Int("revoked", len(entries)).Msg("issued a certificate revocation list")
	return nil
}

// presentCRL is the present CRL of an authority, nil when none was issued yet.
func (s *Store) presentCRL(ctx context.Context, name string) (*publishedCRL, error) {
	s.cas.mu.Lock()
	p := s.cas.crls[name]
	s.cas.mu.Unlock()
	if p != nil {
		return p, nil
	}
	b, err := s.meta.Setting(ctx, crlSetting(name))
	if isNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	p = &publishedCRL{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, err
	}
	if p.list, err = x509.ParseRevocationList(p.DER); err != nil {
		return nil, err
	}
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	if newer := s.cas.crls[name]; newer != nil {
		return newer, nil
	}
	s.showCRL(name, p)
	return p, nil
}

// showCRL makes a list the present one. The caller holds s.cas.mu.
func (s *Store) showCRL(name string, p *publishedCRL) {
	if s.cas.crls == nil {
		s.cas.crls = map[string]*publishedCRL{}
	}
	s.cas.crls[name] = p
}

// CRL is the present revocation list of an authority in DER and its Next Update; nil without error when there is none.
func (s *Store) CRL(ctx context.Context, authority string) ([]byte, time.Time, error) {
	if !authorityName.MatchString(authority) {
		return nil, time.Time{}, nil
	}
	p, err := s.presentCRL(ctx, authority)
	if err != nil || p == nil {
		return nil, time.Time{}, err
	}
	return p.DER, p.list.NextUpdate, nil
}

// AuthorityCertificate is the certificate of an authority in DER; nil without error when there is none.
func (s *Store) AuthorityCertificate(ctx context.Context, authority string) ([]byte, error) {
	a, err := s.authority(ctx, authority)
	if err != nil || a == nil || a.cert() == nil {
		return nil, err
	}
	return a.cert().Raw, nil
}
