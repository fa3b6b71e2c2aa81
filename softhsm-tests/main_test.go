package softhsmtests

import (
	"flag"
	"os"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
)

var (
	oneCase     = flag.String("case", os.Getenv("KMIPD_CASE"), "play this OASIS case only (with its sequence)")
	encoding    = flag.String("encoding", os.Getenv("KMIPD_TEST_ENCODING"), "play all OASIS cases over HTTPS in this encoding: ttlv, xml or json")
	benchReport = flag.Bool("bench-report", os.Getenv("KMIPD_BENCH") == "1", "run the benchmarks of TestBench")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
