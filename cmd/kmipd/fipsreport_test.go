package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kmipd/keystore/evidence"
	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

// A report of a running server on SoftHSM2, from the first request to the auditor's desk.
func TestEvidenceReport(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(b.dir, "dev")
	c := b.connect()
	make3DES := func(bits int32) error {
		_, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](context.Background(), c, kmip.OperationCreate, &kmip.CreateRequest{
			ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: kmip.TemplateAttribute{Attribute: []kmip.Attribute{
				attribute("Cryptographic Algorithm", ttlv.AppendEnum(nil, kmip.TagAttributeValue, uint32(kmip.CryptographicAlgorithmDES3))),
				attribute("Cryptographic Length", ttlv.AppendInt(nil, kmip.TagAttributeValue, bits)),
				attribute("Cryptographic Usage Mask", ttlv.AppendInt(nil, kmip.TagAttributeValue, int32(kmip.CryptographicUsageMaskEncrypt)))}}})
		return err
	}
	if err := make3DES(168); err != nil {
		t.Fatal(err)
	}
	if err := make3DES(56); err == nil {
		t.Fatal("3DES of 56 bits was made")
	}
	jsonFile, htmlFile, keyFile := filepath.Join(b.dir, "r.json"), filepath.Join(b.dir, "r.html"), filepath.Join(b.dir, "key.pem")
	out, errOut, status := b.run("fips", "report", "--json", jsonFile, "--html", htmlFile)
	if status != 3 || !strings.Contains(errOut, "token not validated") || !strings.Contains(errOut, "policy default") || out != "" {
		t.Fatalf("report: status %d, %s%s", status, out, errOut)
	}
	key, errOut, status := b.run("fips", "key")
	if status != 0 || !strings.Contains(key, "BEGIN PUBLIC KEY") {
		t.Fatalf("key: status %d, %s%s", status, key, errOut)
	}
	b.write(keyFile, key)
	d := b.verified(jsonFile)
	if d.Server.BinarySHA256 == evidence.Unknown || len(d.Server.BinarySHA256) != 64 || d.Server.Build["CGO_ENABLED"] != "1" {
		t.Errorf("server: %+v", d.Server)
	}
	if d.Token == nil || len(d.Token.LibrarySHA256) != 64 || len(d.Token.Mechanisms) < 20 || d.Token.Certificate != nil ||
		!slices.ContainsFunc(d.Token.Mechanisms, func(m evidence.Mechanism) bool { return m.Name == "CKM_AES_GCM" && m.MaxKey == 32 }) {
		t.Errorf("token: %+v", d.Token)
	}
	if len(d.TLS) != 1 || d.TLS[0].Address != b.address || len(d.TLS[0].Certificates) == 0 || !strings.HasPrefix(d.TLS[0].ClientAuth, "certificate required") {
		t.Errorf("TLS: %+v", d.TLS)
	}
	if d.SelfTests == nil || !d.SelfTests.Passed || len(d.Token.Enforces) == 0 {
		t.Errorf("self-tests: %+v", d.SelfTests)
	}
	has := func(list []evidence.Count, want evidence.Count) bool { return slices.Contains(list, want) }
	if d.Counters == nil || !has(d.Counters.Approved, evidence.Count{Operation: "Create", Count: 1}) ||
		!has(d.Counters.Refused, evidence.Count{Operation: "Create", Reason: "Invalid Field", Count: 1}) {
		t.Errorf("counters: %+v", d.Counters)
	}
	if len(d.Refusals) != 1 || d.Refusals[0].Client != "dev" || d.Refusals[0].Operation != "Create" || d.Refusals[0].Policy != "default" ||
		!strings.Contains(d.Refusals[0].Rule, "56") {
		t.Errorf("refusals: %+v", d.Refusals)
	}
	if !slices.ContainsFunc(d.Deviations, func(x evidence.Deviation) bool { return x.ID == "D-TLS-1" }) {
		t.Errorf("deviations: %+v", d.Deviations)
	}
	// Verification needs neither server nor configuration.
	for _, file := range []string{jsonFile, htmlFile} {
		if out, errOut, status := b.bare("fips", "verify", file, "--key", keyFile); status != 0 || !strings.Contains(out, "signed by the key of "+keyFile) {
			t.Errorf("verify %s: status %d, %s%s", file, status, out, errOut)
		}
		if out, _, status := b.bare("fips", "verify", file); status != 0 || !strings.Contains(out, "fingerprint") {
			t.Errorf("verify %s without a key: status %d, %s", file, status, out)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.write(file+".bad", string(bytes.Replace(text, []byte("SoftHSM"), []byte("SureHSM"), 1)))
		if _, errOut, status := b.bare("fips", "verify", file+".bad"); status != 1 || !strings.Contains(errOut, "not as it was signed") {
			t.Errorf("verify a changed %s: status %d, %s", file, status, errOut)
		}
	}
	openssl(t, b, jsonFile, keyFile)
	if out, errOut, status := b.run("fips", "inventory", "fips140"); status != 0 || !strings.Contains(out, "legacy") || !strings.Contains(out, "3DES") {
		t.Errorf("inventory: status %d, %s%s", status, out, errOut)
	}
	b.stop()
	// Without a server the command opens both stores, and goes on with the chain.
	offline := filepath.Join(b.dir, "offline.json")
	if _, errOut, status := b.run("fips", "report", "--json", offline); status != 3 || !strings.Contains(errOut, "TLS settings are unknown") {
		t.Fatalf("offline: status %d, %s", status, errOut)
	}
	next := b.verified(offline)
	if next.TLS != nil || next.Counters != nil || next.SelfTests == nil || !next.SelfTests.Passed || next.Serial != d.Serial+1 {
		t.Errorf("offline: %+v", next)
	}
	if out, errOut, status := b.bare("fips", "verify", jsonFile, offline, "--key", keyFile); status != 0 || strings.Count(out, "whole") != 2 {
		t.Errorf("verify the chain: status %d, %s%s", status, out, errOut)
	}
	if _, errOut, status := b.bare("fips", "verify", offline, jsonFile); status != 1 || !strings.Contains(errOut, "does not follow") {
		t.Errorf("verify the chain the wrong way round: status %d, %s", status, errOut)
	}
	// The directory has them all: the one that came by itself, too.
	chain, err := filepath.Glob(filepath.Join(dir, "data", "evidence", "report-*.json"))
	if err != nil || len(chain) != 3 {
		t.Fatalf("reports in the directory: %v, %v", chain, err)
	}
	if out, errOut, status := b.bare(append([]string{"fips", "verify", "--key", keyFile}, chain...)...); status != 0 || strings.Count(out, "whole") != 3 {
		t.Errorf("verify the directory: status %d, %s%s", status, out, errOut)
	}
	b.weaker(dir)
}

