package softhsmtests

import (
	"encoding/hex"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// Numbers of KMIP 1.4 section 9.1.3 that asynchronous requests need.
const (
	tagAsynchronousCorrelation = 0x420006
	tagAsynchronousIndicator   = 0x420007
	tagBatchItem               = 0x42000F
	tagResultStatus            = 0x42007F
	opPoll                     = 0x1A
	statusPending              = 2
)

// pending sends an item with the Asynchronous Indicator and returns the Asynchronous Correlation Value.
func pending(t *testing.T, c message.Exchanger, it message.Item) []byte {
	t.Helper()
	request := message.Request(it)
	header := request.Children[0]
	count := header.Children[len(header.Children)-1]
	header.Children = append(header.Children[:len(header.Children)-1], rawttlv.Bool(tagAsynchronousIndicator, true), count)
	answer, err := c.Exchange(request)
	if err != nil {
		t.Fatal(err)
	}
	item := answer.Child(tagBatchItem)
	if got := item.Child(tagResultStatus).Enum(); got != statusPending {
		t.Fatalf("Result Status %d, want Operation Pending", got)
	}
	return item.Child(tagAsynchronousCorrelation).Bytes()
}

// outcome polls until the answer is not pending any more.
func outcome(t *testing.T, c message.Exchanger, id []byte) (message.Result, error) {
	t.Helper()
	for deadline := time.Now().Add(harness.Timeout); ; time.Sleep(20 * time.Millisecond) {
		got, err := message.Do(c, message.Item{Operation: opPoll, Payload: []*message.Node{rawttlv.Bytes(tagAsynchronousCorrelation, id)}})
		if got.Status != statusPending || time.Now().After(deadline) {
			return got, err
		}
	}
}

// TestApproval holds Destroy for an administrator, who decides while the server runs and while it does not, and kills the
// server in between.
func TestApproval(t *testing.T) {
	t.Setenv("KMIPD_APPROVE", "destroy,create-key-pair")
	dir := harness.Dir(t)
	s := harness.Start(t, dir)
	c := s.Connect(t)
	var keys []string
	var jobs [][]byte
	for range 3 {
		made, err := message.Do(c, message.CreateAES(256))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, made.Identifier())
		jobs = append(jobs, pending(t, c, message.Destroy(made.Identifier())))
	}
	if _, err := message.Do(c, message.Destroy(keys[0])); message.ReasonOf(err) != message.ReasonPermissionDenied {
		t.Errorf("Destroy without the indicator: %v", err)
	}
	pair := pending(t, c, message.CreateP256())
	decide := func(what string, id []byte) {
		t.Helper()
		if _, code := harness.Run(t, "job", what, hex.EncodeToString(id)[:8], "--dir", dir); code != 0 {
			t.Fatalf("kmipd job %s: exit code %d", what, code)
		}
	}
	decide("approve", jobs[0])
	decide("deny", jobs[1])
	s.Kill()
	decide("approve", jobs[2])
	decide("approve", pair)
	s = harness.Start(t, dir)
	c = s.Connect(t)
	for i, want := range []uint32{0, message.ReasonPermissionDenied, 0} {
		if _, err := outcome(t, c, jobs[i]); message.ReasonOf(err) != want || want == 0 && err != nil {
			t.Errorf("job %d: got %v, want reason 0x%02X", i, err, want)
		}
		got, err := message.Do(c, message.GetAttributes(keys[i], "State"))
		state := uint32(message.StateDestroyed)
		if want != 0 {
			state = message.StatePreActive
		}
		if err != nil || got.State() != state {
			t.Errorf("key %d: state %d, %v, want %d", i, got.State(), err, state)
		}
	}
	made, err := outcome(t, c, pair)
	if private, public := made.PairIdentifiers(); err != nil || private == "" || public == "" {
		t.Errorf("the key pair: %q and %q, %v", private, public, err)
	}
	s.Stop()
	if out, code := harness.Run(t, "fsck", "--dir", dir); code != 0 {
		t.Errorf("kmipd fsck: exit code %d\n%s", code, out)
	}
}
