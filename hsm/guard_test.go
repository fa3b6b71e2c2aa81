package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func selfTest(t testing.TB, g *hsm.Guard) *hsm.Report {
	t.Helper()
	r, err := g.SelfTest(t.Context(), "demand")
	if err != nil {
		t.Fatalf("SelfTest: %v", err)
	}
	return r
}

// failures are the mechanisms that failed, each once.
func failures(r *hsm.Report) (out []string) {
	for _, x := range r.Results {
		if x.Outcome == hsm.OutcomeFailed && !slices.Contains(out, string(x.Mechanism)) {
			out = append(out, string(x.Mechanism))
		}
	}
	slices.Sort(out)
	return out
}

func TestSelfTestPasses(t *testing.T) {
	fake := hsmtest.NewFake()
	for name, tok := range map[string]hsm.Token{"fake": fake, "SoftHSM2": hsmtest.NewSoftHSM(t)} {
		t.Run(name, func(t *testing.T) {
			g := hsm.NewGuard(tok, hsm.GuardConfig{Pairs: true})
			r := selfTest(t, g)
			for _, x := range r.Results {
				t.Logf("%-10s %-22s %-40s %s", x.Outcome, x.Mechanism, x.Test, x.Took)
				if x.Outcome == hsm.OutcomeFailed || x.Outcome == hsm.OutcomeUnfinished {
					t.Errorf("%s, %s: %s, %s", x.Mechanism, x.Test, x.Outcome, x.Detail)
				}
			}
			t.Logf("%d passed, %d not offered, %s; %+v", r.Count(hsm.OutcomePassed), r.Count(hsm.OutcomeNotOffered), r.Took, r.Refusals)
			if !r.Passed() || r.Count(hsm.OutcomePassed) < 25 {
				t.Errorf("%d tests passed, want all of at least 25", r.Count(hsm.OutcomePassed))
			}
			if len(r.Refusals) == 0 {
				t.Error("nothing is known of what the token refuses")
			}
			objects, err := tok.Objects(t.Context())
			if err != nil || len(objects) != 0 {
				t.Errorf("the self-test left %d objects behind, %v", len(objects), err)
			}
			if again := selfTest(t, g); !again.Passed() {
				t.Errorf("the second run failed: %v", failures(again))
			}
		})
	}
}

