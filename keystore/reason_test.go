package keystore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// Every kind of token error has a Result Reason, pinned here. A kind that is new fails until it has a row.
func TestReasonsOfTokenErrors(t *testing.T) {
	want := map[hsm.Kind]kmip.ResultReason{
		hsm.KindInternal:       kmip.ResultReasonGeneralFailure,
		hsm.KindUnavailable:    kmip.ResultReasonGeneralFailure,
		hsm.KindNotFound:       kmip.ResultReasonGeneralFailure,
		hsm.KindExists:         kmip.ResultReasonGeneralFailure,
		hsm.KindNotExtractable: kmip.ResultReasonNotExtractable,
		hsm.KindUnsupported:    kmip.ResultReasonInvalidField,
		hsm.KindInvalidData:    kmip.ResultReasonCryptographicFailure,
		hsm.KindInvalidKey:     kmip.ResultReasonPermissionDenied,
		hsm.KindFull:           kmip.ResultReasonGeneralFailure,
	}
	const last = hsm.KindFull
	for k := hsm.Kind(1); k <= last; k++ {
		if _, ok := want[k]; !ok {
			t.Errorf("kind %d has no row in this table", k)
		}
	}
	for kind, reason := range want {
		cause := fmt.Errorf("somewhere: %w", &hsm.Error{Kind: kind, Call: "C_Secret", Code: 7, Text: "token words"})
		err := toKMIP(cause)
		wantReason(t, fmt.Sprintf("kind %d", kind), err, reason)
		var ke *kmip.Error
		if !errors.As(err, &ke) {
			t.Fatalf("kind %d: got %T, want *kmip.Error", kind, err)
		}
		if strings.Contains(ke.Message, "C_Secret") || strings.Contains(ke.Message, "token words") {
			t.Errorf("kind %d: the message %q has words of the token", kind, ke.Message)
		}
		if !errors.Is(err, cause) {
			t.Errorf("kind %d: the cause is lost", kind)
		}
	}
}

func TestReasonsOfRecordErrors(t *testing.T) {
	for _, c := range []struct {
		name      string
		err       error
		want      kmip.ResultReason
		attribute kmip.ResultReason // in Add and Modify Attribute
	}{
		{"not found", metadata.ErrNotFound, kmip.ResultReasonItemNotFound, kmip.ResultReasonItemNotFound},
		{"conflict", metadata.ErrConflict, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"exists", metadata.ErrExists, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"corrupt", metadata.ErrCorrupt, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"corrupt records", &metadata.CorruptError{UIDs: []string{"secret-uid"}}, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"format", metadata.ErrFormat, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"locked", metadata.ErrLocked, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"closed", metadata.ErrClosed, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"failed", metadata.ErrFailed, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"name taken", &metadata.NameTakenError{Owner: "o", Name: "secret-name", UID: "secret-uid"}, kmip.ResultReasonInvalidField, kmip.ResultReasonIllegalOperation},
		{"deadline", context.DeadlineExceeded, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"canceled", context.Canceled, kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
		{"unknown", errors.New("/var/lib/secret-path"), kmip.ResultReasonGeneralFailure, kmip.ResultReasonGeneralFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, table := range []struct {
				name string
				f    func(error) error
				want kmip.ResultReason
			}{{"toKMIP", toKMIP, c.want}, {"nameIllegal", nameIllegal, c.attribute}} {
				err := table.f(fmt.Errorf("metadata: doing: %w", c.err))
				wantReason(t, table.name, err, table.want)
				var ke *kmip.Error
				if !errors.As(err, &ke) {
					t.Fatalf("%s: got %T, want *kmip.Error", table.name, err)
				}
				if strings.Contains(ke.Message, "secret") {
					t.Errorf("%s: the message %q tells what is not the client's", table.name, ke.Message)
				}
			}
		})
	}
	if err := toKMIP(nil); err != nil {
		t.Errorf("toKMIP(nil): got %v, want nil", err)
	}
	mine := kmip.Errorf(kmip.ResultReasonInvalidField, "mine")
	if err := toKMIP(mine); err != error(mine) {
		t.Errorf("toKMIP of a *kmip.Error: got %v, want it as it is", err)
	}
	// While an object is made, a fault of the token is a Cryptographic Failure (KMIP 1.4 section 11.2).
	wantReason(t, "creation", creationError(hsm.ErrInternal), kmip.ResultReasonCryptographicFailure)
	wantReason(t, "creation, unsupported", creationError(hsm.ErrUnsupported), kmip.ResultReasonInvalidField)
}
