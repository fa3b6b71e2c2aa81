package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

func ptr[T any](v T) *T { return &v }

func parsed(t *testing.T, list ...string) []kmip.Attribute {
	t.Helper()
	var out []kmip.Attribute
	for _, s := range list {
		a, err := parseAttribute(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// results are examples of what each command prints.
func results(t *testing.T) map[string]result {
	frozen(t)
	attrs := parsed(t, "Unique Identifier=id-1", "Object Type=Symmetric Key", "Cryptographic Algorithm=0x800000ff",
		"Cryptographic Length=256", "Cryptographic Usage Mask=encrypt,decrypt", "Cryptographic Usage Mask=0", "Name=first-key", "Name[1]=second\nkey\x1b[2J",
		"Initial Date=now", "Lease Time=3600", "Sensitive=false", "x-Big=big:-300", "x-Bytes=bytes:00ff", "x-Empty=",
		"X.509 Certificate Subject=Subject Distinguished Name=3000;Subject Alternative Name=0102",
		"x-S=struct:0x540001=int:1;0x540001=int:2;Name Value=a", "Link=Link Type=Public Key Link;Linked Object Identifier=<id-2>")
	query := &kmip.QueryResponse{
		Operation: []kmip.Operation{kmip.OperationCreate, 0x80000001}, ObjectType: []kmip.ObjectType{kmip.ObjectTypeTemplate},
		VendorIdentification: ptr("vendor"), ApplicationNamespace: []string{"ssl"},
		ServerInformation: ttlv.Make(func() []byte {
			b, m := ttlv.Begin(nil, kmip.TagServerInformation)
			b = ttlv.AppendText(b, 0x540101, "kmipd")
			return ttlv.End(ttlv.AppendText(b, 0x540999, "?"), m)
		}()),
		ExtensionInformation: []kmip.ExtensionInformation{{ExtensionName: "Product", ExtensionTag: ptr(int32(0x540101)), ExtensionType: ptr(int32(7))}},
		RNGParameters:        []kmip.RNGParameters{{RNGAlgorithm: kmip.RNGAlgorithmUnspecified}},
		ProfileInformation: []kmip.ProfileInformation{{ProfileName: kmip.ProfileNameBaselineServerBasicKMIPV1_2},
			{ProfileName: kmip.ProfileNameTapeLibraryServerKMIPV1_0, ServerURI: ptr("https://x"), ServerPort: ptr(int32(5696))}},
		CapabilityInformation:    []kmip.CapabilityInformation{{BatchUndoCapability: ptr(true), UnwrapMode: kmip.UnwrapModeProcessed}},
		ClientRegistrationMethod: []kmip.ClientRegistrationMethod{kmip.ClientRegistrationMethodClientRegistered},
	}
	secret := &outcome{id: "id-1", name: "Data", secret: true, size: 2, octets: []byte{1, 0xff}}
	shown, written := *secret, *secret
	shown.show, written.file = true, "plain.txt"
	return map[string]result{
		"encrypt": &outcome{id: "id-1", name: "Data", octets: []byte{1, 0xff}, size: 2,
			also: []member{{"IV/Counter/Nonce", octets{2}}, {"Authenticated Encryption Tag", octets{3}}}},
		"decrypt": secret, "decrypt-show": &shown, "decrypt-out": &written,
		"sign":             &outcome{id: "id-1", name: "Signature Data", octets: []byte{0x30, 0}, size: 2},
		"hash":             &outcome{name: "Data", octets: []byte{0}, size: 1},
		"rng-seed":         &seeded{32},
		"signature-verify": &verdict{"id-1", "Valid"}, "validate": &verdict{"", "Unknown"},
		"obtain-lease":       &lease{"id-1", 3600, "2026-01-31T12:00:00Z"},
		"create-split-key":   &keyParts{[]string{"id-1", "id-2"}, nil},
		"pending":            &pending{Correlation: octets{0x1d, 2}, Status: "Operation Pending"},
		"cancel":             &cancellation{octets{0x1d, 2}, "Unable to Cancel", false},
		"export":             exportExample(attrs[:4]),
		"create":             &identified{"id-1", "Symmetric Key", viewAttributes(attrs[3:4])},
		"create-key-pair":    &pair{"id-1", "id-2", nil, nil},
		"get-attributes":     &attributeList{"id-1", viewAttributes(attrs)},
		"get-attribute-list": &nameList{"id-1", []string{"Name", "x-\x07"}},
		"modify-attribute":   &changed{"id-1", viewAttribute(&attrs[7])},
		"delete-attribute":   &changed{"id-1", attributeView{Name: "x-Gone"}},
		"locate":             &located{IDs: []string{"id-1", "id-2"}, Located: ptr(int32(12))},
		"locate-none":        &located{IDs: []string{}},
		"locate-details": &located{IDs: []string{"id-1"}, details: true, Objects: []attributeList{
			{"id-1", viewAttributes(attrs[1:8])}, {"id-22222", []attributeView{}}}},
		"check":             (&checked{}).from("id-1", &kmip.CheckResponse{UsageLimitsCount: ptr(int64(5)), LeaseTime: ptr(uint32(90)), CryptographicUsageMask: ptr(kmip.CryptographicUsageMaskSign)}),
		"activate":          &identified{UniqueIdentifier: "id-1"},
		"query":             viewQuery(query),
		"discover-versions": &versions{[]string{"1.4", "1.3"}},
		"get":               getExample(false, kmip.KeyValue{KeyMaterial: bytesItem([]byte{1, 2, 0xff})}),
		"get-show":          getExample(true, kmip.KeyValue{KeyMaterial: bytesItem([]byte{1, 2, 0xff}), Attribute: attrs[6:7]}),
		"get-transparent": getExample(true, kmip.KeyValue{KeyMaterial: ttlv.Make((&kmip.TransparentRSAPublicKey{
			Modulus: big.NewInt(0xc0ffee), PublicExponent: big.NewInt(3)}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4))}),
		"get-split": viewObject(&kmip.GetResponse{UniqueIdentifier: "id-1", ObjectType: kmip.ObjectTypeSplitKey, SplitKey: &kmip.SplitKey{
			SplitKeyParts: 3, KeyPartIdentifier: 1, SplitKeyThreshold: 2, SplitKeyMethod: kmip.SplitKeyMethodXOR, PrimeFieldSize: big.NewInt(257),
			KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw}}}),
		"get-certificate": viewObject(&kmip.GetResponse{UniqueIdentifier: "id-1", ObjectType: kmip.ObjectTypeCertificate,
			Certificate: &kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: []byte{0x30, 0}}}),
		"get-template": viewObject(&kmip.GetResponse{UniqueIdentifier: "id-1", ObjectType: kmip.ObjectTypeTemplate, Template: &kmip.Template{Attribute: attrs[2:4]}}),
	}
}

func bytesItem(b []byte) ttlv.Item { return ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, b)) }

