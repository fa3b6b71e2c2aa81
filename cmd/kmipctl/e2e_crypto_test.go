package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
	"testing"
)

func (r *rig) encrypt(t *testing.T) {
	key := r.call(t, "create", "--name", "cipher", "--activation-date", "now", "--json").id()
	r.write(t, "plain", []byte("sixteen octets!!and some more"))
	a := r.call(t, "encrypt", "--name", "cipher", "--mode", "gcm", "--random-iv", "--aad", "text:header", "--file", "plain", "--json")
	r.write(t, "gcm", must(hex.DecodeString(a.field("data"))))
	args := []string{"decrypt", key, "--mode", "gcm", "--iv", a.field("iv_counter_nonce"), "--tag", a.field("authenticated_encryption_tag"), "--file", "gcm", "--aad", "text:header"}
	r.call(t, append(args, "--out", "again")...).ok().has("29 octets written to again")
	if got := r.read(t, "again"); string(got) != "sixteen octets!!and some more" {
		t.Errorf("got %q", got)
	}
	if a := r.call(t, append(args, "--json")...).ok(); strings.Contains(a.out, `"data"`) || a.json()["octets"] != 29.0 {
		t.Errorf("plaintext without --show: %s", a.out)
	}
	r.call(t, args...).ok().has("29 octets, not shown: --out FILE")
	r.call(t, append(args, "--show")...).ok().has(hex.EncodeToString([]byte("sixteen octets!!and some more")))
	r.call(t, append(args, "--aad", "text:other", "--out", "forged")...).fails(1, "kmipctl: Cryptographic Failure: ")
	r.call(t, "decrypt", key, "--file", "forged").fails(2, "no such file")

	iv := "000102030405060708090a0b0c0d0e0f"
	for _, mode := range []string{"cbc --padding pkcs5", "ctr", "ecb --padding pkcs5"} {
		flags := append([]string{"--mode"}, strings.Fields(mode)...)
		if !strings.HasPrefix(mode, "ecb") {
			flags = append(flags, "--iv", iv)
		}
		a := r.call(t, append([]string{"encrypt", key, "--file", "plain", "--out", "-"}, flags...)...).ok()
		if got := r.feed(t, []byte(a.out), append([]string{"decrypt", key, "--out", "-"}, flags...)...).ok().out; got != "sixteen octets!!and some more" {
			t.Errorf("%s: got %q", mode, got)
		}
		// In hexadecimal, in and out.
		shown := r.feed(t, []byte("00 01"), append([]string{"encrypt", key, "--hex", "--json"}, flags...)...).field("data")
		r.feed(t, []byte(shown), append([]string{"decrypt", key, "--hex", "--show"}, flags...)...).ok().has("Data               0001")
	}
	// What does not fit on standard output beside the ciphertext is not lost.
	if a := r.call(t, "encrypt", key, "--mode", "cbc", "--padding", "pkcs5", "--random-iv", "--file", "plain", "--out", "-").ok(); !strings.HasPrefix(a.err, "IV/Counter/Nonce  ") || len(a.out) != 32 {
		t.Errorf("%q, %d octets", a.err, len(a.out))
	}
	for _, v := range []string{"1.2", "1.3"} {
		a := r.call(t, "encrypt", key, "--mode", "gcm", "--iv", "00112233445566778899aabb", "--file", "plain", "--version", v, "--json")
		r.feed(t, []byte(a.field("data")), "decrypt", key, "--mode", "gcm", "--iv", "00112233445566778899aabb", "--hex", "--show", "--version", v).ok().
			has(hex.EncodeToString([]byte("sixteen octets!!and some more")))
	}
	r.call(t, "encrypt", key, "--file", "plain", "--json").refused("Invalid Field") // no mode
	// The key's own parameters do without flags.
	own := r.call(t, "create", "--activation-date", "now", "--attribute", "Cryptographic Parameters=Block Cipher Mode=CBC;Padding Method=PKCS5;Random IV=true", "--json").id()
	r.call(t, "encrypt", own, "--file", "plain").ok().has("IV/Counter/Nonce  ")
}

