package softhsmtests

import (
	"bytes"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
)

// verify compares the restarted server with the ledger, settles the change that was cut off, and forgets objects whose
// destruction has been confirmed.
func (w *crashWorker) verify(t *testing.T, c *harness.Conn) crashSummary {
	t.Helper()
	var sum crashSummary
	cut := w.cut
	w.cut = nil
	if cut != nil {
		w.uncertain++
		if w.settle(t, c, cut) {
			sum.happened++
		} else {
			sum.notHappened++
		}
	}
	living := w.objects[:0]
	for _, o := range w.objects {
		o.verify(t, c)
		sum.objects++
		if o.state != message.StateDestroyed {
			living = append(living, o)
		} else {
			w.ended = append(w.ended, o)
		}
	}
	w.objects = living
	sum.acknowledged, sum.uncertain = w.acknowledged, w.uncertain
	return sum
}

// settle finds out whether the change that was cut off happened, and books it if so. Anything in between is a failure.
func (w *crashWorker) settle(t *testing.T, c *harness.Conn, cut *cutOff) bool {
	t.Helper()
	o := cut.object
	if o.uid == "" {
		return w.settleCreation(t, c, cut)
	}
	before := *o
	state, note := o.look(t, c)
	switch {
	case state == cut.state && note == cut.note:
		o.state, o.note = cut.state, cut.note
		return true
	case state == before.state && note == before.note:
		return false
	}
	t.Errorf("cut-off %s of %s: state %d and note %q; before it was %d, %q, after it %d, %q",
		cut.what, o.uid, state, note, before.state, before.note, cut.state, cut.note)
	return false
}

// settleCreation looks for the object by its name: it is there whole, or there is nothing.
func (w *crashWorker) settleCreation(t *testing.T, c *harness.Conn, cut *cutOff) bool {
	t.Helper()
	o := cut.object
	found, err := message.Do(c, message.LocateName(o.name))
	if err != nil {
		t.Errorf("cut-off %s: Locate %s: %v", cut.what, o.name, err)
		return false
	}
	ids := found.Identifiers()
	switch len(ids) {
	case 0:
		return false
	case 1:
	default:
		t.Errorf("cut-off %s made %d objects: %v", cut.what, len(ids), ids)
		return false
	}
	o.uid = ids[0]
	if cut.what == "Create Key Pair" {
		o.public = publicHalf(t, c, o)
	} else if o.material == nil {
		got, err := message.Do(c, message.Get(o.uid))
		if err != nil || len(got.Material()) != 32 {
			t.Errorf("cut-off %s of %s left %d octets: %v", cut.what, o.uid, len(got.Material()), err)
		}
		o.material = bytes.Clone(got.Material())
	}
	w.objects = append(w.objects, o)
	return true
}

// publicHalf follows the Link of a private key and wants the public key at its end.
func publicHalf(t *testing.T, c *harness.Conn, o *crashObject) string {
	t.Helper()
	r, err := message.Do(c, message.GetAttributes(o.uid, "Link"))
	if err != nil {
		t.Errorf("links of %s: %v", o.uid, err)
		return ""
	}
	public := message.LinkedIdentifier(r.Attributes()["Link"])
	if public == "" {
		t.Errorf("the private key %s has no link to its public key", o.uid)
		return ""
	}
	return public
}

// look reads State and x-note.
func (o *crashObject) look(t *testing.T, c *harness.Conn) (state uint32, note string) {
	t.Helper()
	r, err := message.Do(c, message.GetAttributes(o.uid, "State", "x-note"))
	if err != nil {
		t.Errorf("%s (%s), acknowledged in state %d: Get Attributes: %v", o.uid, o.name, o.state, err)
		return 0, ""
	}
	return r.State(), r.Attributes()["x-note"].Text()
}

// verify wants the object exactly as it was acknowledged.
func (o *crashObject) verify(t *testing.T, c *harness.Conn) {
	t.Helper()
	state, note := o.look(t, c)
	if state != o.state || note != o.note {
		t.Errorf("%s (%s): got state %d and note %q, acknowledged %d, %q", o.uid, o.name, state, note, o.state, o.note)
	}
	if o.public != "" {
		if _, err := message.Do(c, message.GetAttributes(o.public, "State")); err != nil {
			t.Errorf("%s: its public key %s: %v", o.uid, o.public, err)
		}
		if _, err := message.Do(c, message.Get(o.public)); err != nil {
			t.Errorf("%s: Get of its public key %s: %v", o.uid, o.public, err)
		}
		return
	}
	got, err := message.Do(c, message.Get(o.uid))
	switch {
	case o.state == message.StateDestroyed:
		if err == nil {
			t.Errorf("%s (%s): destroyed, and Get still gives %d octets", o.uid, o.name, len(got.Material()))
		} else if message.ReasonOf(err) == 0 {
			t.Errorf("%s: Get of a destroyed object: %v", o.uid, err)
		}
	case err != nil:
		t.Errorf("%s (%s) in state %d: Get: %v", o.uid, o.name, o.state, err)
	case o.material == nil: // the kill came between Create and the first Get
		o.material = bytes.Clone(got.Material())
	case !bytes.Equal(got.Material(), o.material):
		t.Errorf("%s (%s): Get gives other octets than before the crash", o.uid, o.name)
	}
}
