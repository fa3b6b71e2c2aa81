package softhsmtests

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
)

// benchConns are the numbers of connections of the benchmark.
var benchConns = []int{1, 8, 64}

// benchSettings come from the environment: KMIPD_BENCH_SECONDS is the length of one measurement (2), KMIPD_BENCH_OBJECTS
// the number of objects that Locate searches (10000), KMIPD_BENCH_ONLY a comma separated list of operations.
type benchSettings struct {
	length  time.Duration
	objects int
	only    string
}

func benchFromEnvironment(t *testing.T) benchSettings {
	t.Helper()
	b := benchSettings{2 * time.Second, 10000, os.Getenv("KMIPD_BENCH_ONLY")}
	if s := os.Getenv("KMIPD_BENCH_SECONDS"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v <= 0 {
			t.Fatalf("KMIPD_BENCH_SECONDS=%q", s)
		}
		b.length = time.Duration(v * float64(time.Second))
	}
	if s := os.Getenv("KMIPD_BENCH_OBJECTS"); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 {
			t.Fatalf("KMIPD_BENCH_OBJECTS=%q", s)
		}
		b.objects = v
	}
	return b
}

func (b benchSettings) wants(op string) bool {
	if b.only == "" {
		return true
	}
	for _, s := range strings.Split(b.only, ",") {
		if s == op {
			return true
		}
	}
	return false
}

// TestBench measures the server against a floor: what the bare token does (raw) plus what the same listener takes for an
// operation that is decoded and gets a fixed answer (null: Discover Versions). A request takes at least the time of
// both, so the floor is 1/(1/raw + 1/null).
//
// null has all that every request has: TLS, identification, its log line and its audit record. docs/architecture.md says
// why the floor cannot be reached.
func TestBench(t *testing.T) {
	if !*benchReport {
		t.Skip("runs with -bench-report only")
	}
	settings := benchFromEnvironment(t)
	tool := harness.BuildTool(t, "./softhsm-tests/internal/benchside")
	raw := harness.Asked(t, tool, "raw", "--dir", harness.Dir(t), "--seconds", fmt.Sprint(settings.length.Seconds()))
	fmt.Printf("%-28s %5s %10s %10s %10s %10s %8s %10s\n", "operation", "conns", "measured", "raw", "null", "floor", "of floor",
		"cpu us/op")
	benchServer(t, settings, raw, benchOperations)
	t.Setenv("KMIPD_AUDIT_RELEASES", "durable")
	benchServer(t, settings, raw, benchDurable)
}