// Each way of computing wrong is found, blocks what computed wrong and nothing else, and ends when the token computes right
// again.
func TestSelfTestBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  hsmtest.Lie
		want []string
	}{
		{"wrong ciphertext", hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-GCM"}, []string{"AES-GCM"}},
		{"wrong plaintext", hsmtest.Lie{Method: "Decrypt", Mechanism: "3DES-CBC"}, []string{"3DES-CBC"}},
		{"wrong MAC", hsmtest.Lie{Method: "MAC", Mechanism: "HMAC-SHA-256"}, []string{"HMAC-SHA-256"}},
		{"wrong signature", hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"}, []string{"ECDSA"}},
		{"wrong PKCS #1 signature", hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PKCS1-SIGN"}, []string{"RSA-PKCS1-SIGN"}},
		{"verifies anything", hsmtest.Lie{Method: "Verify", Mechanism: "RSA-PSS-SHA-384"}, []string{"RSA-PSS-SHA-384"}},
		{"wrong shared secret", hsmtest.Lie{Method: "ECDH"}, []string{"ECDH"}},
		{"wrong wrapping", hsmtest.Lie{Method: "Wrap", Mechanism: "AES-KWP"}, []string{"AES-KWP"}},
		{"wrong unwrapping", hsmtest.Lie{Method: "UnwrapBytes", Mechanism: "AES-KW"}, []string{"AES-KW"}},
		{"wrong OAEP", hsmtest.Lie{Method: "RSADecrypt", Mechanism: "RSA-OAEP-SHA-256"}, []string{"RSA-OAEP-SHA-256"}},
		{"wrong digest of a key", hsmtest.Lie{Method: "Digest"}, []string{"KEY-DIGEST"}},
		{"gives other data for an altered tag", hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-CTR", Bend: func(b []byte) []byte { return slices.Clone(b[:len(b)-1]) }}, []string{"AES-CTR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := hsmtest.NewFake()
			var events []hsm.Event
			g := hsm.NewGuard(fake, hsm.GuardConfig{OnEvent: func(e hsm.Event) { events = append(events, e) }})
			fake.Tell(c.lie)
			r := selfTest(t, g)
			if got := failures(r); !slices.Equal(got, c.want) {
				t.Fatalf("failed: got %v, want %v", got, c.want)
			}
			if r.Passed() || r.ErrorState != nil || len(r.Blocked) != len(c.want) {
				t.Errorf("report: passed %t, error state %v, blocked %v", r.Passed(), r.ErrorState, r.Blocked)
			}
			m := hsm.Mechanism(c.want[0])
			if err := g.Check(m); !errors.Is(err, hsm.ErrBlocked) {
				t.Errorf("Check: got %v, want ErrBlocked", err)
			}
			if err := g.Check("AES-CBC", hsm.MechanismRNG); err != nil {
				t.Errorf("another mechanism: %v", err)
			}
			fake.Truth()
			if err := g.Check(m); !errors.Is(err, hsm.ErrBlocked) {
				t.Errorf("before another self-test: got %v, want ErrBlocked", err)
			}
			if !selfTest(t, g).Passed() || g.Check(m) != nil {
				t.Error("a passed self-test does not end the block")
			}
			if len(events) != 2 || events[0].Kind != hsm.EventBlocked || events[1].Kind != hsm.EventUnblocked {
				t.Errorf("events: %+v", events)
			}
		})
	}
}

// A blocked mechanism is refused by the calls that use it, and its capability is gone.
func TestGuardRefusesBlocked(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{})
	id := hsm.NewTokenID()
	spec := hsm.KeySpec{ID: id, Label: "k", Type: hsm.KeyAES, Bits: 256, Usage: hsm.UsageEncrypt | hsm.UsageDecrypt, Extractable: true}
	if err := g.GenerateKey(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	fake.Tell(hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-CBC"})
	selfTest(t, g)
	ref := hsm.Ref{Class: hsm.ClassSecretKey, ID: id}
	how := hsm.CipherSpec{Mode: hsm.ModeCBC, IV: make([]byte, 16)}
	if _, err := g.Encrypt(t.Context(), ref, 256, how, make([]byte, 16)); !errors.Is(err, hsm.ErrBlocked) {
		t.Errorf("Encrypt: got %v, want ErrBlocked", err)
	}
	if _, err := g.Decrypt(t.Context(), ref, 256, how, make([]byte, 16)); !errors.Is(err, hsm.ErrBlocked) {
		t.Errorf("Decrypt: got %v, want ErrBlocked", err)
	}
	if _, err := g.Encrypt(t.Context(), ref, 256, hsm.CipherSpec{Mode: hsm.ModeECB}, make([]byte, 16)); err != nil {
		t.Errorf("another mode: %v", err)
	}
	if slices.Contains(g.Info().Capabilities.AESModes, hsm.ModeCBC) || !slices.Contains(fake.Info().Capabilities.AESModes, hsm.ModeCBC) {
		t.Error("the capability of the blocked mechanism is not gone, or the token's own list was changed")
	}
}

func TestErrorState(t *testing.T) {
	pair := func() hsm.PairSpec {
		half := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "p", Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}
		public := half
		public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
		return hsm.PairSpec{Private: half, Public: public}
	}
	for _, c := range []struct {
		name string
		lie  hsmtest.Lie
		do   func(context.Context, *hsm.Guard) error
		want string // in the reason
	}{
		{"constant random in a self-test", hsmtest.Lie{Method: "Random", Bend: hsmtest.Constant}, nil, "RNG"},
		{"short random in a self-test", hsmtest.Lie{Method: "Random", Bend: hsmtest.Short}, nil, "RNG"},
		{"biased random in a self-test", hsmtest.Lie{Method: "Random", Bend: func(b []byte) []byte {
			for i := range b {
				if i%3 == 0 {
					b[i] = 7
				}
			}
			return b
		}}, nil, "RNG"},
		{"constant random in use", hsmtest.Lie{Method: "Random", Bend: hsmtest.Constant}, func(ctx context.Context, g *hsm.Guard) error {
			if _, err := g.Random(ctx, 5); err != nil {
				return err
			}
			_, err := g.Random(ctx, 5)
			return err
		}, "RNG"},
		{"short random in use", hsmtest.Lie{Method: "Random", Bend: hsmtest.Short}, func(ctx context.Context, g *hsm.Guard) error {
			_, err := g.Random(ctx, 16)
			return err
		}, "RNG"},
		{"pair that does not fit", hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"}, func(ctx context.Context, g *hsm.Guard) error {
			_, err := g.GenerateKeyPair(ctx, pair())
			return err
		}, "PAIRWISE"},
		{"public key that is none", hsmtest.Lie{Method: "GenerateKeyPair"}, func(ctx context.Context, g *hsm.Guard) error {
			_, err := g.GenerateKeyPair(ctx, pair())
			return err
		}, "PAIRWISE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := hsmtest.NewFake()
			var events []hsm.Event
			g := hsm.NewGuard(fake, hsm.GuardConfig{Pairs: true, OnEvent: func(e hsm.Event) { events = append(events, e) }})
			id := hsm.NewTokenID()
			if err := g.GenerateKey(t.Context(), hsm.KeySpec{ID: id, Label: "k", Type: hsm.KeyAES, Bits: 128, Usage: hsm.UsageEncrypt, Extractable: true}); err != nil {
				t.Fatal(err)
			}
			fake.Tell(c.lie)
			if c.do == nil {
				if r := selfTest(t, g); r.Passed() || r.ErrorState == nil {
					t.Fatalf("got passed %t, error state %v", r.Passed(), r.ErrorState)
				}
			} else if err := c.do(t.Context(), g); !errors.Is(err, hsm.ErrErrorState) {
				t.Fatalf("got %v, want ErrErrorState", err)
			}
			if len(events) == 0 || events[len(events)-1].Kind != hsm.EventErrorState && events[0].Kind != hsm.EventErrorState {
				t.Errorf("events: %+v", events)
			}
			st := g.Status()
			if st.ErrorState == nil || !strings.Contains(string(st.ErrorState.Mechanism), c.want) {
				t.Fatalf("status: %+v, want %s", st.ErrorState, c.want)
			}
			if n := fake.Len(); n != 1 {
				t.Errorf("%d objects on the token, want the key alone", n)
			}
			// It stays, also after the token tells the truth and passes.
			fake.Truth()
			selfTest(t, g)
			ref := hsm.Ref{Class: hsm.ClassSecretKey, ID: id}
			for name, err := range map[string]error{
				"GenerateKey": g.GenerateKey(t.Context(), hsm.KeySpec{ID: hsm.NewTokenID(), Type: hsm.KeyAES, Bits: 128}),
				"Export":      second(g.Export(t.Context(), ref, 128)),
				"Encrypt":     second(g.Encrypt(t.Context(), ref, 128, hsm.CipherSpec{Mode: hsm.ModeECB}, make([]byte, 16))),
				"Random":      second(g.Random(t.Context(), 8)),
				"Digest":      second(g.Digest(t.Context(), ref, 128)),
				"StoreData":   g.StoreData(t.Context(), hsm.NewTokenID(), "d", nil),
			} {
				if !errors.Is(err, hsm.ErrErrorState) {
					t.Errorf("%s: got %v, want ErrErrorState", name, err)
				}
			}
			if err := g.Destroy(t.Context(), ref); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			if err := g.Healthy(t.Context()); err != nil {
				t.Errorf("Healthy: %v", err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A token that goes away in the middle proves nothing about what it computes.
func TestSelfTestUnfinished(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{})
	fake.Inject(hsmtest.Fault{Method: "Scratch", Call: 2, Times: 3, Effect: hsmtest.LoseSessions})
	r := selfTest(t, g)
	if r.Passed() || r.Count(hsm.OutcomeUnfinished) == 0 || r.Count(hsm.OutcomeFailed) != 0 || len(r.Blocked) != 0 {
		t.Errorf("passed %t, %d unfinished, failed %v, blocked %v", r.Passed(), r.Count(hsm.OutcomeUnfinished), failures(r), r.Blocked)
	}
	if !selfTest(t, g).Passed() {
		t.Error("the next run does not pass")
	}
}

// A pair that does not fit ends in the error state also when the token goes away before the pair is destroyed.
func TestPairFailsAndStays(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{Pairs: true})
	fake.Tell(hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"})
	fake.Inject(hsmtest.Fault{Method: "Destroy", Times: 2, Effect: hsmtest.LoseSessions})
	private := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "p", Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}
	public := private
	public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
	if _, err := g.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: private, Public: public}); !errors.Is(err, hsm.ErrErrorState) {
		t.Errorf("got %v, want ErrErrorState", err)
	}
	if st := g.Status(); st.ErrorState == nil || st.Pairs.Failed != 1 {
		t.Errorf("status: %+v", st)
	}
}

// What is blocked stays so until all its tests have passed: not after a run in which the one that failed was not finished.
func TestUnfinishedUnblocksNothing(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{})
	down := false
	more := []hsm.Test{
		{Mechanism: "X", Name: "first", Run: func(context.Context, hsm.Token) error { return nil }},
		{Mechanism: "X", Name: "second", Run: func(context.Context, hsm.Token) error {
			if down {
				return context.DeadlineExceeded
			}
			return errors.New("wrong")
		}},
	}
	run := func() {
		if _, err := g.SelfTest(t.Context(), "demand", more...); err != nil {
			t.Fatal(err)
		}
	}
	run()
	down = true
	run()
	if err := g.Check("X"); !errors.Is(err, hsm.ErrBlocked) {
		t.Errorf("after an unfinished run: got %v, want ErrBlocked", err)
	}
	more = more[:1]
	run()
	if err := g.Check("X"); err != nil {
		t.Errorf("after all tests passed: %v", err)
	}
}

