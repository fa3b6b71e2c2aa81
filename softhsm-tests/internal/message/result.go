package message

import (
	"errors"
	"fmt"
	"time"
)

// Result is a batch item of an answer.
type Result struct {
	Status, Reason uint32
	Message        string
	Payload        *Node
}

// Failure is the error of a batch item that the server refused.
type Failure struct {
	Reason  uint32
	Message string
}

// Error shows reason and message.
func (f *Failure) Error() string {
	return fmt.Sprintf("result reason 0x%02X: %s", f.Reason, f.Message)
}

// ReasonOf is the Result Reason of a refused item, or 0 for every other error.
func ReasonOf(err error) uint32 {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Reason
	}
	return 0
}

// Results takes an answer apart.
func Results(answer *Node) ([]Result, error) {
	if answer.Tag != tagResponseMessage {
		return nil, fmt.Errorf("the answer is tag 0x%06X, want a Response Message", answer.Tag)
	}
	var out []Result
	for _, item := range answer.All(tagBatchItem) {
		out = append(out, Result{
			Status: item.Child(tagResultStatus).Enum(), Reason: item.Child(tagResultReason).Enum(),
			Message: item.Child(tagResultMessage).Text(), Payload: item.Child(tagResponsePayload),
		})
	}
	if len(out) == 0 {
		return nil, errors.New("the answer has no batch item")
	}
	return out, nil
}

// Err is nil for Success and a *Failure otherwise.
func (r Result) Err() error {
	if r.Status == statusSuccess {
		return nil
	}
	return &Failure{r.Reason, r.Message}
}

// Identifier is the Unique Identifier of the payload.
func (r Result) Identifier() string { return r.Payload.Child(tagUniqueIdentifier).Text() }

// Identifiers are all Unique Identifiers, as Locate gives them.
func (r Result) Identifiers() []string {
	var out []string
	for _, n := range r.Payload.All(tagUniqueIdentifier) {
		out = append(out, n.Text())
	}
	return out
}

// PairIdentifiers are those of a created key pair.
func (r Result) PairIdentifiers() (private, public string) {
	return r.Payload.Child(tagPrivateKeyID).Text(), r.Payload.Child(tagPublicKeyID).Text()
}

// Material is the key material of a symmetric key, nil when there is none.
func (r Result) Material() []byte {
	return r.Payload.Find(tagSymmetricKey, tagKeyBlock, tagKeyValue, tagKeyMaterial).Bytes()
}

// Attributes are the values by name; of several with one name the last.
func (r Result) Attributes() map[string]*Node {
	out := map[string]*Node{}
	for _, n := range r.Payload.All(tagAttribute) {
		out[n.Child(tagAttributeName).Text()] = n.Child(tagAttributeValue)
	}
	return out
}

// State is the value of the attribute State, or 0.
func (r Result) State() uint32 { return r.Attributes()["State"].Enum() }

// Exchanger sends a message and gives the answer; a harness connection is one.
type Exchanger interface {
	Exchange(*Node) (*Node, error)
}

// Do sends one item and returns its result. The error is a *Failure when the server refused it, and another one when
// the exchange itself failed.
func Do(c Exchanger, item Item) (Result, error) {
	answer, err := c.Exchange(Request(item))
	if err != nil {
		return Result{}, err
	}
	results, err := Results(answer)
	if err != nil {
		return Result{}, err
	}
	return results[0], results[0].Err()
}

// Clean destroys every object that the connection can see. Objects that resist are left.
func Clean(c Exchanger) error {
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		found, err := Do(c, LocateAll(1000))
		if err != nil {
			return err
		}
		gone := 0
		for _, uid := range found.Identifiers() {
			if _, err := Do(c, Destroy(uid)); err == nil {
				gone++
				continue
			}
			Do(c, Revoke(uid, true)) // an Active object must be revoked first
			if _, err := Do(c, Destroy(uid)); err == nil {
				gone++
			}
		}
		if gone == 0 {
			return nil
		}
	}
	return errors.New("objects keep appearing")
}

// LinkedIdentifier is the Linked Object Identifier in the value of a Link, or "".
func LinkedIdentifier(link *Node) string { return link.Child(tagLinkedObjectID).Text() }
