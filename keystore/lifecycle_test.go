package keystore

import (
	"context"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// putInState brings a new key into a state.
func (c client) putInState(st kmip.State) string {
	c.t.Helper()
	uid := c.aes()
	if st == kmip.StateActive || st == kmip.StateDeactivated {
		c.ok(c.activate(uid))
	}
	switch st {
	case kmip.StateDeactivated:
		c.ok(c.revoke(uid, kmip.RevocationReasonCodeCessationOfOperation))
	case kmip.StateCompromised, kmip.StateDestroyedCompromised:
		c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	}
	if st == kmip.StateDestroyed || st == kmip.StateDestroyedCompromised {
		c.ok(c.destroy(uid))
	}
	if got := c.state(uid); got != st {
		c.t.Fatalf("got state %s, want %s", got, st)
	}
	return uid
}

var states = []kmip.State{kmip.StatePreActive, kmip.StateActive, kmip.StateDeactivated, kmip.StateCompromised, kmip.StateDestroyed, kmip.StateDestroyedCompromised}

// TestStateTable is profiles.md sections 6.1 and 6.2: what each operation does in each state. The states in a row are
// those after the operation, "" where it is refused for the reason.
func TestStateTable(t *testing.T) {
	const (
		denied  = kmip.ResultReasonPermissionDenied
		missing = kmip.ResultReasonItemNotFound
		pre     = kmip.StatePreActive
		active  = kmip.StateActive
		deact   = kmip.StateDeactivated
		comp    = kmip.StateCompromised
		gone    = kmip.StateDestroyed
		goneC   = kmip.StateDestroyedCompromised
	)
	compromise := func(code kmip.RevocationReasonCode) func(c client, uid string) error {
		return func(c client, uid string) error { return c.revoke(uid, code) }
	}
	for _, row := range []struct {
		name    string
		do      func(c client, uid string) error
		reasons [6]kmip.ResultReason // by state
		after   [6]kmip.State
	}{
		{"Activate", func(c client, uid string) error { return c.activate(uid) },
			[6]kmip.ResultReason{0, denied, denied, denied, denied, denied}, [6]kmip.State{active, active, deact, comp, gone, goneC}},
		{"Revoke, Key Compromise", compromise(kmip.RevocationReasonCodeKeyCompromise),
			[6]kmip.ResultReason{}, [6]kmip.State{comp, comp, comp, comp, goneC, goneC}},
		{"Revoke, CA Compromise", compromise(kmip.RevocationReasonCodeCACompromise),
			[6]kmip.ResultReason{}, [6]kmip.State{comp, comp, comp, comp, goneC, goneC}},
		{"Revoke, Unspecified", compromise(kmip.RevocationReasonCodeUnspecified),
			[6]kmip.ResultReason{denied, 0, denied, denied, denied, denied}, [6]kmip.State{pre, deact, deact, comp, gone, goneC}},
		{"Revoke, Superseded", compromise(kmip.RevocationReasonCodeSuperseded),
			[6]kmip.ResultReason{denied, 0, denied, denied, denied, denied}, [6]kmip.State{pre, deact, deact, comp, gone, goneC}},
		{"Destroy", func(c client, uid string) error { return c.destroy(uid) },
			[6]kmip.ResultReason{0, denied, 0, 0, denied, denied}, [6]kmip.State{gone, active, gone, goneC, gone, goneC}},
		{"Get", func(c client, uid string) error { _, err := c.get(uid, kmip.GetRequest{}); return err },
			[6]kmip.ResultReason{0, 0, 0, 0, missing, missing}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Get Attributes", func(c client, uid string) error { _, err := c.attributes(uid); return err },
			[6]kmip.ResultReason{}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Add Attribute", func(c client, uid string) error { return c.add(uid, at("x-a", textValue("v"))) },
			[6]kmip.ResultReason{0, 0, 0, 0, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Modify Attribute", func(c client, uid string) error { return c.modify(uid, at("Sensitive", boolValue(true))) },
			[6]kmip.ResultReason{0, 0, 0, 0, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Delete Attribute", func(c client, uid string) error { return c.remove(uid, "Comment", nil) },
			[6]kmip.ResultReason{missing, missing, missing, missing, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Add Activation Date", func(c client, uid string) error {
			return c.add(uid, at("Activation Date", timeValue(epoch.Add(-time.Hour))))
		},
			[6]kmip.ResultReason{0, kmip.ResultReasonIllegalOperation, kmip.ResultReasonIllegalOperation, denied, denied, denied}, [6]kmip.State{active, active, deact, comp, gone, goneC}},
		{"Add Deactivation Date", func(c client, uid string) error {
			return c.add(uid, at("Deactivation Date", timeValue(epoch.Add(time.Hour))))
		},
			[6]kmip.ResultReason{0, 0, kmip.ResultReasonIllegalOperation, denied, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Add Protect Stop Date", func(c client, uid string) error {
			return c.add(uid, at("Protect Stop Date", timeValue(epoch.Add(time.Hour))))
		},
			[6]kmip.ResultReason{0, 0, denied, denied, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"Modify Activation Date", func(c client, uid string) error {
			return c.modify(uid, at("Activation Date", timeValue(epoch.Add(time.Hour))))
		},
			[6]kmip.ResultReason{kmip.ResultReasonInvalidField, denied, denied, kmip.ResultReasonInvalidField, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
		{"wrap with", func(c client, uid string) error { return c.wrapWith(uid) },
			[6]kmip.ResultReason{denied, 0, denied, denied, denied, denied}, [6]kmip.State{pre, active, deact, comp, gone, goneC}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			c := b.client("alice")
			for i, st := range states {
				uid := c.putInState(st)
				wantReason(t, st.String(), row.do(c, uid), row.reasons[i])
				if got := c.state(uid); got != row.after[i] {
					t.Errorf("%s: got state %s afterwards, want %s", st, got, row.after[i])
				}
			}
			b.wantClean()
		})
	}
}

// wrapWith gets another key wrapped under the key.
func (c client) wrapWith(kek string) error {
	c.t.Helper()
	_, err := c.get(c.aes(), wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding))
	return err
}

func wrapRequest(kek string, mode kmip.BlockCipherMode, encoding kmip.EncodingOption, names ...string) kmip.GetRequest {
	return kmip.GetRequest{KeyWrappingSpecification: &kmip.KeyWrappingSpecification{WrappingMethod: kmip.WrappingMethodEncrypt,
		EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: kek,
			CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: mode}},
		EncodingOption: encoding, AttributeName: names}}
}

func TestTemplateHasNoState(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.must(c.register(template(at("Cryptographic Length", intValue(int32(128)))), named("t")))
	wantReason(t, "Activate", c.activate(uid), kmip.ResultReasonIllegalOperation)
	wantReason(t, "Revoke", c.revoke(uid, kmip.RevocationReasonCodeSuperseded), kmip.ResultReasonIllegalOperation)
	wantReason(t, "Revoke, compromise", c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise), kmip.ResultReasonIllegalOperation)
	if st := c.state(uid); st != 0 {
		t.Errorf("got State %s, want none", st)
	}
	c.ok(c.destroy(uid))
	_, err := c.attributes(uid)
	wantReason(t, "Get Attributes of a destroyed Template", err, kmip.ResultReasonItemNotFound)
	wantReason(t, "Destroy again", c.destroy(uid), kmip.ResultReasonItemNotFound)
}

func TestRevokeFields(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	past := epoch.Add(-time.Hour)
	uid := c.aes()
	c.ok(c.activate(uid))
	wantReason(t, "unknown code", c.revoke(uid, 99), kmip.ResultReasonInvalidField)
	wantReason(t, "Compromise Occurrence Date without compromise", c.revoke(uid, kmip.RevocationReasonCodeSuperseded, past), kmip.ResultReasonInvalidField)
	wantReason(t, "Compromise Occurrence Date in the future", c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise, epoch.Add(time.Hour)), kmip.ResultReasonInvalidField)
	if got := c.state(uid); got != kmip.StateActive {
		t.Errorf("after refusals: got state %s, want Active", got)
	}
	b.advance(time.Minute)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise, past))
	dates := func(occurred, compromised time.Time) {
		t.Helper()
		if got := c.value(uid, "Compromise Occurrence Date").Time(); !got.Equal(occurred) {
			t.Errorf("Compromise Occurrence Date: got %s, want %s", got, occurred)
		}
		if got := c.value(uid, "Compromise Date").Time(); !got.Equal(compromised) {
			t.Errorf("Compromise Date: got %s, want %s", got, compromised)
		}
	}
	dates(past, epoch.Add(time.Minute))
	b.advance(time.Minute)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeCACompromise)) // again: the dates stay
	dates(past, epoch.Add(time.Minute))
	var reason kmip.RevocationReason
	c.ok(reason.Decode(c.value(uid, "Revocation Reason")))
	if reason.RevocationReasonCode != kmip.RevocationReasonCodeKeyCompromise {
		t.Errorf("Revocation Reason: got %s, want the first one", reason.RevocationReasonCode)
	}

	uid = c.aes() // without Compromise Occurrence Date: Initial Date
	made := b.clock()
	b.advance(time.Minute)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	dates(made, b.clock())

	uid = c.aes()
	c.ok(c.activate(uid))
	b.advance(time.Minute)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeAffiliationChanged))
	if got := c.value(uid, "Deactivation Date").Time(); !got.Equal(b.clock()) {
		t.Errorf("Deactivation Date: got %s, want %s", got, b.clock())
	}
	wantReason(t, "Revoke of an object that is not there", c.revoke("none", kmip.RevocationReasonCodeKeyCompromise), kmip.ResultReasonItemNotFound)
}

