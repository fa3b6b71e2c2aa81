package metadata

import (
	"time"

	"kmipd/kmip"
)

// JobState is how far a job has come.
type JobState uint8

// The states of a job. Running is none of them: until the change of a job is committed it is as if it had not begun.
const (
	JobWaiting  JobState = iota + 1 // for an administrator's decision
	JobQueued                       // for its turn, or for the poll that does it
	JobDone                         // Response has the answer
	JobFailed                       // Reason and Message have the answer
	JobCanceled                     // by the client
)

func (s JobState) String() string {
	switch s {
	case JobWaiting:
		return "waiting for approval"
	case JobQueued:
		return "queued"
	case JobDone:
		return "done"
	case JobFailed:
		return "failed"
	case JobCanceled:
		return "canceled"
	}
	return "unknown"
}

// Job is an asynchronous request: what was asked, and what became of it. It never holds key bytes: operations whose
// request or answer has any are not asynchronous.
type Job struct {
	ID        string            `json:"id"` // the Asynchronous Correlation Value in hexadecimal
	Client    string            `json:"client"`
	User      string            `json:"user,omitempty"`
	Listener  string            `json:"listener,omitempty"` // by which the request came in
	Operation kmip.Operation    `json:"operation"`
	Version   kmip.Version      `json:"version"`          // of the request
	Target    string            `json:"target,omitempty"` // Unique Identifier that the request is about
	Payload   []byte            `json:"payload"`          // the Request Payload, TTLV
	State     JobState          `json:"state"`
	Lazy      bool              `json:"lazy,omitempty"`     // done by the first poll
	Response  []byte            `json:"response,omitempty"` // the Response Payload, TTLV in Version
	Reason    kmip.ResultReason `json:"reason,omitempty"`
	Message   string            `json:"message,omitempty"` // for the client
	Accepted  time.Time         `json:"accepted"`
	Expires   time.Time         `json:"expires"` // when it is forgotten
}

// Over tells that nothing more will happen to the job.
func (s JobState) Over() bool { return s == JobDone || s == JobFailed || s == JobCanceled }
