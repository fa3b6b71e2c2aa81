package softhsmtests

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// bencher holds what the measurements share. Requests are encoded once; a turn only copies octets.
type bencher struct {
	server   *harness.Server
	tls      *tls.Config
	settings benchSettings
	admin    *harness.Conn // prepares objects

	requests struct{ null, create, pair, register, random []byte }
	gets     [][]byte
	wraps    [][]byte
	attrs    [][]byte
	locates  [][]byte
	encrypts [][]byte
	gcms     [][]byte
	decrypts [][]byte
	signs    [][]byte
	rsas     [][]byte
	macs     [][]byte
	lives    lives
	next     atomic.Uint64
}

const benchKeys = 64 // objects that Get and its like take in turn

func newBencher(s *harness.Server, settings benchSettings) (*bencher, error) {
	b := &bencher{server: s, settings: settings}
	var err error
	if b.tls, err = harness.TLS(s.Dir); err != nil {
		return nil, err
	}
	if b.admin, err = harness.Dial(s.Addr, b.tls); err != nil {
		return nil, err
	}
	b.requests.null = encode(message.DiscoverVersions())
	b.requests.create = encode(message.CreateAES(256))
	b.requests.pair = encode(message.CreateP256())
	b.requests.register = encode(message.RegisterAES(bytes.Repeat([]byte{0x5A, 0xA5}, 16)))
	b.requests.random = encode(message.RNGRetrieve(32))
	kek, err := message.Do(b.admin, message.CreateKEK())
	if err != nil {
		return nil, fmt.Errorf("wrapping key: %w", err)
	}
	if _, err := message.Do(b.admin, message.Activate(kek.Identifier())); err != nil {
		return nil, fmt.Errorf("wrapping key: %w", err)
	}
	for range benchKeys {
		r, err := message.Do(b.admin, message.CreateAES(256))
		if err != nil {
			return nil, err
		}
		uid := r.Identifier()
		b.gets = append(b.gets, encode(message.Get(uid)))
		if _, err := message.Do(b.admin, message.Activate(uid)); err != nil {
			return nil, err
		}
		b.encrypts = append(b.encrypts, encode(message.EncryptCBC(uid, make([]byte, 16), make([]byte, 1024))))
		b.wraps = append(b.wraps, encode(message.GetWrapped(uid, kek.Identifier())))
		b.attrs = append(b.attrs, encode(message.GetAttributes(uid, "State", "Cryptographic Algorithm", "Cryptographic Length",
			"Cryptographic Usage Mask", "Name")))
	}
	return b, b.makeSigns()
}

// makeSigns makes private keys that sign.
func (b *bencher) makeSigns() error {
	for range benchKeys {
		r, err := message.Do(b.admin, message.CreateP256())
		if err != nil {
			return err
		}
		private, _ := r.PairIdentifiers()
		if _, err := message.Do(b.admin, message.Activate(private)); err != nil {
			return err
		}
		b.signs = append(b.signs, encode(message.SignSHA256(private, make([]byte, 64))))
	}
	return nil
}

func encode(item message.Item) []byte { return rawttlv.MustEncode(message.Request(item)) }

// benchClient is one connection with its buffers.
type benchClient struct {
	conn *harness.Conn
}

// success is an encoded Result Status of Success.
var success = []byte{0x42, 0x00, 0x7F, 5, 0, 0, 0, 4, 0, 0, 0, 0}

// send makes one exchange and looks only at the Result Status, which costs the client nearly nothing.
func (c *benchClient) send(request []byte) error {
	answer, err := c.conn.RoundTrip(request)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, success) {
		return fmt.Errorf("refused: %x", answer)
	}
	return nil
}

func (b *bencher) turn(requests [][]byte) []byte {
	return requests[b.next.Add(1)%uint64(len(requests))]
}

func (b *bencher) null(c *benchClient) error       { return c.send(b.requests.null) }
func (b *bencher) create(c *benchClient) error     { return c.send(b.requests.create) }
func (b *bencher) pair(c *benchClient) error       { return c.send(b.requests.pair) }
func (b *bencher) register(c *benchClient) error   { return c.send(b.requests.register) }
func (b *bencher) get(c *benchClient) error        { return c.send(b.turn(b.gets)) }
func (b *bencher) wrapped(c *benchClient) error    { return c.send(b.turn(b.wraps)) }
func (b *bencher) attributes(c *benchClient) error { return c.send(b.turn(b.attrs)) }
func (b *bencher) locate(c *benchClient) error     { return c.send(b.turn(b.locates)) }
func (b *bencher) encrypt(c *benchClient) error    { return c.send(b.turn(b.encrypts)) }
func (b *bencher) sign(c *benchClient) error       { return c.send(b.turn(b.signs)) }