// What failed is blocked although whoever asked for the run has gone, and a part of a run unblocks nothing.
func TestSelfTestCutShort(t *testing.T) {
	g := hsm.NewGuard(hsmtest.NewFake(), hsm.GuardConfig{})
	fails := errors.New("wrong")
	run := func() {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := g.SelfTest(ctx, "demand",
			hsm.Test{Mechanism: "X", Name: "first", Run: func(context.Context, hsm.Token) error { cancel(); return fails }},
			hsm.Test{Mechanism: "X", Name: "second", Run: func(context.Context, hsm.Token) error { return nil }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	}
	for range 2 {
		run()
		if err := g.Check("X"); !errors.Is(err, hsm.ErrBlocked) {
			t.Errorf("got %v, want ErrBlocked", err)
		}
		fails = nil
	}
}

// What was under way when a mechanism is blocked or the error state comes gives no result any more: what it would have been is
// wiped, and pairs are destroyed.
func TestGuardAsksAfter(t *testing.T) {
	fake := hsmtest.NewFake()
	key := func(usage hsm.Usage) hsm.Ref {
		id := hsm.NewTokenID()
		if err := fake.GenerateKey(t.Context(), hsm.KeySpec{ID: id, Label: "k", Type: hsm.KeyAES, Bits: 256, Usage: usage, Extractable: true}); err != nil {
			t.Fatal(err)
		}
		return hsm.Ref{Class: hsm.ClassSecretKey, ID: id}
	}
	half := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "p", Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}
	public := half
	public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
	cipher, kek := key(hsm.UsageEncrypt|hsm.UsageDecrypt), key(hsm.UsageWrap|hsm.UsageUnwrap)
	cbc := hsm.CipherSpec{Mode: hsm.ModeCBC, IV: make([]byte, 16)}
	kwp := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	wrapped, err := fake.WrapBytes(t.Context(), kek, kwp, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	objects := fake.Len()
	type call func(*hsm.Guard) ([]byte, error)
	calls := map[string]call{
		"Encrypt":     func(g *hsm.Guard) ([]byte, error) { return g.Encrypt(t.Context(), cipher, 256, cbc, make([]byte, 16)) },
		"Decrypt":     func(g *hsm.Guard) ([]byte, error) { return g.Decrypt(t.Context(), cipher, 256, cbc, make([]byte, 16)) },
		"UnwrapBytes": func(g *hsm.Guard) ([]byte, error) { return g.UnwrapBytes(t.Context(), kek, kwp, wrapped) },
		"Digest":      func(g *hsm.Guard) ([]byte, error) { return g.Digest(t.Context(), cipher, 256) },
		"Random":      func(g *hsm.Guard) ([]byte, error) { return g.Random(t.Context(), 16) },
		"GenerateKeyPair": func(g *hsm.Guard) ([]byte, error) {
			return g.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: half, Public: public})
		},
	}
	for method, run := range calls {
		for name, c := range map[string]struct {
			strike func(*hsm.Guard)
			want   error
		}{
			"error state": {func(g *hsm.Guard) { g.Fail("X", "while a call runs") }, hsm.ErrErrorState},
			"block": {func(g *hsm.Guard) {
				wrong := func(context.Context, hsm.Token) error { return errors.New("wrong") }
				var more []hsm.Test
				for _, m := range []hsm.Mechanism{"AES-CBC", "AES-KWP", hsm.MechanismKeyDigest, hsm.MechanismRNG} {
					more = append(more, hsm.Test{Mechanism: m, Name: "while a call runs", Run: wrong})
				}
				if _, err := g.SelfTest(t.Context(), "demand", more...); err != nil {
					t.Error(err)
				}
			}, hsm.ErrBlocked},
		} {
			t.Run(method+"/"+name, func(t *testing.T) {
				g := hsm.NewGuard(fake, hsm.GuardConfig{})
				var kept []byte
				fake.Tell(hsmtest.Lie{Method: method, Bend: func(out []byte) []byte {
					if kept == nil {
						kept = out
						fake.Truth()
						c.strike(g)
					}
					return out
				}})
				defer fake.Truth()
				out, err := run(g)
				if !errors.Is(err, c.want) || out != nil {
					t.Errorf("got %x, %v, want %v", out, err, c.want)
				}
				if kept == nil {
					t.Fatal("the call did not run")
				}
				if method != "GenerateKeyPair" && !bytes.Equal(kept, make([]byte, len(kept))) {
					t.Errorf("the result was not wiped: %x", kept)
				}
				if n := fake.Len(); n != objects {
					t.Errorf("%d objects on the token, want %d", n, objects)
				}
			})
		}
	}
}

