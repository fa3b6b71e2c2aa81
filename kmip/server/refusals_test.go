package server

import (
	"errors"
	"fmt"
	"testing"

	"kmipd/kmip"
)

type byPolicy struct{}

func (byPolicy) Error() string                     { return "by policy" }
func (byPolicy) Refusal() (policy, rule, _ string) { return "fips140", "DES is not allowed", "" }

// The ring keeps the last refusals by policies, in order, and no other errors.
func TestRefusals(t *testing.T) {
	s := &Server{}
	s.refusals.note(nil, Refusal{})
	s.refusals.note(errors.New("other"), Refusal{})
	if got := s.Refusals(); len(got) != 0 {
		t.Fatalf("got %v", got)
	}
	for i := range maxRefusals + 3 {
		err := kmip.Errorf(kmip.ResultReasonInvalidField, "refused").Because(byPolicy{})
		s.refusals.note(err, Refusal{Client: fmt.Sprint(i), Operation: kmip.OperationCreate, Reason: err.Reason})
	}
	got := s.Refusals()
	if len(got) != maxRefusals || got[0].Client != "3" || got[maxRefusals-1].Client != fmt.Sprint(maxRefusals+2) {
		t.Errorf("got %d from %s to %s", len(got), got[0].Client, got[len(got)-1].Client)
	}
	if r := got[0]; r.Policy != "fips140" || r.Rule != "DES is not allowed" || r.Time.IsZero() || r.Operation != kmip.OperationCreate {
		t.Errorf("got %+v", r)
	}
}
