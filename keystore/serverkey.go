package keystore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"kmipd/hsm"
)

// ServerKey is a key on the token that is no object of the records: that of a listener's certificate. Its flags at the start of the
// server stand for a record.
type ServerKey struct {
	Name  string // for the log and reports
	Flags hsm.Flags
	Read  func(context.Context) (hsm.Flags, error)

	mu      sync.Mutex
	looking bool      // somebody reads the flags; guarded by mu
	looked  time.Time // when they were read; guarded by mu
	diff    []string  // what was found; guarded by mu
}

// serverKeyTimeout bounds what a handshake waits for before its signature.
const serverKeyTimeout = 10 * time.Second

// CheckServerKey is nil when the key may sign with the mechanisms now: by the self-tests, and where a policy is strict by its
// flags, which are read once a minute. It is asked before and after each signature of a handshake: the one use of the token
// that is not the keystore's.
func (s *Store) CheckServerKey(k *ServerKey, mechs ...hsm.Mechanism) error {
	if s.guard == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverKeyTimeout)
	defer cancel()
	if err := s.guard.Ready(ctx, mechs...); err != nil {
		return err
	}
	diff := k.changed(ctx)
	if s.drift.noteServerKey(k.Name, diff, s.cfg.Clock().UTC()) {
		s.event("drift", fmt.Sprintf("%s is not on the token as it was at the start: %s", k.Name, strings.Join(diff, ", ")))
	}
	if len(diff) > 0 && s.strictPolicy() != nil {
		return errDrifted()
	}
	return nil
}

// changed lists the flags that are not as they were. A key that has changed is looked at again each time. What cannot be read is the
// signature's to find.
func (k *ServerKey) changed(ctx context.Context) []string {
	k.mu.Lock()
	known := k.looking || len(k.diff) == 0 && time.Since(k.looked) < cleanFor
	diff := k.diff
	if !known {
		k.looking = true
	}
	k.mu.Unlock()
	if known {
		return diff
	}
	flags, err := k.Read(ctx)
	if err == nil && len(differences(k.Flags, flags)) > 0 {
		select { // misread, perhaps: see readFlags
		case <-ctx.Done():
		case <-time.After(driftPause):
			flags, err = k.Read(ctx)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looking = false
	if err == nil {
		k.diff, k.looked = differences(k.Flags, flags), time.Now()
	}
	return k.diff
}

// differences lists what is otherwise now. What a token does not tell is not compared.
func differences(was, now hsm.Flags) (out []string) {
	for _, f := range []struct {
		name     string
		was, now hsm.Flag
	}{
		{"CKA_PRIVATE", was.Private, now.Private}, {"CKA_SENSITIVE", was.Sensitive, now.Sensitive},
		{"CKA_ALWAYS_SENSITIVE", was.AlwaysSensitive, now.AlwaysSensitive}, {"CKA_EXTRACTABLE", was.Extractable, now.Extractable},
		{"CKA_NEVER_EXTRACTABLE", was.NeverExtractable, now.NeverExtractable}, {"CKA_LOCAL", was.Local, now.Local},
	} {
		if f.was != hsm.FlagUnknown && f.now != hsm.FlagUnknown && f.was != f.now {
			out = append(out, fmt.Sprintf("%s is %t", f.name, f.now == hsm.FlagTrue))
		}
	}
	return out
}