// Another login asks for a self-test, and nothing is used before it: neither what comes later nor what was under way.
func TestRelogin(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{})
	id := hsm.NewTokenID()
	if err := g.GenerateKey(t.Context(), hsm.KeySpec{ID: id, Label: "k", Type: hsm.KeyAES, Bits: 256, Usage: hsm.UsageEncrypt, Extractable: true}); err != nil {
		t.Fatal(err)
	}
	encrypt := func(ctx context.Context) error {
		return second(g.Encrypt(ctx, hsm.Ref{Class: hsm.ClassSecretKey, ID: id}, 256, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: make([]byte, 16)}, make([]byte, 16)))
	}
	asked := func() bool {
		select {
		case <-g.Relogin():
			return true
		default:
			return false
		}
	}
	if err := encrypt(t.Context()); err != nil || asked() {
		t.Errorf("without another login: %v, or asks for a self-test", err)
	}
	fake.Relogin()
	fake.Tell(hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-CBC"})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := encrypt(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("before the self-test: got %v, want canceled", err)
	}
	answer := make(chan error, 1)
	go func() { answer <- encrypt(t.Context()) }()
	<-g.Relogin()
	selfTest(t, g)
	if err := <-answer; !errors.Is(err, hsm.ErrBlocked) {
		t.Errorf("after a self-test that failed: got %v, want ErrBlocked", err)
	}
	asked()
	fake.Truth()
	selfTest(t, g)
	fake.Tell(hsmtest.Lie{Method: "Encrypt", Bend: func(out []byte) []byte { fake.Truth(); fake.Relogin(); return out }})
	go func() { answer <- encrypt(t.Context()) }()
	<-g.Relogin()
	selfTest(t, g)
	if err := <-answer; err != nil {
		t.Errorf("after a self-test that passed: %v", err)
	}
	if asked() {
		t.Error("asks again after the self-test")
	}
}

