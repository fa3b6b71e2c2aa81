package keystore

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func dated(name string, t time.Time) kmip.Attribute { return at(name, timeValue(t)) }

// undefined is the largest Date-Time: the attribute is not set (KMIP 1.4 section 4.9).
func undefined(name string) kmip.Attribute {
	return at(name, ttlv.Make(ttlv.AppendTime(nil, kmip.TagAttributeValue, time.Unix(maxDate, 0))))
}

// TestLocateFilters is profiles.md section 7.4: which of some objects each request finds.
func TestLocateFilters(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	u := map[string]string{} // letter to identifier
	u["a"] = c.aes(named("key a"), at("Object Group", textValue("g1")), at("Object Group", textValue("g2")), at("x-a", textValue("one")), at("x-a", textValue("two")),
		dated("Activation Date", epoch.Add(-time.Hour)), at("Usage Limits", limits(100)), at("Contact Information", textValue("me")),
		at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodPKCS5})))
	b.advance(time.Minute)
	u["b"] = c.must(c.create(kmip.ObjectTypeSymmetricKey, append(attributesOf(kmip.CryptographicAlgorithmAES, 128, kmip.CryptographicUsageMaskEncrypt),
		at("Object Group", textValue("g1")), at("x-a", textValue("one")), dated("Activation Date", epoch.Add(time.Hour)), appInfo("ns", "data"), appInfo("ns2", "x"))...))
	b.advance(time.Minute)
	u["s"] = c.must(c.register(secret(marker(20)), named("key s"), at("Link", structValue(&kmip.Link{LinkType: kmip.LinkTypeParentLink, LinkedObjectIdentifier: u["a"]}))))
	u["o"] = c.must(c.register(opaque(marker(9)), at("Contact Information", textValue("Me"))))
	u["t"] = c.must(c.register(template(at("Object Group", textValue("g1"))), named("template")))
	u["c"] = c.must(c.register(certificate(makeCert(t, pkix.Name{CommonName: "cn", Organization: []string{"org"}}, nil).Raw)))
	dead := c.aes(at("Object Group", textValue("g1")))
	c.ok(c.destroy(dead))
	bob := b.client("bob")
	bob.aes(at("Object Group", textValue("g1")))
	now := b.clock()

	var digest kmip.Digest
	c.ok(digest.Decode(c.value(u["a"], "Digest")))
	partial := func(fields ...func([]byte) []byte) ttlv.Item {
		out, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
		for _, f := range fields {
			out = f(out)
		}
		return ttlv.Make(ttlv.End(out, mark))
	}
	text := func(tag ttlv.Tag, s string) func([]byte) []byte {
		return func(b []byte) []byte { return ttlv.AppendText(b, tag, s) }
	}
	enum := func(tag ttlv.Tag, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { return ttlv.AppendEnum(b, tag, v) }
	}
	long := func(tag ttlv.Tag, v int64) func([]byte) []byte {
		return func(b []byte) []byte { return ttlv.AppendLong(b, tag, v) }
	}
	for _, row := range []struct {
		name  string
		attrs []kmip.Attribute
		want  string // letters, newest first; "!" for Invalid Field
	}{
		{"nothing", nil, "ctosba"},
		{"name", []kmip.Attribute{named("key a")}, "a"},
		{"name, other case", []kmip.Attribute{named("KEY A")}, ""},
		{"name, part", []kmip.Attribute{named("key")}, ""},
		{"name without type", []kmip.Attribute{at("Name", partial(text(kmip.TagNameValue, "key a")))}, "a"},
		{"name of another type", []kmip.Attribute{at("Name", structValue(&kmip.Name{NameValue: "key a", NameType: kmip.NameTypeURI}))}, ""},
		{"two names", []kmip.Attribute{named("key a"), named("key s")}, ""},
		{"object type", []kmip.Attribute{at("Object Type", enumValue(kmip.ObjectTypeSymmetricKey))}, "ba"},
		{"template", []kmip.Attribute{at("Object Type", enumValue(kmip.ObjectTypeTemplate))}, "t"},
		{"algorithm and length", []kmip.Attribute{at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES)), at("Cryptographic Length", intValue(int32(128)))}, "b"},
		{"length of secret", []kmip.Attribute{at("Cryptographic Length", intValue(int32(160)))}, "s"},
		{"group", []kmip.Attribute{at("Object Group", textValue("g1"))}, "tba"},
		{"two groups: both", []kmip.Attribute{at("Object Group", textValue("g1")), at("Object Group", textValue("g2"))}, "a"},
		{"custom", []kmip.Attribute{at("x-a", textValue("one"))}, "ba"},
		{"custom, second instance", []kmip.Attribute{at("x-a", textValue("two"))}, "a"},
		{"custom, index is ignored", []kmip.Attribute{atIndex("x-a", 5, textValue("two"))}, "a"},
		{"custom, both", []kmip.Attribute{at("x-a", textValue("one")), at("x-a", textValue("two"))}, "a"},
		{"custom, another type", []kmip.Attribute{at("x-a", intValue(int32(1)))}, ""},
		{"custom of the server", []kmip.Attribute{at("y-a", textValue("one"))}, ""},
		{"mask", []kmip.Attribute{mask(kmip.CryptographicUsageMaskEncrypt)}, "ba"},
		{"mask, two bits", []kmip.Attribute{mask(kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskDecrypt)}, "a"},
		{"mask, verify", []kmip.Attribute{mask(kmip.CryptographicUsageMaskVerify)}, "c"},
		{"limits, total", []kmip.Attribute{at("Usage Limits", partial(long(kmip.TagUsageLimitsTotal, 100)))}, "a"},
		{"limits, less", []kmip.Attribute{at("Usage Limits", partial(long(kmip.TagUsageLimitsTotal, 5), long(kmip.TagUsageLimitsCount, 99)))}, "a"},
		{"limits, more", []kmip.Attribute{at("Usage Limits", partial(long(kmip.TagUsageLimitsTotal, 101)))}, ""},
		{"limits, more count", []kmip.Attribute{at("Usage Limits", partial(long(kmip.TagUsageLimitsCount, 101)))}, ""},
		{"limits, another unit", []kmip.Attribute{at("Usage Limits", partial(long(kmip.TagUsageLimitsTotal, 1), enum(kmip.TagUsageLimitsUnit, uint32(kmip.UsageLimitsUnitByte))))}, ""},
		{"parameters, one field", []kmip.Attribute{at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC}))}, "a"},
		{"parameters, a field that differs", []kmip.Attribute{at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodANSIX9_23}))}, ""},
		{"parameters, a field that is not there", []kmip.Attribute{at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{HashingAlgorithm: kmip.HashingAlgorithmSHA1}))}, ""},
		{"application information", []kmip.Attribute{appInfo("ns", "data")}, "b"},
		{"application namespace", []kmip.Attribute{at("Application Specific Information", structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "ns"}))}, "b"},
		{"application data alone", []kmip.Attribute{at("Application Specific Information", partial(text(kmip.TagApplicationData, "x")))}, "b"},
		{"application information across instances", []kmip.Attribute{appInfo("ns", "x")}, ""},
		{"link without type", []kmip.Attribute{at("Link", partial(text(kmip.TagLinkedObjectIdentifier, u["a"])))}, "s"},
		{"link of another type", []kmip.Attribute{at("Link", structValue(&kmip.Link{LinkType: kmip.LinkTypeChildLink, LinkedObjectIdentifier: u["a"]}))}, ""},
		{"contact, case-sensitive", []kmip.Attribute{at("Contact Information", textValue("Me"))}, "o"},
		{"digest", []kmip.Attribute{at("Digest", structValue(&digest))}, "a"},
		{"digest value alone", []kmip.Attribute{at("Digest", partial(func(b []byte) []byte { return ttlv.AppendBytes(b, kmip.TagDigestValue, digest.DigestValue) }))}, "a"},
		{"certificate part", []kmip.Attribute{at("Certificate Subject CN", textValue("cn"))}, "c"},
		{"certificate part, another", []kmip.Attribute{at("Certificate Subject O", textValue("cn"))}, ""},
		{"certificate type", []kmip.Attribute{at("Certificate Type", enumValue(kmip.CertificateTypeX509))}, "c"},
		{"state active", []kmip.Attribute{at("State", enumValue(kmip.StateActive))}, "a"},
		{"state pre-active", []kmip.Attribute{at("State", enumValue(kmip.StatePreActive))}, "cosb"},
		{"state destroyed", []kmip.Attribute{at("State", enumValue(kmip.StateDestroyed))}, ""},
		{"fresh", []kmip.Attribute{at("Fresh", boolValue(true))}, "cosba"},
		{"sensitive", []kmip.Attribute{at("Sensitive", boolValue(true))}, ""},
		{"always sensitive", []kmip.Attribute{at("Always Sensitive", boolValue(false))}, "cosba"},
		{"key value present", []kmip.Attribute{at("Key Value Present", boolValue(true))}, "s"},
		{"random number generator", []kmip.Attribute{at("Random Number Generator", structValue(&kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmUnspecified}))}, "ba"},
		{"lease time", []kmip.Attribute{at("Lease Time", intervalValue(3600))}, "cosba"},
		{"identifier", []kmip.Attribute{at("Unique Identifier", textValue(u["b"]))}, "b"},
		{"identifier and more", []kmip.Attribute{at("Unique Identifier", textValue(u["b"])), named("key a")}, ""},
		{"two identifiers", []kmip.Attribute{at("Unique Identifier", textValue(u["b"])), at("Unique Identifier", textValue(u["a"]))}, ""},
		{"unknown identifier", []kmip.Attribute{at("Unique Identifier", textValue("none"))}, ""},
		{"destroyed identifier", []kmip.Attribute{at("Unique Identifier", textValue(dead))}, ""},
		{"date, equal", []kmip.Attribute{dated("Activation Date", epoch.Add(time.Hour))}, "b"},
		{"date, a second off", []kmip.Attribute{dated("Activation Date", epoch.Add(time.Hour+time.Second))}, ""},
		{"date, range", []kmip.Attribute{dated("Activation Date", epoch.Add(-time.Hour)), dated("Activation Date", epoch.Add(time.Hour))}, "ba"},
		{"date, range the other way", []kmip.Attribute{dated("Activation Date", epoch.Add(time.Hour)), dated("Activation Date", epoch.Add(-time.Hour))}, "ba"},
		{"date, range of one", []kmip.Attribute{dated("Activation Date", epoch.Add(time.Minute)), dated("Activation Date", epoch.Add(2*time.Hour))}, "b"},
		{"date, three", []kmip.Attribute{dated("Activation Date", epoch), dated("Activation Date", epoch.Add(time.Hour)), dated("Activation Date", epoch.Add(2*time.Hour))}, "!"},
		{"date, undefined", []kmip.Attribute{undefined("Activation Date")}, "ctos"},
		{"date, range to undefined", []kmip.Attribute{dated("Activation Date", epoch), undefined("Activation Date")}, "ctosb"},
		{"initial date", []kmip.Attribute{dated("Initial Date", epoch)}, "a"},
		{"last change", []kmip.Attribute{dated("Last Change Date", now)}, "ctos"},
		{"unknown attribute", []kmip.Attribute{at("Flavour", textValue("x"))}, "!"},
		{"wrong type", []kmip.Attribute{at("Object Group", intValue(int32(1)))}, "!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, place := range []string{"attributes", "Template-Attribute"} {
				req := kmip.LocateRequest{Attribute: row.attrs}
				if place != "attributes" {
					req = kmip.LocateRequest{TemplateAttribute: with(row.attrs...)}
				}
				resp, err := c.locate(req)
				if row.want == "!" {
					wantReason(t, place, err, kmip.ResultReasonInvalidField)
					continue
				}
				wantReason(t, place, err, 0)
				if err != nil {
					continue
				}
				if got := letters(u, resp.UniqueIdentifier); got != row.want {
					t.Errorf("%s: got %q, want %q", place, got, row.want)
				}
			}
		})
	}
	_, err := c.locate(kmip.LocateRequest{TemplateAttribute: &kmip.TemplateAttribute{Name: []kmip.Name{{NameValue: "template", NameType: 1}}}})
	wantReason(t, "Locate with a template", err, kmip.ResultReasonInvalidField)
}