// large: files of any size go through in parts.
func (r *rig) large(t *testing.T) {
	key := r.call(t, "create", "--name", "bulk", "--activation-date", "now", "--json").id()
	iv := "000102030405060708090a0b0c0d0e0f"
	for _, size := range []int{pieceSize, pieceSize + 1, 2 * pieceSize, 2*pieceSize + 12345} {
		plain := make([]byte, size)
		rand.Read(plain)
		r.write(t, "big", plain)
		for _, flags := range [][]string{{"--mode", "cbc", "--padding", "pkcs5"}, {"--mode", "gcm"}, {"--mode", "ctr"}} {
			flags = append(flags, "--iv", iv)
			a := r.call(t, append([]string{"encrypt", key, "--file", "big", "--out", "big.enc", "--force", "--json"}, flags...)...).ok()
			if tag, ok := a.json()["authenticated_encryption_tag"].(string); ok {
				flags = append(flags, "--tag", tag)
			}
			r.call(t, append([]string{"decrypt", key, "--file", "big.enc", "--out", "big.dec", "--force"}, flags...)...).ok()
			if !bytes.Equal(r.read(t, "big.dec"), plain) || bytes.Equal(r.read(t, "big.enc"), plain) {
				t.Errorf("%d octets, %q: another file came back", size, flags)
			}
		}
		sum := sha256.Sum256(plain)
		r.call(t, "hash", "--file", "big").ok().has("Data  " + hex.EncodeToString(sum[:]))
		r.feed(t, plain, "hash").ok().has(hex.EncodeToString(sum[:]))
	}
	// A failure in the middle leaves nothing behind.
	r.call(t, "decrypt", key, "--mode", "cbc", "--padding", "pkcs5", "--iv", iv, "--file", "big", "--out", "broken").fails(1, "kmipctl: ")
	r.call(t, "hash", "--file", "broken").fails(2, "no such file")
	r.call(t, "decrypt", key, "--mode", "gcm", "--iv", iv, "--tag", iv, "--file", "big", "--out", "broken").fails(1, "kmipctl: Cryptographic Failure: ")
	r.call(t, "hash", "--file", "broken").fails(2, "no such file")

	r.call(t, "create", "--algorithm", "HMAC-SHA256", "--length", "256", "--name", "bulk-mac", "--activation-date", "now").ok()
	code := r.call(t, "mac", "--name", "bulk-mac", "--file", "big", "--json").field("mac_data")
	r.call(t, "mac-verify", "--name", "bulk-mac", "--file", "big", "--mac", code).ok().has("valid\n")
	r.call(t, "create-key-pair", "--algorithm", "EC", "--curve", "P-256", "--private-name", "bulk-sign", "--public-name", "bulk-verify", "--activation-date", "now").ok()
	r.call(t, "sign", "--name", "bulk-sign", "--hash", "sha-256", "--file", "big", "--out", "big.sig").ok()
	r.call(t, "signature-verify", "--name", "bulk-verify", "--hash", "sha-256", "--file", "big", "--signature-file", "big.sig").ok().has("valid\n")
	sum := sha256.Sum256(r.read(t, "big"))
	r.feed(t, sum[:], "signature-verify", "--name", "bulk-verify", "--hash", "sha-256", "--digested", "--signature-file", "big.sig").ok().has("valid\n")
}

func (r *rig) rsaEncrypt(t *testing.T) {
	m := r.call(t, "create-key-pair", "--algorithm", "RSA", "--length", "2048", "--activation-date", "now", "--json").ok().json()
	private, public := m["private_key_unique_identifier"].(string), m["public_key_unique_identifier"].(string)
	for _, flags := range []string{"--padding oaep --hash sha-256 --mgf-hash sha-256 --label text:box", "--padding oaep", "--padding pkcs1-v1.5"} {
		a := r.feed(t, []byte("secret"), append([]string{"encrypt", public, "--out", "-"}, strings.Fields(flags)...)...).ok()
		r.feed(t, []byte(a.out), append([]string{"decrypt", private, "--show"}, strings.Fields(flags)...)...).ok().has(hex.EncodeToString([]byte("secret")))
	}
}

