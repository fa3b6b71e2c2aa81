package main

import "os"

// spareHeap is memory that the server lets garbage take before it is worth collecting, in octets.
const spareHeap = 64 << 20

// ballast is never touched, so the system gives it no memory. The garbage collector counts it as in use.
var ballast []byte

// collectLater has the garbage collector run at no less than spareHeap octets of garbage. It begins a round when the heap has
// doubled; a server with a few megabytes in use would have dozens of rounds a second under load, which cost it as much as
// opening every record anew. Who sets the collector from outside gets what was set.
func collectLater() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		ballast = make([]byte, spareHeap)
	}
}