// States follow the dates when they are read: no timer is needed, and a restart loses nothing.
func TestDatesByClock(t *testing.T) {
	for _, restart := range []bool{false, true} {
		b := newBench(t)
		c := b.client("alice")
		uid := c.aes(at("Activation Date", timeValue(epoch.Add(time.Hour))), at("Deactivation Date", timeValue(epoch.Add(2*time.Hour))))
		step := func(d time.Duration, want kmip.State, changed time.Duration) {
			t.Helper()
			b.advance(d)
			if restart {
				b.restart()
			}
			if got := c.state(uid); got != want {
				t.Errorf("at %s: got state %s, want %s", b.clock(), got, want)
			}
			if got := c.value(uid, "Last Change Date").Time(); !got.Equal(epoch.Add(changed)) {
				t.Errorf("at %s: got Last Change Date %s, want %s", b.clock(), got, epoch.Add(changed))
			}
			for _, st := range states[:4] {
				found := slices.Contains(c.find(at("State", enumValue(st))), uid)
				if found != (st == want) {
					t.Errorf("at %s: Locate by State %s: got %t, want %t", b.clock(), st, found, st == want)
				}
			}
		}
		step(0, kmip.StatePreActive, 0)
		step(time.Hour-time.Second, kmip.StatePreActive, 0)
		step(time.Second, kmip.StateActive, time.Hour)
		wantReason(t, "Activate", c.activate(uid), kmip.ResultReasonPermissionDenied)
		wantReason(t, "Destroy", c.destroy(uid), kmip.ResultReasonPermissionDenied)
		step(59*time.Minute, kmip.StateActive, time.Hour)
		step(time.Minute, kmip.StateDeactivated, 2*time.Hour)
		c.ok(c.destroy(uid))
	}
}

