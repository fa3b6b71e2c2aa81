package keystore

import (
	"context"
	"slices"
	"strings"
	"testing"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

func functionsOf(t *testing.T, l letter) (out []kmip.QueryFunction) {
	t.Helper()
	var r kmip.QueryRequest
	if err := r.Decode(l.root); err != nil {
		t.Fatal(err)
	}
	return r.QueryFunction
}

// An endpoint is asked in its own version, for no more than that version has.
func TestQueryEndpoint(t *testing.T) {
	ctx := context.Background()
	says := ttlv.Make((&kmip.QueryResponse{Operation: []kmip.Operation{kmip.OperationPut}}).Append(nil, kmip.TagResponsePayload, kmip.V1_1))
	b, _, m := newMailBench(t, metadata.Endpoint{Version: kmip.V1_1, Notify: NotifyNone})
	m.set(func(m *mailbox) { m.says = says })
	answer, err := b.s.QueryEndpoint(ctx, "a", nil)
	if err != nil || !answer.Equal(says) {
		t.Errorf("got %v, %v", answer, err)
	}
	all := functionsOf(t, m.wait(t, 1)[0])
	if !slices.Contains(all, kmip.QueryFunctionQueryExtensionMap) || slices.Contains(all, kmip.QueryFunctionQueryProfiles) {
		t.Errorf("asked for %v", all)
	}
	if _, err := b.s.QueryEndpoint(ctx, "a", []kmip.QueryFunction{kmip.QueryFunctionQueryObjects}); err != nil {
		t.Error(err)
	}
	if got := functionsOf(t, m.wait(t, 2)[1]); !slices.Equal(got, []kmip.QueryFunction{kmip.QueryFunctionQueryObjects}) {
		t.Errorf("asked for %v", got)
	}
	_, err = b.s.EndpointVersions(ctx, "a")
	if l := m.wait(t, 3)[2]; err != nil || l.op != kmip.OperationDiscoverVersions || len(l.root.Value) != 0 {
		t.Errorf("got %v, asked %v", err, l)
	}
	asked := slices.DeleteFunc(b.events(), func(e audit.Event) bool { return e.Operation != "client ask" || e.Client != "a" })
	if len(asked) != 3 {
		t.Errorf("the trail tells of %v, want 3 requests", asked)
	}
}

func TestQueryEndpointRefused(t *testing.T) {
	ctx := context.Background()
	b, _, m := newMailBench(t, metadata.Endpoint{Version: kmip.V1_0, Notify: NotifyNone})
	query := func(f ...kmip.QueryFunction) error { _, err := b.s.QueryEndpoint(ctx, "a", f); return err }
	versions := func() error { _, err := b.s.EndpointVersions(ctx, "a"); return err }
	another := func() error { _, err := b.s.QueryEndpoint(ctx, "b", nil); return err }
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"function of a later version": {query(kmip.QueryFunctionQueryProfiles), "KMIP 1.0"},
		"operation of a later one":    {versions(), "KMIP 1.0"},
		"no such client":              {another(), "does not exist"},
		"no payload":                  {query(), "without a payload"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v", name, c.err)
		}
	}
	m.set(func(m *mailbox) { m.refuse = true })
	if err := query(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	m.set(func(m *mailbox) { m.down = true })
	if err := query(); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	asked := 0 // what went out, or was to, is in the trail, however it ended
	for _, e := range b.events() {
		if e.Operation == "client ask" && e.Client == "a" && e.Outcome == audit.Failure {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("the trail tells of %d requests that failed, want 3", asked)
	}
	if err := b.s.SetEndpoint(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := query(); err == nil || !strings.Contains(err.Error(), "no endpoint") {
		t.Errorf("got %v", err)
	}
}
