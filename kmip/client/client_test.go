package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/internal/tlstest"
	"kmipd/kmip/server"
	"kmipd/kmip/ttlv"
)

// keys is the part of a keystore that the tests ask. The nil interface panics for the rest.
type keys struct {
	server.Keystore
	mu    sync.Mutex
	users []string
	block chan struct{}
}

type noTx struct{}

func (noTx) Mark() int                           { return 0 }
func (noTx) Rollback(context.Context, int) error { return nil }
func (noTx) Commit(context.Context) error        { return nil }

func (k *keys) Begin(bool) kmip.Tx { return noTx{} }

func (k *keys) Authorize(_ context.Context, call *kmip.Call, _ kmip.Operation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users = append(k.users, call.Caller.User)
	return nil
}

func (k *keys) Create(context.Context, *kmip.Call, *kmip.CreateRequest) (*kmip.CreateResponse, error) {
	return &kmip.CreateResponse{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: "key-1"}, nil
}

func (k *keys) Get(_ context.Context, call *kmip.Call, _ *kmip.GetRequest) (*kmip.GetResponse, error) {
	if call.Target != "key-1" {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "no such object")
	}
	return &kmip.GetResponse{ObjectType: kmip.ObjectTypeOpaqueObject, UniqueIdentifier: call.Target,
		OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000000, OpaqueDataValue: []byte(strings.Repeat("x", 5000))}}, nil
}

func (k *keys) Activate(ctx context.Context, call *kmip.Call, _ *kmip.ActivateRequest) (*kmip.ActivateResponse, error) {
	if k.block != nil {
		select {
		case <-k.block:
		case <-ctx.Done():
		}
	}
	return &kmip.ActivateResponse{UniqueIdentifier: call.Target}, nil
}

type everyone struct{}

func (everyone) Certificate(_ context.Context, state *tls.ConnectionState, _ net.Addr) (kmip.Caller, error) {
	return kmip.Caller{Client: state.PeerCertificates[0].Subject.CommonName}, nil
}

func (everyone) Credentials(_ context.Context, caller kmip.Caller, auth *kmip.Authentication) (kmip.Caller, error) {
	var u kmip.UsernameAndPassword
	if err := u.Decode(auth.Credential[0].CredentialValue); err != nil {
		return caller, err
	}
	if u.Password == nil || *u.Password != "secret" {
		return caller, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "wrong")
	}
	caller.User = u.Username
	return caller, nil
}

func serve(t *testing.T, change ...func(*server.Config)) (*keys, *tlstest.CA, client.Config) {
	t.Helper()
	ca, k := tlstest.New(t), &keys{}
	conf := server.Config{TLS: ca.Server(), Keystore: k, Authenticator: everyone{}, Logger: zerolog.Nop()}
	for _, c := range change {
		c(&conf)
	}
	s, err := server.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return k, ca, client.Config{Address: ln.Addr().String(), TLS: ca.Client("client-1"), Timeout: 10 * time.Second}
}

func dial(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestDo(t *testing.T) {
	_, _, cfg := serve(t)
	for _, v := range kmip.Supported {
		cfg.Version = v
		c := dial(t, cfg)
		ctx := context.Background()
		created, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](ctx, c, kmip.OperationCreate, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey})
		if err != nil || created.UniqueIdentifier != "key-1" {
			t.Fatalf("%s: %+v, %v", v, created, err)
		}
		_, err = client.Do[kmip.GetRequest, kmip.GetResponse](ctx, c, kmip.OperationGet, &kmip.GetRequest{})
		var e *client.Error
		if !errors.As(err, &e) || e.Reason != kmip.ResultReasonItemNotFound || e.Operation != kmip.OperationGet ||
			e.Status != kmip.ResultStatusOperationFailed || e.Message == "" {
			t.Fatalf("%s: %v", v, err)
		}
	}
}