func (r *rig) sign(t *testing.T) {
	r.write(t, "letter", []byte("dear all"))
	r.write(t, "other", []byte("dear none"))
	sum := sha256.Sum256([]byte("dear all"))
	m := r.call(t, "create-key-pair", "--algorithm", "RSA", "--length", "2048", "--private-name", "rsa-sign", "--public-name", "rsa-verify", "--activation-date", "now", "--json").ok().json()
	private, public := m["private_key_unique_identifier"].(string), m["public_key_unique_identifier"].(string)
	for _, flags := range []string{"--hash sha-256", "--padding pkcs1-v1.5 --hash sha-256", "--padding pss --hash sha-256 --salt-length 20", "--padding pss --hash sha-256 --mgf-hash sha-256",
		"--signature-algorithm 0x5"} {
		f := strings.Fields(flags)
		sig := r.call(t, append([]string{"sign", private, "--file", "letter", "--json"}, f...)...).field("signature_data")
		v := []string{"signature-verify", public, "--signature", sig}
		if a := r.call(t, append(append(v, "--file", "letter"), f...)...).ok(); a.out != "valid\n" {
			t.Errorf("%s: %q", flags, a.out)
		}
		if a := r.call(t, append(append(v, "--file", "other"), f...)...); a.status != 1 || a.out != "invalid\n" || a.err != "" {
			t.Errorf("%s: status %d, %q %q", flags, a.status, a.out, a.err)
		}
		r.feed(t, []byte(hex.EncodeToString(sum[:])), append(append(v, "--digested", "--hex"), f...)...).ok().has("valid\n")
	}
	a := r.call(t, "signature-verify", "--name", "rsa-verify", "--hash", "sha-256", "--file", "other", "--signature", "00", "--json")
	if a.status != 1 || a.json()["validity_indicator"] != "Invalid" || a.json()["unique_identifier"] != public {
		t.Errorf("status %d, %s", a.status, a.out)
	}
	r.feed(t, sum[:], "sign", "--name", "rsa-sign", "--hash", "sha-256", "--digested", "--out", "sig").ok().has("256 octets written to sig")
	r.feed(t, r.read(t, "sig"), "signature-verify", public, "--hash", "sha-256", "--file", "letter", "--signature-file", "-").ok().has("valid\n")
	r.call(t, "sign", private, "--file", "letter", "--json").refused("Invalid Field")
}

func (r *rig) mac(t *testing.T) {
	r.write(t, "hkey", bytes.Repeat([]byte{0x0b}, 20))
	r.call(t, "register", "--type", "symmetric-key", "--algorithm", "HMAC-SHA256", "--file", "hkey", "--name", "rfc4231", "--activation-date", "now").ok()
	want := "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" // RFC 4231, test 1
	r.feed(t, []byte("Hi There"), "mac", "--name", "rfc4231").ok().has("MAC Data           " + want)
	r.feed(t, []byte("Hi There"), "mac-verify", "--name", "rfc4231", "--mac", want).ok().has("valid\n")
	if a := r.feed(t, []byte("Hi there"), "mac-verify", "--name", "rfc4231", "--mac", want); a.status != 1 || a.out != "invalid\n" {
		t.Errorf("status %d, %q", a.status, a.out)
	}
	id := r.call(t, "create", "--usage", "mac,mac-verify", "--activation-date", "now", "--json").id()
	r.write(t, "letter", []byte("dear all"))
	for _, flags := range []string{"--mode cmac", "--algorithm hmac-sha512", "--hash sha-384"} {
		r.call(t, append([]string{"mac", id, "--file", "letter", "--out", "code", "--force"}, strings.Fields(flags)...)...).ok()
		r.call(t, append([]string{"mac-verify", id, "--file", "letter", "--mac-file", "code", "--json"}, strings.Fields(flags)...)...).ok().has(`"validity_indicator": "Valid"`)
	}
	r.call(t, "mac", id, "--file", "letter", "--json").refused("Invalid Field")
}

func (r *rig) hashes(t *testing.T) {
	sum := sha512.Sum512([]byte("abc"))
	if got := r.feed(t, []byte("abc"), "hash", "--hash", "sha-512", "--json").field("data"); got != hex.EncodeToString(sum[:]) {
		t.Errorf("got %s", got)
	}
	r.feed(t, []byte("616263"), "hash", "--hex", "--hash", "sha-512", "--out", "sum").ok().has("Data  64 octets written to sum")
	if !bytes.Equal(r.read(t, "sum"), sum[:]) {
		t.Error("another digest is in the file")
	}
	r.feed(t, nil, "hash").ok().has("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	r.feed(t, nil, "hash", "--hash", "md5", "--json").refused("Invalid Field")

	r.call(t, "rng-retrieve", "--length", "32").ok().has("32 octets, not shown")
	r.call(t, "rng-retrieve", "--length", "32", "--out", "random").ok()
	if got := r.read(t, "random"); len(got) != 32 || bytes.Equal(got, make([]byte, 32)) {
		t.Errorf("got %x", got)
	}
	m := r.call(t, "rng-retrieve", "--length", "16", "--show", "--json").ok().json()
	if s, _ := m["data"].(string); len(s) != 32 || m["octets"] != 16.0 {
		t.Errorf("got %v", m)
	}
	r.call(t, "rng-seed", "--file", "random").ok().has("Data Length  0")
}
