package hsm

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/ThalesIgnite/crypto11"
	p11 "github.com/miekg/pkcs11"
)

// Open opens a token: it finds the token by its label and serial number, logs in, shares a transport key with it, probes
// what it can do, and enumerates its objects. A wrong PIN is not tried a second time. Errors are *OpenError or the
// context's. One token can be open per module and process.
func Open(ctx context.Context, cfg Config) (Token, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	release, err := claim(cfg.Module)
	if err != nil {
		return nil, err
	}
	d, err := openPatiently(ctx, cfg)
	if err != nil {
		release()
		return nil, err
	}
	d.release = release
	rotation, stop := context.WithCancel(context.Background())
	d.stop = stop
	go d.rotate(rotation)
	d.log.Info().Str("token", d.info.Label).Str("serial", d.info.Serial).Str("transport", d.info.Capabilities.Transport).
		Int("sessions", d.info.Capabilities.MaxSessions).Int("objects", d.objects.len()).Bool("lock", d.mutations != nil).Msg("token open")
	return d, nil
}

const (
	openAttempts = 4
	openPause    = 100 * time.Millisecond // doubles with each attempt
)

// openPatiently tries several times: processes that start together disturb each other on SoftHSM, which unlocks its files
// before they are written.
func openPatiently(ctx context.Context, cfg Config) (*device, error) {
	pause := openPause
	for attempt := 1; ; attempt++ {
		d, err := openOnce(cfg)
		var problem *OpenError
		if err == nil || attempt == openAttempts || errors.As(err, &problem) && problem.final() {
			return d, err
		}
		cfg.Logger.Warn().Err(err).Int("attempt", attempt).Msg("the token did not open")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
		pause *= 2
	}
}

// final says whether another attempt is pointless or, with a PIN, harmful.
func (e *OpenError) final() bool {
	switch e.Problem {
	case ProblemInUse, ProblemAmbiguous, ProblemNotInitialized, ProblemPIN, ProblemPINLocked:
		return true
	}
	return false
}

// openOnce lets crypto11 initialise and log in, since it refuses a module that is initialised already and finalises the
// module of the whole process when its own configuration fails: so the token is chosen beforehand.
func openOnce(cfg Config) (d *device, err error) {
	token, err := chooseFirst(cfg)
	if err != nil {
		return nil, err
	}
	owner, err := crypto11.Configure(owned(cfg, token))
	if err != nil {
		return nil, loginProblem(err)
	}
	m, err := loadModule(cfg.Module)
	if err != nil {
		return nil, errors.Join(&OpenError{Problem: ProblemModule, Text: "the module does not load twice", Err: err}, owner.Close())
	}
	d = &device{cfg: cfg, log: cfg.Logger, p11: m, owner: owner, objects: newHandles(), gate: newRWLock(), stopped: make(chan struct{})}
	if err := d.start(token); err != nil {
		return nil, &OpenError{Problem: ProblemToken, Text: "the token does not work", Err: errors.Join(err, d.shut())}
	}
	return d, nil
}

// chooseFirst initialises the module for a look at its tokens.
func chooseFirst(cfg Config) (token TokenSummary, err error) {
	m, err := loadModule(cfg.Module)
	if err != nil {
		return token, &OpenError{Problem: ProblemModule, Text: "the module does not load", Err: err}
	}
	defer m.unload()
	if err := m.initialize(); err != nil {
		return token, &OpenError{Problem: ProblemModule, Text: "the module does not initialise", Err: err}
	}
	token, err = m.choose(cfg.TokenLabel, cfg.TokenSerial)
	return token, errors.Join(err, m.finalize())
}

// owned is crypto11's configuration. It wants exactly one name; serial numbers are unique, but not every token has one.
// Slot numbers hold from one initialisation to the next in practice only.
func owned(cfg Config, token TokenSummary) *crypto11.Config {
	c := &crypto11.Config{Path: cfg.Module, Pin: string(cfg.PIN), MaxSessions: 2, TokenSerial: token.Serial}
	if token.Serial == "" {
		c.TokenLabel = token.Label
	}
	return c
}

