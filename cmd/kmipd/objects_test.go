package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kmipd/keystore"
	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

// bench is kmipd dev as a process, and its commands run beside it.
type bench struct {
	t        *testing.T
	dir, bin string
	address  string
	stop     func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	b := &bench{t: t, dir: t.TempDir()}
	b.bin = filepath.Join(b.dir, "kmipd")
	if out, err := exec.Command("go", "build", "-o", b.bin, "kmipd/cmd/kmipd").CombinedOutput(); err != nil {
		t.Fatalf("building kmipd: %v\n%s", err, out)
	}
	b.serve()
	return b
}

func (b *bench) serve() {
	b.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(b.bin, "dev", "--dir", filepath.Join(b.dir, "dev"), "--listen", "127.0.0.1:0", "--log-level", "warn")
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			if a, ok := strings.CutPrefix(s.Text(), "ready "); ok {
				ready <- a
			}
		}
	}()
	running := true
	b.stop = func() {
		if running {
			running = false
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			<-ended
			_ = cmd.Wait() // how it ended is in the log
		}
	}
	b.t.Cleanup(b.stop)
	select {
	case b.address = <-ready:
	case <-ended:
		_ = cmd.Wait()
		if strings.Contains(log.String(), "SoftHSM2 was not found") && os.Getenv("CI") != "true" && os.Getenv("KMIPD_REQUIRE_SOFTHSM") != "1" {
			b.t.Skip("SoftHSM2 is not installed")
		}
		b.t.Fatalf("kmipd dev ended:\n%s", log.String())
	case <-time.After(time.Minute):
		b.t.Fatal("kmipd dev does not get ready")
	}
}

