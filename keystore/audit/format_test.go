package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/metadata"
)

func sample() *metadata.AuditEntry {
	p := Event{Kind: KindOperation, Outcome: Failure, Operation: "Get", Client: `a|b=c"]\`, User: "u", Address: "192.0.2.1:4711",
		Objects: []Object{{UID: "k1"}, {UID: "k2"}}, Reason: "PermissionDenied", Message: "no = no", Policy: "fips140"}.Encode(noon)
	return &metadata.AuditEntry{Seq: 7, Payload: p, Hash: metadata.AuditHash(7, metadata.AuditDigest{}, p)}
}

func TestFormats(t *testing.T) {
	e := sample()
	line := string(trimNewline(AppendLine(nil, e)))
	for _, c := range []struct {
		format Format
		want   string
	}{
		{JSONLines, line},
		{Syslog, `<108>1 2026-03-01T12:00:00.000000Z host kmipd - operation [kmipd@32473 seq="7" outcome="failure" operation="Get" ` +
			`client="a|b=c\"\]\\" user="u" address="192.0.2.1:4711" uid="k1,k2" reason="PermissionDenied" policy="fips140"] ` + line},
		{CEF, `CEF:0|kmipd|kmipd|1.0|operation|Get|6|rt=1772366400000 externalId=7 act=Get outcome=failure reason=PermissionDenied ` +
			`msg=no \= no suser=a|b\=c"]\\ src=192.0.2.1 spt=4711 cs1Label=object cs1=k1,k2 cs2Label=hash cs2=` + fmt.Sprintf("%x", e.Hash) +
			` cs3Label=policy cs3=fips140 cs5Label=user cs5=u`},
	} {
		f := Formatter{Format: c.format, Version: "1.0", Host: "host"}
		got, err := f.Append(nil, e)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", c.format, got, err, c.want)
		}
	}
}

// received reads messages with octet counting and sends their sequence numbers.
func received(c net.Conn, seqs chan<- string) {
	r := bufio.NewReader(c)
	for {
		count, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil {
			return
		}
		msg := make([]byte, n)
		if _, err := io.ReadFull(r, msg); err != nil {
			return
		}
		_, rest, _ := strings.Cut(string(msg), `seq="`)
		seq, _, _ := strings.Cut(rest, `"`)
		seqs <- seq
	}
}

// All records arrive, over a broken connection and a restart, in order, and the next one after a restart is the next one.
func TestForwarder(t *testing.T) {
	tr := newTrail(t)
	tr.usual()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	receiver, err := ParseReceiver("tcp://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	seqs := make(chan string, 1000)
	go func() {
		for first := true; ; first = false {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if first {
				c.Close() // a receiver that is not well
				continue
			}
			go received(c, seqs)
		}
	}()
	wake := make(chan struct{}, 1)
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		f := &Forwarder{Dir: tr.dir, Receiver: receiver, Formatter: Formatter{Format: Syslog}, Log: zerolog.Nop(), Wake: wake}
		go func() { defer close(done); f.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	next := uint64(1)
	await := func(through uint64) {
		t.Helper()
		for next <= through {
			select {
			case s := <-seqs:
				n, _ := strconv.ParseUint(s, 10, 64)
				if n > next {
					t.Fatalf("record %d arrives after %d", n, next-1)
				}
				if n == next {
					next++
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("record %d does not arrive", next)
			}
		}
	}
	stop := run()
	// What went into the connection that broke may be lost to the receiver until something more is written.
	deadline := time.After(10 * time.Second)
	for len(seqs) == 0 {
		tr.operations(1)
		tr.flush(false)
		select {
		case wake <- struct{}{}:
		default:
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatal("nothing arrives")
		}
	}
	await(tr.head.Seq)
	stop()
	tr.operations(3)
	tr.flush(false)
	stop = run()
	await(tr.head.Seq)
	stop()
	if c := Cursor(tr.dir); c == 0 || c > tr.head.Seq {
		t.Errorf("the cursor is %d of %d", c, tr.head.Seq)
	}
}

func TestReceivers(t *testing.T) {
	for s, ok := range map[string]bool{
		"tcp+tls://logs.example.com:6514": true, "tcp://[::1]:601": true, "udp://10.0.0.1:514": true, "unix:///dev/log": true,
		"logs.example.com:514": false, "http://x:1": false, "tcp://x": false, "unix://dev/log": false, "": false, "tcp://x:1/y": false,
	} {
		if _, err := ParseReceiver(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
