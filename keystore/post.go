package keystore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// The queues of messages to clients' endpoints. The record store has the messages, this has their numbers. One goroutine
// for each endpoint sends them in order and tries again, later and later, while the endpoint cannot be reached. A request
// never waits for one: all that it does is to write the message with its change.

// Courier carries a message to an endpoint. answered says that the endpoint got it and answered, whatever the answer was:
// then it is not sent again. The answer is the Response Payload, if there is one.
type Courier interface {
	Carry(ctx context.Context, e metadata.Endpoint, op kmip.Operation, payload []byte) (answer ttlv.Item, answered bool, err error)
}

const (
	maxMail      = 10000 // messages of one client; then the oldest go
	mailLifetime = 7 * 24 * time.Hour
	carryTime    = 30 * time.Second // for one attempt
	firstRetry   = time.Second
	lastRetry    = 5 * time.Minute
	maxFailures  = 10 // of making one message
)

// post has a box for each client with an endpoint.
type post struct {
	some atomic.Bool // there are boxes; spares the others the lock
	seq  atomic.Uint64

	mu      sync.RWMutex // guards the fields below and those of every box
	boxes   map[string]*box
	running context.Context // of the senders; nil while none may run
	senders sync.WaitGroup
}

type box struct {
	client   string
	endpoint metadata.Endpoint
	queue    []uint64        // numbers of the messages, ascending
	held     map[uint64]bool // messages whose change may still be taken back
	failed   int             // attempts since the last success
	trouble  string          // of the last attempt
	wake     chan struct{}   // holds a value when there may be something to do
	stop     context.CancelFunc
}

func newPost() *post { return &post{boxes: map[string]*box{}} }

// endpoint is the endpoint of a client, false when it has none.
func (p *post) endpoint(client string) (metadata.Endpoint, bool) {
	if !p.some.Load() {
		return metadata.Endpoint{}, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if b := p.boxes[client]; b != nil {
		return b.endpoint, true
	}
	return metadata.Endpoint{}, false
}

// next is the number of the next message: higher than all before it, also those of earlier runs.
func (p *post) next(now time.Time) uint64 {
	for {
		last := p.seq.Load()
		n := max(uint64(now.UnixNano()), last+1)
		if p.seq.CompareAndSwap(last, n) {
			return n
		}
	}
}

func (b *box) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// add books messages that are stored; held ones wait for release.
func (p *post) add(list []*metadata.Delivery, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range list {
		b := p.boxes[d.Client]
		if b == nil {
			continue // the endpoint went away meanwhile: sweepMail finds the message at the next start
		}
		i, _ := slices.BinarySearch(b.queue, d.Seq)
		b.queue = slices.Insert(b.queue, i, d.Seq)
		if held {
			b.held[d.Seq] = true
		} else {
			b.signal()
		}
	}
}

// release lets messages go.
func (p *post) release(list []*metadata.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range list {
		if b := p.boxes[d.Client]; b != nil {
			delete(b.held, d.Seq)
			b.signal()
		}
	}
}

// remove forgets a message.
func (p *post) remove(k metadata.DeliveryKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.boxes[k.Client]; b != nil {
		if i, ok := slices.BinarySearch(b.queue, k.Seq); ok {
			b.queue = slices.Delete(b.queue, i, i+1)
		}
		delete(b.held, k.Seq)
	}
}

// set gives a client an endpoint, or another one. A sender that runs goes on with it.
func (p *post) set(s *Store, client string, e metadata.Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.boxes[client]
	if b == nil {
		b = &box{client: client, held: map[uint64]bool{}, wake: make(chan struct{}, 1)}
		p.boxes[client] = b
		p.some.Store(true)
	}
	b.endpoint, b.failed = e, 0
	p.startLocked(s, b)
	b.signal()
}

// unset takes the endpoint of a client away and returns the numbers of the messages that nobody will send.
func (p *post) unset(client string) []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.boxes[client]
	if b == nil {
		return nil
	}
	if b.stop != nil {
		b.stop()
	}
	delete(p.boxes, client)
	p.some.Store(len(p.boxes) > 0)
	return b.queue
}

// start lets the senders run until ctx ends.
func (p *post) start(ctx context.Context, s *Store) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = ctx
	for _, b := range p.boxes {
		p.startLocked(s, b)
	}
}

func (p *post) startLocked(s *Store, b *box) {
	if p.running == nil || b.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(p.running)
	b.stop = stop
	p.senders.Go(func() { s.send(ctx, b) })
	b.signal()
}

// close waits for the senders, whose context has ended.
func (p *post) close() {
	p.mu.Lock()
	p.running = nil
	p.mu.Unlock()
	p.senders.Wait()
}

// head is the message to send next: none while it is held. over are those at the front that are too many.
func (p *post) head(b *box) (seq uint64, e metadata.Endpoint, over []uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if extra := len(b.queue) - maxMail; extra > 0 {
		over = slices.Clone(b.queue[:extra])
	}
	if len(b.queue) == 0 || b.held[b.queue[0]] {
		return 0, b.endpoint, over, false
	}
	return b.queue[0], b.endpoint, over, true
}

// outcome books an attempt and tells how long to wait before the next one.
func (p *post) outcome(b *box, err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		b.failed, b.trouble = 0, ""
		return 0
	}
	wait := lastRetry
	if b.failed < 16 {
		wait = min(firstRetry<<b.failed, lastRetry)
	}
	b.failed++
	b.trouble = err.Error()
	return wait
}

// failures is the number of attempts since the last message that arrived.
func (p *post) failures(b *box) int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return b.failed
}

// EndpointStatus is what an administrator sees of an endpoint.
type EndpointStatus struct {
	metadata.Endpoint
	Queued   int    `json:"queued"`
	Attempts int    `json:"failed_attempts"` // since the last message that arrived
	Trouble  string `json:"trouble,omitempty"`
}

func (p *post) status(client string) (EndpointStatus, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	b := p.boxes[client]
	if b == nil {
		return EndpointStatus{}, false
	}
	return EndpointStatus{b.endpoint, len(b.queue), b.failed, b.trouble}, true
}