// Who was asked for a self-test and has no time for it leaves nobody waiting: the next one is asked.
func TestReloginIsAskedForAgain(t *testing.T) {
	fake := hsmtest.NewFake()
	g := hsm.NewGuard(fake, hsm.GuardConfig{})
	asked := g.Relogin()
	fake.Relogin()
	answer := make(chan error, 1)
	go func() { answer <- second(g.Random(t.Context(), 8)) }()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // whether such a run begins at all is up to chance
		select {
		case <-asked:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody is asked again")
		}
		if _, err := g.SelfTest(gone, "login"); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want canceled", err)
		}
	}
	<-asked
	selfTest(t, g)
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

// Pairs of every kind that clients make are tested on a real token, with what their private keys may do.
func TestPairsOnSoftHSM(t *testing.T) {
	g := hsm.NewGuard(hsmtest.NewSoftHSM(t), hsm.GuardConfig{Pairs: true})
	want := hsm.PairCount{}
	for _, c := range []struct {
		spec  hsm.KeySpec
		usage hsm.Usage
	}{
		{hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048}, hsm.UsageSign},
		{hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048}, hsm.UsageDecrypt},
		{hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048}, hsm.UsageUnwrap},
		{hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256}, hsm.UsageSign},
		{hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP384}, hsm.UsageDerive},
		{hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP521}, hsm.UsageSign},
		{hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256}, 0},
	} {
		private, public := c.spec, c.spec
		private.ID, public.ID, private.Usage = hsm.NewTokenID(), hsm.NewTokenID(), c.usage
		private.Label, public.Label = "pair", "pair"
		if _, err := g.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: private, Public: public}); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if c.usage == 0 {
			want.Untested++
		} else {
			want.Tested++
		}
	}
	if got := g.Status().Pairs; got != want {
		t.Errorf("counters: got %+v, want %+v", got, want)
	}
}

