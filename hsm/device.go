package hsm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThalesIgnite/crypto11"
	"github.com/rs/zerolog"
)

// device is an open PKCS#11 token.
//
// Locks, in the order in which they are taken: gate, a pool slot, mutations; anchorMu and transportMu last and briefly.
type device struct {
	cfg     Config
	log     zerolog.Logger
	p11     *module
	owner   *crypto11.Context // initialised the module, logged in and will finalise it
	release func()            // gives the module back to this process
	info    Info              // who the token is and what it can do; changed by opening and healing alone, as traits are
	traits  traits
	present atomic.Pointer[Info] // info as everybody may read it

	pool      *pool
	named     chan struct{} // a place for each signature of a named key that may run at a time
	gate      *rwLock       // calls share it; healing and closing have it alone
	mutations *rwLock       // changes of token objects have it alone, their uses share it; nil where the token needs none
	objects   *handles
	movedKeys *movedKeys

	gen        atomic.Uint64 // counts logins; changed with the gate held alone
	closed     atomic.Bool
	finalised  bool        // used with the gate held alone
	pinRefused atomic.Bool // never try the PIN again: tokens lock it
	retryAt    time.Time   // no healing before; used with the gate held alone

	anchorMu sync.Mutex // serialises calls on anchor
	anchor   session    // lives as long as the login and holds the transport key; changed with the gate held alone

	transportMu sync.Mutex
	transport   *transportKey // guarded by transportMu

	stop    context.CancelFunc // ends the rotation goroutine
	stopped chan struct{}      // closed when it has ended
}

var _ Token = (*device)(nil)

// work is one call of a Token method with the session and all else that it has borrowed.
type work struct {
	*device
	ctx context.Context
	s   session
	gen uint64

	dead      bool          // the call failed because the login or the transport key is gone
	effect    bool          // something persistent was made or removed: the call is not repeated
	discard   bool          // the session is not fit for others
	refs      []Ref         // objects whose cached handles were used
	key       *transportKey // in use until the end
	temps     []handle      // session objects to destroy at the end
	unlock    func()        // gives the mutation lock back
	exclusive bool
}

// run does f on a borrowed session. When the login, the session or a handle turns out to be gone it heals, and does f
// once more if nothing has happened yet. Calls that only read are repeated after device errors too.
func (d *device) run(ctx context.Context, reads bool, f func(*work) error) error {
	var err error
	for again, tries := true, 0; again && tries < 2; tries++ {
		w := &work{device: d, ctx: ctx, gen: d.gen.Load()}
		if err = w.do(f); err == nil {
			return nil
		}
		again, err = d.cured(ctx, w, err, reads)
	}
	return err
}

func (w *work) do(f func(*work) error) (err error) {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	open, err := w.wait(w.gate, false)
	if err != nil {
		return err
	}
	defer open()
	if w.closed.Load() {
		return errClosed()
	}
	w.gen = w.device.gen.Load()
	if err := w.borrow(); err != nil {
		return err
	}
	defer func() { w.finish(err) }()
	return f(w)
}

func errClosed() error {
	return &Error{Kind: KindUnavailable, Call: "closed", Text: "the token is closed"}
}

// borrow takes a session from the pool, waiting no longer than the call timeout.
func (w *work) borrow() (err error) {
	s, ok, err := w.pool.tryBorrow()
	if ok {
		w.s = s
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.CallTimeout)
	defer cancel()
	w.s, err = w.pool.borrow(ctx)
	return w.inTime(err)
}

// wait takes a lock, waiting no longer than the call timeout.
func (w *work) wait(l *rwLock, exclusive bool) (func(), error) {
	if unlock, ok := l.try(exclusive); ok {
		return unlock, nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.CallTimeout)
	defer cancel()
	unlock, err := l.lock(ctx, exclusive)
	return unlock, w.inTime(err)
}

// inTime tells the end of the caller's context from that of our own patience.
func (w *work) inTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && w.ctx.Err() == nil {
		return &Error{Kind: KindUnavailable, Call: "wait", Text: "no session or lock was free in time"}
	}
	return err
}

