package harness

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/rawttlv"
)

func TestAddress(t *testing.T) {
	for line, want := range map[string]string{
		"ready 127.0.0.1:43211 tls=1.3":               "127.0.0.1:43211",
		"ready: listening on [::1]:5696":              "[::1]:5696",
		"ready kmip.example.com:5696 dir=/tmp/x:y":    "kmip.example.com:5696",
		"ready listen=127.0.0.1:1 admin=127.0.0.1:22": "127.0.0.1:1",
		"ready": "",
	} {
		if got := address(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	var x tail
	for range 300 {
		x.Write(bytes.Repeat([]byte("a"), 1024))
	}
	x.Write([]byte("end"))
	if s := x.String(); len(s) != tailSize || !strings.HasSuffix(s, "end") {
		t.Errorf("got %d octets", len(s))
	}
}

// TestStart runs a stand-in for kmipd: stopped by SIGTERM, killed by SIGKILL, and one that never gets ready.
func TestStart(t *testing.T) {
	if Module() == "" {
		t.Skip("Binary asks for SoftHSM2 first")
	}
	script := filepath.Join(t.TempDir(), "kmipd")
	const text = `#!/bin/sh
trap 'echo bye; exit 0' TERM
[ -e "$3/broken" ] && { echo "no token" >&2; exit 3; }
echo "ready 127.0.0.1:4711"
while :; do sleep 0.05; done
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KMIPD_BINARY", script)
	s := Start(t, t.TempDir())
	if s.Addr != "127.0.0.1:4711" {
		t.Errorf("got address %q", s.Addr)
	}
	s.Stop()
	if s.running() || !strings.Contains(s.Output(), "bye") {
		t.Errorf("SIGTERM did not end it in order: %q", s.Output())
	}
	s = Start(t, t.TempDir())
	s.Kill()
	if s.running() {
		t.Error("SIGKILL did not end it")
	}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600)
	if _, err := launch(t, dir, nil); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("got %v, want the server's own words", err)
	}
	if len(live.servers) != 0 {
		t.Errorf("%d processes are still known", len(live.servers))
	}
}

// TestConn exchanges messages with a small TLS peer: answers in pieces, large answers, an end in the middle.
func TestConn(t *testing.T) {
	pair, err := SelfSigned("peer")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{*pair}}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	answers := [][]byte{
		rawttlv.MustEncode(rawttlv.Struct(0x42007B, rawttlv.Int(0x420020, 1))),
		rawttlv.MustEncode(rawttlv.Struct(0x42007B, rawttlv.Bytes(0x420020, make([]byte, 100000)))),
		rawttlv.MustEncode(rawttlv.Struct(0x42007B)),
	}
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for _, a := range answers {
			if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
				return
			}
			c.Write(a[:5])
			time.Sleep(5 * time.Millisecond)
			c.Write(a[5:])
		}
		io.ReadFull(c, make([]byte, 8))
		c.Write(answers[0][:9])
	}()
	c, err := Dial(listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := rawttlv.MustEncode(rawttlv.Struct(0x420078))
	for i, want := range answers {
		got, err := c.RoundTrip(request)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("answer %d: got %d octets, %v", i, len(got), err)
		}
	}
	if _, err := c.RoundTrip(request); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("a cut answer: got %v", err)
	}
}

// What came after a mark stays what it is when the beginning of the output is not kept any more.
func TestOutputSinceMark(t *testing.T) {
	var out tail
	out.Write([]byte("before"))
	at := out.mark()
	for range 4 {
		out.Write(bytes.Repeat([]byte("x"), tailSize/2))
	}
	late := out.mark()
	out.Write([]byte("after"))
	if got := out.since(at); !strings.HasSuffix(got, "xafter") || strings.Contains(got, "before") {
		t.Errorf("got %d octets", len(got))
	}
	if got := out.since(late); got != "after" {
		t.Errorf("got %q", got)
	}
	if got := out.since(out.mark()); got != "" {
		t.Errorf("after the end: got %q", got)
	}
}