// A pair is tested by whatever the token has for it: a fitting pair passes, and one that does not fit is found.
func TestPairsByEachOperation(t *testing.T) {
	for _, c := range []struct {
		name  string
		caps  hsm.Capabilities
		usage hsm.Usage
		lie   hsmtest.Lie // "" where nothing can test the pair
	}{
		{"PKCS #1 signature", hsm.Capabilities{PKCS1v15Sign: true}, hsm.UsageSign, hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PKCS1-SIGN"}},
		{"PSS", hsm.Capabilities{PSS: []hsm.Hash{hsm.SHA256}}, hsm.UsageSign, hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PSS-SHA-256"}},
		{"PSS with SHA-512 alone", hsm.Capabilities{PSS: []hsm.Hash{hsm.SHA512}}, hsm.UsageSign, hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PSS-SHA-512"}},
		{"OAEP", hsm.Capabilities{OAEPEncrypt: []hsm.Hash{hsm.SHA384}}, hsm.UsageDecrypt, hsmtest.Lie{Method: "RSADecrypt"}},
		{"PKCS #1 decryption", hsm.Capabilities{PKCS1v15Encrypt: true}, hsm.UsageDecrypt, hsmtest.Lie{Method: "RSADecrypt"}},
		{"OAEP unwrapping", hsm.Capabilities{OAEP: []hsm.OAEPHash{hsm.OAEPSHA512}}, hsm.UsageUnwrap, hsmtest.Lie{Method: "UnwrapBytes"}},
		{"PKCS #1 unwrapping", hsm.Capabilities{RSAPKCS1v15: true}, hsm.UsageUnwrap, hsmtest.Lie{Method: "UnwrapBytes"}},
		{"nothing for its usage", hsm.Capabilities{PKCS1v15Sign: true, PSS: []hsm.Hash{hsm.SHA256}}, hsm.UsageDecrypt, hsmtest.Lie{}},
		{"no usage", hsm.Capabilities{PKCS1v15Sign: true}, 0, hsmtest.Lie{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.caps.RSABits, c.caps.Transport = []int{2048}, "create-object"
			fake := hsmtest.NewFake(hsmtest.Options{Capabilities: &c.caps})
			g := hsm.NewGuard(fake, hsm.GuardConfig{Pairs: true})
			generate := func() error {
				private := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "p", Type: hsm.KeyRSA, Bits: 2048, Usage: c.usage}
				if can := c.lie.Method != ""; g.Info().Capabilities.TestsPair(private) != can {
					t.Errorf("TestsPair: want %t", can)
				}
				public := private
				public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
				return second(g.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: private, Public: public}))
			}
			want := hsm.PairCount{Tested: 1}
			if c.lie.Method == "" {
				want = hsm.PairCount{Untested: 1}
			}
			if err := generate(); err != nil || g.Status().Pairs != want {
				t.Fatalf("a fitting pair: %+v, %v, want %+v", g.Status().Pairs, err, want)
			}
			if c.lie.Method == "" {
				return
			}
			fake.Tell(c.lie)
			if err := generate(); !errors.Is(err, hsm.ErrErrorState) {
				t.Errorf("a pair that does not fit: got %v, want ErrErrorState", err)
			}
		})
	}
}

