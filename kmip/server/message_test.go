package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func TestAnswerIsInTheVersionAsked(t *testing.T) {
	b := newBench(t)
	for _, v := range kmip.Supported {
		r := b.send(t, one(v, kmip.OperationCreate, createAES()))
		r.want(t, 0, 0)
		if got := (kmip.Version{Major: r.header.ProtocolVersion.ProtocolVersionMajor, Minor: r.header.ProtocolVersion.ProtocolVersionMinor}); got != v {
			t.Errorf("asked in %s, answered in %s", v, got)
		}
		if !r.header.TimeStamp.Equal(b.now) {
			t.Errorf("Time Stamp is %s", r.header.TimeStamp)
		}
		if r.header.ServerCorrelationValue != nil {
			t.Errorf("%s: Server Correlation Value for a client that does not correlate", v)
		}
		if r.items[0].UniqueBatchItemID != nil {
			t.Errorf("%s: the answer has a Unique Batch Item ID that was not asked for", v)
		}
		if r.items[0].Operation != kmip.OperationCreate {
			t.Errorf("%s: operation %s", v, r.items[0].Operation)
		}
	}
}

func TestForeignVersions(t *testing.T) {
	b := newBench(t)
	discover := askItem{op: kmip.OperationDiscoverVersions, payload: &kmip.DiscoverVersionsRequest{}}
	for _, tc := range []struct {
		name   string
		ask    ask
		reason kmip.ResultReason
	}{
		{"2.0", one(kmip.V2_0, kmip.OperationQuery, octets{}), kmip.ResultReasonInvalidMessage},
		{"2.0 discover", ask{ver: kmip.V2_0, items: []askItem{discover}}, kmip.ResultReasonInvalidMessage},
		{"1.5", one(kmip.Version{Major: 1, Minor: 5}, kmip.OperationQuery, octets{}), kmip.ResultReasonInvalidMessage},
		{"1.7 discover", ask{ver: kmip.Version{Major: 1, Minor: 7}, items: []askItem{discover}}, 0},
		{"1.7 discover and create", batchOf(kmip.Version{Major: 1, Minor: 7}, 0, discover, create()), kmip.ResultReasonInvalidMessage},
		{"0.9", one(kmip.Version{Major: 0, Minor: 9}, kmip.OperationQuery, octets{}), kmip.ResultReasonInvalidMessage},
		{"1.-1", one(kmip.Version{Major: 1, Minor: -1}, kmip.OperationQuery, octets{}), kmip.ResultReasonInvalidMessage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := b.send(t, tc.ask)
			r.wantCount(t, 1)
			r.want(t, 0, tc.reason)
			if v := r.header.ProtocolVersion; v.ProtocolVersionMajor != 1 || v.ProtocolVersionMinor != 4 {
				t.Errorf("answered in %d.%d", v.ProtocolVersionMajor, v.ProtocolVersionMinor)
			}
			if tc.reason != 0 && r.items[0].Operation != 0 {
				t.Error("the refusal of a message must have no Operation")
			}
		})
	}
	if r := b.send(t, one(kmip.V2_0, kmip.OperationQuery, octets{})); !strings.Contains(*r.items[0].ResultMessage, "Protocol Version 2.0 is not supported") {
		t.Errorf("text is %q", *r.items[0].ResultMessage)
	}
}

// A 2.x header has an Asynchronous Indicator of another type: it must not be decoded as one of 1.x.
func TestForeignHeaderIsNotDecoded(t *testing.T) {
	b := newBench(t)
	h, m := ttlv.Begin(nil, kmip.TagRequestMessage)
	h, m2 := ttlv.Begin(h, kmip.TagRequestHeader)
	pv := kmip.ProtocolVersion{ProtocolVersionMajor: 2, ProtocolVersionMinor: 1}
	h = pv.Append(h, kmip.TagProtocolVersion, kmip.V1_4)
	h = ttlv.AppendEnum(h, kmip.TagAsynchronousIndicator, 1)
	h = ttlv.End(h, m2)
	r := b.sendOctets(t, ttlv.End(h, m))
	r.want(t, 0, kmip.ResultReasonInvalidMessage)
	if !strings.Contains(*r.items[0].ResultMessage, "2.1") {
		t.Errorf("text is %q", *r.items[0].ResultMessage)
	}
}

