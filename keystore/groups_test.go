package keystore

import (
	"crypto/x509/pkix"
	"slices"
	"testing"

	"kmipd/kmip"
)

// Where an administrator approves each Create, a Locate makes nothing that nobody approved.
func TestFreshNeedsApproval(t *testing.T) {
	for _, c := range []struct {
		approve []kmip.Operation
		want    int
	}{{nil, 1}, {[]kmip.Operation{kmip.OperationCreate}, 0}, {[]kmip.Operation{kmip.OperationCreate, kmip.OperationLocate}, 1}} {
		b := newBench(t, func(cfg *Config) { cfg.FreshGroup, cfg.Approve = "pool", c.approve })
		resp, err := b.client("alice").locate(kmip.LocateRequest{ObjectGroupMember: kmip.ObjectGroupMemberGroupMemberFresh,
			Attribute: []kmip.Attribute{at("Object Group", textValue("pool"))}})
		if err != nil || len(resp.UniqueIdentifier) != c.want || b.fake.Len() != c.want {
			t.Errorf("approval of %v: got %+v, %v, %d objects on the token, want %d", c.approve, resp, err, b.fake.Len(), c.want)
		}
	}
}

// Fresh members are handed out in the order in which they came; the default goes round.
func TestObjectGroups(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.FreshGroup = "pool" })
	c := b.client("alice")
	group := at("Object Group", textValue("g"))
	m := []string{c.aes(group), c.aes(group), c.aes(group)}
	c.aes(at("Object Group", textValue("other")))
	locate := func(member kmip.ObjectGroupMember, attrs ...kmip.Attribute) []string {
		t.Helper()
		resp, err := c.locate(kmip.LocateRequest{ObjectGroupMember: member, Attribute: attrs})
		wantReason(t, "Locate", err, 0)
		if err != nil {
			return nil
		}
		return resp.UniqueIdentifier
	}
	want := func(got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	fresh, standard := kmip.ObjectGroupMemberGroupMemberFresh, kmip.ObjectGroupMemberGroupMemberDefault
	want(locate(fresh, group), m)
	want(locate(standard, group), m[:1])
	c.material(m[0])
	want(locate(fresh, group), m[1:])
	if c.value(m[0], "Fresh").Bool() {
		t.Error("Get has left the key fresh")
	}
	want(locate(standard, group), m[1:2])
	c.material(m[1])
	want(locate(standard, group), m[2:])
	c.material(m[2])
	want(locate(standard, group), m[:1]) // round
	want(locate(fresh, group), nil)      // no other group makes keys
	for _, member := range []kmip.ObjectGroupMember{fresh, standard} {
		_, err := c.locate(kmip.LocateRequest{ObjectGroupMember: member})
		wantReason(t, "Object Group Member without Object Group", err, kmip.ResultReasonInvalidField)
	}
	_, err := c.locate(kmip.LocateRequest{ObjectGroupMember: 9, Attribute: []kmip.Attribute{group}})
	wantReason(t, "unknown Object Group Member", err, kmip.ResultReasonInvalidField)

	pool := at("Object Group", textValue("pool"))
	made := locate(fresh, pool)
	if len(made) != 1 {
		t.Fatalf("the pool: got %v, want one new key", made)
	}
	want(locate(fresh, pool), made) // not another one
	c.material(made[0])
	again := locate(fresh, pool)
	if len(again) != 1 || again[0] == made[0] {
		t.Errorf("the pool after Get: got %v, want another new key", again)
	}
	want(locate(fresh, pool, at("Cryptographic Length", intValue(int32(128)))), nil)
	b.wantClean()
}

// Another client's objects are not there; within a client an object with a user belongs to that user.
func TestOwnership(t *testing.T) {
	b := newBench(t)
	alice, bob := b.client("alice"), b.client("bob")
	ann, al := alice.as("ann"), alice.as("al")
	everyones := alice.aes()
	anns := ann.aes()
	cert := ann.must(ann.register(certificate(makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw)))
	const missing, denied = kmip.ResultReasonItemNotFound, kmip.ResultReasonPermissionDenied
	for _, row := range []struct {
		name        string
		c           client
		uid         string
		read, write kmip.ResultReason
	}{
		{"client's, by client", alice, everyones, 0, 0},
		{"client's, by user", ann, everyones, 0, 0},
		{"user's, by user", ann, anns, 0, 0},
		{"user's, by client", alice, anns, denied, denied},
		{"user's, by another user", al, anns, denied, denied},
		{"certificate, by another user", al, cert, 0, denied},
		{"certificate, by client", alice, cert, 0, denied},
		{"client's, by another client", bob, everyones, missing, missing},
		{"certificate, by another client", bob, cert, missing, missing},
		{"user's, by a namesake at another client", bob.as("ann"), anns, missing, missing},
		{"any, by nobody", b.client(""), everyones, denied, denied},
	} {
		_, err := row.c.get(row.uid, kmip.GetRequest{})
		wantReason(t, row.name+", Get", err, row.read)
		_, err = row.c.attributes(row.uid)
		wantReason(t, row.name+", Get Attributes", err, row.read)
		wantReason(t, row.name+", Check", row.c.check(row.uid, kmip.CheckRequest{}), row.read)
		wantReason(t, row.name+", Add Attribute", row.c.add(row.uid, at("x-"+newUID(), textValue("v"))), row.write)
		if row.c.caller.Client == "" {
			continue
		}
		if got, want := slices.Contains(row.c.find(), row.uid), row.read == 0; got != want {
			t.Errorf("%s, Locate: got found %t, want %t", row.name, got, want)
		}
		if row.write != 0 {
			wantReason(t, row.name+", Activate", row.c.activate(row.uid), row.write)
			wantReason(t, row.name+", Destroy", row.c.destroy(row.uid), row.write)
		}
	}
}

func (c client) check(uid string, req kmip.CheckRequest) error {
	_, err := do(c, kmip.OperationCheck, uid, c.s.Check, &req)
	return err
}
