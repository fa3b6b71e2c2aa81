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
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Revocation lists (RFC 5280 section 5). Revoke of a certificate that an authority of this server issued writes, in the
// same batch as the certificate's record, an entry: a record of the authorities' owner that outlives the certificate's. A
// goroutine of its own makes CRLs of the entries, so that nobody waits for a signature of the authority, and whatever
// stopped it is made good at the next start. A CRL is stored before it is shown, so that its number cannot come twice.

// The attributes of an entry.
const (
	attrSerial   = "y-Serial"
	attrRevoked  = "y-Revoked"
	attrReason   = "y-Reason"  // a Revocation Reason Code
	attrOccurred = "y-Invalid" // since when the key is thought to be known to others
	attrExpires  = "y-Expires"
)

// publishedCRL is the present CRL of an authority.
type publishedCRL struct {
	DER    []byte `json:"der"`
	Number string `json:"number"` // decimal

	list *x509.RevocationList
}

func crlSetting(name string) string { return "crl/" + name }

func entryUID(authority string, serial []byte) string {
	return "crl-" + authority + "-" + hex.EncodeToString(serial)
}

// saveRevoked is save for an object that Revoke changed.
func (t *tx) saveRevoked(ctx context.Context, o object, before *metadata.Record) error {
	b := &metadata.Batch{Puts: []metadata.Put{{Record: o.Record, Expect: before.Revision}}}
	name := o.get(attrAuthority)
	if o.ObjectType != kmip.ObjectTypeCertificate || name.Type != ttlv.TextString {
		return t.save(ctx, o, before)
	}
	entry, old, err := t.s.entry(ctx, o, name.Text())
	if err != nil {
		return err
	}
	put := metadata.Put{Record: entry.Record}
	if old != nil {
		put.Expect = old.Revision
	}
	b.Puts = append(b.Puts, put)
	t.answer(b, o)
	if err := t.s.meta.Commit(ctx, b); err != nil {
		return err
	}
	t.wrote(o.UID, before)
	t.wrote(entry.UID, old) // nil for a new one: undoing removes it
	t.s.wakeCRLs()
	return nil
}

// entry is the entry of a revoked certificate, and the record that it takes the place of.
func (s *Store) entry(ctx context.Context, o object, authority string) (object, *metadata.Record, error) {
	var id kmip.X509CertificateIdentifier
	if err := id.Decode(o.get("X.509 Certificate Identifier")); err != nil {
		return object{}, nil, err
	}
	var serial *big.Int
	if err := unmarshalAll(id.CertificateSerialNumber, &serial); err != nil {
		return object{}, nil, err
	}
	r, _ := ref(o.Handle)
	expires := s.cfg.Clock().AddDate(0, 0, maxDays) // of a certificate that is gone from the token
	if der, err := s.token.Export(ctx, r, 0); err == nil {
		if cert, err := x509.ParseCertificate(der); err == nil {
			expires = cert.NotAfter
		}
	}
	uid := entryUID(authority, serial.Bytes())
	old, err := s.meta.Get(ctx, uid)
	if err != nil && !isNotFound(err) {
		return object{}, nil, err
	}
	e := object{&metadata.Record{UID: uid, Owner: caOwner, Created: s.created(), Phase: metadata.PhaseLive, ObjectType: kmip.ObjectTypeOpaqueObject}}
	if err != nil {
		old = nil
	} else {
		e = object{old.Clone()}
	}
	var reason kmip.RevocationReason
	if err := reason.Decode(o.get("Revocation Reason")); err != nil {
		return object{}, nil, err
	}
	revoked := o.get("Compromise Date")
	if revoked.IsZero() {
		revoked = o.get("Deactivation Date")
	} else {
		e.put(attrOccurred, o.get("Compromise Occurrence Date").Clone())
	}
	if e.get(attrRevoked).IsZero() { // the first revocation counts
		e.put(attrRevoked, revoked.Clone())
		e.put(attrExpires, timeValue(expires))
	}
	e.put(attrAuthority, textValue(authority))
	e.put(attrSerial, bytesValue(serial.Bytes()))
	e.put(attrReason, intValue(int32(reason.RevocationReasonCode)))
	return e, old, nil
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
	term, _ := metadata.QueryTerm(attrAuthority, textValue(a.name))
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

// publishCRL signs, stores and shows a CRL. Its number is the time in seconds, so that it goes on rising even when the
// records are restored from an old backup; within one second it counts.
func (s *Store) publishCRL(ctx context.Context, a *authority, old *publishedCRL, entries []x509.RevocationListEntry, now time.Time) error {
	number := big.NewInt(now.Unix())
	if old != nil && old.list.Number != nil && old.list.Number.Cmp(number) >= 0 {
		number = new(big.Int).Add(old.list.Number, big.NewInt(1))
	}
	signer, err := s.signer(ctx, a)
	if err != nil {
		return err
	}
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{Number: number, ThisUpdate: now, NextUpdate: now.Add(s.crlLife()),
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
	if err := s.meta.SetSetting(ctx, crlSetting(a.name), b, true); err != nil {
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