// The background loop writes what has come due, and only that.
func TestTransition(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	uid := c.aes(at("Activation Date", timeValue(epoch.Add(time.Hour))), at("Deactivation Date", timeValue(epoch.Add(3*time.Hour))))
	due := func(want ...string) {
		t.Helper()
		if got, err := b.db.Due(ctx, b.clock(), 10); err != nil || !slices.Equal(got, want) {
			t.Errorf("Due at %s: got %v, %v, want %v", b.clock(), got, err, want)
		}
	}
	due()
	b.advance(90 * time.Minute)
	due(uid)
	c.ok(b.s.transition(ctx, uid))
	due()
	rec, err := b.db.Get(ctx, uid)
	c.ok(err)
	if got := (object{rec}).date("Last Change Date"); !got.Equal(epoch.Add(time.Hour)) {
		t.Errorf("got Last Change Date %s, want the Activation Date", got)
	}
	b.advance(2 * time.Hour)
	due(uid)
	c.ok(b.s.transition(ctx, uid))
	due()
	if got := c.state(uid); got != kmip.StateDeactivated {
		t.Errorf("got state %s, want Deactivated", got)
	}
}

// What dates do at creation and when they are changed.
func TestDateRules(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ago, ahead := epoch.Add(-time.Hour), epoch.Add(time.Hour)
	d := func(name string, t time.Time) kmip.Attribute { return at(name, timeValue(t)) }
	for _, row := range []struct {
		name   string
		attrs  []kmip.Attribute
		reason kmip.ResultReason
		state  kmip.State
	}{
		{"activation past", []kmip.Attribute{d("Activation Date", ago)}, 0, kmip.StateActive},
		{"activation now", []kmip.Attribute{d("Activation Date", epoch)}, 0, kmip.StateActive},
		{"activation ahead", []kmip.Attribute{d("Activation Date", ahead)}, 0, kmip.StatePreActive},
		{"both past", []kmip.Attribute{d("Activation Date", ago), d("Deactivation Date", epoch)}, 0, kmip.StateDeactivated},
		{"deactivation alone in the past", []kmip.Attribute{d("Deactivation Date", ago)}, 0, kmip.StatePreActive},
		{"deactivation before activation", []kmip.Attribute{d("Activation Date", ahead), d("Deactivation Date", epoch)}, kmip.ResultReasonInvalidField, 0},
		{"process start after protect stop", []kmip.Attribute{d("Process Start Date", ahead), d("Protect Stop Date", ago)}, 0, kmip.StatePreActive},
		{"activation undefined", []kmip.Attribute{at("Activation Date", ttlv.Make(ttlv.AppendTime(nil, kmip.TagAttributeValue, time.Unix(maxDate, 0))))}, 0, kmip.StatePreActive},
	} {
		uid, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), row.attrs...)...)
		wantReason(t, row.name+", Create", err, row.reason)
		if err == nil && c.state(uid) != row.state {
			t.Errorf("%s: got state %s, want %s", row.name, c.state(uid), row.state)
		}
		for _, letter := range []byte("so") {
			if letter == 'o' && slices.ContainsFunc(row.attrs, func(a kmip.Attribute) bool { return a.AttributeName == "Process Start Date" }) {
				continue
			}
			uid, err := c.registerType(letter, row.attrs...)
			wantReason(t, row.name+", Register "+string(letter), err, row.reason)
			if err == nil && c.state(uid) != row.state {
				t.Errorf("%s, %c: got state %s, want %s", row.name, letter, c.state(uid), row.state)
			}
		}
	}

	uid := c.aes(d("Activation Date", ahead), d("Process Start Date", ahead))
	wantReason(t, "Deactivation before Activation", c.add(uid, d("Deactivation Date", epoch)), kmip.ResultReasonInvalidField)
	c.ok(c.add(uid, d("Deactivation Date", ahead.Add(time.Hour))))
	wantReason(t, "Activation after Deactivation", c.modify(uid, d("Activation Date", ahead.Add(2*time.Hour))), kmip.ResultReasonInvalidField)
	c.ok(c.modify(uid, d("Activation Date", epoch)))
	if got := c.state(uid); got != kmip.StateActive {
		t.Errorf("after Modify of Activation Date to now: got state %s, want Active", got)
	}
	wantReason(t, "Activation Date of an Active key", c.modify(uid, d("Activation Date", ahead)), kmip.ResultReasonPermissionDenied)
	c.ok(c.modify(uid, d("Process Start Date", ahead.Add(time.Minute))))
	b.advance(2 * time.Hour)
	wantReason(t, "Process Start Date that has come", c.modify(uid, d("Process Start Date", ahead)), kmip.ResultReasonPermissionDenied)
	wantReason(t, "Deactivation Date that has come", c.modify(uid, d("Deactivation Date", ahead.Add(5*time.Hour))), kmip.ResultReasonPermissionDenied)
}