// weaker starts the server under a narrower policy, and then wants it not to start under the old one without leave.
func (b *bench) weaker(dir string) {
	b.t.Helper()
	narrow := filepath.Join(b.dir, "narrow.toml")
	b.write(narrow, "hashes = [\"SHA-384\"]\n")
	start := func(args ...string) (served bool, log string) {
		var errs bytes.Buffer
		cmd := exec.Command(b.bin, append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0", "--log-level", "info"}, args...)...)
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			b.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		socket := filepath.Join(dir, "data", "admin.sock")
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			select {
			case <-ended:
				return false, errs.String()
			default:
			}
			if _, err := os.Stat(socket); err == nil {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-ended
				return true, errs.String()
			}
		}
		b.t.Fatal("the server neither serves nor ends")
		return false, ""
	}
	if ok, log := start("--policy-file", narrow); !ok {
		b.t.Fatalf("a narrower policy: %s", log)
	}
	if ok, log := start(); ok || !strings.Contains(log, "allow_weaker_policy") {
		b.t.Fatalf("back without leave: served %t, %s", ok, log)
	}
	if ok, log := start("--allow-weaker-policy"); !ok || !strings.Contains(log, "policy weakened") {
		b.t.Fatalf("back with leave: served %t, %s", ok, log)
	}
}

// openssl verifies a report with nothing of ours, as docs/evidence.md says.
func openssl(t *testing.T, b *bench, report, key string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log("openssl is not installed: not compared with it")
		return
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Signature []byte `json:"signature"`
		Document  string `json:"document"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	doc, sig := filepath.Join(b.dir, "document"), filepath.Join(b.dir, "signature")
	b.write(doc, e.Document)
	b.write(sig, string(e.Signature))
	if out, err := exec.Command("openssl", "dgst", "-sha384", "-verify", key, "-signature", sig, doc).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v, %s", err, out)
	}
}

// bare runs a command without a directory.
func (b *bench) bare(args ...string) (out, errOut string, status int) {
	b.t.Helper()
	var o, e bytes.Buffer
	cmd := exec.Command(b.bin, args...)
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the status tells
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func (b *bench) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// verified reads a report.
func (b *bench) verified(file string) *evidence.Document {
	b.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := evidence.Open(text, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Document
}

// A policy can be read without a server, and every row has what a reader needs.
func TestFIPSPolicyCommand(t *testing.T) {
	for _, name := range []string{"fips140", "suiteb192", "cnsa2"} {
		var out, errs bytes.Buffer
		if status := run(context.Background(), streams{os.Stdin, &out, &errs}, []string{"fips", "policy", name}); status != 0 {
			t.Fatalf("%s: status %d, %s", name, status, errs.String())
		}
		for _, want := range []string{"policy " + name, "fingerprint", "Cryptographic Algorithm", "AES", "REFUSED FROM", "What has no row is refused"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
	var out, errs bytes.Buffer
	if status := run(context.Background(), streams{os.Stdin, &out, &errs}, []string{"fips", "policy", "fips999"}); status != 1 || !strings.Contains(errs.String(), "suiteb192") {
		t.Errorf("an unknown policy: status %d, %s", status, errs.String())
	}
}
