package keystore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// loadEndpoints makes a box for each client that has an endpoint, with the messages that wait in it, and drops those that
// nobody will take.
func (s *Store) loadEndpoints(ctx context.Context) error {
	list, err := s.meta.Clients(ctx)
	if err != nil && !errors.Is(err, metadata.ErrCorrupt) {
		return err
	}
	for _, c := range list {
		if c.Endpoint != nil {
			s.post.set(s, c.Name, *c.Endpoint)
		}
	}
	var stray []metadata.DeliveryKey
	err = s.meta.Deliveries(ctx, func(d *metadata.Delivery) error {
		if _, ok := s.post.endpoint(d.Client); !ok {
			stray = append(stray, d.Key())
			return nil
		}
		s.post.next(time.Unix(0, int64(d.Seq)))
		s.post.add([]*metadata.Delivery{{Client: d.Client, Seq: d.Seq}}, false)
		return nil
	})
	if errors.Is(err, metadata.ErrCorrupt) {
		s.log.Error().Err(err).Msg("messages that cannot be read stay where they are")
	} else if err != nil {
		return err
	}
	return s.dequeue(ctx, stray)
}

func (s *Store) dequeue(ctx context.Context, keys []metadata.DeliveryKey) error {
	for part := range slices.Chunk(keys, 512) {
		if err := s.bookkeep(ctx, &metadata.Batch{Dequeue: part}); err != nil {
			return err
		}
	}
	return nil
}

// SetEndpoint registers where a client takes Notify and Put, or nil for nowhere: then what is queued for it is dropped.
func (s *Store) SetEndpoint(ctx context.Context, client string, e *metadata.Endpoint) error {
	if e != nil {
		if err := checkEndpoint(e); err != nil {
			return err
		}
	}
	command := ofAdministrator("client endpoint", fact("address", "none"))
	if e != nil {
		command.Facts[0].Value = e.Address
	}
	if err := s.changeClient(ctx, client, command, func(c *metadata.Client) error { c.Endpoint = e; return nil }); err != nil {
		return err
	}
	if e == nil {
		return s.closeBox(ctx, client)
	}
	s.post.set(s, client, *e)
	return nil
}

// closeBox drops the queue of a client that has no endpoint any more.
func (s *Store) closeBox(ctx context.Context, client string) error {
	var keys []metadata.DeliveryKey
	for _, seq := range s.post.unset(client) {
		keys = append(keys, metadata.DeliveryKey{Client: client, Seq: seq})
	}
	return s.dequeue(ctx, keys)
}

// hostPort is the part of an endpoint's address that is dialled, "" when the address is none.
func hostPort(address string) string {
	if !strings.HasPrefix(address, "https://") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Fragment != "" {
		return ""
	}
	return u.Host
}

func checkEndpoint(e *metadata.Endpoint) error {
	if host, port, err := net.SplitHostPort(hostPort(e.Address)); err != nil || host == "" || port == "" {
		return fmt.Errorf("endpoint: %q is neither HOST:PORT nor https://HOST:PORT/PATH", e.Address)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(e.CA)) {
		return errors.New("endpoint: the authority is not a PEM certificate")
	}
	if e.Version == (kmip.Version{}) {
		e.Version = kmip.V1_4
	}
	if !slices.Contains(kmip.Supported, e.Version) {
		return fmt.Errorf("endpoint: KMIP %s is not spoken here", e.Version)
	}
	switch e.Notify {
	case "":
		e.Notify = NotifyOthers
	case NotifyOthers, NotifyAll, NotifyNone:
	default:
		return fmt.Errorf("endpoint: %q is none of %s, %s, %s", e.Notify, NotifyOthers, NotifyAll, NotifyNone)
	}
	return nil
}

// Endpoint tells about a client's endpoint and its queue.
func (s *Store) Endpoint(ctx context.Context, client string) (EndpointStatus, error) {
	e, err := s.endpointOf(ctx, client)
	if err != nil {
		return EndpointStatus{}, err
	}
	if st, ok := s.post.status(client); ok {
		return st, nil
	}
	st := EndpointStatus{Endpoint: *e}
	err = s.meta.Deliveries(ctx, func(d *metadata.Delivery) error {
		if d.Client == client {
			st.Queued++
		}
		return nil
	})
	return st, err
}

// Put queues objects of a client for its endpoint. All of them are queued, or none.
func (s *Store) Put(ctx context.Context, client string, uids []string) error {
	if _, err := s.endpointOf(ctx, client); err != nil {
		return err
	}
	if len(uids) == 0 {
		return errors.New("no Unique Identifier is given")
	}
	b := &metadata.Batch{}
	for _, uid := range uids {
		rec, err := s.meta.Get(ctx, uid)
		if isNotFound(err) || err == nil && rec.Owner != client {
			return fmt.Errorf("client %q has no object %q", client, uid)
		}
		if err != nil {
			return err
		}
		if err := s.mayBePut(object{rec}); err != nil {
			return fmt.Errorf("%s: %w", uid, err)
		}
		b.Enqueue = append(b.Enqueue, s.putOf(rec, s.cfg.Clock().UTC()))
	}
	e := ofAdministrator("put")
	e.Client = client
	for _, uid := range uids {
		e.Objects = append(e.Objects, audit.Object{UID: uid})
	}
	return s.publish(ctx, b, nil, e)
}

// mayBePut finds early what putMessage would find when it is too late to tell the administrator.
func (s *Store) mayBePut(o object) error {
	switch {
	case !o.live():
		return errors.New("the object is destroyed")
	case o.archived():
		return errors.New("the object is archived")
	case o.ObjectType == kmip.ObjectTypeTemplate:
		return nil
	}
	f, err := o.frame()
	if err != nil {
		return err
	}
	return s.mayLeave(&kmip.Call{Caller: kmip.Caller{Client: o.Owner}}, o, &kmip.GetRequest{}, f)
}
