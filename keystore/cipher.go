package keystore

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// modes is the table of Block Cipher Modes.
var modes = map[kmip.BlockCipherMode]struct {
	plain, padded hsm.CipherMode // padded 0: no padding possible
}{
	kmip.BlockCipherModeECB: {hsm.ModeECB, hsm.ModeECBPad},
	kmip.BlockCipherModeCBC: {hsm.ModeCBC, hsm.ModeCBCPad},
	kmip.BlockCipherModeCTR: {hsm.ModeCTR, 0},
	kmip.BlockCipherModeGCM: {hsm.ModeGCM, 0},
}

// blockCipher makes the work of a symmetric key. There is no default mode.
func (s *Store) blockCipher(ctx context.Context, pol *fips.Policy, key tokenKey, block int, sv *service, p *kmip.CryptographicParameters, in cipherInput, first part) (work, []byte, error) {
	if p.BlockCipherMode == 0 {
		return nil, nil, badField("Block Cipher Mode is missing from request and key")
	}
	m, ok := modes[p.BlockCipherMode]
	if !ok || p.BlockCipherMode == kmip.BlockCipherModeGCM && block != 16 {
		return nil, nil, unsupported("Block Cipher Mode", p.BlockCipherMode, "this key")
	}
	decrypt := sv == &decryptService
	if m.plain == hsm.ModeGCM {
		return s.gcm(ctx, pol, key, decrypt, p, in)
	}
	if err := in.unauthenticated("Block Cipher Mode " + p.BlockCipherMode.String()); err != nil {
		return nil, nil, err
	}
	w := &blockWork{key: key, mode: m.plain, block: block, decrypt: decrypt}
	switch {
	case p.PaddingMethod == kmip.PaddingMethodPKCS5 && m.padded != 0:
		w.padded = m.padded
	default:
		if err := noPadding(p); err != nil {
			return nil, nil, err
		}
	}
	if alone := !first.more(); alone && !w.fits(len(first.data)) {
		return nil, nil, errBlocks
	}
	if m.plain == hsm.ModeECB {
		return w, nil, nil
	}
	var counter []byte
	if m.plain == hsm.ModeCTR && p.InitialCounterValue != nil {
		var err error
		if counter, err = firstCounter(p, block); err != nil {
			return nil, nil, err
		}
	}
	iv, chosen, err := s.iv(ctx, pol, p, in.iv, block-len(counter), decrypt)
	if err != nil {
		return nil, nil, err
	}
	if len(iv)+len(counter) != block {
		return nil, nil, badField("IV/Counter/Nonce must have %d octets", block-len(counter))
	}
	w.iv = append(append(make([]byte, 0, block), iv...), counter...)
	return w, chosen, nil
}

// firstCounter is the end of the first counter block where Initial Counter Value gives it (KMIP 1.4 section 3.6), as in
// RFC 3686: Counter Length bits, 32 where that is not given. IV/Counter/Nonce is then what stands before it.
func firstCounter(p *kmip.CryptographicParameters, block int) ([]byte, error) {
	bits := int32(32)
	if p.CounterLength != nil {
		bits = *p.CounterLength
	}
	if bits%8 != 0 || bits < 8 || int(bits) >= 8*block {
		return nil, badField("Counter Length must be whole octets, from 8 to %d bits", 8*block-8)
	}
	value := *p.InitialCounterValue
	if value < 0 || bits < 32 && value>>bits != 0 {
		return nil, badField("Initial Counter Value does not fit into %d bits", bits)
	}
	counter := make([]byte, max(bits/8, 4))
	binary.BigEndian.PutUint32(counter[len(counter)-4:], uint32(value))
	return counter[len(counter)-int(bits/8):], nil
}

// iv is the request's IV, or a random one where the parameters ask the server for it (KMIP 1.4 section 3.6); the latter
// is returned as chosen, too. One that is missing is Invalid Message, as the OASIS cases CS-BC-M-11 to 13 want it. IV
// Length is of interest for random ones alone: clients confuse bits and octets in it.
func (s *Store) iv(ctx context.Context, pol *fips.Policy, p *kmip.CryptographicParameters, given []byte, octets int, decrypt bool) (iv, chosen []byte, err error) {
	own := pol.Limits().ServerIV && !decrypt
	if given != nil {
		if own && (p.BlockCipherMode == kmip.BlockCipherModeGCM || !pol.Limits().ClientIV) {
			return nil, nil, pol.Refuse(kmip.ResultReasonInvalidField, "IV/Counter/Nonce must come from the server and be left out")
		}
		return given, nil, nil
	}
	if decrypt || !own && (p.RandomIV == nil || !*p.RandomIV) {
		return nil, nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "IV/Counter/Nonce is missing")
	}
	chosen, err = s.randomIV(ctx, octets)
	if err == nil && p.BlockCipherMode == kmip.BlockCipherModeCTR && p.InitialCounterValue == nil {
		clear(chosen[octets-4:]) // room for the counter: no token has to carry beyond 32 bits
	}
	return chosen, chosen, err
}