func getExample(shown bool, kv kmip.KeyValue) result {
	v := viewObject(&kmip.GetResponse{UniqueIdentifier: "id-1", ObjectType: kmip.ObjectTypeSecretData, SecretData: &kmip.SecretData{
		SecretDataType: kmip.SecretDataTypeSeed,
		KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, CryptographicLength: ptr(int32(24)),
			KeyValue: ttlv.Make(kv.Append(nil, kmip.TagKeyValue, kmip.V1_4)),
			KeyWrappingData: &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncryptionKeyInformation: &kmip.EncryptionKeyInformation{
				UniqueIdentifier: "kek", CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeNISTKeyWrap}}}}}})
	v.show = shown
	return v
}

func exportExample(attrs []kmip.Attribute) result {
	v := viewObject(object(&kmip.ExportResponse{UniqueIdentifier: "id-1", ObjectType: kmip.ObjectTypeOpaqueObject, Attribute: attrs,
		OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000001, OpaqueDataValue: []byte{1}}}))
	v.Attributes = viewAttributes(attrs)
	return v
}

// What scripts ask with the exit status.
func TestNegative(t *testing.T) {
	for _, tc := range []struct {
		res  negative
		want bool
	}{
		{&verdict{Validity: "Valid"}, false}, {&verdict{Validity: "Invalid"}, true}, {&verdict{Validity: "Unknown"}, true},
		{&pending{}, false}, {&pending{waited: true}, true}, {&cancellation{canceled: true}, false}, {&cancellation{}, true},
	} {
		if got := tc.res.negative(); got != tc.want {
			t.Errorf("%+v: %v", tc.res, got)
		}
	}
}

