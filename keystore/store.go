// Package keystore is the rules of kmipd: life cycle, usage masks, dates, attributes, names, ownership and policy. It
// joins the token, which holds the keys, and the records, which hold everything else, and commits to both in the order
// that survives a crash at any instruction (see commit.go). It implements the Keystore and Authenticator interfaces of
// kmip/server.
package keystore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// CredentialMode says what becomes of a credential in a message header.
type CredentialMode string

// The credential modes.
const (
	// CredentialsVerify wants every credential that is sent to be registered for the client.
	CredentialsVerify CredentialMode = "verify"
	// CredentialsIgnore takes the certificate alone; a credential that is registered must match all the same.
	CredentialsIgnore CredentialMode = "ignore"
	// CredentialsEnrol registers an unknown credential at its first use (development only).
	CredentialsEnrol CredentialMode = "enrol"
)

// Config is what an operator decides about the rules.
type Config struct {
	// LeaseTime is the Lease Time of new objects in seconds; 0 gives them none.
	LeaseTime uint32
	// FreshGroup names an Object Group for which Locate with Group Member Fresh makes an AES-256 key when none is left
	// (KMIP 1.4 section 4.9); "" for none.
	FreshGroup string
	// AllowDestroy lets clients destroy objects.
	AllowDestroy bool
	Credentials  CredentialMode
	// ClientCAs are DER certificates by which a client may be recognised by subject.
	Version, Build string
	Address        string // for Server Information
	// Clock gives the time; nil for time.Now.
	Clock func() time.Time
	// SettleInterval is how often transitions that have come are written to records; 0 for a minute.
	SettleInterval time.Duration
	// Certify is about certificates.
	Certify CertifyConfig
	// Approve lists the operations that are done only after an administrator has approved the request.
	Approve []kmip.Operation
	// JobLifetime is how long an asynchronous request waits for a decision or a poll, and its answer for further polls; 0
	// for a day.
	JobLifetime time.Duration
	// Listeners are the policies of listeners by name, beside the server's.
	Listeners map[string]*fips.Policy
	// Groups are the groups of clients by name.
	Groups map[string]Group
	// Release is how far key material may leave; "" for what the policy says (DefaultRelease).
	Release Release
	// SelfTestInterval is the time between two self-tests; 0 for none on schedule.
	SelfTestInterval time.Duration
	// Evidence is what was found about the cryptographic modules at start.
	Evidence fips.Evidence
	// TestPairs tests each generated key pair for consistency before it is published.
	TestPairs bool
	// Report is about evidence reports.
	Report ReportConfig
	// AllowWeakerPolicy lets Start take a policy that allows what the one of the last run did not.
	AllowWeakerPolicy bool
	// Courier carries Notify and Put to the endpoints of clients; nil for nobody, and they wait.
	Courier Courier
	// Audit is about the audit trail.
	Audit AuditConfig
}

// Store is the keystore. It is safe for concurrent use.
type Store struct {
	meta     metadata.Store
	token    hsm.Token  // the guard
	guard    *hsm.Guard // nil for commands that need no token
	drift    *drifts
	policy   *fips.Policy
	policies policies
	gcms     *gcmCounts
	cfg      Config
	log      zerolog.Logger
	locks    *locks
	groups   *groups

	streams *streams
	jobs    *jobs
	post    *post
	trail   *trail

	clients clientCache
	cas     authorities
	legacy  legacyUses
	reports chan struct{} // holds one value while a report is made

	lastCreated atomic.Int64 // nanoseconds; new records get increasing instants

	stop context.CancelFunc // of the background loop, set by Start
	done sync.WaitGroup
}

// New makes a Store on an open token and record store. Start must be called before the first operation.
func New(meta metadata.Store, token hsm.Token, policy *fips.Policy, cfg Config, log zerolog.Logger) *Store {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.SettleInterval == 0 {
		cfg.SettleInterval = time.Minute
	}
	if cfg.JobLifetime == 0 {
		cfg.JobLifetime = jobLifetime
	}
	if cfg.Credentials == "" {
		cfg.Credentials = CredentialsVerify
	}
	s := &Store{meta: meta, drift: newDrifts(), policy: policy, cfg: cfg, log: log, locks: newLocks(), gcms: newGCMCounts(), policies: policies{joint: map[policyKey]*fips.Policy{}}, groups: newGroups(), streams: newStreams(cfg.Clock),
		jobs: newJobs(cfg.Approve), post: newPost(), reports: make(chan struct{}, 1)}
	if token != nil {
		s.guard = hsm.NewGuard(token, hsm.GuardConfig{Pairs: cfg.TestPairs, OnEvent: s.guardEvent, Clock: cfg.Clock})
		s.token = s.guard
	}
	s.trail = newTrail(s, cfg.Audit)
	return s
}

// Start settles what a crash left between the two stores and starts the background loop, which Close ends.
func (s *Store) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.trail.end()
		}
	}()
	if err := s.checkToken(ctx); err != nil {
		return err
	}
	if err := s.checkClock(ctx); err != nil {
		return err
	}
	if err := s.checkMode(ctx); err != nil {
		return err
	}
	if err := s.checkGroups(ctx); err != nil {
		return err
	}
	if err := s.trail.startKeeper(ctx, s.settle); err != nil {
		return err
	}
	if err := s.loadJobs(ctx); err != nil {
		return fmt.Errorf("keystore: reading the asynchronous requests: %w", err)
	}
	if err := s.loadEndpoints(ctx); err != nil {
		return fmt.Errorf("keystore: reading the messages to endpoints: %w", err)
	}
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if s.cfg.Courier != nil {
		s.post.start(loop, s)
	}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.materialise(loop)
	}()
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.keepTested(loop, s.cfg.SelfTestInterval)
	}()
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.keepCompared(loop)
	}()
	if s.cfg.Report.Interval > 0 && s.cfg.Report.Dir != "" {
		s.done.Add(1)
		go func() {
			defer s.done.Done()
			s.keepReports(loop)
		}()
	}
	s.keepCRLs(loop)
	return nil
}

