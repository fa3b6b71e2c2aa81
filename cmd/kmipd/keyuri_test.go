package main

import (
	"strings"
	"testing"

	"kmipd/hsm"
)

func TestKeyURI(t *testing.T) {
	for in, want := range map[string]hsm.KeyName{
		"pkcs11:object=kmipd-tls":                               {Label: "kmipd-tls"},
		"pkcs11:id=%01%02%ff":                                   {ID: []byte{1, 2, 255}},
		"pkcs11:token=kmipd;object=a%20b%3Bc;id=A;type=private": {Label: "a b;c", ID: []byte("A")},
	} {
		u, err := parseKeyURI(in)
		if err != nil || u.Label != want.Label || string(u.ID) != string(want.ID) {
			t.Errorf("%s: got %+v, %v", in, u, err)
		}
		if again, err := parseKeyURI(u.String()); err != nil || again.Label != want.Label || string(again.ID) != string(want.ID) {
			t.Errorf("%s: written as %s, which reads %+v, %v", in, u, again, err)
		}
	}
	for in, want := range map[string]string{
		"pkcs11:":                           "needs object",
		"pkcs11:token=x":                    "needs object",
		"pkcs11:object=x;slot-id=1":         "slot-id=1",
		"pkcs11:object=x;type=public":       "private key",
		"pkcs11:object=x?pin-value=1234":    "token_pin_file",
		"pkcs11:object=%zz":                 "%zz",
		"server.key":                        "PKCS #11 URI",
		"pkcs11:object=x?module-path=/m.so": "token_module",
	} {
		if _, err := parseKeyURI(in); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: got %v, want %q", in, err, want)
		}
	}
	info := hsm.Info{Label: "kmipd", Serial: "1"}
	for in, want := range map[string]bool{"pkcs11:object=x": true, "pkcs11:object=x;token=kmipd;serial=1": true, "pkcs11:object=x;token=other": false, "pkcs11:object=x;serial=2": false} {
		if u, err := parseKeyURI(in); err != nil || (u.on(info) == nil) != want {
			t.Errorf("%s: got %v, %v", in, u.on(info), err)
		}
	}
}