func TestOutput(t *testing.T) {
	for name, res := range results(t) {
		t.Run(name, func(t *testing.T) {
			for _, format := range []string{"txt", "json", "ids"} {
				var out bytes.Buffer
				k := &kit{streams: streams{out: &out}, json: format == "json", quiet: format == "ids"}
				if err := k.print(res); err != nil {
					t.Fatal(err)
				}
				if format == "ids" {
					for _, id := range res.ids() {
						if _, waits := res.(*pending); waits {
							continue // there it is the value to poll with
						}
						if !strings.HasPrefix(id, "id-") {
							t.Errorf("--quiet prints %q", id)
						}
					}
					continue
				}
				if strings.ContainsAny(out.String(), "\x1b\x07") {
					t.Error("control characters of others reach the terminal")
				}
				golden(t, "output-"+name+"."+format, out.Bytes())
			}
		})
	}
}

func TestFail(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code int
		text string
		json string
	}{
		{"reason", &client.Error{Operation: kmip.OperationGet, Status: kmip.ResultStatusOperationFailed, Reason: kmip.ResultReasonItemNotFound, Message: "no such object"},
			1, "kmipctl: Item Not Found: no such object\n", `{"reason":"Item Not Found","message":"no such object"}`},
		{"no message", &client.Error{Status: kmip.ResultStatusOperationFailed, Reason: kmip.ResultReasonSensitive},
			1, "kmipctl: Sensitive\n", `{"reason":"Sensitive","message":""}`},
		{"no reason", &client.Error{Status: kmip.ResultStatusOperationPending}, 1, "kmipctl: Operation Pending\n", `{"reason":"Operation Pending","message":""}`},
		{"unknown reason", &client.Error{Status: kmip.ResultStatusOperationFailed, Reason: 0x80000001, Message: "a\nb"},
			1, "kmipctl: 0x80000001: \"a\\nb\"\n", `{"reason":"0x80000001","message":"a\nb"}`},
		{"network", errors.New("client: dial: refused"), 1, "kmipctl: dial: refused\n", `{"reason":"Client Error","message":"client: dial: refused"}`},
		{"usage", usageError("wrong %d", 1), 2, "kmipctl: wrong 1\n", `{"reason":"Usage","message":"wrong 1"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				var out, errOut bytes.Buffer
				k := &kit{streams: streams{out: &out, err: &errOut}, json: asJSON}
				if code := k.fail(nil, tc.err); code != tc.code {
					t.Errorf("status %d, want %d", code, tc.code)
				}
				got, want := errOut.String(), tc.text
				if asJSON {
					var short bytes.Buffer
					if err := json.Compact(&short, out.Bytes()); err != nil {
						t.Fatal(err)
					}
					got, want = short.String(), `{"error":`+tc.json+`}`
				}
				if got != want {
					t.Errorf("json %v: got %q, want %q", asJSON, got, want)
				}
			}
		})
	}
}

// The material is gone from memory after printing.
func TestWipe(t *testing.T) {
	v := getExample(true, kmip.KeyValue{KeyMaterial: bytesItem([]byte{1, 2, 3})}).(*objectView)
	v.wipe()
	if !bytes.Equal(v.Object.Material.value, make([]byte, 3)) {
		t.Errorf("material is %x", v.Object.Material.value)
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[seconds]string{0: "0 s", 59: "59 s", 90: "90 s (1m30s)"} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := dateText(time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600))); got != "2026-01-01T00:00:00Z" {
		t.Errorf("got %s", got)
	}
}