// lock takes the mutation lock, in place of the one held.
func (w *work) lock(exclusive bool) error {
	if w.unlock != nil && w.exclusive == exclusive {
		return nil
	}
	w.unlockMutations()
	unlock, err := w.wait(w.mutations, exclusive)
	if err != nil {
		return err
	}
	w.unlock, w.exclusive = unlock, exclusive
	return nil
}

func (w *work) unlockMutations() {
	if w.unlock != nil {
		w.unlock()
		w.unlock = nil
	}
}

// note takes the fate of an error that is not going to be returned into account, and logs it.
func (w *work) note(err error, what string) {
	if err == nil {
		return
	}
	w.discard = w.discard || fateOf(err) != fateKeep
	w.log.Warn().Err(err).Msg(what)
}

// finish gives everything back. The gate is still held, so that nobody has healed what err shows.
func (w *work) finish(err error) {
	w.unlockMutations()
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		w.dead = w.dead || w.p11.loggedIn(w.s) != nil
	}
	f := fateOf(err)
	w.discard = w.discard || w.dead || f != fateKeep && f != fateStale
	if !w.discard { // session objects die with their session
		for _, h := range w.temps {
			w.note(w.p11.destroyObject(w.s, h), "a session object was not destroyed")
		}
	}
	if w.key != nil {
		w.doneWith(w.key)
	}
	if err := w.pool.giveBack(w.s, !w.discard); err != nil {
		w.log.Debug().Err(err).Msg("a session was not closed")
	}
}

// temp notes a session object for destruction.
func (w *work) temp(h handle, err error) (handle, error) {
	if err == nil {
		w.temps = append(w.temps, h)
	}
	return h, err
}

// find is the cached handle of an object; an unknown one is looked for once.
func (w *work) find(ref Ref) (handle, error) {
	if err := w.lock(w.unlock != nil && w.exclusive); err != nil {
		return 0, err
	}
	w.refs = append(w.refs, ref)
	if e, ok := w.objects.get(ref); ok {
		return e.handle, nil
	}
	if _, ok := classCodes[ref.Class]; !ok || w.objects.isLost(ref) {
		return 0, errNotFound()
	}
	found, err := w.p11.find(w.s, findTemplate(ref))
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		// Without a login private objects are invisible, not gone.
		if err := w.p11.loggedIn(w.s); err != nil {
			return 0, err
		}
		w.objects.lost(ref)
		return 0, errNotFound()
	}
	w.objects.put(ref, entry{handle: found[0]})
	return found[0], nil
}

func errNotFound() error {
	return &Error{Kind: KindNotFound, Call: "find", Text: "no such object"}
}

// vacant refuses a CKA_ID that is taken.
func (w *work) vacant(refs ...Ref) error {
	for _, ref := range refs {
		if _, ok := w.objects.get(ref); ok {
			return &Error{Kind: KindExists, Call: "check", Text: "the CKA_ID is taken"}
		}
	}
	return nil
}

// Info implements Token.
func (d *device) Info() Info {
	return *d.present.Load()
}

// Counters implements Token.
func (d *device) Counters() map[string]Counter { return d.p11.counted() }

// Healthy implements Token.
func (d *device) Healthy(ctx context.Context) error {
	return d.run(ctx, true, func(w *work) error { return w.p11.loggedIn(w.s) })
}

// Random implements Token. It reads in pieces: some tokens refuse more at once.
func (d *device) Random(ctx context.Context, n int) ([]byte, error) {
	if n < 0 {
		return nil, refuse(KindInvalidData, "a negative length")
	}
	out := make([]byte, n)
	err := d.run(ctx, true, func(w *work) error {
		for rest := out; len(rest) > 0; {
			piece := rest[:min(len(rest), 1024)]
			if err := w.p11.random(w.s, piece); err != nil {
				return err
			}
			rest = rest[len(piece):]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
