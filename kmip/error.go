package kmip

import (
	"errors"
	"fmt"

	"kmipd/kmip/ttlv"
)

// Error is a failure as a KMIP client sees it. Message is fixed wording with field names and limits only: never a path,
// a label, a PIN, token text or key bytes. The cause is for the log.
type Error struct {
	Reason  ResultReason
	Message string
	cause   error
}

// Errorf makes an Error. The arguments must be fit for a client to read.
func Errorf(reason ResultReason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Because gives the error a cause, for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Reason, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Reason, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf is the Result Reason of an error, General Failure when it is no *Error.
func ReasonOf(err error) ResultReason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ResultReasonGeneralFailure
}

// The errors of decoding, by KMIP 1.4 section 11.1: an unknown field is Invalid Field; a missing, repeated or wrongly
// typed one is Invalid Message.

func missing(tag ttlv.Tag, in string) error {
	return Errorf(ResultReasonInvalidMessage, "%s is missing from %s", NameOfTag(tag), in)
}

func repeated(tag ttlv.Tag, in string) error {
	return Errorf(ResultReasonInvalidMessage, "%s stands more than once in %s", NameOfTag(tag), in)
}

func wrongType(it ttlv.Item, in string) error {
	return Errorf(ResultReasonInvalidMessage, "%s in %s must not be of type %s", NameOfTag(it.Tag), in, it.Type)
}

func unknownField(tag ttlv.Tag, in string) error {
	return Errorf(ResultReasonInvalidField, "%s is not a field of %s", NameOfTag(tag), in)
}
