package keystore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/keystore/evidence"
	"kmipd/kmip"
	"kmipd/metadata"
)

// facts are those of a system that is all well.
func facts() fips.Evidence {
	e := fips.Evidence{Module: fips.Module{Enabled: true, Version: "v1.0.0", Certificate: &fips.ModuleCertificate{Version: "v1.0.0", Number: "5247",
		Standard: "FIPS 140-3", Level: 1, Status: "active", Sunset: epoch.AddDate(5, 0, 0)}}}
	e.Token = fips.TokenMatch{Status: "active", Facts: fips.TokenFacts{HardwareSlot: true}, Certificate: &fips.TokenCertificate{Number: "4711",
		Standard: "140-3", Level: 3, Status: "active", Sunset: epoch.AddDate(2, 0, 0)}}
	return e
}

// reportBench is a store under fips140 with all facts, on a token with elliptic curves.
func reportBench(t *testing.T, settings ...func(*Config)) *bench {
	b := newBench(t, append([]func(*Config){func(c *Config) {
		c.Evidence = facts()
		c.Report = ReportConfig{Server: evidence.Server{Version: "1.0"}, Library: "/lib/p11.so", LibrarySHA256: strings.Repeat("0", 64),
			Complete: func(d *evidence.Document) {
				d.TLS = []evidence.TLS{{Policy: "fips140"}}
				d.Counters = &evidence.Counters{Approved: []evidence.Count{{Operation: "Decrypt", Count: 5}, {Operation: "Get", Count: 2}}}
			}}
	}}, settings...)...)
	p, err := fips.New("fips140", fips.Options{Switches: []fips.Switch{fips.AllowECB}, Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.again(p, false); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) report() (*EvidenceReport, *evidence.Verified) {
	b.t.Helper()
	r, err := b.s.MakeReport(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := b.s.EvidenceKey(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := evidence.Open(r.JSON, key)
	if err != nil {
		b.t.Fatalf("the JSON does not verify: %v", err)
	}
	page, err := evidence.Open(r.HTML, key)
	if err != nil {
		b.t.Fatalf("the page does not verify: %v", err)
	}
	if page.SHA256 != v.SHA256 {
		b.t.Error("JSON and page hold different documents")
	}
	return r, v
}

// A certificate that covered the token at the start says nothing of one that came back with other firmware.
func TestReportOfAnotherToken(t *testing.T) {
	b := reportBench(t)
	info := b.fake.Info()
	at := &b.s.cfg.Evidence.Token
	at.Facts.Manufacturer, at.Facts.Model = info.Manufacturer, info.Model
	at.Facts.Hardware, at.Facts.Firmware = info.Identity.HardwareVersion, info.Identity.FirmwareVersion
	_, v := b.report()
	if v.Document.Token.Certificate == nil || len(b.s.validations()) != 2 {
		t.Fatalf("the token as it was checked: %+v", v.Document.Token)
	}
	at.Facts.Firmware = "0.9"
	_, v = b.report()
	if v.Document.Token.Certificate != nil || v.Document.Verdict.Compliant || !strings.Contains(strings.Join(v.Document.Token.Unvalidated, " "), "since it came back") {
		t.Errorf("got %+v, %+v", v.Document.Token.Certificate, v.Document.Token.Unvalidated)
	}
	if n := len(b.s.validations()); n != 1 {
		t.Errorf("Query tells of %d validations, want that of Go's module alone", n)
	}
	if m := b.s.Facts().Token; m.Certificate != nil {
		t.Errorf("status: %+v", m)
	}
}

// That nobody compared the flags of the keys is not that none of them drifted.
func TestReportBeforeFlagsAreCompared(t *testing.T) {
	b := reportBench(t)
	if _, err := b.s.SelfTest(context.Background(), "start"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the comparison after the self-test", b.s.drift.compared)
	b.s.drift.mu.Lock()
	b.s.drift.whole = false
	b.s.drift.mu.Unlock()
	_, v := b.report()
	d := v.Document
	if d.SelfTests.Drifted != nil || d.Verdict.Compliant || !slices.ContainsFunc(d.Unknown, func(m evidence.Missing) bool { return m.What == "self_tests.drifted" }) {
		t.Errorf("drifted %v, verdict %+v, unknown %v", d.SelfTests.Drifted, d.Verdict, d.Unknown)
	}
}

func TestReport(t *testing.T) {
	b := reportBench(t)
	c := b.client("one")
	c.aes()
	b.s.legacy.note(fips.Decrypt)
	if _, err := b.s.SelfTest(context.Background(), "start"); err != nil {
		t.Fatal(err)
	}
	b.s.compareAll(context.Background())
	first, v := b.report()
	d := v.Document
	if d.Serial != 1 || d.PreviousSHA256 != "" || !d.Generated.Equal(epoch) || first.Serial != 1 {
		t.Errorf("got serial %d after %q at %s", d.Serial, d.PreviousSHA256, d.Generated)
	}
	if !d.Verdict.Compliant {
		t.Errorf("not compliant: %q", d.Verdict.Reasons)
	}
	if p := d.Policies[0]; p.Policy != "fips140" || p.Fingerprint == "" || len(p.Rules) < 50 || !slices.Equal(p.Switches, []fips.Switch{fips.AllowECB}) || p.Release != "wrapped" {
		t.Errorf("policy: got %+v", p)
	}
	if m := d.GoModule; m == nil || !m.Enabled || m.Certificate == nil || m.Certificate.Number != "5247" {
		t.Errorf("module: got %+v", m)
	}
	if tk := d.Token; tk == nil || tk.Certificate == nil || tk.Certificate.Number != "4711" || tk.Certificate.Standard != "FIPS 140-3" || tk.Serial == "" || !slices.Contains(tk.Uses, "AES-GCM") {
		t.Errorf("token: got %+v", tk)
	}
	if d.SelfTests == nil || !d.SelfTests.Passed || len(d.SelfTests.Results) == 0 || d.Pairwise == nil {
		t.Errorf("self-tests: got %+v", d.SelfTests)
	}
	if d.Audit == nil || d.Audit.Sequence == 0 || len(d.Audit.Hash) != 64 {
		t.Errorf("audit trail: got %+v", d.Audit)
	}
	keys := func(of string) (n int) {
		for _, k := range d.Keys.Keys {
			if k.Algorithm == of {
				n += k.Count
			}
		}
		return n
	}
	if keys("AES") != 1 || keys("ECDSA") != 2 { // the client's, and the one that signs
		t.Errorf("keys: got %+v", d.Keys.Keys)
	}
	if got := d.Counters; got.Approved[0].Count != 4 || got.Approved[1].Count != 2 || len(got.Legacy) != 1 || got.Legacy[0] != (evidence.Count{Operation: "decrypt", Count: 1}) {
		t.Errorf("counters: got %+v", got)
	}
	if !slices.ContainsFunc(d.Deviations, func(x evidence.Deviation) bool { return x.ID == "switch allow-ecb" }) {
		t.Errorf("deviations: got %+v", d.Deviations)
	}
	if !slices.ContainsFunc(d.Unknown, func(x evidence.Missing) bool { return x.What == "rng.drbg" }) {
		t.Errorf("unknown: got %+v", d.Unknown)
	}
	// The next one is chained to it, after a restart too, and has the same key.
	b.advance(time.Hour)
	_, v2 := b.report()
	if v2.Document.Serial != 2 || v2.Document.PreviousSHA256 != v.SHA256 || v2.KeySHA256 != v.KeySHA256 {
		t.Errorf("got serial %d after %s, want 2 after %s", v2.Document.Serial, v2.Document.PreviousSHA256, v.SHA256)
	}
	b.advance(-2 * time.Hour)
	_, v3 := b.report()
	if v3.Document.PreviousSHA256 != v2.SHA256 || !v3.Document.Clock.Behind || v3.Document.Verdict.Compliant {
		t.Errorf("a clock that was set back: got %+v", v3.Document.Clock)
	}
	// Clients do not see the key.
	if got := c.find(at("Object Type", enumValue(kmip.ObjectTypePrivateKey))); len(got) != 0 {
		t.Errorf("a client finds %v", got)
	}
}

// Scheduled reports come into the directory, and the oldest ones go.
func TestScheduledReports(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "report-of-mine.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := reportBench(t, func(c *Config) {
		c.Clock = time.Now
		c.Report = ReportConfig{Dir: dir, Interval: 20 * time.Millisecond, Keep: 2}
	})
	third := filepath.Join(dir, "report-0000000003.html")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(third); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no third report: %s", b.log)
		}
	}
	b.s.Close()
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file that is no report: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "report-0*"))
	if err != nil || len(files) != 4 {
		t.Fatalf("got %v, want two reports in both forms", files)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := evidence.Open(text, nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// The policy that has no signature algorithm for clients does not keep the server from signing its reports: they say so.
func TestReportUnderCNSA2(t *testing.T) {
	b := reportBench(t)
	p, err := fips.New("cnsa2", fips.Options{Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.again(p, true); err != nil {
		t.Fatal(err)
	}
	_, v := b.report()
	if !slices.ContainsFunc(v.Document.Deviations, func(x evidence.Deviation) bool { return x.ID == "D-EVIDENCE-ECDSA" }) {
		t.Errorf("deviations: got %+v", v.Document.Deviations)
	}
}

// What is not validated is told, and nothing is claimed for it.
func TestReportOfAnUnvalidatedToken(t *testing.T) {
	b := reportBench(t, func(c *Config) {
		c.Evidence.Token = fips.TokenMatch{Status: "none", Unvalidated: []string{"no certificate is known for SoftHSM project SoftHSM v2"}}
		c.Evidence.Allowed = []string{"allow_unvalidated_token"}
		c.Report.RNG, _ = ParseRNG("ctr-aes-256")
	})
	_, v := b.report()
	d := v.Document
	if d.Verdict.Compliant || !strings.Contains(strings.Join(d.Verdict.Reasons, "\n"), "token not validated: no certificate is known for SoftHSM") {
		t.Errorf("verdict: %+v", d.Verdict)
	}
	if d.RNG.DRBG != "DRBG CTR AES 256, as configured" {
		t.Errorf("rng: got %+v", d.RNG)
	}
	if d.SelfTests != nil || !slices.ContainsFunc(d.Unknown, func(x evidence.Missing) bool { return x.What == "self_tests" }) {
		t.Errorf("self-tests that were not run: got %+v, %+v", d.SelfTests, d.Unknown)
	}
	got, err := b.s.Describe(context.Background(), &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: "c"}})
	if err != nil || len(got.Validations) != 1 || *got.Validations[0].ValidationCertificateIdentifier != "5247" {
		t.Errorf("validations: got %+v, %v", got.Validations, err)
	}
	if r := got.RNGs; len(r) != 1 || r[0].DRBGAlgorithm != kmip.DRBGAlgorithmCTR || *r[0].CryptographicLength != 256 {
		t.Errorf("RNGs: got %+v", r)
	}
	c := b.client("c")
	uid := c.aes()
	var p kmip.RNGParameters
	if err := p.Decode(c.value(uid, "Random Number Generator")); err != nil || p.DRBGAlgorithm != kmip.DRBGAlgorithmCTR {
		t.Errorf("the attribute of a key: got %+v, %v", p, err)
	}
}

// In the error state there is a report, which says so and is not signed.
func TestReportInTheErrorState(t *testing.T) {
	b := reportBench(t)
	b.report()
	b.s.guard.Fail("RNG", "it stuttered")
	r, err := b.s.MakeReport(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v, err := evidence.Open(r.JSON, nil)
	if !errors.Is(err, evidence.ErrUnsigned) || v == nil {
		t.Fatalf("got %v, want ErrUnsigned", err)
	}
	d := v.Document
	if d.Verdict.Compliant || d.ErrorState == nil || d.ErrorState.Text != "it stuttered" || d.PreviousSHA256 == "" || !strings.Contains(r.Unsigned, "error state") {
		t.Errorf("got %+v %+v %q", d.Verdict, d.ErrorState, r.Unsigned)
	}
	if got := b.s.profilesOf(&kmip.Call{}); len(got) != 0 {
		t.Errorf("profiles in the error state: %v", got)
	}
}

// The state by policy is an attribute in strict policies: computed, never stored, found by Locate, and nobody's to set.
func TestFIPSStateAttribute(t *testing.T) {
	b := newBench(t)
	c := b.client("one")
	aes := c.aes()
	des3 := c.key(bytes.Repeat([]byte{1, 2, 3}, 8), kmip.CryptographicAlgorithmDES3, active(kmip.CryptographicUsageMaskDecrypt)...)
	blowfish := c.key(bytes.Repeat([]byte{7}, 16), kmip.CryptographicAlgorithmBlowfish, active(kmip.CryptographicUsageMaskDecrypt)...)
	if got, err := c.attributes(aes, attrFIPSState); err != nil || len(got) != 0 {
		t.Errorf("default policy: got %v, %v", got, err)
	}
	p, err := fips.New("fips140", fips.Options{Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.again(p, false); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[string]string{aes: "approved", des3: "legacy", blowfish: "disallowed"} {
		got, err := c.attributes(uid, attrFIPSState)
		if err != nil || len(got) != 1 || got[0].AttributeValue.Text() != want {
			t.Errorf("got %v, %v, want %s", got, err, want)
		}
		if found := c.find(at(attrFIPSState, textValue(want))); !slices.Equal(found, []string{uid}) {
			t.Errorf("Locate %s: got %v, want %s", want, found, uid)
		}
	}
	list, err := do(c, kmip.OperationGetAttributeList, aes, c.s.GetAttributeList, &kmip.GetAttributeListRequest{})
	if err != nil || !slices.Contains(list.AttributeName, attrFIPSState) {
		t.Errorf("Get Attribute List: got %v, %v", list, err)
	}
	for what, err := range map[string]error{"add": c.add(aes, at(attrFIPSState, textValue("approved"))),
		"modify": c.modify(aes, at(attrFIPSState, textValue("approved"))), "delete": c.remove(aes, attrFIPSState, nil)} {
		if kmip.ReasonOf(err) != kmip.ResultReasonInvalidField {
			t.Errorf("%s: got %v, want Invalid Field", what, err)
		}
	}
	if _, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at(attrFIPSState, textValue("approved")))...); err == nil {
		t.Error("Create took it")
	}
	if err := b.client("").update(AttributeUpdate{Object: aes, Attribute: attrFIPSState, Value: "approved"}); err == nil {
		t.Error("an administrator set it")
	}
}

// Query Profiles names what the policy lets the server do, on the listener and for the group of the call.
func TestProfilesByPolicy(t *testing.T) {
	policy := func(name string) *fips.Policy {
		p, err := fips.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	b := newBench(t, func(c *Config) {
		c.Listeners = map[string]*fips.Policy{"b128": policy("suiteb128"), "b192": policy("suiteb192"), "fips": policy("fips140")}
	})
	for _, c := range []struct {
		listener string
		has, not []kmip.ProfileName
	}{
		{"", []kmip.ProfileName{kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_0, kmip.ProfileNameAdvancedCryptographicServerKMIPV1_4, kmip.ProfileNameTapeLibraryServerKMIPV1_2},
			[]kmip.ProfileName{kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_2}},
		{"b128", []kmip.ProfileName{kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_0, kmip.ProfileNameRNGCryptographicServerKMIPV1_2},
			[]kmip.ProfileName{kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_2, kmip.ProfileNameSymmetricKeyFoundryServerKMIPV1_0, kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_0,
				kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_0, kmip.ProfileNameBasicCryptographicServerKMIPV1_2}},
		{"b192", []kmip.ProfileName{kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_4}, []kmip.ProfileName{kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_4}},
		{"fips", []kmip.ProfileName{kmip.ProfileNameAsymmetricKeyLifecycleServerKMIPV1_0, kmip.ProfileNameOpaqueManagedObjectStoreServerKMIPV1_4},
			[]kmip.ProfileName{kmip.ProfileNameSymmetricKeyLifecycleServerKMIPV1_0, kmip.ProfileNameTapeLibraryServerKMIPV1_0, kmip.ProfileNameBasicCryptographicServerKMIPV1_2}},
	} {
		d, err := b.s.Describe(context.Background(), &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: "c"}, Listener: c.listener})
		if err != nil {
			t.Fatal(err)
		}
		names := map[kmip.ProfileName]bool{}
		for _, p := range d.Profiles {
			names[p.ProfileName] = true
		}
		for _, n := range c.has {
			if !names[n] {
				t.Errorf("listener %q: %s is missing", c.listener, n)
			}
		}
		for _, n := range c.not {
			if names[n] {
				t.Errorf("listener %q: %s is claimed", c.listener, n)
			}
		}
		want := map[string]string{"": "default", "b128": "suiteb128", "b192": "suiteb192", "fips": "fips140"}[c.listener]
		if !slices.Contains(d.ServerInformation, kmip.ServerField{Tag: tagPolicy, Value: want}) {
			t.Errorf("listener %q: got %v, want policy %s", c.listener, d.ServerInformation, want)
		}
	}
	if n := len(b.s.profilesOf(&kmip.Call{})); n != len(profiles) {
		t.Errorf("default: got %d profiles, want all %d", n, len(profiles))
	}
}

func TestValidations(t *testing.T) {
	b := reportBench(t)
	list := b.s.validations()
	if len(list) != 2 || *list[0].ValidationCertificateIdentifier != "4711" || list[0].ValidationLevel != 3 || list[0].ValidationVersionMajor != 3 ||
		list[0].ValidationType != kmip.ValidationTypeHardware || list[1].ValidationType != kmip.ValidationTypeSoftware {
		t.Errorf("got %+v", list)
	}
	b.advance(3 * 366 * 24 * time.Hour) // past the sunset of the token's
	if list = b.s.validations(); len(list) != 1 || *list[0].ValidationCertificateIdentifier != "5247" {
		t.Errorf("after the sunset: got %+v", list)
	}
}

// endless is a store whose walk over all records does not come to its end.
type endless struct{ metadata.Store }

func (e endless) Records(ctx context.Context, fn func(*metadata.Record) error) error {
	return e.Store.Records(ctx, func(rec *metadata.Record) error {
		if err := fn(rec); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// An inventory that takes longer than a report may leaves a report that says so.
func TestReportOfAnEndlessInventory(t *testing.T) {
	b := reportBench(t)
	b.client("one").aes()
	b.s.meta = endless{b.s.meta}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := b.s.MakeReport(ctx)
	if err != nil {
		t.Fatal(err)
	}
	key, err := b.s.EvidenceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := evidence.Open(r.JSON, key)
	if err != nil {
		t.Fatal(err)
	}
	d := v.Document
	said := slices.ContainsFunc(d.Unknown, func(m evidence.Missing) bool {
		return m.What == "keys" && strings.Contains(m.Why, "cut short after 1 objects")
	})
	if d.Keys.Complete || d.Keys.Objects != 1 || !said || d.Verdict.Compliant {
		t.Errorf("got %+v, unknown %+v, verdict %+v", d.Keys, d.Unknown, d.Verdict)
	}
}
