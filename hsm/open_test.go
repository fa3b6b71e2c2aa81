package hsm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func TestOpenProblems(t *testing.T) {
	good := hsmtest.SoftHSMConfig(t)
	tests := []struct {
		name   string
		change func(*hsm.Config)
		want   hsm.OpenProblem
	}{
		{"no module", func(c *hsm.Config) { c.Module = "" }, hsm.ProblemModule},
		{"missing module", func(c *hsm.Config) { c.Module = "/nowhere/libpkcs11.so" }, hsm.ProblemModule},
		{"not a module", func(c *hsm.Config) { c.Module = os.Args[0] }, hsm.ProblemModule},
		{"no token named", func(c *hsm.Config) { c.TokenLabel = "" }, hsm.ProblemNoSuchToken},
		{"wrong label", func(c *hsm.Config) { c.TokenLabel = "other" }, hsm.ProblemNoSuchToken},
		{"wrong serial", func(c *hsm.Config) { c.TokenSerial = "1234" }, hsm.ProblemNoSuchToken},
		{"wrong PIN", func(c *hsm.Config) { c.PIN = "not this" }, hsm.ProblemPIN},
		{"empty PIN", func(c *hsm.Config) { c.PIN = "" }, hsm.ProblemPIN},
		{"one session", func(c *hsm.Config) { c.MaxSessions = 1 }, hsm.ProblemModule},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			_, err := hsm.Open(t.Context(), cfg)
			var problem *hsm.OpenError
			if !errors.As(err, &problem) || problem.Problem != tt.want || !errors.Is(err, hsm.ErrUnavailable) {
				t.Fatalf("got %v, want problem %d", err, tt.want)
			}
			if strings.Contains(err.Error(), "not this") {
				t.Errorf("the PIN is in the error: %v", err)
			}
			if tt.name == "wrong label" && !slices.Contains(problem.Labels, good.TokenLabel) {
				t.Errorf("the labels that exist are missing: %q", problem.Labels)
			}
		})
	}
	tok, err := hsm.Open(t.Context(), good)
	if err != nil {
		t.Fatalf("after all that: %v", err)
	}
	var problem *hsm.OpenError
	if _, err := hsm.Open(t.Context(), good); !errors.As(err, &problem) || problem.Problem != hsm.ProblemInUse {
		t.Errorf("a second Open: %v", err)
	}
	if _, err := hsm.ListTokens(good.Module); !errors.As(err, &problem) || problem.Problem != hsm.ProblemInUse {
		t.Errorf("ListTokens of an open module: %v", err)
	}
	if err := tok.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := hsm.ListTokens(good.Module)
	if err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(s hsm.TokenSummary) bool { return s.Label == good.TokenLabel && s.PINInitialized }) {
		t.Errorf("ListTokens: %+v, %v", list, err)
	}
	if _, err := hsm.InitToken(good.Module, good.TokenLabel, "12345678", "87654321"); !errors.Is(err, hsm.ErrExists) {
		t.Errorf("InitToken of a label that exists: %v", err)
	}
}

func TestOpenBySerial(t *testing.T) {
	cfg := hsmtest.SoftHSMConfig(t)
	// A second token with the same label can come from elsewhere; here it gets another label first.
	serial, err := hsm.InitToken(cfg.Module, "second", "12345678", "11111111")
	if err != nil {
		t.Fatal(err)
	}
	cfg.TokenLabel, cfg.TokenSerial, cfg.PIN = "", serial, "11111111"
	tok, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if info := tok.Info(); info.Label != "second" || info.Serial != serial {
		t.Errorf("got %+v", info)
	}
	if err := tok.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReopen(t *testing.T) {
	cfg := hsmtest.SoftHSMConfig(t)
	values := map[hsm.Ref]hsm.Material{}
	for range 3 {
		tok, err := hsm.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for ref, want := range values {
			if got, err := tok.Export(t.Context(), ref, 256); err != nil || !slices.Equal(got, want) {
				t.Errorf("Export: %v", err)
			}
		}
		if n := tok.Counters()["C_FindObjectsInit"].Calls; n != 1 {
			t.Errorf("%d searches, want the one at Open", n)
		}
		ref, value := generate(t, tok)
		values[ref] = value
		if err := tok.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tok.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := tok.Healthy(t.Context()); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a closed token: %v", err)
		}
	}
}

