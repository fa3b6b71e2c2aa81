package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"sync"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// fakeKeys is a keystore in memory: enough state to see what was done, undone and made final.
type fakeKeys struct {
	mu       sync.Mutex
	objects  map[string]string // identifier -> state
	next     int
	located  []string
	material []byte
	asked    []kmip.Operation // of Authorize
	targets  []string

	hook      func(ctx context.Context, op kmip.Operation, call *kmip.Call) error // runs in each operation
	authorize func(call *kmip.Call, op kmip.Operation) error
	describe  kmip.ServerDescription

	begun, commits, rollbacks, ended int
	commitErr, rollbackErr           error
}

func newFakeKeys() *fakeKeys {
	return &fakeKeys{objects: map[string]string{}, material: []byte("0123456789abcdef0123456789abcdef"), describe: kmip.ServerDescription{
		ObjectTypes: []kmip.ObjectType{kmip.ObjectTypeCertificate, kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePublicKey,
			kmip.ObjectTypePrivateKey, kmip.ObjectTypeTemplate, kmip.ObjectTypeSecretData, kmip.ObjectTypeOpaqueObject, kmip.ObjectTypePGPKey},
		Vendor:            "kmipd test",
		ServerInformation: []kmip.ServerField{{Tag: 0x540001, Value: "kmipd"}, {Tag: 0x540002, Value: "none"}},
		Certifies:         true,
		Namespaces:        []string{"LIBRARY-LTO"},
		Extensions:        []kmip.ExtensionInformation{{ExtensionName: "Product", ExtensionTag: ptr(int32(0x540001)), ExtensionType: ptr(int32(7))}},
		Profiles:          []kmip.ProfileInformation{{ProfileName: kmip.ProfileName(0x79)}},
		Capabilities:      []kmip.CapabilityInformation{{BatchUndoCapability: ptr(true), BatchContinueCapability: ptr(true)}},
	}}
}

func ptr[T any](v T) *T { return &v }

type fakeTx struct {
	keys *fakeKeys
	undo bool
	log  []func()
}

func (k *fakeKeys) Begin(undo bool) kmip.Tx {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun++
	return &fakeTx{keys: k, undo: undo}
}

func (t *fakeTx) Mark() int { return len(t.log) }

func (t *fakeTx) Rollback(_ context.Context, mark int) error {
	t.keys.mu.Lock()
	defer t.keys.mu.Unlock()
	if mark == 0 {
		t.keys.ended++
	}
	if len(t.log) == mark {
		return nil
	}
	t.keys.rollbacks++
	if err := t.keys.rollbackErr; err != nil {
		t.log = t.log[:mark]
		return err
	}
	for i := len(t.log) - 1; i >= mark; i-- {
		t.log[i]()
	}
	t.log = t.log[:mark]
	return nil
}

func (t *fakeTx) Commit(context.Context) error {
	t.keys.mu.Lock()
	defer t.keys.mu.Unlock()
	t.keys.commits++
	if t.keys.commitErr != nil {
		return t.keys.commitErr
	}
	t.log = nil
	return nil
}

// set changes an object's state under the undo log.
func (k *fakeKeys) set(call *kmip.Call, id, state string) {
	old, had := k.objects[id]
	k.objects[id] = state
	tx := call.Tx.(*fakeTx)
	tx.log = append(tx.log, func() {
		if had {
			k.objects[id] = old
		} else {
			delete(k.objects, id)
		}
	})
}

func (k *fakeKeys) state() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.objects)
}

func (k *fakeKeys) Authorize(_ context.Context, call *kmip.Call, op kmip.Operation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, op)
	k.targets = append(k.targets, call.Target)
	if k.authorize != nil {
		return k.authorize(call, op)
	}
	return nil
}

// enter runs the hook and locks; with a target it wants the object.
func (k *fakeKeys) enter(ctx context.Context, call *kmip.Call, op kmip.Operation) error {
	if k.hook != nil {
		if err := k.hook(ctx, op, call); err != nil {
			return err
		}
	}
	k.mu.Lock()
	if call.Target != "" {
		if _, ok := k.objects[call.Target]; !ok {
			k.mu.Unlock()
			return kmip.Errorf(kmip.ResultReasonItemNotFound, "no such object")
		}
	}
	return nil
}

func (k *fakeKeys) create(call *kmip.Call, prefix string) string {
	k.next++
	id := fmt.Sprintf("%s-%d", prefix, k.next)
	k.set(call, id, "Pre-Active")
	return id
}

func (k *fakeKeys) Create(ctx context.Context, call *kmip.Call, req *kmip.CreateRequest) (*kmip.CreateResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationCreate); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.CreateResponse{ObjectType: req.ObjectType, UniqueIdentifier: k.create(call, "key")}, nil
}

func (k *fakeKeys) CreateKeyPair(ctx context.Context, call *kmip.Call, _ *kmip.CreateKeyPairRequest) (*kmip.CreateKeyPairResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationCreateKeyPair); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.CreateKeyPairResponse{PrivateKeyUniqueIdentifier: k.create(call, "priv"), PublicKeyUniqueIdentifier: k.create(call, "pub")}, nil
}