func appInfo(namespace, data string) kmip.Attribute {
	return at("Application Specific Information", appData(namespace, data))
}

func letters(u map[string]string, uids []string) string {
	var out strings.Builder
	for _, uid := range uids {
		name := "?"
		for l, v := range u {
			if v == uid {
				name = l
			}
		}
		out.WriteString(name)
	}
	return out.String()
}

// Pages: newest first, and stable.
func TestLocatePages(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	var newest []string
	for range 7 {
		newest = append([]string{c.aes(at("Object Group", textValue("g")))}, newest...)
	}
	for _, row := range []struct {
		max, offset int32 // -1: not in the request
		want        []string
		total       int32 // -1: not in the answer
	}{
		{-1, -1, newest, -1},
		{3, -1, newest[:3], -1},
		{3, 0, newest[:3], 7},
		{3, 3, newest[3:6], 7},
		{3, 6, newest[6:], 7},
		{3, 7, nil, 7},
		{-1, 5, newest[5:], 7},
		{0, -1, nil, 7},
		{100, -1, newest, -1},
	} {
		for _, filter := range [][]kmip.Attribute{nil, {at("Object Group", textValue("g"))}, {at("State", enumValue(kmip.StatePreActive))}} {
			req := kmip.LocateRequest{Attribute: filter}
			if row.max >= 0 {
				req.MaximumItems = &row.max
			}
			if row.offset >= 0 {
				req.OffsetItems = &row.offset
			}
			what := fmt.Sprintf("max %d offset %d, %d filters", row.max, row.offset, len(filter))
			resp, err := c.locate(req)
			wantReason(t, what, err, 0)
			if !slices.Equal(resp.UniqueIdentifier, row.want) {
				t.Errorf("%s: got %v, want %v", what, resp.UniqueIdentifier, row.want)
			}
			total := int32(-1)
			if resp.LocatedItems != nil {
				total = *resp.LocatedItems
			}
			if total != row.total {
				t.Errorf("%s: got Located Items %d, want %d", what, total, row.total)
			}
		}
	}
	_, err := c.locate(kmip.LocateRequest{MaximumItems: ptr(int32(-1))})
	wantReason(t, "negative Maximum Items", err, kmip.ResultReasonInvalidField)
	_, err = c.locate(kmip.LocateRequest{OffsetItems: ptr(int32(-1))})
	wantReason(t, "negative Offset Items", err, kmip.ResultReasonInvalidField)
	for m, want := range map[kmip.StorageStatusMask]int{0: 0, kmip.StorageStatusMaskOnLineStorage: 7, 3: 7} {
		resp, err := c.locate(kmip.LocateRequest{StorageStatusMask: &m})
		wantReason(t, "storage mask", err, 0)
		if len(resp.UniqueIdentifier) != want {
			t.Errorf("Storage Status Mask %d: got %d objects, want %d", m, len(resp.UniqueIdentifier), want)
		}
	}
	one, err := c.locate(kmip.LocateRequest{Attribute: []kmip.Attribute{at("Unique Identifier", textValue(newest[0]))}, OffsetItems: ptr(int32(1))})
	wantReason(t, "identifier, offset", err, 0)
	if len(one.UniqueIdentifier) != 0 || one.LocatedItems == nil || *one.LocatedItems != 1 {
		t.Errorf("Locate by identifier with offset 1: got %+v, want none of one", one)
	}
}

// The order is that of creation even when the clock goes back, over a restart too.
func TestLocateOrderWithClockBack(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	first := c.aes()
	b.advance(-time.Hour)
	second := c.aes()
	b.restart()
	b.advance(-time.Hour)
	third := c.aes()
	if got := c.find(); !slices.Equal(got, []string{third, second, first}) {
		t.Errorf("got %v, want the newest first", got)
	}
}