func TestFiles(t *testing.T) {
	_, ca, cfg := serve(t)
	cfg.TLS = nil
	cfg.CertFile, cfg.KeyFile, cfg.CAFile = ca.Files("client-2")
	c := dial(t, cfg)
	if _, err := client.Do[kmip.DiscoverVersionsRequest, kmip.DiscoverVersionsResponse](context.Background(), c, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}); err != nil {
		t.Fatal(err)
	}
	cfg.CAFile, cfg.KeyFile = "/nonexistent/ca", "/nonexistent/key"
	_, err := client.Dial(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/ca") || !strings.Contains(err.Error(), "/nonexistent/key") {
		t.Errorf("both files are wrong: %v", err)
	}
}

func TestServerIsVerified(t *testing.T) {
	_, _, cfg := serve(t)
	other := cfg
	other.TLS = tlstest.New(t).Client("client-1")
	if _, err := client.Dial(context.Background(), other); err == nil {
		t.Error("a server of a foreign authority was accepted")
	}
	cfg.ServerName = "other.example"
	if _, err := client.Dial(context.Background(), cfg); err == nil {
		t.Error("a server of another name was accepted")
	}
}

func TestBatch(t *testing.T) {
	_, _, cfg := serve(t)
	c := dial(t, cfg)
	bad := "nothing"
	items := []client.Item{
		{Operation: kmip.OperationCreate, Payload: &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey}},
		{Operation: kmip.OperationGet, Payload: &kmip.GetRequest{}},
		{Operation: kmip.OperationGet, Payload: &kmip.GetRequest{UniqueIdentifier: &bad}},
		{Operation: kmip.OperationActivate, Payload: &kmip.ActivateRequest{}},
	}
	for _, tc := range []struct {
		opt  kmip.BatchErrorContinuationOption
		want []kmip.ResultStatus
	}{
		{0, []kmip.ResultStatus{0, 0, 1}},
		{kmip.BatchErrorContinuationOptionContinue, []kmip.ResultStatus{0, 0, 1, 0}},
		{kmip.BatchErrorContinuationOptionUndo, []kmip.ResultStatus{3, 3, 1}},
	} {
		results, err := c.Batch(context.Background(), client.Options{Continuation: tc.opt, Order: true}, items...)
		if err != nil || len(results) != len(tc.want) {
			t.Fatalf("%s: %d results, %v", tc.opt, len(results), err)
		}
		for i, r := range results {
			if r.Status != tc.want[i] || (r.Err() == nil) != (tc.want[i] == 0) {
				t.Errorf("%s, item %d: %s", tc.opt, i, r.Status)
			}
		}
		if tc.opt != kmip.BatchErrorContinuationOptionUndo {
			got, err := client.Decode[kmip.GetResponse](&results[1])
			if err != nil || len(got.OpaqueObject.OpaqueDataValue) != 5000 {
				t.Errorf("Get: %v", err)
			}
		}
	}
	if _, err := c.Batch(context.Background(), client.Options{}); err == nil {
		t.Error("an empty batch was sent")
	}
}

func TestCredentials(t *testing.T) {
	k, _, cfg := serve(t)
	cfg.Username, cfg.Password = "alice", "secret"
	create := &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey}
	if _, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](context.Background(), dial(t, cfg), kmip.OperationCreate, create); err != nil {
		t.Fatal(err)
	}
	if len(k.users) != 1 || k.users[0] != "alice" {
		t.Errorf("users %q", k.users)
	}
	cfg.Password = ""
	_, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](context.Background(), dial(t, cfg), kmip.OperationCreate, create)
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != kmip.ResultReasonAuthenticationNotSuccessful {
		t.Errorf("got %v", err)
	}
}

