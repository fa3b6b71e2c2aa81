package keystore

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kmipd/kmip"
)

// Who was revoked after a backup is let in by what was restored, until a list that was published meanwhile is read. The start
// on an older store is refused, and fsck tells what was lost, and repairs nothing.
func TestRecoverRevocations(t *testing.T) {
	b := audited(t)
	ca := b.root("main")
	c := b.client("alice")
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	before, kept := c.x509(uid), c.x509(c.must(c.certify("", pkcs10(csr(t, newECKey(t))))))
	b.waitCRL("main", 0)
	backup := b.fs.CrashClone(vfs.CrashCloneCfg{})
	later := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	after := c.x509(later)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	c.ok(c.revoke(later, kmip.RevocationReasonCodeKeyCompromise))
	list := b.waitCRL("main", 2)
	b.s.Close()

	b.fs, b.db = backup, openRecords(t, backup)
	s := New(b.db, b.fake, b.policy, b.cfg, zerolog.Nop())
	if err := s.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "kmipd fsck") {
		t.Errorf("the start: got %v", err)
	}
	rep, err := s.Fsck(context.Background(), false)
	c.ok(err)
	lost := strings.Join(rep.Lost, "\n")
	for _, want := range []string{"the trail ends with record", "Revoke (operation): client alice, " + uid + " changed", later + " created",
		"authority main, number " + list.Number.String() + ", revoked 2"} {
		if rep.Clean() || !strings.Contains(lost, want) {
			t.Errorf("fsck does not tell of %q:\n%s", want, lost)
		}
	}
	objects := b.fake.Len()
	if _, err := s.Fsck(context.Background(), true); err == nil || b.fake.Len() != objects {
		t.Errorf("fsck with repair: got %v, and %d of %d token objects are left", err, b.fake.Len(), objects)
	}
	c.ok(os.RemoveAll(b.cfg.Audit.Dir))
	if rep, err := s.Fsck(context.Background(), false); err != nil || len(rep.Lost) > 0 {
		t.Errorf("without the trail: got %v, %v", rep.Lost, err)
	}
	b.start(b.db, b.fake)
	want := func(what string, cert *x509.Certificate, want bool) {
		t.Helper()
		if _, revoked, err := b.s.Revoked(t.Context(), cert, ca); err != nil || revoked != want {
			t.Errorf("%s: got revoked %t, %v", what, revoked, err)
		}
	}
	want("issued before the backup, restored", before, false)
	got, err := b.s.RecoverRevocations(t.Context(), "main", list.Raw)
	if err != nil || got.Lost != 2 || got.Entries != 2 || got.Number != list.Number.String() || got.Present == got.Number {
		t.Fatalf("got %+v, %v", got, err)
	}
	want("issued before the backup", before, true)
	want("issued after it", after, true)
	want("never revoked", kept, false)
	if again, err := b.s.RecoverRevocations(t.Context(), "main", list.Raw); err != nil || again.Lost != 0 {
		t.Errorf("once more: got %+v, %v", again, err)
	}
	c.ok(c.revoke(c.must(c.certify("", pkcs10(csr(t, newECKey(t))))), kmip.RevocationReasonCodeKeyCompromise))
	next := b.waitCRL("main", 3)
	for _, cert := range []*x509.Certificate{before, after} {
		e, was := entryOf(next, cert.SerialNumber), entryOf(list, cert.SerialNumber)
		if e == nil || e.ReasonCode != was.ReasonCode || !e.RevocationTime.Equal(was.RevocationTime) || len(e.Extensions) != len(was.Extensions) {
			t.Errorf("on the next list: got %+v, want %+v", e, was)
		}
	}
	if next.Number.Cmp(list.Number) <= 0 {
		t.Errorf("the next list has number %s after %s", next.Number, list.Number)
	}
	b.restart()
	want("after a restart", after, true)
}

// Only what the authority itself signed is believed.
func TestRecoverRefusesOthers(t *testing.T) {
	b, stranger := newBench(t), newBench(t)
	b.root("main")
	stranger.root("main")
	mine, theirs := b.waitCRL("main", 0), stranger.waitCRL("main", 0)
	broken := append([]byte(nil), mine.Raw...)
	broken[len(broken)-1] ^= 1
	for name, tc := range map[string]struct {
		authority string
		der       []byte
	}{
		"another authority of that name": {"main", theirs.Raw}, "a broken signature": {"main", broken}, "no list": {"main", []byte("x")},
		"an unknown authority": {"other", mine.Raw},
	} {
		if _, err := b.s.RecoverRevocations(t.Context(), tc.authority, tc.der); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := reasonOf(5); got != kmip.RevocationReasonCodeCessationOfOperation || reasonOf(0) != kmip.RevocationReasonCodeUnspecified {
		t.Errorf("reasons: %s, %s", got, reasonOf(0))
	}
}