// Process Start and Protect Stop hold for keys that wrap; after Protect Stop a key still unwraps.
func TestWrappingDates(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes(at("Activation Date", timeValue(epoch)), at("Process Start Date", timeValue(epoch.Add(time.Hour))),
		at("Protect Stop Date", timeValue(epoch.Add(2*time.Hour))), at("Deactivation Date", timeValue(epoch.Add(3*time.Hour))))
	unwrap := func() error {
		_, err := c.register(wrapped(c, kek, symmetric(marker(16)), marker(16), 1, kmip.EncodingOptionNoEncoding))
		return err
	}
	const denied = kmip.ResultReasonPermissionDenied
	for _, row := range []struct {
		at           time.Duration
		wrap, unwrap kmip.ResultReason
	}{{0, denied, denied}, {time.Hour, 0, 0}, {2*time.Hour - time.Second, 0, 0}, {2 * time.Hour, denied, 0}, {3 * time.Hour, denied, denied}} {
		b.advance(epoch.Add(row.at).Sub(b.clock()))
		wantReason(t, "wrap after "+row.at.String(), c.wrapWith(kek), row.wrap)
		wantReason(t, "unwrap after "+row.at.String(), unwrap(), row.unwrap)
	}
	b.wantClean()
}

// The halves of a pair live their own lives.
func TestPairHalves(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	priv, pub, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 3)...), nil, nil)
	c.ok(err)
	check := func(wantPriv, wantPub kmip.State) {
		t.Helper()
		if gotPriv, gotPub := c.state(priv), c.state(pub); gotPriv != wantPriv || gotPub != wantPub {
			t.Errorf("got states %s and %s, want %s and %s", gotPriv, gotPub, wantPriv, wantPub)
		}
	}
	check(kmip.StatePreActive, kmip.StatePreActive)
	c.ok(c.activate(priv))
	check(kmip.StateActive, kmip.StatePreActive)
	c.ok(c.destroy(pub))
	check(kmip.StateActive, kmip.StateDestroyed)
	c.ok(c.revoke(priv, kmip.RevocationReasonCodeKeyCompromise))
	check(kmip.StateCompromised, kmip.StateDestroyed)
	c.material(priv)
	c.ok(c.destroy(priv))
	check(kmip.StateDestroyedCompromised, kmip.StateDestroyed)
	if n := b.fake.Len(); n != 0 {
		t.Errorf("got %d token objects, want 0", n)
	}
	// The metadata stays (AKLC-O-1).
	if l := (object{c.record(priv)}).linked(kmip.LinkTypePublicKeyLink); l != pub {
		t.Errorf("got link %q, want %q", l, pub)
	}
	if c.value(priv, "Destroy Date").IsZero() {
		t.Error("a destroyed key has no Destroy Date")
	}
}

// Destroy can be forbidden to clients.
func TestDestroyForbidden(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.AllowDestroy = false })
	c := b.client("alice")
	uid := c.aes()
	wantReason(t, "Destroy", c.destroy(uid), kmip.ResultReasonPermissionDenied)
	c.material(uid)
}