func TestFewerVersions(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Versions = []kmip.Version{kmip.V1_2, kmip.V1_3} })
	r := b.send(t, one(kmip.V1_0, kmip.OperationQuery, octets{}))
	r.want(t, 0, kmip.ResultReasonInvalidMessage)
	if v := r.header.ProtocolVersion; v.ProtocolVersionMinor != 3 {
		t.Errorf("answered in 1.%d, want the newest spoken", v.ProtocolVersionMinor)
	}
	r = b.send(t, one(kmip.V1_4, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}))
	r.want(t, 0, 0)
	if got := payloadOf[kmip.DiscoverVersionsResponse](t, r.items[0]).ProtocolVersion; len(got) != 2 || got[0].ProtocolVersionMinor != 3 {
		t.Errorf("versions %v", got)
	}
}

func TestBrokenMessages(t *testing.T) {
	good := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	edit := func(f func([]byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	header := func(members []byte) []byte {
		b, m := ttlv.Begin(nil, kmip.TagRequestMessage)
		b, h := ttlv.Begin(b, kmip.TagRequestHeader)
		b = ttlv.End(append(b, members...), h)
		return ttlv.End(b, m)
	}
	version := (&kmip.ProtocolVersion{ProtocolVersionMajor: 1, ProtocolVersionMinor: 2}).Append(nil, kmip.TagProtocolVersion, kmip.V1_2)
	count := func(n int32) []byte { return ttlv.AppendInt(nil, kmip.TagBatchCount, n) }
	join := func(parts ...[]byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	for _, tc := range []struct {
		name   string
		msg    []byte
		reason kmip.ResultReason
		minor  int32
	}{
		{"empty", nil, kmip.ResultReasonInvalidMessage, 0},
		{"garbage", []byte("GET / HTTP/1.1\r\n\r\n      "), kmip.ResultReasonInvalidMessage, 0},
		{"cut", good[:len(good)-8], kmip.ResultReasonInvalidMessage, 2},
		{"too long", append(append([]byte(nil), good...), make([]byte, 8)...), kmip.ResultReasonInvalidMessage, 2},
		{"wrong inner length", edit(func(b []byte) []byte { b[len(b)-12]++; return b }), kmip.ResultReasonInvalidMessage, 2},
		{"response message", edit(func(b []byte) []byte { b[2] = 0x7B; return b }), kmip.ResultReasonInvalidMessage, 2},
		{"no members", []byte{0x42, 0, 0x78, 1, 0, 0, 0, 0}, kmip.ResultReasonInvalidMessage, 0},
		{"no version", header(count(0)), kmip.ResultReasonInvalidMessage, 0},
		{"version of wrong type", header(ttlv.AppendInt(nil, kmip.TagProtocolVersion, 1)), kmip.ResultReasonInvalidMessage, 0},
		{"no batch count", header(version), kmip.ResultReasonInvalidMessage, 2},
		{"no items", header(join(version, count(0))), kmip.ResultReasonInvalidMessage, 2},
		{"unknown field in the header", header(join(version, ttlv.AppendText(nil, kmip.TagComment, "x"), count(0))), kmip.ResultReasonInvalidField, 2},
		{"extension field in the header", header(join(version, ttlv.AppendText(nil, 0x540001, "x"), count(0))), kmip.ResultReasonInvalidField, 2},
		{"repeated field in the header", header(join(version, count(0), count(0))), kmip.ResultReasonInvalidMessage, 2},
		{"wrong type in the header", header(join(version, ttlv.AppendEnum(nil, kmip.TagBatchCount, 1))), kmip.ResultReasonInvalidMessage, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newBench(t).sendOctets(t, tc.msg)
			r.wantCount(t, 1)
			r.want(t, 0, tc.reason)
			if got := r.header.ProtocolVersion.ProtocolVersionMinor; got != tc.minor {
				t.Errorf("answered in 1.%d, want 1.%d", got, tc.minor)
			}
			if !r.keep {
				t.Error("the connection is closed although the frame was right")
			}
		})
	}
}

func TestHeaderRules(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	with := func(f func(*ask)) ask { a := one(kmip.V1_4, kmip.OperationCreate, createAES()); f(&a); return a }
	for _, tc := range []struct {
		name   string
		ask    ask
		reason kmip.ResultReason
	}{
		{"batch count too high", with(func(a *ask) { a.count = ptr(int32(2)) }), kmip.ResultReasonInvalidMessage},
		{"batch count negative", with(func(a *ask) { a.count = ptr(int32(-1)) }), kmip.ResultReasonInvalidMessage},
		{"time stamp right", with(func(a *ask) { a.header.TimeStamp = ptr(now.Add(time.Minute)) }), 0},
		{"time stamp too old", with(func(a *ask) { a.header.TimeStamp = ptr(now.Add(-time.Hour)) }), kmip.ResultReasonInvalidMessage},
		{"time stamp too new", with(func(a *ask) { a.header.TimeStamp = ptr(now.Add(time.Hour)) }), kmip.ResultReasonInvalidMessage},
		{"continuation unknown", with(func(a *ask) { a.header.BatchErrorContinuationOption = 9 }), kmip.ResultReasonInvalidField},
		{"continuation on a single item", with(func(a *ask) { a.header.BatchErrorContinuationOption = kmip.BatchErrorContinuationOptionUndo }), 0},
		{"order on a single item", with(func(a *ask) { a.header.BatchOrderOption = ptr(true) }), 0},
		{"asynchronous", with(func(a *ask) { a.header.AsynchronousIndicator = ptr(true) }), 0},
		{"not asynchronous", with(func(a *ask) { a.header.AsynchronousIndicator = ptr(false) }), 0},
		{"attestation capable", with(func(a *ask) {
			a.header.AttestationCapableIndicator = ptr(true)
			a.header.AttestationType = []kmip.AttestationType{kmip.AttestationTypeTPMQuote}
		}), 0},
		{"correlation values", with(func(a *ask) {
			a.header.ClientCorrelationValue, a.header.ServerCorrelationValue = ptr("c"), ptr("s")
		}), 0},
		{"item id of a single item", with(func(a *ask) { a.items[0].id = []byte("QLKC1") }), 0},
		{"empty item id", with(func(a *ask) { a.items[0].id = []byte{} }), 0},
		{"fields of later versions", with(func(a *ask) {
			a.ver = kmip.V1_0
			a.header.ClientCorrelationValue = ptr("okms")
		}), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.TimeStampTolerance = 5 * time.Minute })
			r := b.send(t, tc.ask)
			r.wantCount(t, 1)
			r.want(t, 0, tc.reason)
			if string(r.items[0].UniqueBatchItemID) != string(tc.ask.items[0].id) || (r.items[0].UniqueBatchItemID == nil) != (tc.ask.items[0].id == nil) {
				t.Errorf("item id %x, want %x", r.items[0].UniqueBatchItemID, tc.ask.items[0].id)
			}
			if r.header.ClientCorrelationValue != nil {
				t.Error("Client Correlation Value is not part of an answer (KMIP 1.4 section 6.18)")
			}
		})
	}
}