// TestCloseInTime checks that Close gives up with its context while a call holds on, and that no new call starts then.
func TestCloseInTime(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	done := make(chan error, 1)
	release := hsm.HoldMutations(t, tok)
	go func() { done <- tok.GenerateKey(context.Background(), aes256()) }()
	for !hsm.InUse(tok) {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tok.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close over a running call: %v", err)
	}
	if err := tok.Healthy(t.Context()); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a new call: %v", err)
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("the running call: %v", err)
	}
}

// TestBroken plants what kill -9 leaves behind on SoftHSM, and what others keep on the same token.
func TestBroken(t *testing.T) {
	cfg := hsmtest.SoftHSMConfig(t)
	tok, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	good, want := generate(t, tok)
	before := objectFiles(t)
	generate(t, tok)
	bad := slices.DeleteFunc(objectFiles(t), func(name string) bool { return slices.Contains(before, name) })
	hsm.StoreForeign(t, tok, []byte{1, 2, 3})
	hsm.StoreForeign(t, tok, nil)
	if err := tok.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(bad) != 1 {
		t.Fatalf("%d new files", len(bad))
	}
	if err := os.Truncate(bad[0], 0); err != nil {
		t.Fatal(err)
	}
	plant(t, filepath.Dir(bad[0]), "10000000-0000-4000-8000-000000000001", nil)
	plant(t, filepath.Dir(bad[0]), "10000000-0000-4000-8000-000000000002", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF}) // CKA_TOKEN
	plant(t, filepath.Dir(bad[0]), "10000000-0000-4000-8000-000000000003", append([]byte{                                                // CKA_CLASS: a secret key
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4,
	}, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF))
	tok, err = hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tok.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	list, err := tok.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, o := range list {
		if o.Broken {
			broken++
		}
	}
	if len(list) != 4 || broken != 3 {
		t.Errorf("%d objects, %d of them broken, want 4 and 3", len(list), broken)
	}
	removed, err := tok.DestroyBroken(t.Context())
	if err != nil || removed != 3 {
		t.Errorf("DestroyBroken: %d, %v", removed, err)
	}
	if n := hsm.CountForeign(t, tok); n != 2 {
		t.Errorf("%d objects of others are left of 2", n)
	}
	list, err = tok.Objects(t.Context())
	if err != nil || len(list) != 1 || !slices.ContainsFunc(list, func(o hsm.ObjectInfo) bool { return o.Ref == good }) {
		t.Errorf("the good object is not listed: %v", err)
	}
	if got, err := tok.Export(t.Context(), good, 256); err != nil || !slices.Equal(got, want) {
		t.Errorf("the good object: %v", err)
	}
}

// plant writes an object file: a generation number, then attributes as type, kind (1 flag, 2 number) and value.
func plant(t *testing.T, dir, name string, attributes []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".object"), append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, attributes...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// objectFiles are the files of the token's objects, one each.
func objectFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(os.Getenv("SOFTHSM2_CONF")), "tokens", "*", "*.object"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRefusals(t *testing.T) {
	tok, _ := openWith(t, func(c *hsm.Config) { c.RefuseComposed, c.MutationLock = true, hsm.LockOff })
	caps := tok.Info().Capabilities
	if caps.KWPComposed || len(caps.OAEPComposed) != 0 {
		t.Errorf("composed all the same: %+v", caps)
	}
	kek, value := generate(t, tok)
	spec := aes256()
	spec.Type, spec.Bits = hsm.KeyGeneric, 160
	if err := tok.Import(t.Context(), hsm.ClassSecretKey, spec, value[:20]); err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Wrap(t.Context(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, secret(spec.ID), 160); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("KWP of 20 octets: %v", err)
	}
	if _, err := tok.Wrap(t.Context(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, kek, 256); err != nil {
		t.Errorf("KWP of 32 octets: %v", err)
	}
}

func TestPINPrints(t *testing.T) {
	cfg := hsm.Config{PIN: "1234567"}
	for _, s := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v %#v", cfg, cfg), fmt.Sprintf("%x %q %#v", cfg.PIN, cfg.PIN, cfg.PIN)} {
		if strings.Contains(s, "1234567") || strings.Contains(s, "313233") {
			t.Errorf("the PIN prints: %s", s)
		}
	}
}
