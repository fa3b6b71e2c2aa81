package server

import (
	"context"
	"crypto/tls"
	"net"

	"kmipd/kmip"
)

// Keystore is what the message layer needs of the rules behind it. Every method gets a decoded payload and returns a
// payload or an error that is, or wraps, a *kmip.Error. Request payloads share the memory of the message: an
// implementation keeps nothing of them. What a method acknowledges is durable once call.Tx is committed.
type Keystore interface {
	// Begin starts the undo log of one request message. undo tells that the batch wants Undo: changes are then kept
	// revocable until Commit at the end of the batch instead of after each item.
	Begin(undo bool) kmip.Tx

	// Authorize decides whether the caller may ask for the operation on the target at all ("" without target). It is
	// the one place where rights are checked. Another client's object is Item Not Found.
	Authorize(ctx context.Context, call *kmip.Call, op kmip.Operation) error

	Create(ctx context.Context, call *kmip.Call, req *kmip.CreateRequest) (*kmip.CreateResponse, error)
	CreateKeyPair(ctx context.Context, call *kmip.Call, req *kmip.CreateKeyPairRequest) (*kmip.CreateKeyPairResponse, error)
	ReKey(ctx context.Context, call *kmip.Call, req *kmip.ReKeyRequest) (*kmip.ReKeyResponse, error)
	ReKeyKeyPair(ctx context.Context, call *kmip.Call, req *kmip.ReKeyKeyPairRequest) (*kmip.ReKeyKeyPairResponse, error)
	Register(ctx context.Context, call *kmip.Call, req *kmip.RegisterRequest) (*kmip.RegisterResponse, error)
	// Certify without a target registers the public key of its certificate request.
	Certify(ctx context.Context, call *kmip.Call, req *kmip.CertifyRequest) (*kmip.CertifyResponse, error)
	ReCertify(ctx context.Context, call *kmip.Call, req *kmip.ReCertifyRequest) (*kmip.ReCertifyResponse, error)
	// Validate checks the caller's rights on the certificates that the request names.
	Validate(ctx context.Context, call *kmip.Call, req *kmip.ValidateRequest) (*kmip.ValidateResponse, error)
	Locate(ctx context.Context, call *kmip.Call, req *kmip.LocateRequest) (*kmip.LocateResponse, error)
	// Check returns a response and no error when the object may be used so; both when it may not (the response then
	// holds the values that were refused and no Unique Identifier).
	Check(ctx context.Context, call *kmip.Call, req *kmip.CheckRequest) (*kmip.CheckResponse, error)
	// Get's response holds plain key bytes unless wrapped. It belongs to the message layer, which wipes the Key Value and
	// Opaque Data Value in it (not those of public keys and certificates) and the buffers that it encodes them to.
	Get(ctx context.Context, call *kmip.Call, req *kmip.GetRequest) (*kmip.GetResponse, error)
	GetAttributes(ctx context.Context, call *kmip.Call, req *kmip.GetAttributesRequest) (*kmip.GetAttributesResponse, error)
	GetAttributeList(ctx context.Context, call *kmip.Call, req *kmip.GetAttributeListRequest) (*kmip.GetAttributeListResponse, error)
	AddAttribute(ctx context.Context, call *kmip.Call, req *kmip.AddAttributeRequest) (*kmip.AddAttributeResponse, error)
	ModifyAttribute(ctx context.Context, call *kmip.Call, req *kmip.ModifyAttributeRequest) (*kmip.ModifyAttributeResponse, error)
	DeleteAttribute(ctx context.Context, call *kmip.Call, req *kmip.DeleteAttributeRequest) (*kmip.DeleteAttributeResponse, error)
	ObtainLease(ctx context.Context, call *kmip.Call, req *kmip.ObtainLeaseRequest) (*kmip.ObtainLeaseResponse, error)
	GetUsageAllocation(ctx context.Context, call *kmip.Call, req *kmip.GetUsageAllocationRequest) (*kmip.GetUsageAllocationResponse, error)
	Activate(ctx context.Context, call *kmip.Call, req *kmip.ActivateRequest) (*kmip.ActivateResponse, error)
	Revoke(ctx context.Context, call *kmip.Call, req *kmip.RevokeRequest) (*kmip.RevokeResponse, error)
	Destroy(ctx context.Context, call *kmip.Call, req *kmip.DestroyRequest) (*kmip.DestroyResponse, error)
	Archive(ctx context.Context, call *kmip.Call, req *kmip.ArchiveRequest) (*kmip.ArchiveResponse, error)
	Recover(ctx context.Context, call *kmip.Call, req *kmip.RecoverRequest) (*kmip.RecoverResponse, error)

	// The cryptographic services. A Correlation Value in a response names the operation in parts that goes on, to the same
	// caller, operation and target alone. The plaintext in Decrypt's response and the octets in RNGRetrieve's belong to
	// the message layer, which wipes them.
	Encrypt(ctx context.Context, call *kmip.Call, req *kmip.EncryptRequest) (*kmip.EncryptResponse, error)
	Decrypt(ctx context.Context, call *kmip.Call, req *kmip.DecryptRequest) (*kmip.DecryptResponse, error)
	Sign(ctx context.Context, call *kmip.Call, req *kmip.SignRequest) (*kmip.SignResponse, error)
	SignatureVerify(ctx context.Context, call *kmip.Call, req *kmip.SignatureVerifyRequest) (*kmip.SignatureVerifyResponse, error)
	MAC(ctx context.Context, call *kmip.Call, req *kmip.MACRequest) (*kmip.MACResponse, error)
	MACVerify(ctx context.Context, call *kmip.Call, req *kmip.MACVerifyRequest) (*kmip.MACVerifyResponse, error)
	RNGRetrieve(ctx context.Context, call *kmip.Call, req *kmip.RNGRetrieveRequest) (*kmip.RNGRetrieveResponse, error)
	RNGSeed(ctx context.Context, call *kmip.Call, req *kmip.RNGSeedRequest) (*kmip.RNGSeedResponse, error)
	Hash(ctx context.Context, call *kmip.Call, req *kmip.HashRequest) (*kmip.HashResponse, error)

	// Export's response is as Get's: the message layer wipes it. Of a destroyed object it holds attributes alone.
	Export(ctx context.Context, call *kmip.Call, req *kmip.ExportRequest) (*kmip.ExportResponse, error)
	// Import has no target. Another client's object under the identifier is not told from an identifier that cannot be used.
	Import(ctx context.Context, call *kmip.Call, req *kmip.ImportRequest) (*kmip.ImportResponse, error)

	// DeriveKey, CreateSplitKey and JoinSplitKey look at the objects that the request names themselves: the call has no target.
	DeriveKey(ctx context.Context, call *kmip.Call, req *kmip.DeriveKeyRequest) (*kmip.DeriveKeyResponse, error)
	CreateSplitKey(ctx context.Context, call *kmip.Call, req *kmip.CreateSplitKeyRequest) (*kmip.CreateSplitKeyResponse, error)
	JoinSplitKey(ctx context.Context, call *kmip.Call, req *kmip.JoinSplitKeyRequest) (*kmip.JoinSplitKeyResponse, error)

	// Describe answers Query, as far as the version has the facts. The caller may be unregistered. Profiles and policy are those of the listener and the caller's group.
	Describe(ctx context.Context, call *kmip.Call) (kmip.ServerDescription, error)
}

