package pebble

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

func deliveryKey(k metadata.DeliveryKey) []byte {
	return binary.BigEndian.AppendUint64(appendPart([]byte("q/"), k.Client), k.Seq)
}

// Delivery implements metadata.Store.
func (s *Store) Delivery(ctx context.Context, k metadata.DeliveryKey) (*metadata.Delivery, error) {
	d := new(metadata.Delivery)
	if err := s.getJSON(ctx, deliveryKey(k), d); err != nil {
		return nil, err
	}
	return d, nil
}

// Deliveries implements metadata.Store.
func (s *Store) Deliveries(ctx context.Context, fn func(*metadata.Delivery) error) error {
	return walkJSON(ctx, s, "q/", fn)
}

// stageDeliveries writes the deliveries of a batch.
func stageDeliveries(wb *pdb.Batch, b *metadata.Batch) error {
	for _, d := range b.Enqueue {
		if d.Client == "" || d.Seq == 0 {
			return errors.New("metadata: a delivery needs a client and a number")
		}
		value, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("metadata: delivery: %w", err)
		}
		_ = wb.Set(deliveryKey(d.Key()), value, nil) // a Batch in memory does not fail
	}
	for _, k := range b.Dequeue {
		_ = wb.Delete(deliveryKey(k), nil)
	}
	return nil
}
