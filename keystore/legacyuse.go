package keystore

import (
	"sync"

	"kmipd/fips"
	"kmipd/keystore/evidence"
	"kmipd/kmip"
)

// legacyUses counts, since the start, the uses of keys that a policy lets process what exists and no more.
type legacyUses struct {
	mu     sync.Mutex
	counts map[fips.Use]uint64 // guarded by mu
}

func (l *legacyUses) note(use fips.Use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[fips.Use]uint64{}
	}
	l.counts[use]++
}

// legacyOperations are the operations by which clients make each use; others (a wrapped Register) count by their use alone.
var legacyOperations = map[fips.Use]kmip.Operation{fips.Decrypt: kmip.OperationDecrypt, fips.Verify: kmip.OperationSignatureVerify,
	fips.MACVerify: kmip.OperationMACVerify}

// split gives the legacy uses, and what is left of the operations that succeeded. A legacy use that then failed is among the
// refusals and counts as legacy all the same.
func (l *legacyUses) split(succeeded []evidence.Count) (legacy, approved []evidence.Count) {
	l.mu.Lock()
	defer l.mu.Unlock()
	legacy, approved = []evidence.Count{}, []evidence.Count{}
	less := map[string]uint64{}
	for use := fips.Generate; use <= fips.Agree; use++ {
		n := l.counts[use]
		if n == 0 {
			continue
		}
		legacy = append(legacy, evidence.Count{Operation: use.String(), Count: n})
		if op := legacyOperations[use]; op != 0 {
			less[op.String()] = n
		}
	}
	for _, c := range succeeded {
		c.Count -= min(c.Count, less[c.Operation])
		approved = append(approved, c)
	}
	return legacy, approved
}