// loginProblem reads crypto11's error.
func loginProblem(err error) error {
	var code p11.Error
	if !errors.As(err, &code) {
		return &OpenError{Problem: ProblemToken, Text: "the token does not open", Err: err}
	}
	cause := &Error{Kind: KindUnavailable, Call: "C_Login", Code: uint(code)}
	switch code {
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE:
		return &OpenError{Problem: ProblemPIN, Text: "the token refuses the PIN", Err: cause}
	case p11.CKR_PIN_LOCKED, p11.CKR_PIN_EXPIRED:
		return &OpenError{Problem: ProblemPINLocked, Text: "the user PIN is locked or expired", Err: cause}
	}
	return &OpenError{Problem: ProblemToken, Text: "the token does not open", Err: cause}
}

// start does what needs a login, on the anchor session.
func (d *device) start(token TokenSummary) error {
	raw, err := d.p11.tokenInfo(token.Slot)
	if err != nil {
		return err
	}
	lib, err := d.p11.ctx.GetInfo()
	if err := d.p11.result("C_GetInfo", err); err != nil {
		return err
	}
	d.movedKeys = newMovedKeys()
	d.info = Info{
		Manufacturer: token.Manufacturer, Model: token.Model, Serial: token.Serial, Label: token.Label, Firmware: token.Firmware,
		Library: trim(lib.LibraryDescription) + " " + version(lib.LibraryVersion),
	}
	if d.info.Identity, err = d.p11.identify(token.Slot, raw, lib); err != nil {
		return err
	}
	if d.anchor, err = d.p11.openSession(token.Slot); err != nil {
		return err
	}
	if err := d.p11.loggedIn(d.anchor); err != nil {
		return err
	}
	sessions := poolSize(d.cfg.MaxSessions, raw.MaxRwSessionCount)
	d.pool = newPool(d.p11, token.Slot, sessions)
	d.named = make(chan struct{}, max(1, sessions/2))
	if d.needsLock() {
		d.mutations = newRWLock()
		d.traits.pairsByCopy = true
	}
	if err := d.probe(token.Slot); err != nil {
		return err
	}
	d.publish()
	_, err = d.enumerate(d.anchor, func(f func() error) error { return f() })
	return err
}

// poolSize leaves three of the token's sessions to the anchor and to crypto11.
func poolSize(wanted int, limit uint) int {
	n := wanted
	if n == 0 {
		n = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if limit != p11.CK_EFFECTIVELY_INFINITE && limit != p11.CK_UNAVAILABLE_INFORMATION && limit < uint(n)+3 {
		n = max(1, int(limit)-3)
	}
	return n
}

func (d *device) needsLock() bool {
	switch d.cfg.MutationLock {
	case LockOn:
		return true
	case LockOff:
		return false
	}
	for _, q := range quirks {
		if strings.HasPrefix(d.info.Manufacturer, q.manufacturer) {
			return !q.parallel
		}
	}
	return true
}

// Close implements Token. New calls are refused at once and running ones waited for: a module that is finalised under
// them crashes. When ctx ends first the module stays as it is, and Close can be called again.
func (d *device) Close(ctx context.Context) error {
	d.closed.Store(true)
	d.stop()
	open, err := d.gate.lock(ctx, true)
	if err != nil {
		return err
	}
	defer open()
	if d.finalised {
		return nil
	}
	d.finalised = true
	<-d.stopped
	err = d.shut()
	d.release()
	return err
}

// shut closes our sessions, and the module last (crypto11 finalises it). That sessions may be dead by now is no failure.
func (d *device) shut() error {
	if d.transport != nil {
		clear(d.transport.value[:])
	}
	if d.pool != nil {
		d.flush(d.slot())
	}
	if d.anchor != 0 {
		if err := d.p11.closeSession(d.anchor); err != nil {
			d.log.Debug().Err(err).Msg("the anchor session was not closed")
		}
	}
	err := d.owner.Close()
	d.p11.unload()
	return err
}
