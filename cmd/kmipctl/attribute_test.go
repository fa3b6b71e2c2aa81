package main

import (
	"strings"
	"testing"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Every attribute of the table has a tag and a type, and every structure its shape.
func TestAttributeTable(t *testing.T) {
	for _, n := range attributeNames {
		tag := attributeTag(n)
		if tag == 0 {
			t.Errorf("%s has no tag", n)
			continue
		}
		switch attributeType(tag) {
		case 0:
			t.Errorf("%s has no type", n)
		case ttlv.Structure:
			sh := shapeOf(tag)
			if sh.make == nil {
				t.Errorf("%s has no shape", n)
			}
			for _, f := range sh.fields {
				if kmip.TagType(f) == 0 {
					t.Errorf("%s: %s has no type", n, kmip.NameOfTag(f))
				}
			}
		}
	}
}

func TestParseAttribute(t *testing.T) {
	frozen(t)
	for _, tc := range []struct{ in, want string }{
		{"Cryptographic Length=256", "Cryptographic Length [0] Integer: 256"},
		{"cryptographic-length=0x100", "Cryptographic Length [0] Integer: 256"},
		{"CryptographicAlgorithm=aes", "Cryptographic Algorithm [0] Enumeration: AES"},
		{"Cryptographic Algorithm=enum:3DES", "Cryptographic Algorithm [0] Enumeration: 3DES"},
		{"Cryptographic Algorithm=0x80000001", "Cryptographic Algorithm [0] Enumeration: 0x80000001"},
		{"usage=x", "error"},
		{"Cryptographic Usage Mask=encrypt, wrap,mac-verify", "Cryptographic Usage Mask [0] Integer: Encrypt, Wrap Key, MAC Verify"},
		{"Cryptographic Usage Mask=12", "Cryptographic Usage Mask [0] Integer: Encrypt, Decrypt"},
		{"Cryptographic Usage Mask=nonrepudiation", "Cryptographic Usage Mask [0] Integer: Content Commitment (Non Repudiation)"},
		{"Cryptographic Usage Mask=encrypt,fly", "error"},
		{"Name=first=key", "Name [0] Structure: Name Value: first=key|Name Type: Uninterpreted Text String"},
		{"Name[3]=Name Type=URI;Name Value=a\\;b", "Name [3] Structure: Name Value: a;b|Name Type: URI"},
		{"Name=Name Value=only", "Name [0] Structure: Name Value: only|Name Type: Uninterpreted Text String"},
		{"Name=Name Value=a;Colour=red", "error"},
		{"Name[x]=a", "error"},
		{"Name[-1]=a", "error"},
		{"Link=Linked Object Identifier=abc;Link Type=Public Key Link", "Link [0] Structure: Link Type: Public Key Link|Linked Object Identifier: abc"},
		{"Link=Link Type=Public Key Link", "error"}, // a field is missing
		{"Link=abc", "error"},
		{"Application Specific Information=ssl:www:443", "Application Specific Information [0] Structure: Application Namespace: ssl|Application Data: www:443"},
		{"Usage Limits=Usage Limits Total=1000;Usage Limits Unit=Byte;", "Usage Limits [0] Structure: Usage Limits Total: 1000|Usage Limits Unit: Byte"},
		{"Cryptographic Parameters=Block Cipher Mode=CBC;Random IV=true;IV Length=16", "Cryptographic Parameters [0] Structure: Block Cipher Mode: CBC|Random IV: true|IV Length: 16"},
		{"X.509 Certificate Subject=Subject Distinguished Name=30:00;Subject Alternative Name=01;Subject Alternative Name=02", "X.509 Certificate Subject [0] Structure: Subject Distinguished Name: 3000|Subject Alternative Name:|  01|  02"},
		{"pkcs#12-friendly-name=a", "PKCS#12 Friendly Name [0] Text String: a"},
		{"Activation Date=2026-01-01", "Activation Date [0] Date-Time: 2026-01-01T00:00:00Z"},
		{"Activation Date=2026-01-01T01:00:00+01:00", "Activation Date [0] Date-Time: 2026-01-01T00:00:00Z"},
		{"Activation Date=now", "Activation Date [0] Date-Time: 2026-01-31T12:00:00Z"},
		{"Activation Date=+24h", "Activation Date [0] Date-Time: 2026-02-01T12:00:00Z"},
		{"Activation Date=-31d", "Activation Date [0] Date-Time: 2025-12-31T12:00:00Z"},
		{"Activation Date=tomorrow", "error"},
		{"Lease Time=1h", "Lease Time [0] Interval: 3600 s (1h0m0s)"},
		{"Lease Time=-1", "error"},
		{"Sensitive=true", "Sensitive [0] Boolean: true"},
		{"Always Sensitive=maybe", "error"},
		{"Description=text:date:x", "Description [0] Text String: date:x"},
		{"Description=int:5", "Description [0] Text String: int:5"},
		{"Description=", "Description [0] Text String: "},
		{"x-Owner=alice", "x-Owner [0] Text String: alice"},
		{"x-Count=int:-7", "x-Count [0] Integer: -7"},
		{"x-Count=int:99999999999", "error"},
		{"x-Long=long:99999999999", "x-Long [0] Long Integer: 99999999999"},
		{"x-Big=big:-0x100000000000000000", "x-Big [0] Big Integer: -0x100000000000000000"},
		{"x-E=enum:5", "x-E [0] Enumeration: 0x00000005"},
		{"x-E=enum:five", "error"},
		{"x-B=bool:false", "x-B [0] Boolean: false"},
		{"x-O=bytes:00fF", "x-O [0] Byte String: 00ff"},
		{"x-O=bytes:0", "error"},
		{"x-D=date:2026-01-01", "x-D [0] Date-Time: 2026-01-01T00:00:00Z"},
		{"x-I=interval:59", "x-I [0] Interval: 59 s"},
		{"x-S=struct:Name Value=bob;0x540001=int:7;Initial Date=now", "x-S [0] Structure: Name Value: bob|0x540001: 7|Initial Date: 2026-01-31T12:00:00Z"},
		{"x-S=struct:Nothing=1", "error"},
		{"x-S=struct:0x110001=1", "error"},
		{"Future Thing=text:a", "Future Thing [0] Text String: a"},
		{"Future Thing=a", "error"},
		{"x-Owner=\xff", "error"},
		{"\xff=text:a", "error"},
		{"Name=\xff", "error"},
		{"Name", "error"},
		{"=a", "error"},
	} {
		a, err := parseAttribute(tc.in)
		got := "error"
		if err == nil {
			v := viewAttribute(&a)
			got = v.Name + " [" + number(&v.Index) + "] " + v.Type + ": " + strings.Join(lines(v.Value), "|")
		}
		if got != tc.want {
			t.Errorf("%s: got %q (%v), want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestParseFilter(t *testing.T) {
	a, err := parseFilter("Link=Link Type=Public Key Link")
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(viewAttribute(&a).Value); len(got) != 1 || got[0] != "Link Type: Public Key Link" {
		t.Errorf("got %q", got)
	}
}

func TestParseDates(t *testing.T) {
	frozen(t)
	for _, tc := range []struct{ in, want string }{
		{"Initial Date=2026-01-01T00:00:00Z..2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z 2026-02-01T00:00:00Z"},
		{"initial-date=..now", "1970-01-01T00:00:00Z 2026-01-31T12:00:00Z"},
		{"Initial Date=-1d..", "2026-01-30T12:00:00Z 9999-12-31T23:59:59Z"},
		{"x-Due=2026-01-01", "2026-01-01T00:00:00Z"},
		{"Initial Date=2026-02-01..2026-01-01", "error"},
		{"Initial Date=a..b", "error"},
		{"Name=2026-01-01", "error"},
		{"Initial Date", "error"},
	} {
		list, err := parseDates(tc.in)
		var parts []string
		for _, a := range list {
			parts = append(parts, lines(viewAttribute(&a).Value)...)
		}
		got := strings.Join(parts, " ")
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%s: got %q (%v), want %q", tc.in, got, err, tc.want)
		}
	}
}

func FuzzParseAttribute(f *testing.F) {
	for _, s := range []string{"Name=a", "Name[1]=Name Value=a;Name Type=URI", "x-S=struct:Name Value=a;0x540001=int:1", "Initial Date=-1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAttribute(s)
		if err != nil {
			return
		}
		// What is parsed must be fit to be sent: it reads back as the same item.
		b := a.Append(nil, kmip.TagAttribute, kmip.V1_4)
		var back kmip.Attribute
		it, err := ttlv.Parse(b, ttlv.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if err := back.Decode(it); err != nil || !back.AttributeValue.Equal(a.AttributeValue) {
			t.Fatalf("%+v, %v", back, err)
		}
	})
}
