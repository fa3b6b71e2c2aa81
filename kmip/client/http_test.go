package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/internal/tlstest"
	"kmipd/kmip/server"
	"kmipd/kmip/text"
)

func TestHTTPS(t *testing.T) {
	k, _, cfg := serve(t, func(c *server.Config) { c.Transport = server.TransportHTTPS })
	host := cfg.Address
	for _, e := range []text.Encoding{text.TTLV, text.XML, text.JSON} {
		for _, address := range []string{"https://" + host, "https://" + host + "/kmip"} {
			cfg.Address, cfg.Encoding, cfg.Username, cfg.Password = address, e, "älice", "secret"
			c := dial(t, cfg)
			ctx := context.Background()
			created, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](ctx, c, kmip.OperationCreate, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey})
			if err != nil || created.UniqueIdentifier != "key-1" {
				t.Fatalf("%s: %+v, %v", e, created, err)
			}
			results, err := c.Batch(ctx, client.Options{Continuation: kmip.BatchErrorContinuationOptionContinue, Order: true},
				client.Item{Operation: kmip.OperationGet, Payload: &kmip.GetRequest{UniqueIdentifier: &created.UniqueIdentifier}},
				client.Item{Operation: kmip.OperationGet, Payload: &kmip.GetRequest{}})
			if err != nil || len(results) != 2 || results[1].Reason != kmip.ResultReasonItemNotFound {
				t.Fatalf("%s: %+v, %v", e, results, err)
			}
			if got, err := client.Decode[kmip.GetResponse](&results[0]); err != nil || len(got.OpaqueObject.OpaqueDataValue) != 5000 {
				t.Errorf("%s: %v", e, err)
			}
		}
	}
	for _, u := range k.users {
		if u != "älice" {
			t.Errorf("user %q", u)
		}
	}
	cfg.Address = "https://" + host + "/other"
	_, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](context.Background(), dial(t, cfg), kmip.OperationCreate, &kmip.CreateRequest{})
	if !errors.Is(err, client.ErrHTTP) || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "/kmip") {
		t.Errorf("another target: %v", err)
	}
	cfg.Address, cfg.Encoding = "https://"+host, text.TTLV
	cfg.MaxMessage = 512
	id := "key-1"
	if _, err := client.Do[kmip.GetRequest, kmip.GetResponse](context.Background(), dial(t, cfg), kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id}); err == nil {
		t.Error("an answer over the limit was read")
	}
	if _, err := dial(t, cfg).Roundtrip(context.Background(), []byte("nonsense")); err == nil {
		t.Error("what is no TTLV was sent")
	}
}

func TestAddresses(t *testing.T) {
	for _, cfg := range []client.Config{
		{Address: "127.0.0.1:1", Encoding: text.XML}, {Address: "https:///kmip"}, {Address: "https://user@host/"}, {Address: "https://host:1/%zz"},
		{Address: "http://127.0.0.1:1"}, {Address: "HTTPS://127.0.0.1:1"},
	} {
		cfg.TLS = &tls.Config{}
		if _, err := client.Dial(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "https://") {
			t.Errorf("%s: %v", cfg.Address, err)
		}
	}
}

// What a server may answer wrongly is an error.
func TestStrangeHTTPAnswers(t *testing.T) {
	ca := tlstest.New(t)
	const good = `{"tag":"ResponseMessage","value":[{"tag":"ResponseHeader","value":[{"tag":"ProtocolVersion","value":[` +
		`{"tag":"ProtocolVersionMajor","type":"Integer","value":1},{"tag":"ProtocolVersionMinor","type":"Integer","value":4}]},` +
		`{"tag":"TimeStamp","type":"DateTime","value":"2024-01-01T00:00:00Z"},{"tag":"BatchCount","type":"Integer","value":1}]},{"tag":"BatchItem","value":[` +
		`{"tag":"Operation","type":"Enumeration","value":"Activate"},{"tag":"ResultStatus","type":"Enumeration","value":"Success"},` +
		`{"tag":"ResponsePayload","value":[{"tag":"UniqueIdentifier","type":"TextString","value":"key-1"}]}]}]}`
	answer := func(status int, contentType, fields, body string) string {
		return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s", status, contentType, len(body), fields, body)
	}
	for _, tc := range []struct{ name, answer, want string }{
		{"good", answer(200, "application/json", "", good), ""},
		{"good in chunks", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(good), good), ""},
		{"good to the end", "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + good, ""},
		{"nothing", "", "EOF"},
		{"no HTTP", "\x42\x00\x7b\x01\x00\x00\x00\x00", "malformed"},
		{"status", answer(500, "text/plain", "", "bro\x1bken\nmore"), "status 500: broken"},
		{"page", answer(200, "text/html", "", "<html/>"), "of type application/json"},
		{"other encoding", answer(200, "text/xml", "", "<ResponseMessage/>"), "of type application/json"},
		{"no message", answer(200, "application/json", "", "{}"), "tag is missing"},
		{"cut", answer(200, "application/json", "", good)[:300], "EOF"},
		{"too large", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n", "limit"},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", "EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			got := make(chan *http.Request, 1)
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				if _, err := io.CopyN(io.Discard, r.Body, r.ContentLength); err != nil {
					return
				}
				got <- r
				_, _ = io.WriteString(conn, tc.answer)
			}()
			c := dial(t, client.Config{Address: "https://" + ln.Addr().String(), TLS: ca.Client("x"), Encoding: text.JSON, MaxMessage: 8192, Timeout: 10 * time.Second})
			_, err = client.Do[kmip.ActivateRequest, kmip.ActivateResponse](context.Background(), c, kmip.OperationActivate, &kmip.ActivateRequest{})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			r := <-got
			if r.Method != "POST" || r.URL.Path != "/kmip" || r.Host != ln.Addr().String() || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-cache" {
				t.Errorf("request %+v", r)
			}
			if strings.HasPrefix(tc.answer, "HTTP/1.0") {
				if _, err := c.Roundtrip(context.Background(), nil); !errors.Is(err, client.ErrBroken) {
					t.Errorf("after the last answer: %v", err)
				}
			}
		})
	}
}