func TestMessageRefusal(t *testing.T) {
	_, _, cfg := serve(t)
	cfg.Version = kmip.V2_1
	_, err := client.Do[kmip.QueryRequest, kmip.QueryResponse](context.Background(), dial(t, cfg), kmip.OperationQuery, &kmip.QueryRequest{})
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != kmip.ResultReasonInvalidMessage || e.Operation != 0 {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	_, _, cfg := serve(t)
	id := "key-1"
	cfg.MaximumResponseSize = 512
	_, err := client.Do[kmip.GetRequest, kmip.GetResponse](context.Background(), dial(t, cfg), kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id})
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != kmip.ResultReasonResponseTooLarge {
		t.Errorf("got %v", err)
	}
	cfg.MaximumResponseSize, cfg.MaxMessage = 0, 512
	c := dial(t, cfg)
	if _, err = client.Do[kmip.GetRequest, kmip.GetResponse](context.Background(), c, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id}); err == nil {
		t.Error("an answer over the limit was read")
	}
	if _, err = c.Roundtrip(context.Background(), nil); !errors.Is(err, client.ErrBroken) {
		t.Errorf("the connection is used further: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	k, _, cfg := serve(t)
	k.block = make(chan struct{})
	cfg.Timeout = time.Hour
	c := dial(t, cfg)
	id := "key-1"
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := client.Do[kmip.ActivateRequest, kmip.ActivateResponse](ctx, c, kmip.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: &id})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
	if _, err := client.Do[kmip.ActivateRequest, kmip.ActivateResponse](context.Background(), c, kmip.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: &id}); !errors.Is(err, client.ErrBroken) {
		t.Errorf("the answer of the first could be taken for that of the second: %v", err)
	}
	close(k.block)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	_, _, cfg := serve(t)
	c := dial(t, cfg)
	id := "key-1"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got, err := client.Do[kmip.GetRequest, kmip.GetResponse](context.Background(), c, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id})
				if err != nil || got.UniqueIdentifier != id {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// What a server may answer wrongly is an error, never a panic or a wrong match.
func TestStrangeAnswers(t *testing.T) {
	ca := tlstest.New(t)
	header := func(count int32) []byte {
		h := kmip.ResponseHeader{ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: 1, ProtocolVersionMinor: 4}, TimeStamp: time.Unix(0, 0), BatchCount: count}
		return h.Append(nil, kmip.TagResponseHeader, kmip.V1_4)
	}
	item := func(op kmip.Operation, status kmip.ResultStatus) []byte {
		it := kmip.ResponseBatchItem{Operation: op, ResultStatus: status}
		return it.Append(nil, kmip.TagBatchItem, kmip.V1_4)
	}
	message := func(parts ...[]byte) []byte {
		b, m := ttlv.Begin(nil, kmip.TagResponseMessage)
		for _, p := range parts {
			b = append(b, p...)
		}
		return ttlv.End(b, m)
	}
	for _, tc := range []struct {
		name   string
		answer []byte
	}{
		{"nothing", nil},
		{"cut header", message()[:4]},
		{"no members", message()},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
		{"cut", message(header(1), item(kmip.OperationActivate, 0))[:40]},
		{"no items", message(header(0))},
		{"wrong count", message(header(2), item(kmip.OperationActivate, 0))},
		{"other operation", message(header(1), item(kmip.OperationDestroy, 0))},
		{"no operation", message(header(1), item(0, 0))},
		{"too many", message(header(2), item(kmip.OperationActivate, 0), item(kmip.OperationActivate, 0))},
		{"no payload", message(header(1), item(kmip.OperationActivate, 0))},
		{"items before header", message(item(kmip.OperationActivate, 0), header(1))},
		{"no item", message(header(1), header(1))},
		{"no TTLV", append(message()[:4], 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				head := make([]byte, 8)
				if _, err := io.ReadFull(conn, head); err == nil {
					_, _ = conn.Write(tc.answer)
				}
			}()
			c := dial(t, client.Config{Address: ln.Addr().String(), TLS: ca.Client("x"), Timeout: 5 * time.Second})
			got, err := client.Do[kmip.ActivateRequest, kmip.ActivateResponse](context.Background(), c, kmip.OperationActivate, &kmip.ActivateRequest{})
			if err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}