// connect is a KMIP connection of the client dev.
func (b *bench) connect() *client.Client {
	b.t.Helper()
	dir := filepath.Join(b.dir, "dev")
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		b.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		b.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c, err := client.Dial(context.Background(), client.Config{Address: b.address, Version: kmip.V1_4,
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "127.0.0.1"}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (b *bench) register(c *client.Client, req *kmip.RegisterRequest) string {
	b.t.Helper()
	resp, err := client.Do[kmip.RegisterRequest, kmip.RegisterResponse](context.Background(), c, kmip.OperationRegister, req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.UniqueIdentifier
}

// run runs a command, without a terminal.
func (b *bench) run(args ...string) (out, errOut string, status int) {
	b.t.Helper()
	var o, e bytes.Buffer
	cmd := exec.Command(b.bin, append(args, "--dir", filepath.Join(b.dir, "dev"))...)
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the status tells
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func (b *bench) ok(args ...string) string {
	b.t.Helper()
	out, errOut, status := b.run(args...)
	if status != 0 {
		b.t.Fatalf("kmipd %q: status %d\n%s%s", args, status, out, errOut)
	}
	return out
}

func named(text string) kmip.Attribute {
	n := kmip.Name{NameValue: text, NameType: kmip.NameTypeUninterpretedTextString}
	return kmip.Attribute{AttributeName: "Name", AttributeValue: ttlv.Make(n.Append(nil, kmip.TagAttributeValue, kmip.V1_4))}
}

func secretData(value, name string) *kmip.RegisterRequest {
	kb, mark := ttlv.Begin(nil, kmip.TagKeyValue)
	kb = ttlv.End(ttlv.AppendBytes(kb, kmip.TagKeyMaterial, []byte(value)), mark)
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSecretData, TemplateAttribute: kmip.TemplateAttribute{Attribute: []kmip.Attribute{named(name)}},
		SecretData: &kmip.SecretData{SecretDataType: kmip.SecretDataTypePassword, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeOpaque, KeyValue: ttlv.Make(kb)}}}
}

// The commands on templates, secret data and attributes work beside the running server and without it.
func TestObjectCommands(t *testing.T) {
	b := newBench(t)
	c := b.connect()
	tmpl := b.register(c, &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeTemplate, Template: &kmip.Template{},
		TemplateAttribute: kmip.TemplateAttribute{Attribute: []kmip.Attribute{named("tape \x1b[2J")}}})
	password := b.register(c, secretData("open sesame", "password"))
	b.register(c, secretData("open barley", "other"))

	for _, offline := range []bool{false, true} {
		if offline {
			b.stop()
		}
		var list []keystore.ObjectInfo
		if err := json.Unmarshal([]byte(b.ok("template", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].UID != tmpl || list[0].Client != "dev" {
			t.Errorf("offline %t: template list: %v %+v", offline, err, list)
		}
		out := b.ok("secret", "list") + b.ok("secret", "show", "password") + b.ok("template", "list")
		if !strings.Contains(out, password) || !strings.Contains(out, "Password") || strings.Contains(out, "sesame") || strings.Contains(out, "\x1b") {
			t.Errorf("offline %t: got\n%s", offline, out)
		}
		if out := b.ok("attribute", "set", "password", "y-owner", "ops"); !strings.Contains(out, "y-owner") {
			t.Errorf("offline %t: attribute set: %s", offline, out)
		}
		if _, errOut, status := b.run("attribute", "set", "password", "State", "Active"); status != 1 || !strings.Contains(errOut, "State") {
			t.Errorf("offline %t: setting State: status %d, %s", offline, status, errOut)
		}
		if _, errOut, status := b.run("secret", "delete", "password"); status != 1 || !strings.Contains(errOut, "--yes") || !strings.Contains(errOut, password) {
			t.Errorf("offline %t: delete without a terminal: status %d, %s", offline, status, errOut)
		}
		if _, _, status := b.run("secret", "delete"); status != 2 {
			t.Errorf("offline %t: delete of nothing: status %d", offline, status)
		}
		b.ok("attribute", "delete", "password", "y-owner")
	}
	b.ok("secret", "delete", "password", "--yes") // the server is down: the token object goes, too
	b.ok("fsck")
	b.serve()
	b.ok("secret", "delete", "other", "--yes")
	if out := b.ok("template", "delete", tmpl, "--yes", "--json"); !strings.Contains(out, tmpl) {
		t.Errorf("template delete: %s", out)
	}
	if out := b.ok("secret", "list", "--json") + b.ok("template", "list", "--json"); strings.TrimSpace(strings.ReplaceAll(out, "[]", "")) != "" {
		t.Errorf("after deleting: %s", out)
	}
	if _, errOut, status := b.run("template", "show", tmpl); status != 1 || !strings.Contains(errOut, "no object") {
		t.Errorf("show of what was deleted: status %d, %s", status, errOut)
	}
}

// Export and Import over the wire, on a real token: an object comes back under an identifier of the client's choice, and
// is replaced there.
func TestExportImport(t *testing.T) {
	b := newBench(t)
	c, ctx := b.connect(), context.Background()
	uid := b.register(c, secretData("open sesame", "password"))
	out, err := client.Do[kmip.ExportRequest, kmip.ExportResponse](ctx, c, kmip.OperationExport, &kmip.ExportRequest{UniqueIdentifier: &uid})
	if err != nil {
		t.Fatal(err)
	}
	req := &kmip.ImportRequest{UniqueIdentifier: "moved-1", ObjectType: out.ObjectType, SecretData: out.SecretData}
	for _, a := range out.Attribute {
		if a.AttributeName != "Unique Identifier" && a.AttributeName != "Name" {
			req.Attribute = append(req.Attribute, a)
		}
	}
	put := func() error {
		_, err := client.Do[kmip.ImportRequest, kmip.ImportResponse](ctx, c, kmip.OperationImport, req)
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if err := put(); !errors.As(err, &refused) || refused.Reason != kmip.ResultReasonObjectAlreadyExists {
		t.Errorf("a second Import: got %v, want Object Already Exists", err)
	}
	req.ReplaceExisting = ttlv.Make(ttlv.AppendBool(nil, kmip.TagReplaceExisting, true))
	if err := put(); err != nil {
		t.Errorf("Replace Existing: %v", err)
	}
	got, err := client.Do[kmip.GetRequest, kmip.GetResponse](ctx, c, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &req.UniqueIdentifier})
	if err != nil {
		t.Fatal(err)
	}
	if m := got.SecretData.KeyBlock.KeyValue.Find(kmip.TagKeyMaterial).Value; string(m) != "open sesame" {
		t.Errorf("Get after Import: got %q", m)
	}
	b.stop()
	b.ok("fsck")
}
