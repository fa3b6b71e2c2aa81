package keystore

import (
	"crypto/rand"
	"sync"
	"time"

	"kmipd/fips"
	"kmipd/kmip"
)

// Limits of operations in parts (KMIP 1.4 section 4 leaves them to the server). They are what one client can make the
// server hold; maxStreamOctets is also the longest message for the operations that the token does in one call.
const (
	maxStreams      = 64
	maxStreamOctets = 16 << 20
	maxClientOctets = 64 << 20
	maxAllOctets    = 512 << 20
	streamLife      = 10 * time.Minute // between two parts
)

// stream is an operation in parts. A request that works on one has it alone: it is out of the registry until it is kept.
type stream struct {
	id           [16]byte // the Correlation Value
	client, user string
	uid          string
	listener     string       // that it began by
	policy       *fips.Policy // that was asked when it began
	op           kmip.Operation
	work         work
	counted      bool // has a place in the client's quota
	octets       int  // that the quota counts
	expires      time.Time
}

// quota is what one client holds, waiting or at work.
type quota struct{ streams, octets int }

// streams is the registry of operations in parts. They live in memory alone: a client begins anew when the server was
// restarted.
type streams struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	waiting map[[16]byte]*stream
	quotas  map[string]*quota
	octets  int
	next    time.Time // no stream expires before
	closed  bool
}

func newStreams(now func() time.Time) *streams {
	return &streams{now: now, waiting: map[[16]byte]*stream{}, quotas: map[string]*quota{}}
}

// begin makes a stream. One of a single request has no place in the registry.
func (r *streams) begin(call *kmip.Call, op kmip.Operation, parts bool) (*stream, error) {
	st := &stream{client: call.Caller.Client, user: call.Caller.User, uid: call.Target, listener: call.Listener, op: op}
	if !parts {
		return st, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the server is shutting down")
	}
	r.expire()
	q := r.quotas[st.client]
	if q == nil {
		q = &quota{}
		r.quotas[st.client] = q
	}
	if q.streams >= maxStreams {
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the client has %d operations in parts already", maxStreams)
	}
	q.streams++
	st.counted = true
	rand.Read(st.id[:]) // never fails: crypto/rand aborts the process instead
	return st, nil
}

// take finds the stream that a Correlation Value names and takes it out. To anybody but the caller, listener, object and
// operation that began it, it does not exist (KMIP 1.4 sections 11.30 to 11.38: Item Not Found).
func (r *streams) take(call *kmip.Call, op kmip.Operation, correlation []byte) (*stream, error) {
	missing := kmip.Errorf(kmip.ResultReasonItemNotFound, "no operation has this Correlation Value")
	var id [16]byte
	if len(correlation) != len(id) {
		return nil, missing
	}
	copy(id[:], correlation)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	st := r.waiting[id]
	if st == nil || st.client != call.Caller.Client || st.user != call.Caller.User || st.uid != call.Target || st.listener != call.Listener || st.op != op {
		return nil, missing
	}
	delete(r.waiting, id)
	return st, nil
}

// keep puts a stream back to wait for its next part, and returns its Correlation Value. One that holds too much ends.
func (r *streams) keep(st *stream) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.end(st)
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the server is shutting down")
	}
	q := r.quotas[st.client]
	grown := st.work.buffered() - st.octets
	if st.octets+grown > maxStreamOctets || q.octets+grown > maxClientOctets || r.octets+grown > maxAllOctets {
		r.end(st)
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the operation holds more data than the server buffers")
	}
	st.octets += grown
	q.octets += grown
	r.octets += grown
	st.expires = r.now().Add(streamLife)
	if r.next.IsZero() || st.expires.Before(r.next) {
		r.next = st.expires
	}
	r.waiting[st.id] = st
	return st.id[:], nil
}

// drop ends a stream that is at work.
func (r *streams) drop(st *stream) {
	if !st.counted {
		st.end()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(st)
}

func (st *stream) end() {
	if st.work != nil {
		st.work.wipe()
	}
}

// end wipes a stream and frees its place. The caller holds the lock.
func (r *streams) end(st *stream) {
	st.end()
	if !st.counted {
		return
	}
	st.counted = false
	q := r.quotas[st.client]
	q.streams--
	q.octets -= st.octets
	r.octets -= st.octets
	if q.streams == 0 {
		delete(r.quotas, st.client)
	}
}

// sweep ends the streams whose clients did not come back.
func (r *streams) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
}

func (r *streams) expire() {
	now := r.now()
	if r.next.IsZero() || now.Before(r.next) {
		return
	}
	r.next = time.Time{}
	for id, st := range r.waiting {
		switch {
		case !now.Before(st.expires):
			delete(r.waiting, id)
			r.end(st)
		case r.next.IsZero() || st.expires.Before(r.next):
			r.next = st.expires
		}
	}
}

// close ends all streams and lets none begin.
func (r *streams) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for id, st := range r.waiting {
		delete(r.waiting, id)
		r.end(st)
	}
}
