package keystore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
	"kmipd/metadata"
)

func usageLimits(total int64, unit kmip.UsageLimitsUnit) kmip.Attribute {
	return at("Usage Limits", structValue(&kmip.UsageLimits{UsageLimitsTotal: total, UsageLimitsUnit: unit}))
}

// left is the Usage Limits Count of an object.
func (c client) left(uid string) int64 {
	c.t.Helper()
	var u kmip.UsageLimits
	if err := u.Decode(c.value(uid, "Usage Limits")); err != nil || u.UsageLimitsCount == nil {
		c.t.Fatalf("Usage Limits: %+v, %v", u, err)
	}
	return *u.UsageLimitsCount
}

func (c client) wantLeft(what, uid string, want int64) {
	c.t.Helper()
	if got := c.left(uid); got != want {
		c.t.Errorf("%s: got a Count of %d, want %d", what, got, want)
	}
}

var ecbOf = func(n int) kmip.EncryptRequest {
	return kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(n)}
}

// What each operation takes from the limits (KMIP 1.4 section 3.21): protection its octets, or one object; processing
// nothing.
func TestUsageLimits(t *testing.T) {
	c := newBench(t).client("alice")
	denied := kmip.ResultReasonPermissionDenied
	octets := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both|codes, usageLimits(48, kmip.UsageLimitsUnitByte))...)
	_, err := c.encrypt(octets, ecbOf(32))
	c.ok(err)
	c.wantLeft("32 octets encrypted", octets, 16)
	_, err = c.encrypt(octets, ecbOf(32))
	wantReason(t, "more than is left", err, denied)
	c.wantLeft("a refusal", octets, 16)
	_, err = c.decrypt(octets, kmip.DecryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(64)})
	wantReason(t, "Decrypt is not limited", err, 0)
	_, err = do(c, kmip.OperationMAC, octets, c.s.MAC, &kmip.MACRequest{CryptographicParameters: &kmip.CryptographicParameters{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256}, Data: marker(6)})
	wantReason(t, "MAC", err, 0)
	c.wantLeft("6 octets authenticated", octets, 10)
	_, err = c.encrypt(octets, ecbOf(15))
	wantReason(t, "half a block", err, kmip.ResultReasonCryptographicFailure)
	c.wantLeft("data that cannot be encrypted", octets, 10)
	_, err = c.encrypt(octets, kmip.EncryptRequest{Data: marker(10)})
	wantReason(t, "no parameters", err, kmip.ResultReasonInvalidField)
	c.wantLeft("parameters that are refused", octets, 10)

	objects := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, usageLimits(2, kmip.UsageLimitsUnitObject))...)
	_, err = c.encrypt(objects, ecbOf(160))
	c.ok(err)
	c.wantLeft("one object", objects, 1)
	_, err = c.encrypt(objects, ecbOf(16))
	c.ok(err)
	_, err = c.encrypt(objects, ecbOf(16))
	wantReason(t, "no object left", err, denied)
	wantReason(t, "the limits are fixed after use", c.modify(objects, usageLimits(9, kmip.UsageLimitsUnitObject)), denied)

	priv := c.must(c.register(privateKey(t, ecKey()), active(kmip.CryptographicUsageMaskSign, usageLimits(40, kmip.UsageLimitsUnitByte))[1:]...))
	_, err = c.sign(priv, kmip.SignRequest{DigestedData: marker(32)})
	c.ok(err)
	c.wantLeft("a digest signed", priv, 8)
}

// Parts pay as they come: octets with each, an object with the first.
func TestUsageLimitsInParts(t *testing.T) {
	c := newBench(t).client("alice")
	for _, v := range []struct {
		unit   kmip.UsageLimitsUnit
		counts []int64
	}{{kmip.UsageLimitsUnitByte, []int64{30, 20, 20}}, {kmip.UsageLimitsUnitObject, []int64{39, 39, 39}}} {
		uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, usageLimits(40, v.unit))...)
		req := ecbOf(10)
		req.InitIndicator = ptr(true)
		for i, want := range v.counts {
			resp, err := c.encrypt(uid, req)
			c.ok(err)
			c.wantLeft(v.unit.String(), uid, want)
			req = kmip.EncryptRequest{CorrelationValue: resp.CorrelationValue, Data: marker(10)}
			if i == 1 {
				req.Data = nil
			}
		}
		req.Data = marker(21)
		_, err := c.encrypt(uid, req)
		if v.unit == kmip.UsageLimitsUnitByte {
			wantReason(t, "a part that the limits do not leave", err, kmip.ResultReasonPermissionDenied)
			_, err = c.encrypt(uid, kmip.EncryptRequest{CorrelationValue: req.CorrelationValue, Data: marker(1)})
			wantReason(t, "its stream", err, kmip.ResultReasonItemNotFound)
		} else {
			wantReason(t, "a long part", err, 0)
		}
	}
}

