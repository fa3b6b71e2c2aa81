package keystore

import (
	"context"
	"errors"
	"fmt"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// QueryEndpoint asks a client's endpoint what it can do (KMIP 1.4 section 5.3): with no functions, all that the endpoint's
// version has. The answer is the Response Payload as the endpoint gave it; nothing of it is believed or kept.
func (s *Store) QueryEndpoint(ctx context.Context, client string, functions []kmip.QueryFunction) (ttlv.Item, error) {
	return s.ask(ctx, client, kmip.OperationQuery, func(ver kmip.Version) ([]byte, error) {
		r := kmip.QueryRequest{QueryFunction: functions}
		for _, f := range functions {
			if !f.KnownIn(ver) {
				return nil, fmt.Errorf("KMIP %s, which the endpoint speaks, has no %s", ver, f)
			}
		}
		if len(functions) == 0 {
			r.QueryFunction = allFunctions(ver)
		}
		return r.Append(nil, kmip.TagRequestPayload, ver), nil
	})
}

// allFunctions are those that a version has, without the list of extensions, which their map holds.
func allFunctions(ver kmip.Version) []kmip.QueryFunction {
	var out []kmip.QueryFunction
	for _, name := range kmip.EnumNames("QueryFunction") {
		v, _ := kmip.EnumByName("QueryFunction", name)
		if f := kmip.QueryFunction(v); f.KnownIn(ver) && f != kmip.QueryFunctionQueryExtensionList {
			out = append(out, f)
		}
	}
	return out
}

// EndpointVersions asks a client's endpoint for all the protocol versions that it speaks (KMIP 1.4 section 5.4).
func (s *Store) EndpointVersions(ctx context.Context, client string) (ttlv.Item, error) {
	return s.ask(ctx, client, kmip.OperationDiscoverVersions, func(ver kmip.Version) ([]byte, error) {
		if ver.Before(kmip.V1_1) {
			return nil, fmt.Errorf("KMIP %s, which the endpoint speaks, has no Discover Versions", ver)
		}
		return (&kmip.DiscoverVersionsRequest{}).Append(nil, kmip.TagRequestPayload, ver), nil
	})
}

// ask sends one request to a client's endpoint now, past the queue: nobody waits for it but the administrator.
func (s *Store) ask(ctx context.Context, client string, op kmip.Operation, payload func(kmip.Version) ([]byte, error)) (ttlv.Item, error) {
	e, err := s.endpointOf(ctx, client)
	if err != nil {
		return ttlv.Item{}, err
	}
	if s.cfg.Courier == nil {
		return ttlv.Item{}, errors.New("only a running server sends messages: start it first")
	}
	b, err := payload(e.Version)
	if err != nil {
		return ttlv.Item{}, err
	}
	sending, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	answer, _, err := s.cfg.Courier.Carry(sending, *e, op, b)
	if err == nil && answer.Type != ttlv.Structure {
		err = fmt.Errorf("the endpoint answers %s without a payload", op)
	}
	asked := ofAdministrator("client ask", fact("request", op.String()))
	asked.Client = client
	if err != nil {
		asked, answer = failure(asked, err), ttlv.Item{}
	}
	return answer, errors.Join(err, s.Record(ctx, asked))
}

// endpointOf is the endpoint of a client; an error when it has none.
func (s *Store) endpointOf(ctx context.Context, client string) (*metadata.Endpoint, error) {
	c, err := s.meta.Client(ctx, client)
	switch {
	case isNotFound(err):
		return nil, fmt.Errorf("client %q does not exist", client)
	case err != nil:
		return nil, err
	case c.Endpoint == nil:
		return nil, fmt.Errorf("client %q has no endpoint", client)
	}
	return c.Endpoint, nil
}
