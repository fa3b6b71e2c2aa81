package keystore

import (
	"context"
	"errors"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// toKMIP is the one table from the errors of token and records to Result Reasons (KMIP 1.4 section 11). The message is
// fixed wording; the cause stays for the log.
func toKMIP(err error) error {
	if err == nil {
		return nil
	}
	var already *kmip.Error
	if errors.As(err, &already) {
		return err
	}
	var name *metadata.NameTakenError
	var token *hsm.Error
	switch {
	case errors.As(err, &name):
		return kmip.Errorf(kmip.ResultReasonInvalidField, "another object has this Name").Because(err)
	case errors.As(err, &token):
		return tokenError(token, err)
	case errors.Is(err, metadata.ErrNotFound):
		return kmip.Errorf(kmip.ResultReasonItemNotFound, "no object has this Unique Identifier").Because(err)
	case errors.Is(err, metadata.ErrConflict):
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the object was changed at the same time; try again").Because(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the operation did not end in time; try again").Because(err)
	}
	return kmip.Errorf(kmip.ResultReasonGeneralFailure, "internal error").Because(err)
}

func tokenError(token *hsm.Error, err error) error {
	switch token.Kind {
	case hsm.KindUnsupported:
		return kmip.Errorf(kmip.ResultReasonInvalidField, "the token does not support this algorithm, length or parameter").Because(err)
	case hsm.KindInvalidData:
		return kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the data does not fit the key or mechanism").Because(err)
	case hsm.KindInvalidKey:
		return kmip.Errorf(kmip.ResultReasonPermissionDenied, "the token does not allow this use of the key").Because(err)
	case hsm.KindNotExtractable:
		return kmip.Errorf(kmip.ResultReasonNotExtractable, "the key must not leave the token").Because(err)
	case hsm.KindNotFound:
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the object is missing on the token").Because(err)
	case hsm.KindUnavailable:
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the token is not available; try again").Because(err)
	case hsm.KindBlocked:
		return kmip.Errorf(kmip.ResultReasonCryptographicFailure, "this mechanism failed its self-test and is blocked until it passes one").Because(err)
	case hsm.KindErrorState, hsm.KindEntropy:
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the server is in the error state after a failed self-test; its operator must restart it, and the self-test must pass").Because(err)
	case hsm.KindInternal, hsm.KindExists: // the server's or the token's own fault
	case hsm.KindFull:
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the token has no room for another object").Because(err)
	}
	return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the token reported an error").Because(err)
}

// nameIllegal is the reason of attribute operations for a Name that is taken (KMIP 1.4 sections 11.15, 11.16).
func nameIllegal(err error) error {
	var name *metadata.NameTakenError
	if errors.As(err, &name) {
		return kmip.Errorf(kmip.ResultReasonIllegalOperation, "another object has this Name").Because(err)
	}
	return toKMIP(err)
}

// The refusals that several operations share.

func notFound() error {
	return kmip.Errorf(kmip.ResultReasonItemNotFound, "no object has this Unique Identifier")
}

func denied(format string, args ...any) error {
	return kmip.Errorf(kmip.ResultReasonPermissionDenied, format, args...)
}

func badField(format string, args ...any) error {
	return kmip.Errorf(kmip.ResultReasonInvalidField, format, args...)
}

func illegal(format string, args ...any) error {
	return kmip.Errorf(kmip.ResultReasonIllegalOperation, format, args...)
}
