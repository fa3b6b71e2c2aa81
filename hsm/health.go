package hsm

import (
	"crypto/subtle"
	"sync"
)

// healthBlock is the block of the continuous test of the random number generator in octets.
const healthBlock = 16

// health is the continuous test: no two blocks that follow each other are the same, over all calls of one generator. Two
// equal blocks of a good generator come once in 2^128.
type health struct {
	mu   sync.Mutex
	last [healthBlock]byte // guarded by mu
	any  bool              // last holds a block; guarded by mu
}

// check looks at whole blocks, in the order in which the calls of the generator ended.
func (h *health) check(out []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ; len(out) >= healthBlock; out = out[healthBlock:] {
		if h.any && subtle.ConstantTimeCompare(h.last[:], out[:healthBlock]) == 1 {
			return refuse(KindEntropy, "the random number generator repeated a block")
		}
		copy(h.last[:], out)
		h.any = true
	}
	return nil
}

// The health tests of NIST SP 800-90B section 4.4 over the octets of one sample, for 8 bits of entropy an octet and a
// false alarm once in 2^30: a smoke test of what the token gives out, and no claim about its noise source, which only the
// token itself sees.
const (
	healthSample     = 4096
	repetitionCutoff = 5   // 1 + ceil(30 / 8), section 4.4.1
	adaptiveWindow   = 512 // section 4.4.2, samples with more than two values
	adaptiveCutoff   = 16  // 1 + critbinom(512, 2^-8, 1 - 2^-30)
)

// checkSample applies both tests to a sample.
func checkSample(sample []byte) error {
	run := 1
	for i := 1; i < len(sample); i++ {
		if sample[i] != sample[i-1] {
			run = 1
			continue
		}
		if run++; run >= repetitionCutoff {
			return refuse(KindEntropy, "the random number generator failed the repetition count test")
		}
	}
	for w := sample; len(w) >= adaptiveWindow; w = w[adaptiveWindow:] {
		n := 0
		for _, b := range w[:adaptiveWindow] {
			if b == w[0] {
				n++
			}
		}
		if n >= adaptiveCutoff {
			return refuse(KindEntropy, "the random number generator failed the adaptive proportion test")
		}
	}
	return nil
}
