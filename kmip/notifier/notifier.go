// Package notifier carries the server's messages to clients' endpoints: Notify, Put, Query and Discover Versions (KMIP 1.4
// section 5), over TLS or HTTPS, with the server as client. It keeps no connections and no state: what to send, and when to try
// again, is its caller's business.
package notifier

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

// Endpoint is where a client takes messages of the server.
type Endpoint struct {
	Address    string       // HOST:PORT, or https://HOST:PORT/PATH for KMIP over HTTPS, in TTLV
	CA         string       // PEM: authorities of the endpoint's certificate
	ServerName string       // in the certificate, when it is not the host
	Version    kmip.Version // of the messages
}

// Courier carries messages. It is safe for concurrent use.
type Courier struct {
	Certificates []tls.Certificate // that the server shows to endpoints: its own
	// Secure narrows the configuration of a connection to what the server's policy allows; nil leaves it.
	Secure func(*tls.Config)
}

// Carry sends a message with one item and waits for its answer within the time of ctx. answered says that the endpoint
// has answered, with the Response Payload if there is one; the error is then its refusal.
func (c *Courier) Carry(ctx context.Context, e Endpoint, op kmip.Operation, payload []byte) (answer ttlv.Item, answered bool, err error) {
	none := ttlv.Item{}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(e.CA)) {
		return none, false, errors.New("notifier: the endpoint's authority is not a certificate")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: c.Certificates}
	if c.Secure != nil {
		c.Secure(config)
	}
	conn, err := client.Dial(ctx, client.Config{Address: e.Address, ServerName: e.ServerName, Version: e.Version, TLS: config})
	if err != nil {
		return none, false, fmt.Errorf("notifier: %w", err)
	}
	defer conn.Close()
	msg := encode(e.Version, op, payload)
	response, err := conn.Roundtrip(ctx, msg)
	clear(msg) // it may hold a key
	if err != nil {
		return none, false, fmt.Errorf("notifier: %w", err)
	}
	return judge(response, op)
}

// encode is the request message. It has none of the header fields that belong to requests of clients, and stays in the
// buffer that it is begun in.
func encode(ver kmip.Version, op kmip.Operation, payload []byte) []byte {
	h := kmip.RequestHeader{BatchCount: 1,
		ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: ver.Major, ProtocolVersionMinor: ver.Minor}}
	b, message := ttlv.Begin(make([]byte, 0, len(payload)+512), kmip.TagRequestMessage)
	b = h.Append(b, kmip.TagRequestHeader, ver)
	b, item := ttlv.Begin(b, kmip.TagBatchItem)
	b = ttlv.AppendEnum(b, kmip.TagOperation, uint32(op))
	b = append(b, payload...)
	return ttlv.End(ttlv.End(b, item), message)
}

// judge reads a response. One that cannot be understood is no answer: the message is sent again.
func judge(response []byte, op kmip.Operation) (answer ttlv.Item, answered bool, err error) {
	none := ttlv.Item{}
	root, err := ttlv.Parse(response, ttlv.DefaultLimits)
	if err != nil {
		return none, false, fmt.Errorf("notifier: the answer: %w", err)
	}
	var it kmip.ResponseBatchItem
	item := root.Find(kmip.TagBatchItem)
	if item.Type != ttlv.Structure {
		return none, false, errors.New("notifier: the answer has no Batch Item")
	}
	if err := it.Decode(item); err != nil {
		return none, false, fmt.Errorf("notifier: the answer: %w", err)
	}
	if it.ResultStatus == kmip.ResultStatusSuccess {
		return it.ResponsePayload, true, nil
	}
	return none, true, fmt.Errorf("notifier: the endpoint answers %s with %s: %s", op, it.ResultStatus, it.ResultReason)
}