// benchServer measures the operations that are asked for on a server of its own.
func benchServer(t *testing.T, settings benchSettings, raw rawRates, operations []benchOperation) {
	t.Helper()
	operations = slices.DeleteFunc(slices.Clone(operations), func(op benchOperation) bool { return !settings.wants(op.key) })
	if len(operations) == 0 {
		return
	}
	s := harness.Start(t, harness.Dir(t), "--log-format", "json") // as kmipd serve has it
	defer s.Stop()
	b, err := newBencher(s, settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range operations {
		for _, n := range benchConns {
			r, err := b.cell(op, n, raw)
			if err != nil {
				t.Errorf("%s, %d connections: %v", op.title, n, err)
				continue
			}
			fmt.Println(r.line(op.title, n))
		}
	}
}

// benchResult is one row: operations per second.
type benchResult struct {
	measured, raw, null float64
	cpu                 time.Duration // of the server, for one operation
}

func (r benchResult) floor() float64 { return 1 / (1/r.raw + 1/r.null) }

func (r benchResult) line(title string, conns int) string {
	raw := "-" // no token work
	if !math.IsInf(r.raw, 1) {
		raw = fmt.Sprintf("%.0f", r.raw)
	}
	return fmt.Sprintf("%-28s %5d %10.0f %10s %10.0f %10.0f %7.0f%% %10.0f", title, conns, r.measured, raw, r.null, r.floor(),
		100*r.measured/r.floor(), float64(r.cpu)/float64(time.Microsecond))
}

// benchOperation is a row of the table. Its steps are the requests of one turn, in order; perToken is the number of KMIP
// operations for each call on the token.
type benchOperation struct {
	key, title string
	raw        string // name of the raw measurement, "" where the token has nothing to do
	perToken   int
	turn       func(*bencher, *benchClient) error
	setup      func(*bencher, int) error
}

var benchOperations = []benchOperation{
	{"create", "Create AES-256", "create", 1, (*bencher).create, nil},
	{"pair", "Create Key Pair P-256", "pair", 1, (*bencher).pair, nil},
	{"get", "Get", "get", 1, (*bencher).get, nil},
	{"wrapped", "Get, AES key wrap", "wrapped", 1, (*bencher).wrapped, nil},
	{"register", "Register AES-256", "register", 1, (*bencher).register, nil},
	{"encrypt", "Encrypt AES-256-CBC, 1 KiB", "encrypt", 1, (*bencher).encrypt, nil},
	{"gcm", "Encrypt AES-256-GCM, 1 KiB", "gcm", 1, (*bencher).gcm, (*bencher).makeSealed},
	{"decrypt", "Decrypt AES-256-GCM, 1 KiB", "decrypt", 1, (*bencher).decrypt, (*bencher).makeSealed},
	{"sign", "Sign ECDSA P-256", "sign", 1, (*bencher).sign, nil},
	{"rsa", "Sign RSA-2048, PKCS#1 v1.5", "rsa", 1, (*bencher).rsa, (*bencher).makeRSA},
	{"mac", "MAC HMAC-SHA256, 1 KiB", "mac", 1, (*bencher).mac, (*bencher).makeMACs},
	{"random", "RNG Retrieve, 32 octets", "random", 1, (*bencher).random, nil},
	{"attributes", "Get Attributes", "", 1, (*bencher).attributes, nil},
	{"life", "Activate, Revoke, Destroy", "destroy", 3, (*bencher).life, (*bencher).makeLives},
	{"rekey", "Re-key AES-256", "create", 1, (*bencher).life, (*bencher).makeReKeys},
	{"certify", "Certify", "certify", 1, (*bencher).life, (*bencher).makeCertifies},
	{"locate", "Locate by name", "", 1, (*bencher).locate, (*bencher).makeNames},
}

// benchDurable is what the audit trail costs where a release of a key in clear waits for its record: an fsync that those share who
// come at the same time. Beside it stands Get, whose record is on disk some 100 ms later.
var benchDurable = []benchOperation{{"durable", "Get, audit record on disk", "get", 1, (*bencher).get, nil}}

// rawRates asks benchside.
type rawRates func(line string) (string, error)

// rate is operations per second with n callers, without end where the token has nothing to do.
func (r rawRates) rate(op benchOperation, n int) (float64, error) {
	if op.raw == "" {
		return math.Inf(1), nil
	}
	answer, err := r(fmt.Sprintf("%s %d", op.raw, n))
	if err != nil {
		return 0, err
	}
	rate, err := strconv.ParseFloat(answer, 64)
	return rate * float64(op.perToken), err
}

// cell measures one operation with n connections, and one after another with it what the floor is made of: on a machine that does
// other work, too, they then get about the same share of it.
func (b *bencher) cell(op benchOperation, n int, raw rawRates) (benchResult, error) {
	if op.setup != nil {
		if err := op.setup(b, n); err != nil {
			return benchResult{}, fmt.Errorf("preparing: %w", err)
		}
	}
	clients, err := b.dial(n)
	if err != nil {
		return benchResult{}, err
	}
	defer closeAll(clients)
	rate, err := raw.rate(op, n)
	if err != nil {
		return benchResult{}, err
	}
	count, elapsed, err := b.drive(clients, benchOperation{perToken: 1, turn: (*bencher).null})
	if err != nil {
		return benchResult{}, err
	}
	r := benchResult{raw: rate, null: float64(count) / elapsed.Seconds()}
	cpu := b.server.CPUTime()
	if count, elapsed, err = b.drive(clients, op); err != nil {
		return r, err
	}
	r.measured = float64(count) / elapsed.Seconds()
	r.cpu = (b.server.CPUTime() - cpu) / time.Duration(max(count, 1))
	return r, nil
}