func TestBatchIdentifiers(t *testing.T) {
	for _, tc := range []struct {
		name string
		ids  [2][]byte
		ok   bool
	}{
		{"both", [2][]byte{{1}, {2}}, true},
		{"missing", [2][]byte{{1}, nil}, false},
		{"duplicate", [2][]byte{{1}, {1}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			a := batchOf(kmip.V1_2, 0, create(), create())
			a.items[0].id, a.items[1].id = tc.ids[0], tc.ids[1]
			r := b.send(t, a)
			if tc.ok {
				r.wantCount(t, 2)
				r.want(t, 1, 0)
				return
			}
			r.wantCount(t, 1)
			r.want(t, 0, kmip.ResultReasonInvalidMessage)
			if n := len(b.keys.state()); n != 0 {
				t.Errorf("%d objects were made", n)
			}
		})
	}
}

func TestTooManyItems(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxBatch = 2 })
	r := b.send(t, batchOf(kmip.V1_2, 0, create(), create(), create()))
	r.wantCount(t, 1)
	r.want(t, 0, kmip.ResultReasonInvalidMessage)
	if len(b.keys.state()) != 0 {
		t.Error("objects were made")
	}
}

func TestCriticalExtension(t *testing.T) {
	ext := func(critical bool) []kmip.MessageExtension {
		return []kmip.MessageExtension{{VendorIdentification: "Acme", CriticalityIndicator: critical,
			VendorExtension: ttlv.Make(ttlv.End(ttlv.Begin(nil, kmip.TagVendorExtension)))}}
	}
	for _, tc := range []struct {
		name     string
		critical bool
		opt      kmip.BatchErrorContinuationOption
		items    int
		reason   kmip.ResultReason
		made     int
	}{
		{"ignored", false, 0, 2, 0, 2},
		{"stop", true, 0, 1, kmip.ResultReasonFeatureNotSupported, 0},
		{"continue", true, kmip.BatchErrorContinuationOptionContinue, 2, kmip.ResultReasonFeatureNotSupported, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			a := batchOf(kmip.V1_2, tc.opt, create(), create())
			a.items[1].ext = ext(tc.critical) // on the last item: the first must not be done either
			r := b.send(t, a)
			r.wantCount(t, tc.items)
			for i := range r.items {
				r.want(t, i, tc.reason)
			}
			if n := len(b.keys.state()); n != tc.made {
				t.Errorf("%d objects were made, want %d", n, tc.made)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	credential := func(user, password string) *kmip.Authentication {
		u := kmip.UsernameAndPassword{Username: user, Password: &password}
		return &kmip.Authentication{Credential: []kmip.Credential{{CredentialType: kmip.CredentialTypeUsernameAndPassword,
			CredentialValue: ttlv.Make(u.Append(nil, kmip.TagCredentialValue, kmip.V1_4))}}}
	}
	t.Run("good", func(t *testing.T) {
		b := newBench(t)
		var user string
		b.keys.authorize = func(call *kmip.Call, _ kmip.Operation) error { user = call.Caller.User; return nil }
		a := one(kmip.V1_0, kmip.OperationCreate, createAES())
		a.header.Authentication = credential("alice", "secret")
		b.send(t, a).want(t, 0, 0)
		if user != "alice" {
			t.Errorf("user %q", user)
		}
	})
	t.Run("bad", func(t *testing.T) {
		b := newBench(t)
		a := batchOf(kmip.V1_0, kmip.BatchErrorContinuationOptionContinue, create(), create())
		a.header.Authentication = credential("alice", "wrong")
		r := b.send(t, a)
		r.wantCount(t, 2)
		r.want(t, 0, kmip.ResultReasonAuthenticationNotSuccessful)
		r.want(t, 1, kmip.ResultReasonAuthenticationNotSuccessful)
		if len(b.keys.state()) != 0 || !r.keep {
			t.Error("objects were made, or the connection is closed")
		}
		if strings.Contains(b.log.String(), "wrong") {
			t.Error("the password is in the log")
		}
	})
	t.Run("certificate", func(t *testing.T) {
		b := newBench(t)
		b.as(kmip.Caller{}, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the client certificate has expired"))
		r := b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES()))
		r.want(t, 0, kmip.ResultReasonAuthenticationNotSuccessful)
		if r.keep {
			t.Error("the connection of an expired certificate goes on")
		}
	})
	t.Run("store down", func(t *testing.T) {
		b := newBench(t)
		b.as(kmip.Caller{}, errors.New("disk /dev/sda1 on fire"))
		r := b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES()))
		r.want(t, 0, kmip.ResultReasonGeneralFailure)
		if strings.Contains(*r.items[0].ResultMessage, "sda1") || !strings.Contains(b.log.String(), "sda1") {
			t.Error("the cause belongs in the log and not in the answer")
		}
	})
}

func TestPendingClient(t *testing.T) {
	b := newBench(t)
	b.as(kmip.Caller{}, nil)
	b.send(t, one(kmip.V1_2, kmip.OperationQuery, &kmip.QueryRequest{QueryFunction: []kmip.QueryFunction{1, 2, 3}})).want(t, 0, 0)
	b.send(t, one(kmip.V1_2, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{})).want(t, 0, 0)
	for _, e := range rows {
		r := b.send(t, one(kmip.V1_4, e.code, octets{}))
		r.want(t, 0, kmip.ResultReasonPermissionDenied)
		if !strings.Contains(*r.items[0].ResultMessage, "certificate is pending") {
			t.Errorf("%s: text is %q", e.code, *r.items[0].ResultMessage)
		}
	}
	if len(b.keys.asked) != 0 || b.keys.begun != 0 {
		t.Error("the keystore was asked on behalf of an unregistered client")
	}
}
