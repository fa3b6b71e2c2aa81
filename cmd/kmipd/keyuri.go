package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"kmipd/hsm"
)

// keyScheme begins the name of a key on the token (RFC 7512).
const keyScheme = "pkcs11:"

// isTokenKey tells the name of a key on the token from a file.
func isTokenKey(key string) bool { return strings.HasPrefix(key, keyScheme) }

// keyURI is a key as RFC 7512 names it. Only the one token of the server is open: token and serial may be given, and must
// then be its own.
type keyURI struct {
	hsm.KeyName
	token, serial string
}

// parseKeyURI reads a PKCS #11 URI: object, id, token, serial and type=private are understood.
func parseKeyURI(s string) (keyURI, error) {
	var u keyURI
	rest, ok := strings.CutPrefix(s, keyScheme)
	if !ok {
		return u, fmt.Errorf("%q is not a PKCS #11 URI such as pkcs11:object=kmipd-tls", s)
	}
	path, query, _ := strings.Cut(rest, "?")
	if query != "" {
		return u, errors.New("a PKCS #11 URI with a query (module-path, pin-value, pin-source) is not taken: token_module and token_pin_file have these")
	}
	for part := range strings.SplitSeq(path, ";") {
		if part == "" {
			continue
		}
		name, raw, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(raw)
		if err != nil {
			return u, fmt.Errorf("%q: %w", part, err)
		}
		switch name {
		case "object":
			u.Label = value
		case "id":
			u.ID = []byte(value)
		case "token":
			u.token = value
		case "serial":
			u.serial = value
		case "type":
			if value != "private" {
				return u, fmt.Errorf("type=%s is not a private key", value)
			}
		default:
			return u, fmt.Errorf("%q in a PKCS #11 URI is not understood: give object or id, or both", part)
		}
	}
	if u.Label == "" && len(u.ID) == 0 {
		return u, errors.New("a PKCS #11 URI needs object (the key's label) or id (its CKA_ID, as %01%02)")
	}
	return u, nil
}

// on refuses a URI of another token than the one that is open.
func (u keyURI) on(info hsm.Info) error {
	switch {
	case u.token != "" && u.token != info.Label:
		return fmt.Errorf("it is on the token %q, and the server's is %q: all keys are on one token", u.token, info.Label)
	case u.serial != "" && u.serial != info.Serial:
		return fmt.Errorf("it is on the token with serial %s, and the server's is %s: all keys are on one token", u.serial, info.Serial)
	}
	return nil
}

// String is the URI.
func (u keyURI) String() string {
	var parts []string
	if u.Label != "" {
		parts = append(parts, "object="+escape(u.Label))
	}
	if len(u.ID) > 0 {
		var id strings.Builder
		for _, b := range u.ID {
			fmt.Fprintf(&id, "%%%02X", b)
		}
		parts = append(parts, "id="+id.String())
	}
	return keyScheme + strings.Join(parts, ";")
}

// escape is url.PathEscape, and the octets that a PKCS #11 URI gives a meaning.
func escape(s string) string {
	return strings.NewReplacer(";", "%3B", "=", "%3D", "?", "%3F").Replace(url.PathEscape(s))
}
