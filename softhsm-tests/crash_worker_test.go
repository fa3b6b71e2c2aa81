package softhsmtests

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
)

// crashWorker loads the server over one connection at a time and keeps a ledger of what was acknowledged.
type crashWorker struct {
	number       int
	made         int // for unique names
	objects      []*crashObject
	ended        []*crashObject // those whose destruction has been confirmed
	cut          *cutOff        // the change that was under way when the server died
	acknowledged int
	uncertain    int
	answered     atomic.Int64 // acknowledged, for those who watch
}

// crashObject is one object as the server has acknowledged it.
type crashObject struct {
	uid, name string
	public    string // the other half of a key pair
	material  []byte // nil until Get gave it (or for a pair)
	state     uint32
	note      string // value of x-note, "" while there is none
}

// cutOff is a change without an answer. For a creation the object is known by name only.
type cutOff struct {
	what   string
	object *crashObject
	state  uint32 // State after it, if it happened
	note   string // x-note after it, if it happened
}

func newCrashWorker(number int) *crashWorker { return &crashWorker{number: number} }

// load changes things until the connection breaks, which is how the kill shows; a refusal is an error.
func (w *crashWorker) load(c *harness.Conn) error {
	for {
		if err := w.change(c); err != nil {
			if message.ReasonOf(err) != 0 {
				return err
			}
			return nil // the server is gone
		}
		w.cut = nil
	}
}

// change makes one random change and books it when the answer is there.
func (w *crashWorker) change(c *harness.Conn) error {
	o := w.pick()
	switch n := mathrand.IntN(100); {
	case o == nil || n < 20:
		return w.create(c)
	case n < 40:
		return w.register(c)
	case n < 43:
		return w.pair(c)
	case n < 65 && o.state == message.StatePreActive:
		return w.transition(c, o, "Activate", message.Activate(o.uid), message.StateActive)
	case n < 75 && o.state == message.StateActive:
		return w.transition(c, o, "Revoke", message.Revoke(o.uid, false), message.StateDeactivated)
	case n < 85 && o.state != message.StateActive && o.public == "":
		return w.transition(c, o, "Destroy", message.Destroy(o.uid), message.StateDestroyed)
	}
	return w.annotate(c, o)
}

// pick is a random living object, recent ones more often.
func (w *crashWorker) pick() *crashObject {
	for range 8 {
		if len(w.objects) == 0 {
			return nil
		}
		recent := min(len(w.objects), 40)
		o := w.objects[len(w.objects)-1-mathrand.IntN(recent)]
		if o.state != message.StateDestroyed {
			return o
		}
	}
	return nil
}

func (w *crashWorker) newObject(kind string) *crashObject {
	w.made++
	return &crashObject{name: fmt.Sprintf("crash-%d-%d-%s-%d", os.Getpid(), w.number, kind, w.made), state: message.StatePreActive}
}

// send announces a change, makes it, and counts its acknowledgement.
func (w *crashWorker) send(c *harness.Conn, item message.Item, cut cutOff) (message.Result, error) {
	w.cut = &cut
	r, err := message.Do(c, item)
	if err != nil {
		return r, err
	}
	w.acknowledged++
	w.answered.Add(1)
	return r, nil
}

func (w *crashWorker) create(c *harness.Conn) error {
	o := w.newObject("created")
	r, err := w.send(c, message.CreateAES(256, message.NameAttribute(o.name)), cutOff{what: "Create", object: o})
	if err != nil {
		return err
	}
	o.uid, w.cut = r.Identifier(), nil
	w.objects = append(w.objects, o)
	got, err := message.Do(c, message.Get(o.uid))
	if err == nil {
		o.material = append([]byte(nil), got.Material()...)
	}
	return err
}

func (w *crashWorker) register(c *harness.Conn) error {
	o := w.newObject("registered")
	o.material = make([]byte, []int{16, 24, 32}[mathrand.IntN(3)])
	rand.Read(o.material)
	r, err := w.send(c, message.RegisterAES(o.material, message.NameAttribute(o.name)), cutOff{what: "Register", object: o})
	if err != nil {
		return err
	}
	o.uid = r.Identifier()
	w.objects = append(w.objects, o)
	return nil
}

func (w *crashWorker) pair(c *harness.Conn) error {
	o := w.newObject("pair")
	r, err := w.send(c, message.CreateP256(message.NameAttribute(o.name)), cutOff{what: "Create Key Pair", object: o})
	if err != nil {
		return err
	}
	o.uid, o.public = r.PairIdentifiers()
	w.objects = append(w.objects, o)
	return nil
}

func (w *crashWorker) transition(c *harness.Conn, o *crashObject, what string, item message.Item, to uint32) error {
	if _, err := w.send(c, item, cutOff{what: what, object: o, state: to, note: o.note}); err != nil {
		return fmt.Errorf("%s of %s in state %d: %w", what, o.uid, o.state, err)
	}
	o.state = to
	return nil
}

// annotate adds the attribute x-note, or changes it.
func (w *crashWorker) annotate(c *harness.Conn, o *crashObject) error {
	if o == nil || o.state == message.StateDestroyed {
		return w.create(c)
	}
	note := fmt.Sprintf("note %d of %d", mathrand.IntN(1e6), time.Now().UnixNano())
	what, item := "Add Attribute", message.AddAttribute(o.uid, "x-note", note)
	if o.note != "" {
		what, item = "Modify Attribute", message.ModifyAttribute(o.uid, "x-note", note)
	}
	if _, err := w.send(c, item, cutOff{what: what, object: o, state: o.state, note: note}); err != nil {
		return fmt.Errorf("%s of %s: %w", what, o.uid, err)
	}
	o.note = note
	return nil
}