var errBlocks = kmip.Errorf(kmip.ResultReasonCryptographicFailure, "Data is not a whole number of blocks")

// blockWork encrypts or decrypts in ECB, CBC or CTR mode, block by block as data comes.
type blockWork struct {
	gathered     // less than a block, or the last block while it may hold the padding
	key          tokenKey
	mode, padded hsm.CipherMode // padded is the mode of the end, 0 without padding
	block        int
	iv           []byte // of the next block
	decrypt      bool
}

// fits tells whether a message of n octets can be done.
func (w *blockWork) fits(n int) bool {
	switch {
	case w.mode == hsm.ModeCTR, w.padded != 0 && !w.decrypt:
		return true
	case w.padded != 0 && n == 0:
		return false
	}
	return n%w.block == 0
}

func (w *blockWork) add(ctx context.Context, data []byte) ([]byte, error) {
	data = w.with(data)
	n := len(data) / w.block * w.block
	if n == len(data) && w.decrypt && w.padded != 0 {
		n -= w.block
	}
	if n <= 0 {
		w.keep(data, 0)
		return nil, nil
	}
	out, err := w.call(ctx, w.mode, data[:n])
	if err != nil {
		return nil, err
	}
	w.next(data[:n], out)
	w.keep(data, n)
	return out, nil
}

// keep holds what follows the first n octets of data.
func (w *blockWork) keep(data []byte, n int) {
	rest := append([]byte(nil), data[n:]...)
	w.wipe()
	w.held = rest
}

func (w *blockWork) end(ctx context.Context, data []byte) (output, error) {
	data = w.with(data)
	if !w.fits(len(data)) {
		return output{}, errBlocks
	}
	mode := w.mode
	if w.padded != 0 {
		mode = w.padded
	} else if len(data) == 0 {
		return output{}, nil
	}
	out, err := w.call(ctx, mode, data)
	return output{data: out}, err
}

func (w *blockWork) call(ctx context.Context, mode hsm.CipherMode, data []byte) ([]byte, error) {
	return w.key.run(ctx, hsm.CipherSpec{Mode: mode, IV: w.iv}, data, w.decrypt)
}

func (k tokenKey) run(ctx context.Context, spec hsm.CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	if decrypt {
		return k.Decrypt(ctx, k.ref, k.bits, spec, data)
	}
	return k.Encrypt(ctx, k.ref, k.bits, spec, data)
}

// next moves the IV on behind whole blocks: to the last block of ciphertext, or the counter by their number.
func (w *blockWork) next(in, out []byte) {
	switch w.mode {
	case hsm.ModeCBC:
		cipher := out
		if w.decrypt {
			cipher = in
		}
		copy(w.iv, cipher[len(cipher)-w.block:])
	case hsm.ModeCTR:
		count(w.iv, uint64(len(in)/w.block))
	default: // ECB has none
	}
}

// count adds n to a big-endian counter.
func count(counter []byte, n uint64) {
	for i := len(counter) - 1; i >= 0 && n > 0; i-- {
		n += uint64(counter[i])
		counter[i] = byte(n)
		n >>= 8
	}
}

// gcm makes the work of AES-GCM. The tag has 12 to 16 octets, 16 unless the parameters say so; another length is General
// Failure, as CS-BC-M-GCM-1 wants it.
func (s *Store) gcm(ctx context.Context, pol *fips.Policy, key tokenKey, decrypt bool, p *kmip.CryptographicParameters, in cipherInput) (work, []byte, error) {
	if err := noPadding(p); err != nil {
		return nil, nil, err
	}
	tag := 16
	switch {
	case p.TagLength != nil:
		tag = int(*p.TagLength)
	case len(in.tag) > 0:
		tag = len(in.tag)
	}
	if tag < 12 || tag > 16 {
		return nil, nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "Tag Length must be from 12 to 16 octets")
	}
	if len(in.tag) != 0 && len(in.tag) != tag {
		return nil, nil, badField("Authenticated Encryption Tag does not have Tag Length")
	}
	octets, err := randomIVOctets(p)
	if err != nil {
		return nil, nil, err
	}
	iv, chosen, err := s.iv(ctx, pol, p, in.iv, octets, decrypt)
	if err != nil {
		return nil, nil, err
	}
	if len(iv) < 1 || len(iv) > 128 {
		return nil, nil, badField("IV/Counter/Nonce must have 1 to 128 octets with GCM")
	}
	if !decrypt {
		if err := s.countGCM(ctx, pol, key.ref.ID); err != nil {
			return nil, nil, err
		}
	} else if pol.Strict() && len(iv) < 12 {
		return nil, nil, pol.Refuse(kmip.ResultReasonInvalidField, "IV/Counter/Nonce must have at least 12 octets with GCM")
	}
	w := &gcmWork{key: key, tagSize: tag, spec: hsm.CipherSpec{Mode: hsm.ModeGCM, TagBits: 8 * tag,
		IV: append([]byte(nil), iv...), AAD: append([]byte(nil), in.aad...)}}
	if decrypt {
		return &gcmDecryption{gcmWork: *w, tag: append([]byte(nil), in.tag...)}, nil, nil
	}
	return w, chosen, nil
}

