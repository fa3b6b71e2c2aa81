package notifier

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/internal/tlstest"
	"kmipd/kmip/ttlv"
)

// receiver is a client's endpoint: it takes one message on each connection and gives the answer.
type receiver struct {
	addr     string
	messages chan []byte
	peers    chan string
	arrived  func() // called when a message is there; nil for nothing
}

func listen(t *testing.T, config *tls.Config, answer []byte) *receiver {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &receiver{addr: l.Addr().String(), messages: make(chan []byte, 10), peers: make(chan string, 10)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c.(*tls.Conn), answer)
		}
	}()
	return r
}

func (r *receiver) serve(c *tls.Conn, answer []byte) {
	defer c.Close()
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	body := make([]byte, binary.BigEndian.Uint32(head[4:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	r.peers <- c.ConnectionState().PeerCertificates[0].Subject.CommonName
	r.messages <- append(head, body...)
	if answer == nil {
		r.arrived()
		_, _ = io.Copy(io.Discard, c) // never answers
	}
	_, _ = c.Write(answer)
}

func answerOf(status kmip.ResultStatus, reason kmip.ResultReason, payload ...byte) []byte {
	h := kmip.ResponseHeader{ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: 1, ProtocolVersionMinor: 2}, TimeStamp: time.Unix(1, 0), BatchCount: 1}
	it := kmip.ResponseBatchItem{Operation: kmip.OperationNotify, ResultStatus: status, ResultReason: reason}
	if len(payload) > 0 {
		it.ResponsePayload = ttlv.Make(payload)
	}
	b, mark := ttlv.Begin(nil, kmip.TagResponseMessage)
	b = h.Append(b, kmip.TagResponseHeader, kmip.V1_2)
	return ttlv.End(it.Append(b, kmip.TagBatchItem, kmip.V1_2), mark)
}

func payload() []byte {
	b, mark := ttlv.Begin(nil, kmip.TagRequestPayload)
	return ttlv.End(ttlv.AppendText(b, kmip.TagUniqueIdentifier, "u"), mark)
}

func TestCarry(t *testing.T) {
	clients, servers := tlstest.New(t), tlstest.New(t)
	config := clients.Server()
	config.ClientCAs, config.ClientAuth = servers.Pool(), tls.RequireAndVerifyClientCert
	courier := &Courier{Certificates: servers.Client("kmipd").Certificates}
	for _, tc := range []struct {
		name     string
		answer   []byte
		answered bool
		fails    string
	}{
		{"success", answerOf(kmip.ResultStatusSuccess, 0), true, ""},
		{"payload", answerOf(kmip.ResultStatusSuccess, 0, (&kmip.QueryResponse{Operation: []kmip.Operation{kmip.OperationQuery}}).Append(nil, kmip.TagResponsePayload, kmip.V1_2)...), true, ""},
		{"refusal", answerOf(kmip.ResultStatusOperationFailed, kmip.ResultReasonOperationNotSupported), true, "Operation Not Supported"},
		{"no answer", nil, false, "context canceled"},
		{"end of connection", []byte{}, false, "EOF"},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false, "Response Message"},
		{"empty", ttlv.End(ttlv.Begin(nil, kmip.TagResponseMessage)), false, "Batch Item"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := listen(t, config, tc.answer)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if tc.answer == nil { // the time is over when the message has arrived
				r.arrived = cancel
			}
			answer, answered, err := courier.Carry(ctx, endpoint(t, clients, r.addr), kmip.OperationNotify, payload())
			if answered != tc.answered || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("got %t, %v", answered, err)
			}
			if got := answer.Find(kmip.TagOperation); got.IsZero() == (tc.name == "payload") {
				t.Errorf("got the payload %v", answer)
			}
			if peer := <-r.peers; peer != "kmipd" {
				t.Errorf("the endpoint sees %q", peer)
			}
			checkMessage(t, <-r.messages)
		})
	}
}

// An endpoint over HTTPS gets the same message, as the body of a request.
func TestCarryOverHTTPS(t *testing.T) {
	clients, servers := tlstest.New(t), tlstest.New(t)
	config := clients.Server()
	config.ClientCAs, config.ClientAuth = servers.Pool(), tls.RequireAndVerifyClientCert
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan []byte, 1)
	endpointServer := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/take" || r.TLS.PeerCertificates[0].Subject.CommonName != "kmipd" {
			t.Errorf("got %s %s, %v", r.Method, r.URL, err)
		}
		messages <- body
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(answerOf(kmip.ResultStatusSuccess, 0))
	})}
	go func() { _ = endpointServer.Serve(l) }()
	t.Cleanup(func() { _ = endpointServer.Close() })
	courier := &Courier{Certificates: servers.Client("kmipd").Certificates}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, answered, err := courier.Carry(ctx, endpoint(t, clients, "https://"+l.Addr().String()+"/take"), kmip.OperationNotify, payload()); !answered || err != nil {
		t.Fatalf("got %t, %v", answered, err)
	}
	checkMessage(t, <-messages)
}

// checkMessage: a request message of one item without the header fields that Notify and Put must not have.
func checkMessage(t *testing.T, msg []byte) {
	t.Helper()
	root, err := ttlv.Parse(msg, ttlv.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	var tags []ttlv.Tag
	for m := range root.Find(kmip.TagRequestHeader).Members {
		tags = append(tags, m.Tag)
	}
	item := root.Find(kmip.TagBatchItem)
	if len(tags) != 2 || tags[0] != kmip.TagProtocolVersion || tags[1] != kmip.TagBatchCount ||
		kmip.Operation(item.Find(kmip.TagOperation).Enum()) != kmip.OperationNotify ||
		!bytes.HasSuffix(msg, payload()) {
		t.Errorf("got the message %x", msg)
	}
}

func endpoint(t *testing.T, ca *tlstest.CA, addr string) Endpoint {
	t.Helper()
	_, _, file := ca.Files("endpoint")
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Endpoint{Address: addr, CA: string(pem), Version: kmip.V1_2}
}

// The key must not go to somebody else.
func TestCarryVerifies(t *testing.T) {
	ca, other := tlstest.New(t), tlstest.New(t)
	config := ca.Server()
	config.ClientAuth = tls.RequestClientCert
	r := listen(t, config, answerOf(kmip.ResultStatusSuccess, 0))
	courier := &Courier{Certificates: ca.Client("kmipd").Certificates}
	foreign := endpoint(t, other, r.addr)
	name := endpoint(t, ca, r.addr)
	name.ServerName = "another.example"
	none := endpoint(t, ca, r.addr)
	none.CA = ""
	nobody := endpoint(t, ca, "127.0.0.1:1")
	for what, e := range map[string]Endpoint{"foreign authority": foreign, "other name": name, "no authority": none, "nobody listens": nobody} {
		if _, answered, err := courier.Carry(context.Background(), e, kmip.OperationNotify, payload()); answered || err == nil {
			t.Errorf("%s: got %t, %v", what, answered, err)
		}
	}
	if len(r.messages) != 0 {
		t.Error("a message went out")
	}
}