// Auditor keeps the audit trail. Its methods are safe for concurrent use.
type Auditor interface {
	// AuditItem records an item, unless the change that it made is recorded already. A success is given to the client only
	// when it is recorded: after an error the item fails. When key material is released it returns once the record is on disk.
	AuditItem(ctx context.Context, item *kmip.AuditItem) error
	// AuditConnection records a connection that came to nothing. It does not wait.
	AuditConnection(c kmip.AuditConnection)
}

// Authenticator turns certificates and credentials into callers. It is consulted at the handshake and again for each
// request, so that a client that is removed or whose certificate expires is out at its next request.
type Authenticator interface {
	// Certificate identifies the client of a connection whose TLS handshake is complete. A valid certificate that no
	// client is registered with gives the zero Caller and no error: the implementation notes it as pending, and the
	// message layer then allows Query and Discover Versions only (Permission Denied for the rest).
	Certificate(ctx context.Context, state *tls.ConnectionState, remote net.Addr) (kmip.Caller, error)
	// Credentials checks the header's Authentication (1.0 has one credential, 1.2 several) for a registered client and
	// returns the caller with its user. What does not validate is Authentication Not Successful.
	Credentials(ctx context.Context, caller kmip.Caller, auth *kmip.Authentication) (kmip.Caller, error)
}