// A mechanism that is blocked tests no pair: what it computes wrong is known, and no reason for the error state.
func TestPairsByNoBlockedMechanism(t *testing.T) {
	for _, c := range []struct {
		name string
		caps hsm.Capabilities
		want hsm.PairCount
	}{
		{"another one is there", hsm.Capabilities{PKCS1v15Sign: true, PSS: []hsm.Hash{hsm.SHA256}}, hsm.PairCount{Tested: 1}},
		{"the only one", hsm.Capabilities{PKCS1v15Sign: true}, hsm.PairCount{Untested: 1}},
	} {
		c.caps.RSABits, c.caps.Transport = []int{2048}, "create-object"
		fake := hsmtest.NewFake(hsmtest.Options{Capabilities: &c.caps})
		g := hsm.NewGuard(fake, hsm.GuardConfig{Pairs: true})
		fake.Tell(hsmtest.Lie{Method: "Sign", Mechanism: hsm.MechanismPKCS1Sign})
		selfTest(t, g)
		if err := g.Check(hsm.MechanismPKCS1Sign); !errors.Is(err, hsm.ErrBlocked) {
			t.Fatalf("%s: got %v, want ErrBlocked", c.name, err)
		}
		private := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "p", Type: hsm.KeyRSA, Bits: 2048, Usage: hsm.UsageSign}
		public := private
		public.ID, public.Usage = hsm.NewTokenID(), hsm.UsageVerify
		_, err := g.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: private, Public: public})
		if got := g.Status(); err != nil || got.Pairs != c.want || got.ErrorState != nil {
			t.Errorf("%s: %+v, error state %+v, %v, want %+v", c.name, got.Pairs, got.ErrorState, err, c.want)
		}
	}
}

func BenchmarkSelfTestSoftHSM(b *testing.B) {
	g := hsm.NewGuard(hsmtest.NewSoftHSM(b), hsm.GuardConfig{})
	for b.Loop() {
		if !selfTest(b, g).Passed() {
			b.Fatal("failed")
		}
	}
}

func BenchmarkPairSoftHSM(b *testing.B) {
	tok := hsmtest.NewSoftHSM(b)
	for _, half := range []hsm.KeySpec{{Type: hsm.KeyEC, Curve: hsm.CurveP256}, {Type: hsm.KeyRSA, Bits: 2048}} {
		for _, on := range []bool{false, true} {
			g := hsm.NewGuard(tok, hsm.GuardConfig{Pairs: on})
			name := map[hsm.KeyType]string{hsm.KeyEC: "P-256", hsm.KeyRSA: "RSA-2048"}[half.Type]
			b.Run(name+map[bool]string{false: "/off", true: "/on"}[on], func(b *testing.B) {
				for b.Loop() {
					private, public := half, half
					private.ID, public.ID, private.Usage, public.Usage = hsm.NewTokenID(), hsm.NewTokenID(), hsm.UsageSign, hsm.UsageVerify
					if _, err := g.GenerateKeyPair(b.Context(), hsm.PairSpec{Private: private, Public: public}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkFlagsSoftHSM is what the comparison of flags adds to a release, beside the release itself.
func BenchmarkFlagsSoftHSM(b *testing.B) {
	tok := hsmtest.NewSoftHSM(b)
	spec := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "k", Type: hsm.KeyAES, Bits: 256, Usage: hsm.UsageEncrypt, Extractable: true}
	if err := tok.GenerateKey(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	ref := hsm.Ref{Class: hsm.ClassSecretKey, ID: spec.ID}
	b.Run("flags", func(b *testing.B) {
		for b.Loop() {
			if _, err := tok.Flags(b.Context(), ref); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			if _, err := tok.Export(b.Context(), ref, 256); err != nil {
				b.Fatal(err)
			}
		}
	})
	g := hsm.NewGuard(tok, hsm.GuardConfig{})
	how := hsm.CipherSpec{Mode: hsm.ModeECB}
	for name, t := range map[string]hsm.Token{"encrypt": tok, "encrypt guarded": g} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := t.Encrypt(b.Context(), ref, 256, how, make([]byte, 16)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
