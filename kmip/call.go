package kmip

import (
	"context"
	"time"
)

// Caller is who asks: a registered client (known by its TLS certificate) and, where the message header carries a
// credential, the user that it names within the client. Objects belong to a client; an object made by a user belongs to
// that user.
type Caller struct {
	Client string // "" for a connection whose certificate is not registered
	User   string // "" without credential
}

// Call is one batch item on its way through the server: everything about it that is not its payload. It lives until the
// item's answer is encoded.
type Call struct {
	Version Version   // of the request header
	Caller  Caller    //
	Now     time.Time // the one clock reading of the request, UTC
	Target  string    // Unique Identifier the item is about: explicit or from the ID Placeholder; "" when it has none
	Tx      Tx
	// Listener is the name of the listener that the request came in by, "" for the first one: listeners can have stricter
	// policies than the server.
	Listener string
	// Address is where the request came from, HOST:PORT, and Request its Server Correlation Value: for the audit trail. Both
	// are empty for what no request asked for.
	Address, Request string
}

// Tx is the undo log of one request message. Operations that change something record in it how to take the change back,
// keep the lock on what they changed, and leave to Commit what cannot be taken back (the end of a key on the token).
// A Tx belongs to one goroutine.
type Tx interface {
	// Mark is the current position in the log.
	Mark() int
	// Rollback takes back everything after the mark, newest first. When it returns nil nothing of it remains. The message
	// layer ends every Tx, a committed one too, with Rollback(ctx, 0): after that no lock is held, whatever it returns.
	Rollback(ctx context.Context, mark int) error
	// Commit makes all changes final and releases the locks. After it the log is empty and can be used again. Every
	// change is durable on token and disk when it returns nil. After an error they may or may not be in effect, and the
	// client is told so.
	Commit(ctx context.Context) error
}

// Outcome is what an operation tells the message layer besides its response payload.
type Outcome struct {
	// Placeholder is the new ID Placeholder when SetPlaceholder is true; "" empties it.
	Placeholder    string
	SetPlaceholder bool
}

// ServerDescription is what Query reports beyond the operations, which the dispatch table knows. All of it is computed
// from the live server and token.
type ServerDescription struct {
	ObjectTypes         []ObjectType
	Vendor              string
	ServerInformation   []ServerField
	Namespaces          []string
	Extensions          []ExtensionInformation
	RNGs                []RNGParameters
	Profiles            []ProfileInformation
	Validations         []ValidationInformation
	Capabilities        []CapabilityInformation
	RegistrationMethods []ClientRegistrationMethod
	Certifies           bool // an authority can sign certificates now
	// Unavailable are operations that no mechanism is left for; OnlyQuery tells that in its error state the server answers
	// Query and Discover Versions alone.
	Unavailable  []Operation
	OnlyQuery    bool
	Asynchronous bool // set by the message layer, which does the asynchronous work
}

// ServerField is one text field of the vendor-specific Server Information structure.
type ServerField struct {
	Tag   uint32 // extension tag, 54xxxx
	Value string
}
