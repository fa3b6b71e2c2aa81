package hsm

import (
	"context"
	"errors"
	"reflect"
	"time"

	p11 "github.com/miekg/pkcs11"
)

const (
	healAttempts = 5
	healPause    = 50 * time.Millisecond // doubles with each attempt
	healRest     = time.Second           // after the last attempt calls fail at once for so long
)

// cured says whether a failed call is worth another try, after doing what its error asks for, and how it failed.
func (d *device) cured(ctx context.Context, w *work, err error, reads bool) (bool, error) {
	f := fateOf(err)
	switch {
	case f == fateStale:
		d.objects.drop(w.refs...)
		if w.dead {
			f = fateDoor
		}
	case f == fateDoor || f == fateDevice:
	case w.dead:
		// A login lost in the middle of a call shows as any error (SoftHSM: mechanism invalid, general error).
		f, err = fateDevice, down("call", err)
	default:
		return false, err
	}
	// A stale handle can mean a lost transport key, too.
	if healErr := d.heal(ctx, w.gen, f == fateStale && w.key != nil); healErr != nil {
		d.log.Error().Err(healErr).Msg("the token is not usable")
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, down("heal", healErr)
	}
	return !w.effect && (f != fateDevice || reads), err
}

// down is an error as KindUnavailable, whatever it was.
func down(call string, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return &Error{Kind: KindUnavailable, Call: e.Call, Code: e.Code}
	}
	return &Error{Kind: KindUnavailable, Call: call, Text: "the token is down"}
}

// heal brings the token back after the login or the sessions were lost. gen is the login that the failed call had: when
// another call has healed since, there is nothing to do. renew asks for a new transport key in any case.
func (d *device) heal(ctx context.Context, gen uint64, renew bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	open, err := d.gate.lock(ctx, true)
	if err != nil {
		return err
	}
	defer open()
	if d.closed.Load() {
		return errClosed()
	}
	if d.gen.Load() != gen {
		return nil
	}
	if d.p11.loggedIn(d.anchor) == nil && d.transportWorks(renew || !d.hasTransport()) {
		d.flush(d.slot()) // idle sessions may be as dead as the one that failed
		return nil
	}
	if time.Now().Before(d.retryAt) || d.pinRefused.Load() {
		return down("heal", nil)
	}
	return d.reconnectPatiently(ctx)
}

// transportWorks says whether the transport key is there; in doubt it makes a new one.
func (d *device) transportWorks(renew bool) bool {
	if !renew {
		return true
	}
	if err := d.renewTransport(); err != nil {
		d.log.Warn().Err(err).Msg("the transport key was not renewed")
		return false
	}
	return true
}

func (d *device) reconnectPatiently(ctx context.Context) error {
	pause := healPause
	var err error
	for range healAttempts {
		if err = d.reconnect(); err == nil {
			d.log.Info().Uint64("generation", d.gen.Load()).Int("objects", d.objects.len()).Msg("the token is back")
			return nil
		}
		d.log.Warn().Err(err).Msg("the token does not come back")
		if refusedPIN(err) {
			d.pinRefused.Store(true)
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		pause *= 2
	}
	d.retryAt = time.Now().Add(healRest)
	return err
}

// refusedPIN says whether another try could lock the token.
func refusedPIN(err error) bool {
	for _, code := range []uint{p11.CKR_PIN_INCORRECT, p11.CKR_PIN_LOCKED, p11.CKR_PIN_EXPIRED, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE} {
		if hasCode(err, code) {
			return true
		}
	}
	return false
}

// reconnect opens a new anchor session, logs in, and replaces all that died with the old login. The gate is held alone.
func (d *device) reconnect() error {
	// First close, then open: after C_Initialize the numbers of dead sessions are given out again.
	d.flush(d.slot())
	if err := d.p11.closeSession(d.anchor); err != nil {
		d.log.Debug().Err(err).Msg("the dead anchor session was not closed")
	}
	token, err := d.p11.choose(d.info.Label, d.info.Serial)
	if hasCode(err, p11.CKR_CRYPTOKI_NOT_INITIALIZED) {
		if err := d.p11.initialize(); err != nil {
			return err
		}
		token, err = d.p11.choose(d.info.Label, d.info.Serial)
	}
	if err != nil {
		return err
	}
	d.flush(token.Slot)
	anchor, err := d.p11.openSession(token.Slot)
	if err != nil {
		return err
	}
	d.anchor = anchor
	if err := d.p11.login(anchor, d.cfg.PIN); err != nil {
		return err
	}
	if err := d.identifyAgain(token); err != nil {
		return err
	}
	d.gen.Add(1)
	d.objects.reset()
	d.replaceTransport(nil)
	if err := d.probeAgain(token.Slot); err != nil {
		return err
	}
	d.publish()
	_, err = d.enumerate(anchor, func(f func() error) error { return f() })
	return err
}

// probeAgain finds out anew what the token can do: what came back can have another configuration. One that has no way to move
// keys any more counts as not back. After an error everything is as it was. What came back otherwise is probed twice: a call
// that failed once, as calls do while a token comes back, must not take something away until the next login.
func (d *device) probeAgain(slot uint) error {
	caps, had := d.info.Capabilities, d.traits
	for range 2 {
		d.info.Capabilities, d.traits = Capabilities{}, traits{pairsByCopy: had.pairsByCopy}
		err := d.probe(slot)
		if err == nil && caps.Transport != "" && d.info.Capabilities.Transport == "" {
			err = down("transport", nil)
		}
		if err != nil {
			d.info.Capabilities, d.traits = caps, had
			return err
		}
		if reflect.DeepEqual(caps, d.info.Capabilities) && d.traits == had {
			return nil
		}
	}
	d.log.Warn().Interface("before", caps).Interface("now", d.info.Capabilities).Msg("the token came back with other capabilities")
	return nil
}

// identifyAgain reads who the token is: what came back under the same label and serial number can have other firmware, which its
// certificate does not cover.
func (d *device) identifyAgain(token TokenSummary) error {
	raw, err := d.p11.tokenInfo(token.Slot)
	if err != nil {
		return err
	}
	lib, err := d.p11.ctx.GetInfo()
	if err := d.p11.result("C_GetInfo", err); err != nil {
		return err
	}
	id, err := d.p11.identify(token.Slot, raw, lib)
	if err != nil {
		return err
	}
	d.info.Manufacturer, d.info.Model, d.info.Firmware, d.info.Identity = token.Manufacturer, token.Model, token.Firmware, id
	return nil
}

// publish lets Info see what is known of the token.
func (d *device) publish() {
	now := d.info
	d.present.Store(&now)
}

// flush closes idle sessions, dead ones among them.
func (d *device) flush(slot uint) {
	if err := d.pool.flush(slot); err != nil {
		d.log.Debug().Err(err).Msg("dead sessions were not closed")
	}
}

func (d *device) slot() uint {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.pool.slot
}
