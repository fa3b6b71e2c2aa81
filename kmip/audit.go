package kmip

// AuditItem is an item of a request message, or a message that could not be read, as the audit trail needs it.
type AuditItem struct {
	Call      *Call     // Caller may be zero, Tx nil
	Operation Operation // 0 for a message that could not be read
	Target    string    // Unique Identifier that the item was about, made or found; ""
	Pending   []byte    // Asynchronous Correlation Value of an item that goes on without the client
	Err       error     // why the item failed, nil after a success
}

// AuditConnection is a connection that came to nothing.
type AuditConnection struct {
	Address  string // HOST:PORT of the peer
	Listener string
	Err      error
}
