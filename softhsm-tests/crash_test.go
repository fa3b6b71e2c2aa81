package softhsmtests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
)

// crashWorkers is the number of connections that load the server.
const crashWorkers = 8

// TestCrash kills the server (SIGKILL) under load again and again, starts it on the same directory, and checks that
// everything it acknowledged is there, byte for byte, and that what it did not acknowledge happened as a whole or not at
// all. After each round it stops the server and lets fsck compare token and records.
func TestCrash(t *testing.T) {
	rounds := 5
	if s := os.Getenv("KMIPD_CRASH_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil || rounds < 1 {
			t.Fatalf("KMIPD_CRASH_ROUNDS=%q is no positive number", s)
		}
	}
	if testing.Short() {
		rounds = 1
	}
	dir := harness.Dir(t)
	token := newTokenCopy(dir)
	var workers []*crashWorker
	for i := range crashWorkers {
		workers = append(workers, newCrashWorker(i))
	}
	for round := range rounds {
		s := harness.Start(t, dir)
		if err := token.keep(); err != nil {
			t.Fatal(err)
		}
		load := time.Duration(50+rand.IntN(1450)) * time.Millisecond
		stop := startLoad(t, s, workers)
		time.Sleep(load)
		// Enough to prove something, however busy the machine is.
		for end := time.Now().Add(harness.Timeout); answered(workers) < int64(10*(round+1)) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		s.Kill()
		stop()
		if err := token.restore(); err != nil {
			t.Fatal(err)
		}
		if out, code := verifyTrail(t, dir, filepath.Join(auditDir(dir), "key.pem")); code != 0 {
			t.Errorf("the audit trail of the killed server: exit code %d\n%s", code, out)
		}

		s = harness.Start(t, dir)
		// The key was kept before, by an auditor; while the server runs the end of the trail is open.
		if out, code := verifyTrail(t, dir, filepath.Join(auditDir(dir), "key.pem"), "--live"); code != 0 {
			t.Errorf("the audit trail after the kill: exit code %d\n%s", code, out)
		}
		var sum crashSummary
		for _, w := range workers {
			sum.add(w.verify(t, s.Connect(t)))
		}
		s.Stop()
		fsck(t, dir)
		auditedObjects(t, dir, workers)
		if out, code := verifyTrail(t, dir, filepath.Join(auditDir(dir), "key.pem")); code != 0 {
			t.Errorf("the audit trail after the stop: exit code %d\n%s", code, out)
		}
		fmt.Printf("crash round %d: killed after %s; %s\n", round+1, load, sum)
		if t.Failed() {
			return
		}
	}
	var total crashSummary
	for _, w := range workers {
		total.acknowledged += w.acknowledged
		total.uncertain += w.uncertain
	}
	fmt.Printf("crash: %d rounds, %d changes acknowledged, %d cut off, %d empty token files restored\n",
		rounds, total.acknowledged, total.uncertain, token.restored)
	if total.acknowledged < rounds*10 {
		t.Errorf("only %d changes acknowledged in %d rounds: the load is too thin to prove anything", total.acknowledged, rounds)
	}
}

// answered is how many changes were acknowledged so far. The workers may run.
func answered(workers []*crashWorker) (n int64) {
	for _, w := range workers {
		n += w.answered.Load()
	}
	return n
}

// startLoad starts all workers; the function it returns waits until they have noticed the end of their connections.
func startLoad(t *testing.T, s *harness.Server, workers []*crashWorker) func() {
	t.Helper()
	config, err := harness.TLS(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		c, err := harness.Dial(s.Addr, config)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			if err := w.load(c); err != nil {
				t.Errorf("worker %d: %v", w.number, err)
			}
		})
	}
	return wg.Wait
}

// fsck wants empty lists only.
func fsck(t *testing.T, dir string) {
	t.Helper()
	out, code := harness.Run(t, "fsck", "--dir", dir, "--json")
	var report map[string]json.RawMessage
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("fsck (exit %d) printed no JSON object: %v\n%s", code, err, out)
	}
	for _, name := range []string{"orphans", "missing"} {
		if _, ok := report[name]; !ok {
			t.Errorf("fsck does not report %q: %s", name, out)
		}
	}
	if code != 0 {
		t.Errorf("fsck: exit %d\n%s", code, out)
	}
	for name, value := range report {
		var list []any
		if json.Unmarshal(value, &list) == nil && len(list) > 0 {
			t.Errorf("fsck: %s: %s", name, value)
		}
	}
}

// tokenCopy guards against a weakness of SoftHSM2 itself: every login rewrites token.object in place, and a kill in that
// moment leaves it empty, which loses the token. The server is killed only after it is ready; should it log in again
// later and be hit then, the copy makes the test go on.
type tokenCopy struct {
	dir      string
	files    map[string][]byte
	restored int
}

func newTokenCopy(dir string) *tokenCopy { return &tokenCopy{dir: dir, files: map[string][]byte{}} }

// each calls f for every token.object under the directory.
func (c *tokenCopy) each(f func(path string, content []byte) error) error {
	return filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "token.object" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return f(path, content)
	})
}

func (c *tokenCopy) keep() error {
	return c.each(func(path string, content []byte) error {
		if len(content) > 0 {
			c.files[path] = content
		}
		return nil
	})
}

func (c *tokenCopy) restore() error {
	return c.each(func(path string, content []byte) error {
		if len(content) > 0 || c.files[path] == nil {
			return nil
		}
		c.restored++
		return os.WriteFile(path, c.files[path], 0o600)
	})
}

// crashSummary counts what one round showed.
type crashSummary struct {
	acknowledged, uncertain, objects, happened, notHappened int
}

func (s *crashSummary) add(o crashSummary) {
	s.acknowledged += o.acknowledged
	s.uncertain += o.uncertain
	s.objects += o.objects
	s.happened += o.happened
	s.notHappened += o.notHappened
}

func (s crashSummary) String() string {
	return fmt.Sprintf("%d changes acknowledged so far, %d objects checked, of the cut-off changes %d happened and %d did not",
		s.acknowledged, s.objects, s.happened, s.notHappened)
}
