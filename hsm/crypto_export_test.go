package hsm

import "testing"

// MovedKeys counts the copies that are kept for HMAC.
func MovedKeys(tok Token) int {
	m := tok.(*device).movedKeys
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byID) != m.order.Len() {
		panic("the list and the map disagree")
	}
	return m.order.Len()
}

// BreakMoved destroys all copies kept for HMAC.
func BreakMoved(t testing.TB, tok Token) {
	behind(t, tok, func(d *device, s session) error {
		for _, e := range d.movedKeys.byID {
			_ = d.p11.destroyObject(s, elementKey(e).handle) // may be gone by now
		}
		return nil
	})
}
