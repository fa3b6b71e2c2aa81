package server

import (
	"sync"

	"kmipd/kmip"
)

// Requests (Register) and answers (Get) hold key bytes. Their octets live in pooled buffers that are wiped before they
// go back, and what must grow is wiped where it stood.

// buffer is a byte slice from the pool.
type buffer struct{ b []byte }

var bufferSizes = [...]int{4 << 10, 32 << 10, 256 << 10}

var bufferPools [len(bufferSizes)]sync.Pool

func sizeClass(n int) int {
	for i, size := range bufferSizes {
		if n <= size {
			return i
		}
	}
	return -1
}

// getBuffer is an empty buffer with room for n octets.
func getBuffer(n int) *buffer {
	class := sizeClass(n)
	if class < 0 {
		return &buffer{make([]byte, 0, n)}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, 0, bufferSizes[class])}
}

// release wipes the buffer and gives it back. Octets behind its length are clean already: truncate and grow see to it.
func (b *buffer) release() {
	clear(b.b)
	b.b = b.b[:0]
	if class := sizeClass(cap(b.b)); class >= 0 && cap(b.b) == bufferSizes[class] {
		bufferPools[class].Put(b)
	}
}

// truncate cuts the buffer to n octets and wipes the rest.
func (b *buffer) truncate(n int) {
	clear(b.b[n:])
	b.b = b.b[:n]
}

// grow makes room for n more octets.
func (b *buffer) grow(n int) {
	if cap(b.b)-len(b.b) >= n {
		return
	}
	next := getBuffer(max(len(b.b)+n, 2*cap(b.b)))
	next.b = append(next.b, b.b...)
	b.b, next.b = next.b, b.b
	next.release()
}

// set stores what an append to the buffer returned. When the append had to move the octets, the old place is wiped.
func (b *buffer) set(appended []byte) {
	old := b.b
	b.b = appended
	if cap(old) != cap(appended) {
		clear(old[:cap(old)])
	}
}

// payloadSize is about the encoded size of a payload: at least it, when the payload holds key bytes, so that these are
// never copied around by a growing slice.
func payloadSize(p payload) int {
	const frame = 1 << 10 // everything but the material
	switch r := p.(type) {
	case *kmip.GetResponse:
		return frame + objectSize(r)
	case *kmip.ExportResponse:
		n := frame + objectSize(exported(r))
		for _, a := range r.Attribute {
			n += 64 + len(a.AttributeName) + len(a.AttributeValue.Value)
		}
		return n
	case *kmip.EncryptResponse:
		return frame + len(r.Data) + len(r.IVCounterNonce)
	case *kmip.DecryptResponse:
		return frame + len(r.Data)
	case *kmip.RNGRetrieveResponse:
		return frame + len(r.Data)
	}
	return frame
}

// objectSize is about the encoded size of the object that Get returns.
func objectSize(r *kmip.GetResponse) int {
	const frame = 1 << 10
	n := 0
	for _, kb := range keyBlocks(r) {
		n += len(kb.KeyValue.Value)
		if kb.KeyWrappingData != nil {
			n += frame + len(kb.KeyWrappingData.MACSignature) + len(kb.KeyWrappingData.IVCounterNonce)
		}
	}
	if r.SplitKey != nil && r.SplitKey.PrimeFieldSize != nil {
		n += r.SplitKey.PrimeFieldSize.BitLen() / 8
	}
	if r.OpaqueObject != nil {
		n += len(r.OpaqueObject.OpaqueDataValue)
	}
	if r.Certificate != nil {
		n += len(r.Certificate.CertificateValue)
	}
	return n
}

// wipePayload wipes the key bytes and plaintext of an answer that is encoded. Random octets are likely to become keys.
func wipePayload(p payload) {
	switch r := p.(type) {
	case *kmip.GetResponse:
		if r != nil {
			wipeObject(r)
		}
	case *kmip.ExportResponse:
		if r != nil {
			wipeObject(exported(r))
		}
	case *kmip.DecryptResponse:
		clear(r.Data)
	case *kmip.RNGRetrieveResponse:
		clear(r.Data)
	}
}

func wipeObject(r *kmip.GetResponse) {
	if r.PublicKey != nil {
		return
	}
	for _, kb := range keyBlocks(r) {
		clear(kb.KeyValue.Value)
	}
	if r.OpaqueObject != nil {
		clear(r.OpaqueObject.OpaqueDataValue)
	}
}

func keyBlocks(r *kmip.GetResponse) []*kmip.KeyBlock {
	switch {
	case r == nil:
		return nil
	case r.SymmetricKey != nil:
		return []*kmip.KeyBlock{&r.SymmetricKey.KeyBlock}
	case r.PrivateKey != nil:
		return []*kmip.KeyBlock{&r.PrivateKey.KeyBlock}
	case r.PublicKey != nil:
		return []*kmip.KeyBlock{&r.PublicKey.KeyBlock}
	case r.SplitKey != nil:
		return []*kmip.KeyBlock{&r.SplitKey.KeyBlock}
	case r.SecretData != nil:
		return []*kmip.KeyBlock{&r.SecretData.KeyBlock}
	case r.PGPKey != nil:
		return []*kmip.KeyBlock{&r.PGPKey.KeyBlock}
	}
	return nil
}
