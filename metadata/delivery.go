package metadata

import (
	"time"

	"kmipd/kmip"
)

// Endpoint is where a client takes messages of the server (KMIP 1.4 section 5).
type Endpoint struct {
	Address    string       `json:"address"`               // HOST:PORT or https://HOST:PORT/PATH
	CA         string       `json:"ca"`                    // PEM: authorities of the endpoint's certificate
	ServerName string       `json:"server_name,omitempty"` // in the certificate, when it is not the host
	Version    kmip.Version `json:"version"`               // of the messages
	Notify     string       `json:"notify"`                // others, all or none
	PutNew     bool         `json:"put_new,omitempty"`     // new objects are put
}

// Delivery is a message to a client's endpoint that waits to be sent. It never holds key bytes: the object of a Put is read
// when it is sent.
type Delivery struct {
	Client    string         `json:"client"`
	Seq       uint64         `json:"seq"` // order of sending
	Operation kmip.Operation `json:"operation"`
	UID       string         `json:"uid"`
	// Attributes is what a Notify tells: Attribute structures, TTLV in KMIP 1.4, one behind the other.
	Attributes []byte    `json:"attributes,omitempty"`
	At         time.Time `json:"at"`
}

// Key finds the delivery in the store.
func (d *Delivery) Key() DeliveryKey { return DeliveryKey{d.Client, d.Seq} }

// DeliveryKey names a Delivery.
type DeliveryKey struct {
	Client string
	Seq    uint64
}
