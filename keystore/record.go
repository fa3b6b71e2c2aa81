package keystore

import (
	"slices"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// object is a record with the reading of its attributes that the rules need.
type object struct {
	*metadata.Record
}

// get is the first instance of an attribute, or the zero Item.
func (o object) get(name string) ttlv.Item {
	for i := range o.Attributes {
		if o.Attributes[i].Name == name {
			return o.Attributes[i].Value
		}
	}
	return ttlv.Item{}
}

// find is the position of an instance, or -1.
func (o object) find(name string, index int32) int {
	return slices.IndexFunc(o.Attributes, func(a metadata.Attribute) bool { return a.Name == name && a.Index == index })
}

func (o object) count(name string) int {
	n := 0
	for i := range o.Attributes {
		if o.Attributes[i].Name == name {
			n++
		}
	}
	return n
}

// put sets instance 0 of a single-instance attribute.
func (o object) put(name string, v ttlv.Item) {
	if i := o.find(name, 0); i >= 0 {
		o.Attributes[i].Value = v
		return
	}
	o.Attributes = append(o.Attributes, metadata.Attribute{Name: name, Value: v})
}

// add appends an instance under the next free index: indexes are never renumbered (KMIP 1.4 section 2.1.1).
func (o object) add(name string, v ttlv.Item) int32 {
	var next int32
	at := len(o.Attributes)
	for i := range o.Attributes {
		if o.Attributes[i].Name == name {
			next = max(next, o.Attributes[i].Index+1)
			at = i + 1
		}
	}
	o.Attributes = slices.Insert(o.Attributes, at, metadata.Attribute{Name: name, Index: next, Value: v})
	return next
}

func (o object) remove(i int) { o.Attributes = slices.Delete(o.Attributes, i, i+1) }

// date is a Date-Time attribute, zero when absent. The largest value means "undefined" too (KMIP 1.4 section 4.9).
func (o object) date(name string) time.Time {
	v := o.get(name)
	if v.Type != ttlv.DateTime || v.Long() == maxDate {
		return time.Time{}
	}
	return v.Time()
}

const maxDate = int64(^uint64(0) >> 1)

func (o object) flag(name string) bool {
	v := o.get(name)
	return v.Type == ttlv.Boolean && v.Bool()
}

func (o object) usage() kmip.CryptographicUsageMask {
	if v := o.get("Cryptographic Usage Mask"); v.Type == ttlv.Integer {
		return kmip.CryptographicUsageMask(v.Int())
	}
	return 0
}

func (o object) algorithm() kmip.CryptographicAlgorithm {
	if v := o.get("Cryptographic Algorithm"); v.Type == ttlv.Enumeration {
		return kmip.CryptographicAlgorithm(v.Enum())
	}
	return 0
}

func (o object) length() int {
	if v := o.get("Cryptographic Length"); v.Type == ttlv.Integer {
		return int(v.Int())
	}
	return 0
}

// state evaluates the State at an instant from the dates (KMIP 1.4 section 3.22): no stored state can be late. Templates
// have none.
func (o object) state(now time.Time) kmip.State {
	compromised := !o.get("Compromise Date").IsZero()
	if o.Phase != metadata.PhaseLive {
		if compromised {
			return kmip.StateDestroyedCompromised
		}
		return kmip.StateDestroyed
	}
	if compromised {
		return kmip.StateCompromised
	}
	activation := o.date("Activation Date")
	if activation.IsZero() || activation.After(now) {
		return kmip.StatePreActive
	}
	if d := o.date("Deactivation Date"); !d.IsZero() && !d.After(now) {
		return kmip.StateDeactivated
	}
	return kmip.StateActive
}

// transitions are the dates whose coming changes the state.
func (o object) transitions() [2]time.Time {
	return [2]time.Time{o.date("Activation Date"), o.date("Deactivation Date")}
}

// lastChange is the Last Change Date, moved on by transitions that have come since it was written.
func (o object) lastChange(now time.Time) time.Time {
	last := o.date("Last Change Date")
	if o.Phase != metadata.PhaseLive || o.ObjectType == kmip.ObjectTypeTemplate {
		return last
	}
	for _, d := range o.transitions() {
		if !d.IsZero() && d.After(last) && !d.After(now) {
			last = d
		}
	}
	return last
}

// changed notes a change at an instant and when the next transition is due.
func (o object) changed(now time.Time) {
	o.put("Last Change Date", timeValue(now))
	o.schedule(now)
}

// schedule notes when the next transition is due.
func (o object) schedule(now time.Time) {
	o.Due = time.Time{}
	if o.Phase != metadata.PhaseLive || o.ObjectType == kmip.ObjectTypeTemplate {
		return
	}
	for _, d := range o.transitions() {
		if d.After(now) && (o.Due.IsZero() || d.Before(o.Due)) {
			o.Due = d
		}
	}
}