// randomIVOctets is the length of a random IV for GCM: 12 octets, or 16 when IV Length says 128 bits. Clients that mean
// octets say 12 or 16.
func randomIVOctets(p *kmip.CryptographicParameters) (int, error) {
	if p.RandomIV == nil || !*p.RandomIV || p.IVLength == nil {
		return 12, nil
	}
	switch *p.IVLength {
	case 96, 12:
		return 12, nil
	case 128, 16:
		return 16, nil
	}
	return 0, badField("IV Length must be 96 or 128 bits for a random IV")
}

// gcmWork encrypts. The token makes the tag over the whole message, which is gathered for it; the ciphertext of parts is
// given out as they come, as CS-BC-M-GCM-3 wants it, from the same key in counter mode (NIST SP 800-38D section 7.1).
type gcmWork struct {
	gathered
	key     tokenKey
	spec    hsm.CipherSpec
	tagSize int
	sent    int    // octets of ciphertext that were given out
	counter []byte // block of the next octet; nil before the first part
	mute    bool   // the key cannot tell the counter: everything comes at the end
}

func (w *gcmWork) add(ctx context.Context, data []byte) ([]byte, error) {
	w.gather(data)
	ready := (len(w.held) - w.sent) / 16 * 16
	if w.mute || ready == 0 {
		return nil, nil
	}
	out, err := w.ahead(ctx, w.held[w.sent:w.sent+ready])
	if errors.Is(err, hsm.ErrUnsupported) || errors.Is(err, hsm.ErrInvalidKey) {
		w.mute = true // no counter mode, or a key that may not decrypt
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.sent += ready
	return out, nil
}

// ahead encrypts whole blocks in counter mode. GCM's counter is the last 32 bits of the block and wraps within them.
func (w *gcmWork) ahead(ctx context.Context, data []byte) ([]byte, error) {
	if w.counter == nil {
		var err error
		if w.counter, err = w.firstBlock(ctx); err != nil {
			return nil, err
		}
	}
	var out []byte
	for len(data) > 0 {
		low := binary.BigEndian.Uint32(w.counter[12:])
		n := len(data)
		if left := 16 * (math.MaxUint32 - uint64(low) + 1); uint64(n) > left {
			n = int(left)
		}
		piece, err := w.key.run(ctx, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: w.counter}, data[:n], false)
		if err != nil {
			return nil, err
		}
		if out = append(out, piece...); len(piece) != n {
			return nil, hsm.ErrInternal
		}
		data = data[n:]
		binary.BigEndian.PutUint32(w.counter[12:], low+uint32(n/16)) // wraps
	}
	return out, nil
}

// firstBlock is the counter block of the first octet: J0 plus one. With an IV of 12 octets it is known; another IV is
// hashed with a secret of the key, so the token is asked: the encryption of a block of zeros is the encryption of the
// counter block, which decrypts to it.
func (w *gcmWork) firstBlock(ctx context.Context) ([]byte, error) {
	if len(w.spec.IV) == 12 {
		return append(append([]byte(nil), w.spec.IV...), 0, 0, 0, 2), nil
	}
	stream, err := w.key.run(ctx, w.spec, make([]byte, 16), false)
	if err != nil {
		return nil, err
	}
	if len(stream) < 16 {
		return nil, hsm.ErrInternal
	}
	return w.key.run(ctx, hsm.CipherSpec{Mode: hsm.ModeECB}, stream[:16], true)
}

func (w *gcmWork) end(ctx context.Context, data []byte) (output, error) {
	out, err := w.key.run(ctx, w.spec, w.with(data), false)
	if err != nil {
		return output{}, err
	}
	if len(out) < w.tagSize+w.sent {
		return output{}, hsm.ErrInternal
	}
	n := len(out) - w.tagSize
	return output{data: out[w.sent:n:n], tag: out[n:]}, nil
}

// gcmDecryption gives nothing out before the tag is verified (NIST SP 800-38D section 7.2). A request without tag has it
// behind the data.
type gcmDecryption struct {
	gcmWork
	tag []byte
}

func (w *gcmDecryption) add(_ context.Context, data []byte) ([]byte, error) {
	w.gather(data)
	return nil, nil
}

func (w *gcmDecryption) end(ctx context.Context, data []byte) (output, error) {
	w.gather(data)
	w.gather(w.tag)
	if len(w.held) < w.tagSize {
		return output{}, kmip.Errorf(kmip.ResultReasonCryptographicFailure, "Data and Authenticated Encryption Tag are shorter than the tag")
	}
	out, err := w.key.run(ctx, w.spec, w.held, true)
	return output{data: out}, err
}