func (k *fakeKeys) Register(ctx context.Context, call *kmip.Call, _ *kmip.RegisterRequest) (*kmip.RegisterResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationRegister); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.RegisterResponse{UniqueIdentifier: k.create(call, "reg")}, nil
}

func (k *fakeKeys) Locate(ctx context.Context, call *kmip.Call, _ *kmip.LocateRequest) (*kmip.LocateResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationLocate); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.LocateResponse{LocatedItems: ptr(int32(len(k.located))), UniqueIdentifier: k.located}, nil
}

func (k *fakeKeys) Check(ctx context.Context, call *kmip.Call, req *kmip.CheckRequest) (*kmip.CheckResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationCheck); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	if req.CryptographicUsageMask != nil {
		return &kmip.CheckResponse{UniqueIdentifier: &call.Target, CryptographicUsageMask: req.CryptographicUsageMask},
			kmip.Errorf(kmip.ResultReasonPermissionDenied, "usage is not allowed")
	}
	return &kmip.CheckResponse{UniqueIdentifier: &call.Target}, nil
}

func (k *fakeKeys) Get(ctx context.Context, call *kmip.Call, _ *kmip.GetRequest) (*kmip.GetResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationGet); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	kv := kmip.KeyValue{KeyMaterial: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, k.material))}
	return &kmip.GetResponse{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: call.Target,
		SymmetricKey: &kmip.SymmetricKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw,
			KeyValue:               ttlv.Make(kv.Append(nil, kmip.TagKeyValue, call.Version)),
			CryptographicAlgorithm: kmip.CryptographicAlgorithmAES, CryptographicLength: ptr(int32(256))}}}, nil
}

func (k *fakeKeys) GetAttributes(ctx context.Context, call *kmip.Call, _ *kmip.GetAttributesRequest) (*kmip.GetAttributesResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationGetAttributes); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.GetAttributesResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) GetAttributeList(ctx context.Context, call *kmip.Call, _ *kmip.GetAttributeListRequest) (*kmip.GetAttributeListResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationGetAttributeList); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.GetAttributeListResponse{UniqueIdentifier: call.Target, AttributeName: []string{"State"}}, nil
}

func (k *fakeKeys) AddAttribute(ctx context.Context, call *kmip.Call, req *kmip.AddAttributeRequest) (*kmip.AddAttributeResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationAddAttribute); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.AddAttributeResponse{UniqueIdentifier: call.Target, Attribute: req.Attribute}, nil
}

func (k *fakeKeys) ModifyAttribute(ctx context.Context, call *kmip.Call, req *kmip.ModifyAttributeRequest) (*kmip.ModifyAttributeResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationModifyAttribute); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.ModifyAttributeResponse{UniqueIdentifier: call.Target, Attribute: req.Attribute}, nil
}

func (k *fakeKeys) DeleteAttribute(ctx context.Context, call *kmip.Call, req *kmip.DeleteAttributeRequest) (*kmip.DeleteAttributeResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationDeleteAttribute); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.DeleteAttributeResponse{UniqueIdentifier: call.Target, Attribute: kmip.Attribute{AttributeName: req.AttributeName}}, nil
}

func (k *fakeKeys) Activate(ctx context.Context, call *kmip.Call, _ *kmip.ActivateRequest) (*kmip.ActivateResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationActivate); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, call.Target, "Active")
	return &kmip.ActivateResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Revoke(ctx context.Context, call *kmip.Call, _ *kmip.RevokeRequest) (*kmip.RevokeResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationRevoke); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, call.Target, "Deactivated")
	return &kmip.RevokeResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Destroy(ctx context.Context, call *kmip.Call, _ *kmip.DestroyRequest) (*kmip.DestroyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationDestroy); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, call.Target, "Destroyed")
	return &kmip.DestroyResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Describe(context.Context, *kmip.Call) (kmip.ServerDescription, error) {
	return k.describe, nil
}

// fakeAuth knows clients by the common name of their certificate. What a test does to it counts at the next request.
type fakeAuth struct {
	mu      sync.Mutex
	clients map[string]bool
	err     error
	asked   int
}

func (a *fakeAuth) Certificate(_ context.Context, state *tls.ConnectionState, _ net.Addr) (kmip.Caller, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.err != nil {
		return kmip.Caller{}, a.err
	}
	if name := state.PeerCertificates[0].Subject.CommonName; a.clients[name] {
		return kmip.Caller{Client: name}, nil
	}
	return kmip.Caller{}, nil
}

func (a *fakeAuth) Credentials(_ context.Context, caller kmip.Caller, auth *kmip.Authentication) (kmip.Caller, error) {
	for _, c := range auth.Credential {
		var u kmip.UsernameAndPassword
		if c.CredentialType != kmip.CredentialTypeUsernameAndPassword || u.Decode(c.CredentialValue) != nil {
			continue
		}
		if u.Username == "alice" && u.Password != nil && *u.Password == "secret" {
			caller.User = u.Username
			return caller, nil
		}
	}
	return kmip.Caller{}, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the credential does not validate")
}

func (a *fakeAuth) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.clients, name)
}
