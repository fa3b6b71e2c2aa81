package kmip

import (
	"errors"
	"fmt"
	"testing"
)

func TestError(t *testing.T) {
	cause := errors.New("cause")
	e := Errorf(ResultReasonInvalidField, "%s is %d", "Length", 3)
	if e.Error() != "Invalid Field: Length is 3" || e.Unwrap() != nil {
		t.Errorf("got %q", e)
	}
	with := e.Because(cause)
	if with == e || e.Unwrap() != nil {
		t.Error("Because changes the error that it is called on")
	}
	if !errors.Is(with, cause) || with.Message != e.Message || with.Error() != "Invalid Field: Length is 3: cause" {
		t.Errorf("got %q", with)
	}
	if ReasonOf(fmt.Errorf("layer: %w", with)) != ResultReasonInvalidField || ReasonOf(cause) != ResultReasonGeneralFailure {
		t.Error("ReasonOf")
	}
}
