package keywrap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors holds the vectors of RFC 3394 section 4 and RFC 5649 section 6.
func TestVectors(t *testing.T) {
	type fn func(key, in []byte) ([]byte, error)
	tests := []struct {
		name               string
		wrap, unwrap       fn
		key, plain, cipher string
	}{
		{"RFC 3394 4.1", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF",
			"1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"RFC 3394 4.2", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF",
			"96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{"RFC 3394 4.3", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF",
			"64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{"RFC 3394 4.4", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF0001020304050607",
			"031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{"RFC 3394 4.5", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF0001020304050607",
			"A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{"RFC 3394 4.6", WrapKW, UnwrapKW, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
			"28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
		{"RFC 5649 6, 20 octets", WrapKWP, UnwrapKWP, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "c37b7e6492584340bed12207808941155068f738",
			"138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"RFC 5649 6, 7 octets", WrapKWP, UnwrapKWP, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, plain, want := unhex(t, tt.key), unhex(t, tt.plain), unhex(t, tt.cipher)
			got, err := tt.wrap(key, plain)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("wrap: got %x, %v, want %x", got, err, want)
			}
			back, err := tt.unwrap(key, want)
			if err != nil || !bytes.Equal(back, plain) {
				t.Errorf("unwrap: got %x, %v, want %x", back, err, plain)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	key := make([]byte, 32)
	for n := range 70 {
		plain := bytes.Repeat([]byte{7}, n)
		kw, err := WrapKW(key, plain)
		if ok := n >= 16 && n%8 == 0; (err == nil) != ok {
			t.Errorf("WrapKW of %d octets: %v", n, err)
		}
		kwp, err := WrapKWP(key, plain)
		if (err == nil) != (n > 0) {
			t.Errorf("WrapKWP of %d octets: %v", n, err)
		}
		for i := range kw {
			kw[i] ^= 1
			if _, err := UnwrapKW(key, kw); !errors.Is(err, ErrInvalid) {
				t.Errorf("UnwrapKW took a changed octet %d of %d", i, len(kw))
			}
			kw[i] ^= 1
		}
		for i := range kwp {
			kwp[i] ^= 1
			if _, err := UnwrapKWP(key, kwp); !errors.Is(err, ErrInvalid) {
				t.Errorf("UnwrapKWP took a changed octet %d of %d", i, len(kwp))
			}
			kwp[i] ^= 1
		}
		back, err := UnwrapKWP(key, kwp)
		if n > 0 && (err != nil || !bytes.Equal(back, plain)) {
			t.Errorf("UnwrapKWP of %d octets: %v", n, err)
		}
		if _, err := UnwrapKW(key, plain); !errors.Is(err, ErrInvalid) {
			t.Errorf("UnwrapKW took %d arbitrary octets", n)
		}
		if _, err := UnwrapKWP(key, plain); !errors.Is(err, ErrInvalid) {
			t.Errorf("UnwrapKWP took %d arbitrary octets", n)
		}
	}
	if _, err := WrapKW(key[:5], key); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key of 5 octets: %v", err)
	}
}

// TestPadding checks that a length indicator that disagrees with the padding is refused.
func TestPadding(t *testing.T) {
	key := make([]byte, 16)
	enc, err := encrypter(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte{1}, 16)
	for mli := range uint64(40) {
		blob, err := wrap(enc, kwpIV<<32|mli, plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := UnwrapKWP(key, blob); (err == nil) != (mli == 16) {
			t.Errorf("length indicator %d over 16 non-zero octets: %v", mli, err)
		}
	}
}
