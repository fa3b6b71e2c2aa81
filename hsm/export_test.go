package hsm

import (
	"context"
	"errors"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"
)

// What tests do behind the back of an open token, as an administrator, another process or a failing device would.

func behind(t testing.TB, tok Token, f func(*device, session) error) {
	t.Helper()
	d := tok.(*device)
	s, err := d.p11.openSession(d.slot())
	if err != nil {
		t.Fatal(err)
	}
	if err := f(d, s); err != nil {
		t.Fatal(err)
	}
	_ = d.p11.ctx.CloseSession(s) // may be gone by now
}

func LogoutBehind(t testing.TB, tok Token) {
	behind(t, tok, func(d *device, s session) error { return d.p11.ctx.Logout(s) })
}

func CloseSessionsBehind(t testing.TB, tok Token) {
	behind(t, tok, func(d *device, _ session) error { return d.p11.ctx.CloseAllSessions(d.slot()) })
}

func FinalizeBehind(t testing.TB, tok Token) {
	behind(t, tok, func(d *device, _ session) error { return d.p11.ctx.Finalize() })
}

// CloseIdleBehind closes the pooled sessions but no other.
func CloseIdleBehind(t testing.TB, tok Token) {
	d := tok.(*device)
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	for _, s := range d.pool.idle {
		if err := d.p11.ctx.CloseSession(s); err != nil {
			t.Fatal(err)
		}
	}
}

// ReplaceBehind destroys an object and forgets nothing; again tells whether it is made again under another handle.
func ReplaceBehind(t testing.TB, tok Token, ref Ref, again bool) {
	behind(t, tok, func(d *device, s session) error {
		found, err := d.p11.find(s, findTemplate(ref))
		if err != nil {
			return err
		}
		for _, h := range found {
			if again {
				t := newTemplate(0).flag(p11.CKA_TOKEN, true).octets(p11.CKA_LABEL, []byte("again"))
				if _, err := d.p11.copyObject(s, h, t); err != nil {
					return err
				}
			}
			if err := d.p11.destroyObject(s, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// BreakTransport destroys the transport key.
func BreakTransport(t testing.TB, tok Token) {
	behind(t, tok, func(d *device, s session) error { return d.p11.destroyObject(s, d.transport.handle) })
}

// SessionObjects counts all session objects; the transport key is one.
func SessionObjects(t testing.TB, tok Token) (n int) {
	behind(t, tok, func(d *device, s session) error {
		found, err := d.p11.find(s, newTemplate(0).flag(p11.CKA_TOKEN, false))
		n = len(found)
		return err
	})
	return n
}

// StoreForeign makes an object that kmipd did not make: a key with a short CKA_ID, or with a label only.
func StoreForeign(t testing.TB, tok Token, id []byte) {
	behind(t, tok, func(d *device, s session) error {
		tmpl := newTemplate(0).number(p11.CKA_CLASS, p11.CKO_SECRET_KEY).number(p11.CKA_KEY_TYPE, p11.CKK_AES).flag(p11.CKA_TOKEN, true)
		_, err := d.p11.createObject(s, tmpl.octets(p11.CKA_LABEL, []byte("foreign")).octets(p11.CKA_ID, id).octets(p11.CKA_VALUE, make([]byte, 32)))
		return err
	})
}

// CountForeign counts what StoreForeign made.
func CountForeign(t testing.TB, tok Token) (n int) {
	behind(t, tok, func(d *device, s session) error {
		found, err := d.p11.find(s, newTemplate(0).octets(p11.CKA_LABEL, []byte("foreign")))
		n = len(found)
		return err
	})
	return n
}

// ReadFlags reads attributes of one octet.
func ReadFlags(t testing.TB, tok Token, ref Ref, kinds ...uint) (flags []bool) {
	behind(t, tok, func(d *device, s session) error {
		found, err := d.p11.find(s, findTemplate(ref))
		if err != nil || len(found) != 1 {
			t.Fatalf("%d objects, %v", len(found), err)
		}
		values, err := d.p11.attributes(s, found[0], kinds...)
		for _, v := range values {
			flags = append(flags, isFlag(v, true))
		}
		return err
	})
	return flags
}

// Generation counts logins.
func Generation(tok Token) uint64 { return tok.(*device).gen.Load() }

// RotateNow replaces the transport key.
func RotateNow(tok Token) { tok.(*device).rotateOnce(context.Background()) }

// HoldSessions lends n sessions until the returned function is called.
func HoldSessions(t testing.TB, tok Token, n int) (release func()) {
	d := tok.(*device)
	var held []session
	for range n {
		s, err := d.pool.borrow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, s)
	}
	return func() {
		for _, s := range held {
			if err := d.pool.giveBack(s, true); err != nil {
				t.Error(err)
			}
		}
	}
}

// HoldMutations takes the mutation lock until the returned function is called.
func HoldMutations(t testing.TB, tok Token) (release func()) {
	unlock, err := tok.(*device).mutations.lock(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

// InUse tells whether a call is under way.
func InUse(tok Token) bool {
	unlock, free := tok.(*device).gate.try(true)
	if free {
		unlock()
	}
	return !free
}

// FailAfter turns the success of the n-th call of a function from now on, or with n 0 of every call, into a failure. The
// call has had its effect.
func FailAfter(tok Token, call string, n int, code uint) {
	d := tok.(*device)
	every := n == 0
	var mu sync.Mutex // guards n
	after := func(name string) p11.Error {
		if name != call {
			return 0
		}
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 || every {
			return p11.Error(code)
		}
		return 0
	}
	d.p11.after.Store(&after)
}

// FailNever ends FailAfter.
func FailNever(tok Token) { tok.(*device).p11.after.Store(nil) }

// TryTransport shares a transport key in one of the ways, and destroys it again.
func TryTransport(tok Token, way string) error {
	d := tok.(*device)
	k := &transportKey{gen: d.gen.Load()}
	share := map[string]func(*transportKey) error{transportECDH: d.shareECDH, transportOAEP: d.shareOAEP, transportCreate: d.shareCreate}[way]
	err := share(k)
	if err == nil {
		err = d.agree(k)
	}
	if k.handle != 0 {
		err = errors.Join(err, d.p11.destroyObject(d.anchor, k.handle))
	}
	return err
}

// ForgetPIN makes every further login fail.
func ForgetPIN(tok Token) { tok.(*device).cfg.PIN = "wrong" }

// Judge is the kind of a CKR_ code and whether the table has it.
func Judge(code uint) (Kind, bool) {
	v, ok := verdicts[code]
	return v.kind, ok
}

func NumberOfVerdicts() int { return len(verdicts) }

// SessionsInUse is how many pooled sessions are lent now.
func SessionsInUse(tok Token) int { return len(tok.(*device).pool.slots) }

// OtherFirmware makes the token one that had other firmware when it was opened.
func OtherFirmware(t testing.TB, tok Token) {
	t.Helper()
	d := tok.(*device)
	d.info.Firmware, d.info.Identity.FirmwareVersion = "0.0", "0.0"
	d.publish()
}

// OtherCapabilities makes the token one that could do nothing but AES-ECB and move keys when it was opened.
func OtherCapabilities(t testing.TB, tok Token) {
	t.Helper()
	d := tok.(*device)
	d.info.Capabilities = Capabilities{Transport: d.info.Capabilities.Transport, AESModes: []CipherMode{ModeECB}, Curves: []Curve{CurveP521}}
	d.traits.kw, d.traits.kwp = 0, 0
	d.publish()
}
