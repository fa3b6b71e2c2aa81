package kmip

// Job is an asynchronous request on its way through the server (KMIP 1.4 sections 6.7, 6.8, 4.27 and 4.28).
type Job struct {
	ID        []byte // the Asynchronous Correlation Value
	Caller    Caller
	Listener  string  // by which the request came in; the work is done under its policy
	Version   Version // of the request
	Operation Operation
	Target    string // Unique Identifier that the request is about, resolved; "" when it has none
	Payload   []byte // the encoded Request Payload
	// Lazy says that the work is done by the first Poll: it costs less than keeping track of it.
	Lazy  bool
	State JobState
	// The answer: Response, an encoded Response Payload in Version, when the job is done, Failure when it failed.
	Response []byte
	Failure  *Error
}

// JobState is what a Poll finds.
type JobState uint8

// The states of a job as a Poll sees them.
const (
	JobPending  JobState = iota
	JobYours             // a lazy job: the caller is to do the work now, and to finish the job
	JobDone              // Response is the answer
	JobFailed            // Failure is the answer
	JobCanceled          // by Cancel
)