// The count is on disk before the token works, and what failed after that is not given back: not by the token's failure,
// not by Undo, not by a crash.
func TestUsageLimitsAreSpent(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, usageLimits(100, kmip.UsageLimitsUnitObject))...)
	b.fake.Inject(hsmtest.Fault{Method: "Encrypt", Effect: hsmtest.FailAfter})
	_, err := c.encrypt(uid, ecbOf(16))
	wantReason(t, "the token fails", err, kmip.ResultReasonCryptographicFailure)
	c.wantLeft("the token failed", uid, 99)

	tx := b.s.Begin(true)
	_, err = item(ctx, c, tx, kmip.OperationAddAttribute, uid, b.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("b"))})
	c.ok(err)
	for range 2 {
		_, err = item(ctx, c, tx, kmip.OperationEncrypt, uid, b.s.Encrypt, ptr(ecbOf(16)))
		c.ok(err)
	}
	c.ok(tx.Rollback(ctx, 0))
	c.wantLeft("undone, with a change before", uid, 97)
	if v := c.value(uid, "x-a"); !v.IsZero() {
		t.Error("the attribute was not taken back")
	}

	// A crash at the instant of the token's call: the count is on disk.
	b.fake.Inject(hsmtest.Fault{Method: "Encrypt", Effect: hsmtest.CrashBefore})
	_, err = c.encrypt(uid, ecbOf(16))
	if err == nil {
		t.Error("the token died and Encrypt succeeded")
	}
	b.restart()
	c = b.client("alice")
	c.wantLeft("after the restart", uid, 96)
	_, err = c.encrypt(uid, ecbOf(16))
	c.ok(err)
	b.wantClean()
}

// When the count cannot be written nothing is encrypted.
func TestUsageLimitsWithoutDisk(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, usageLimits(100, kmip.UsageLimitsUnitObject))...)
	b.start(failingCommits{b.db}, b.fake)
	c = b.client("alice")
	b.fake.Record()
	_, err := c.encrypt(uid, ecbOf(16))
	wantReason(t, "the disk fails", err, kmip.ResultReasonGeneralFailure)
	if calls := b.fake.Recorded(); len(calls) != 0 {
		t.Errorf("got token calls %v, want none", calls)
	}
}

type failingCommits struct{ metadata.Store }

func (f failingCommits) Commit(ctx context.Context, b *metadata.Batch) error {
	if len(b.Puts) == 0 {
		return f.Store.Commit(ctx, b) // the record of the start
	}
	return errors.New("no space left")
}

// Many at once take no more than there is, and exactly what they were given.
func TestUsageLimitsAtOnce(t *testing.T) {
	c := newBench(t).client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, usageLimits(20, kmip.UsageLimitsUnitObject))...)
	var done atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 5 {
				_, err := c.encrypt(uid, ecbOf(16))
				switch {
				case err == nil:
					done.Add(1)
				case kmip.ReasonOf(err) != kmip.ResultReasonPermissionDenied:
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	if done.Load() != 20 {
		t.Errorf("got %d encryptions, want 20", done.Load())
	}
	c.wantLeft("after all", uid, 0)
}

// A key without limits costs one read of its record and one call of the token.
func TestServiceCost(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	counted := &countingReads{Store: b.db}
	b.start(counted, b.fake)
	c = b.client("alice")
	b.fake.Record()
	counted.gets.Store(0)
	counted.commits.Store(0)
	_, err := c.encrypt(uid, ecbOf(16))
	c.ok(err)
	if calls := b.fake.Recorded(); len(calls) != 1 || counted.gets.Load() != 1 || counted.commits.Load() != 0 {
		t.Errorf("got token calls %v, %d reads, %d writes, want one call and one read", calls, counted.gets.Load(), counted.commits.Load())
	}
}

type countingReads struct {
	metadata.Store
	gets, commits atomic.Int64
}

func (r *countingReads) Get(ctx context.Context, uid string) (*metadata.Record, error) {
	r.gets.Add(1)
	return r.Store.Get(ctx, uid)
}

func (r *countingReads) Commit(ctx context.Context, b *metadata.Batch) error {
	r.commits.Add(1)
	return r.Store.Commit(ctx, b)
}