// Close ends the background loop and the operations in parts. It closes neither token nor record store.
func (s *Store) Close() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
	s.post.close()
	s.streams.close()
	s.endTrail()
}

// endTrail ends the trail. Its last signature may find that the token was lost, and waits for a self-test then.
func (s *Store) endTrail() {
	if s.stop == nil { // never started
		s.trail.end()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tests sync.WaitGroup
	tests.Go(func() { s.keepTested(ctx, 0) })
	s.trail.end()
	cancel()
	tests.Wait()
}

// checkToken refuses a record store that belongs to another token: its handles would all be dangling.
func (s *Store) checkToken(ctx context.Context) error {
	serial := s.token.Info().Serial
	stored, err := s.meta.Setting(ctx, "token-serial")
	switch {
	case isNotFound(err):
		return s.meta.SetSetting(ctx, "token-serial", []byte(serial), true,
			s.payload(audit.Event{Kind: audit.KindServer, Outcome: audit.Success, Operation: "bind to a token", Facts: []audit.Fact{fact("token serial", serial)}}, nil))
	case err != nil:
		return fmt.Errorf("keystore: reading the token identity: %w", err)
	case string(stored) != serial:
		return fmt.Errorf("keystore: the data directory belongs to the token with serial %s, not to %s", stored, serial)
	}
	return nil
}

// checkGroups refuses clients of groups that the configuration lost: without their policy they would get more than they
// should.
func (s *Store) checkGroups(ctx context.Context) error {
	list, err := s.meta.Clients(ctx)
	if err != nil {
		return fmt.Errorf("keystore: reading the clients: %w", err)
	}
	var errs []error
	for _, cl := range list {
		if _, ok := s.cfg.Groups[cl.Group]; !ok && cl.Group != "" {
			errs = append(errs, fmt.Errorf("keystore: client %q is in group %q, which the configuration does not have: add the [[group]], or run kmipd client group %s -", cl.Name, cl.Group, cl.Name))
		}
	}
	return errors.Join(append(errs, s.loadClients(ctx))...)
}

// materialise writes the Last Change Date of records whose state changed by date. Reads do not need it: they evaluate.
func (s *Store) materialise(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SettleInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.noteClock(ctx); err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("keeping the time")
		}
		s.streams.sweep()
		s.sweepJobs(ctx)
		uids, err := s.meta.Due(ctx, s.cfg.Clock(), 256)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error().Err(err).Msg("listing due transitions")
			}
			continue
		}
		for _, uid := range uids {
			if err := s.transition(ctx, uid); err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Str("uid", uid).Msg("writing a due transition")
			}
		}
	}
}

func (s *Store) transition(ctx context.Context, uid string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.locks.acquire(ctx, uid); err != nil {
		return err
	}
	defer s.locks.release(uid)
	rec, err := s.meta.Get(ctx, uid)
	if err != nil {
		return err
	}
	now := s.cfg.Clock().UTC()
	before := rec.Clone()
	o := object{rec}
	o.Due = time.Time{}
	last := o.lastChange(now)
	o.changed(now)
	o.put("Last Change Date", timeValue(last))
	b := &metadata.Batch{Puts: []metadata.Put{{Record: rec, Expect: rec.Revision}}}
	s.notice(b, before, rec, now, false)
	if err := s.publish(ctx, b, nil, ofServer("a date has come")); err != nil {
		return err
	}
	s.log.Info().Str("uid", uid).Stringer("state", o.state(now)).Msg("state changed by date")
	return nil
}

// newUID draws a Unique Identifier: a random UUID (version 4), never all digits.
func newUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// created is a creation instant later than that of every record before, so that Locate's order is the order of creation.
func (s *Store) created() time.Time {
	for {
		last := s.lastCreated.Load()
		next := max(s.cfg.Clock().UnixNano(), last+1)
		if s.lastCreated.CompareAndSwap(last, next) {
			return time.Unix(0, next).UTC()
		}
	}
}

// newRecord starts the record of a new object of the caller, with the attributes that every object gets.
func (s *Store) newRecord(call *kmip.Call, t kmip.ObjectType) object {
	o := object{&metadata.Record{
		UID: newUID(), Owner: call.Caller.Client, User: call.Caller.User,
		Created: s.created(), Phase: metadata.PhaseLive, ObjectType: t,
	}}
	o.put("Initial Date", timeValue(call.Now))
	o.put("Last Change Date", timeValue(call.Now))
	return o
}

// handle gives the object a place on the token.
func (s *Store) handle(o object, class hsm.Class) hsm.Ref {
	id := hsm.NewTokenID()
	o.Handle = metadata.Handle{TokenSerial: s.token.Info().Serial, ID: id, Class: uint8(class), Residency: residencyToken}
	return hsm.Ref{Class: class, ID: id}
}

// Where the value of an object is.
const (
	residencyToken = 1 // on the token
	residencyLocal = 2 // on the token, which made it
)

// madeHere notes that the token makes the key itself.
func (o object) madeHere() { o.Handle.Residency = residencyLocal }

// ref is the token object of a record; false when it has none.
func ref(h metadata.Handle) (hsm.Ref, bool) {
	return hsm.Ref{Class: hsm.Class(h.Class), ID: hsm.TokenID(h.ID)}, h.Class != 0
}
