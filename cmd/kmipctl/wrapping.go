package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// wrapping is the flags that say how a key is wrapped: register takes wrapped keys in, get asks for them.
type wrapping struct {
	mode, hash, encoding string
}

func (w *wrapping) define(f *pflag.FlagSet) {
	f.StringVar(&w.mode, "wrap-mode", "", "nist-key-wrap, aes-key-wrap-padding, oaep or pkcs1-v1.5 (default: the Cryptographic Parameters of the wrapping key)")
	f.StringVar(&w.hash, "wrap-hash", "", "hash of --wrap-mode oaep: sha-1, sha-256, ... (default: the server's)")
	f.StringVar(&w.encoding, "encoding", "", "what is wrapped: no (the key alone) or ttlv (the Key Value structure)")
}

// named tells whether any of the flags is used, which makes no sense without a wrapping key.
func (w *wrapping) named() bool { return w.mode != "" || w.hash != "" || w.encoding != "" }

// key is the Encryption Key Information.
func (w *wrapping) key(id string) (*kmip.EncryptionKeyInformation, error) {
	p, err := w.parameters()
	return &kmip.EncryptionKeyInformation{UniqueIdentifier: id, CryptographicParameters: p}, err
}

// parameters are the Cryptographic Parameters of --wrap-mode, nil without it.
func (w *wrapping) parameters() (*kmip.CryptographicParameters, error) {
	p := &kmip.CryptographicParameters{}
	switch squash(w.mode) {
	case "":
		if w.hash != "" {
			return nil, errors.New("--wrap-hash needs --wrap-mode oaep")
		}
		return nil, nil
	case "nistkeywrap":
		p.BlockCipherMode = kmip.BlockCipherModeNISTKeyWrap
	case "aeskeywrappadding":
		p.BlockCipherMode = kmip.BlockCipherModeAESKeyWrapPadding
	case "oaep":
		p.PaddingMethod = kmip.PaddingMethodOAEP
	case "pkcs1v15":
		p.PaddingMethod = kmip.PaddingMethodPKCS1V1_5
	default:
		return nil, fmt.Errorf("--wrap-mode: %q is none of nist-key-wrap, aes-key-wrap-padding, oaep, pkcs1-v1.5", w.mode)
	}
	if w.hash == "" {
		return p, nil
	}
	if p.PaddingMethod != kmip.PaddingMethodOAEP {
		return nil, errors.New("--wrap-hash needs --wrap-mode oaep")
	}
	v, err := parseEnum("HashingAlgorithm", w.hash)
	if err != nil {
		return nil, fmt.Errorf("--wrap-hash: %w", err)
	}
	p.HashingAlgorithm = kmip.HashingAlgorithm(v)
	return p, nil
}

// option is the Encoding Option. KMIP 1.0 has none: there the Key Value structure is wrapped. def is for a flag that is
// not used.
func (w *wrapping) option(ver kmip.Version, def kmip.EncodingOption) (kmip.EncodingOption, error) {
	opt := def
	switch w.encoding {
	case "":
		if ver.Before(kmip.V1_1) {
			opt = kmip.EncodingOptionTTLVEncoding
		}
	case "no":
		opt = kmip.EncodingOptionNoEncoding
	case "ttlv":
		opt = kmip.EncodingOptionTTLVEncoding
	default:
		return 0, fmt.Errorf("--encoding: %q is neither no nor ttlv", w.encoding)
	}
	if ver.Before(kmip.V1_1) && opt == kmip.EncodingOptionNoEncoding {
		return 0, errors.New("--encoding no needs KMIP 1.1")
	}
	return opt, nil
}
