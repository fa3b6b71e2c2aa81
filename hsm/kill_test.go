package hsm_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

// TestKill kills a process in the middle of making keys. Every key that it had been promised is on the token afterwards,
// and what it leaves half made can be found: under no promised CKA_ID, or as broken.
func TestKill(t *testing.T) {
	cfg := hsmtest.SoftHSMConfig(t)
	promised := map[hsm.Ref]bool{}
	for range 6 {
		for _, ref := range killed(t, cfg) {
			promised[ref] = true
		}
		tok, err := hsm.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tok.DestroyBroken(t.Context()); err != nil {
			t.Errorf("DestroyBroken: %v", err)
		}
		list, err := tok.Objects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found, others := map[hsm.Ref]bool{}, 0
		for _, o := range list {
			found[o.Ref] = true
			if o.Broken {
				t.Logf("a broken object that the token does not destroy: %+v", o)
				continue
			}
			if !promised[o.Ref] {
				others++
				if err := tok.Destroy(t.Context(), o.Ref); err != nil {
					t.Errorf("half-made: %v", err)
				}
			}
		}
		for ref := range promised {
			if !found[ref] {
				t.Errorf("a promised object of class %d is lost", ref.Class)
			} else if _, err := tok.Export(t.Context(), ref, 256); err != nil {
				t.Errorf("a promised object of class %d: %v", ref.Class, err)
			}
		}
		t.Logf("%d promised, %d others", len(promised), others)
		if err := tok.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs TestKillVictim in a process of its own, kills it and returns the objects that it reported.
func killed(t *testing.T, cfg hsm.Config) (refs []hsm.Ref) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillVictim$", "-test.v")
	cmd.Env = append(os.Environ(), "KMIPD_KILL_VICTIM="+cfg.TokenLabel)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var class hsm.Class
		var id string
		switch {
		case lines.Text() == "ready":
			time.AfterFunc(time.Duration(20+rand.IntN(100))*time.Millisecond, func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		case strings.HasPrefix(lines.Text(), "made "):
			if _, err := fmt.Sscanf(lines.Text(), "made %d %s", &class, &id); err != nil || len(id) != 32 {
				continue // cut off by the kill
			}
			raw, err := hex.DecodeString(id)
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, hsm.Ref{Class: class, ID: hsm.TokenID(raw)})
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the victim ended by itself")
	}
	return refs
}

// TestKillVictim is the process that TestKill kills.
func TestKillVictim(t *testing.T) {
	label := os.Getenv("KMIPD_KILL_VICTIM")
	if label == "" {
		t.Skip("runs inside TestKill only")
	}
	tok, err := hsm.Open(t.Context(), hsm.Config{Module: hsm.FindModule(), TokenLabel: label, PIN: hsmtest.SoftHSMPIN})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	for range 3 {
		go victimPairs(tok)
	}
	for {
		spec := aes256()
		if err := tok.GenerateKey(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("made %d %s\n", hsm.ClassSecretKey, spec.ID)
	}
}

func victimPairs(tok hsm.Token) {
	for {
		private := hsm.KeySpec{ID: hsm.NewTokenID(), Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign, Extractable: true}
		public := private
		public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
		if _, err := tok.GenerateKeyPair(context.Background(), hsm.PairSpec{Private: private, Public: public}); err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Printf("made %d %s\nmade %d %s\n", hsm.ClassPrivateKey, private.ID, hsm.ClassPublicKey, public.ID)
	}
}