// lives are keys made beforehand that serve for one turn, each with the requests of it.
type lives struct {
	all  [][][]byte
	used atomic.Int64
}

func (l *lives) refill() { l.used.Store(0) }

// errNoMore ends a measurement early, when the prepared objects are used up.
var errNoMore = errors.New("no more prepared objects")

func (b *bencher) life(c *benchClient) error {
	i := int(b.lives.used.Add(1)) - 1
	if i >= len(b.lives.all) {
		return errNoMore
	}
	for _, request := range b.lives.all[i] {
		if err := c.send(request); err != nil {
			return err
		}
	}
	return nil
}

// makeLives makes keys whose life the benchmark plays to the end.
func (b *bencher) makeLives(int) error {
	return b.makeOnce(func(c *harness.Conn) ([][]byte, error) {
		r, err := message.Do(c, message.CreateAES(256))
		if err != nil {
			return nil, err
		}
		uid := r.Identifier()
		return [][]byte{encode(message.Activate(uid)), encode(message.Revoke(uid, false)), encode(message.Destroy(uid))}, nil
	})
}

// makeOnce makes as many keys as it can in twice the time of a measurement. The function makes one, and the requests of
// its turn.
func (b *bencher) makeOnce(f func(*harness.Conn) ([][]byte, error)) error {
	b.lives.all = nil
	b.lives.refill()
	var mu sync.Mutex
	began := time.Now()
	return b.prepare(func(c *harness.Conn) (bool, error) {
		requests, err := f(c)
		if err != nil {
			return false, err
		}
		mu.Lock()
		defer mu.Unlock()
		b.lives.all = append(b.lives.all, requests)
		return time.Since(began) < 2*b.settings.length && len(b.lives.all) < 20000, nil
	})
}

// makeNames makes the objects among which Locate searches, once. It stops after 90 seconds, and says how many there are.
func (b *bencher) makeNames(int) error {
	if b.locates != nil {
		return nil
	}
	var made atomic.Int64
	began := time.Now()
	err := b.prepare(func(c *harness.Conn) (bool, error) {
		i := made.Add(1)
		if int(i) > b.settings.objects {
			return false, nil
		}
		_, err := message.Do(c, message.CreateAES(256, message.NameAttribute(benchName(int(i)))))
		return time.Since(began) < 90*time.Second, err
	})
	count := min(int(made.Load()), b.settings.objects)
	fmt.Printf("(%d named objects made in %.0f s)\n", count, time.Since(began).Seconds())
	for i := 1; i <= count; i += max(1, count/1000) {
		b.locates = append(b.locates, encode(message.LocateName(benchName(i))))
	}
	return err
}

func benchName(i int) string { return fmt.Sprintf("bench-%06d", i) }

// prepare calls f on 16 connections until it says no.
func (b *bencher) prepare(f func(*harness.Conn) (bool, error)) error {
	clients, err := b.dial(16)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for more := true; more && errs[i] == nil; {
				more, errs[i] = f(c.conn)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (b *bencher) dial(n int) ([]*benchClient, error) {
	var out []*benchClient
	for range n {
		c, err := harness.Dial(b.server.Addr, b.tls)
		if err != nil {
			closeAll(out)
			return nil, err
		}
		out = append(out, &benchClient{conn: c})
	}
	return out, nil
}

func closeAll(clients []*benchClient) {
	for _, c := range clients {
		c.conn.Close()
	}
}

// drive lets every client work for the length of a measurement and returns the number of KMIP operations.
func (b *bencher) drive(clients []*benchClient, op benchOperation) (count int, elapsed time.Duration, err error) {
	var done atomic.Int64
	errs := make([]error, len(clients))
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for time.Since(began) < b.settings.length {
				if err := op.turn(b, c); err != nil {
					if !errors.Is(err, errNoMore) {
						errs[i] = err
					}
					return
				}
				done.Add(int64(op.perToken))
			}
		})
	}
	wg.Wait()
	return int(done.Load()), time.Since(began), errors.Join(errs...)
}
