package metadatatest

import (
	"errors"
	"reflect"
	"testing"

	"kmipd/kmip"
	"kmipd/metadata"
)

func testDeliveries(t *testing.T, s metadata.Store) {
	delivery := func(client string, seq uint64) *metadata.Delivery {
		return &metadata.Delivery{Client: client, Seq: seq, Operation: kmip.OperationNotify, UID: "u", Attributes: []byte{1}, At: Epoch}
	}
	check := func(want ...*metadata.Delivery) {
		t.Helper()
		var got []*metadata.Delivery
		err := s.Deliveries(t.Context(), func(d *metadata.Delivery) error { got = append(got, d); return nil })
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Deliveries: got %+v, %v, want %+v", got, err, want)
		}
	}
	check()
	a1, a300, ab := delivery("a", 1), delivery("a", 300), delivery("a\x00b", 2)
	batch := metadata.Batch{Puts: []metadata.Put{{Record: Key("o", "k", 1), Expect: 7}}, Enqueue: []*metadata.Delivery{a300, ab, a1}}
	if err := s.Commit(t.Context(), &batch); !errors.Is(err, metadata.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	check()
	batch.Puts[0].Expect = 0
	if err := s.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	check(a1, a300, ab)
	if got, err := s.Delivery(t.Context(), ab.Key()); err != nil || !reflect.DeepEqual(got, ab) {
		t.Errorf("Delivery: got %+v, %v", got, err)
	}
	if _, err := s.Delivery(t.Context(), metadata.DeliveryKey{Client: "a", Seq: 2}); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("an unknown delivery: got %v, want ErrNotFound", err)
	}
	if err := s.Commit(t.Context(), &metadata.Batch{Dequeue: []metadata.DeliveryKey{a1.Key(), {Client: "a", Seq: 9}}}); err != nil {
		t.Fatal(err)
	}
	check(a300, ab)
	for _, bad := range []*metadata.Delivery{delivery("", 1), delivery("a", 0)} {
		if err := s.Commit(t.Context(), &metadata.Batch{Enqueue: []*metadata.Delivery{bad}}); err == nil {
			t.Errorf("%+v was stored", bad)
		}
	}
}
