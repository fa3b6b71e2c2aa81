package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/text"
	"kmipd/kmip/ttlv"
)

// This file is the only writer of response messages: header, Result Status, Result Reason and Result Message. Whether
// something can leak to a client is decided here.

// payload is an encodable response payload.
type payload interface {
	Append(b []byte, tag ttlv.Tag, ver kmip.Version) []byte
}

// Failures of the message layer itself.
var (
	errPanic       = kmip.Errorf(kmip.ResultReasonGeneralFailure, "internal failure")
	errTooLarge    = kmip.Errorf(kmip.ResultReasonResponseTooLarge, "the response would exceed Maximum Response Size")
	errServerLimit = kmip.Errorf(kmip.ResultReasonResponseTooLarge, "the response would exceed the server's limit")
	errUndoFailed  = kmip.Errorf(kmip.ResultReasonGeneralFailure, "could not be undone and may still be in effect")
)

const (
	maxMessage    = 512            // octets of a Result Message
	countSize     = 16             // of Batch Count, the last member of the header
	enumSize      = 16             // of an encoded Enumeration
	minFailedItem = 8 + 2*enumSize // a Batch Item with Result Status and Result Reason
)

// beginResponse appends the start of a response message: everything before the first item.
func beginResponse(out *buffer, ver kmip.Version, now time.Time, corr string) {
	h := kmip.ResponseHeader{
		ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: ver.Major, ProtocolVersionMinor: ver.Minor},
		TimeStamp:       now,
	}
	if corr != "" {
		h.ServerCorrelationValue = &corr // Append leaves it out before 1.4
	}
	b, _ := ttlv.Begin(out.b, kmip.TagResponseMessage)
	out.set(h.Append(b, kmip.TagResponseHeader, ver))
}

// endResponse writes what is known at the end only: Batch Count and the length of the message.
func endResponse(out *buffer, itemsAt, items int) {
	binary.BigEndian.PutUint32(out.b[itemsAt-countSize+ttlv.HeaderSize:], uint32(items))
	out.b = ttlv.End(out.b, ttlv.HeaderSize)
}

// answerOne appends a whole response with one failed item without Operation, for a message that could not be read as
// such (KMIP 1.4 section 11.1).
func (s *Server) answerOne(out *buffer, ver kmip.Version, now time.Time, corr string, err error) {
	beginResponse(out, ver, now, "")
	at := len(out.b)
	appendFailure(out, itemID{}, ver, corr, err, nil, s.cfg.MaxResponseSize)
	endResponse(out, at, 1)
	reason, _ := explain(err, ver, corr)
	s.counters.item(0, reason)
}

// itemID is what an answer repeats of its request.
type itemID struct {
	op kmip.Operation // 0 when the request has none
	id []byte         // nil when the request has none: then the answer must not have one either
}

func (i itemID) append(b []byte) []byte {
	if i.op != 0 {
		b = ttlv.AppendEnum(b, kmip.TagOperation, uint32(i.op))
	}
	if i.id != nil {
		b = ttlv.AppendBytes(b, kmip.TagUniqueBatchItemID, i.id)
	}
	return b
}

// size is the size of the smallest failed item.
func (i itemID) size() int {
	n := minFailedItem
	if i.op != 0 {
		n += enumSize
	}
	if i.id != nil {
		n += ttlv.HeaderSize + (len(i.id)+7)&^7
	}
	return n
}

func appendSuccess(out *buffer, id itemID, ver kmip.Version, p payload) {
	out.grow(id.size() + payloadSize(p))
	b, mark := ttlv.Begin(out.b, kmip.TagBatchItem)
	b = id.append(b)
	b = ttlv.AppendEnum(b, kmip.TagResultStatus, uint32(kmip.ResultStatusSuccess))
	b = p.Append(b, kmip.TagResponsePayload, ver)
	out.set(ttlv.End(b, mark))
}

// appendFailure appends a failed item; p is the payload that a failed Check returns, or nil. The Result Message, which
// is optional, is left out where it does not fit the limit.
func appendFailure(out *buffer, id itemID, ver kmip.Version, corr string, err error, p payload, limit int) {
	reason, text := explain(err, ver, corr)
	out.grow(id.size() + maxMessage + 2*ttlv.HeaderSize)
	b, mark := ttlv.Begin(out.b, kmip.TagBatchItem)
	b = id.append(b)
	b = ttlv.AppendEnum(b, kmip.TagResultStatus, uint32(kmip.ResultStatusOperationFailed))
	b = ttlv.AppendEnum(b, kmip.TagResultReason, uint32(reason))
	if text != "" && len(b)+ttlv.HeaderSize+(len(text)+7)&^7 <= limit {
		b = ttlv.AppendText(b, kmip.TagResultMessage, text)
	}
	if p != nil {
		if full := p.Append(b, kmip.TagResponsePayload, ver); len(full) <= limit {
			b = full
		}
	}
	out.set(ttlv.End(b, mark))
}

// appendUndone appends an item that was done and taken back again (KMIP 1.4 section 6.13).
func appendUndone(out *buffer, id itemID) {
	out.grow(id.size())
	b, mark := ttlv.Begin(out.b, kmip.TagBatchItem)
	b = id.append(b)
	b = ttlv.AppendEnum(b, kmip.TagResultStatus, uint32(kmip.ResultStatusOperationUndone))
	out.set(ttlv.End(b, mark))
}

// explain is what a client of the version may know of an error. Only kmip.Error carries words meant for clients;
// everything else is our fault and says no more than where the log has it.
func explain(err error, ver kmip.Version, corr string) (kmip.ResultReason, string) {
	var ke *kmip.Error
	var te *ttlv.Error
	var xe *text.Error
	switch {
	case errors.As(err, &ke):
		return narrow(ke.Reason, ver), clip(ke.Message)
	case errors.As(err, &te):
		return kmip.ResultReasonInvalidMessage, "message is not valid TTLV: " + te.Reason
	case errors.As(err, &xe):
		return kmip.ResultReasonInvalidMessage, fmt.Sprintf("message is not valid %s: at octet %d: %s", xe.Encoding, xe.Offset, xe.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return kmip.ResultReasonGeneralFailure, "the operation exceeded its time limit"
	case errors.Is(err, context.Canceled):
		return kmip.ResultReasonGeneralFailure, "the server is shutting down"
	}
	return kmip.ResultReasonGeneralFailure, "internal failure, see server log " + corr
}

// clip keeps a Result Message within its limit, cutting between characters.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	n := maxMessage
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// narrow finds a reason that the version has: a client must not meet one of a later version. The replacements of the
// 2.x reasons are the 1.x reasons that KMIP 1.4 section 11 gives for the same failure; whatever is not listed becomes
// General Failure.
func narrow(r kmip.ResultReason, ver kmip.Version) kmip.ResultReason {
	for range 3 { // a replacement may be too new as well
		if r.KnownIn(ver) {
			return r
		}
		next, ok := olderReason[r]
		if !ok {
			break
		}
		r = next
	}
	return kmip.ResultReasonGeneralFailure
}

var olderReason = map[kmip.ResultReason]kmip.ResultReason{
	kmip.ResultReasonEncodingOptionError:                kmip.ResultReasonInvalidField,
	kmip.ResultReasonKeyValueNotPresent:                 kmip.ResultReasonIllegalOperation,
	kmip.ResultReasonAttestationRequired:                kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonAttestationFailed:                  kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonSensitive:                          kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonNotExtractable:                     kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonObjectAlreadyExists:                kmip.ResultReasonInvalidField,
	kmip.ResultReasonUsageLimitExceeded:                 kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonReadOnlyAttribute:                  kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonAttributeReadOnly:                  kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonAttributeInstanceNotFound:          kmip.ResultReasonItemNotFound,
	kmip.ResultReasonAttributeNotFound:                  kmip.ResultReasonItemNotFound,
	kmip.ResultReasonAttributeSingleValued:              kmip.ResultReasonIllegalOperation,
	kmip.ResultReasonBadCryptographicParameters:         kmip.ResultReasonInvalidField,
	kmip.ResultReasonBadPassword:                        kmip.ResultReasonAuthenticationNotSuccessful,
	kmip.ResultReasonIncompatibleCryptographicUsageMask: kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonInternalServerError:                kmip.ResultReasonGeneralFailure,
	kmip.ResultReasonInvalidAttribute:                   kmip.ResultReasonInvalidField,
	kmip.ResultReasonInvalidAttributeValue:              kmip.ResultReasonInvalidField,
	kmip.ResultReasonInvalidObjectType:                  kmip.ResultReasonInvalidField,
	kmip.ResultReasonNonUniqueNameAttribute:             kmip.ResultReasonInvalidField,
	kmip.ResultReasonObjectDestroyed:                    kmip.ResultReasonIllegalOperation,
	kmip.ResultReasonObjectNotFound:                     kmip.ResultReasonItemNotFound,
	kmip.ResultReasonServerLimitExceeded:                kmip.ResultReasonIndexOutOfBounds,
	kmip.ResultReasonUnknownEnumeration:                 kmip.ResultReasonInvalidField,
	kmip.ResultReasonUnsupportedAttribute:               kmip.ResultReasonInvalidField,
	kmip.ResultReasonUnsupportedCryptographicParameters: kmip.ResultReasonInvalidField,
	kmip.ResultReasonUnsupportedProtocolVersion:         kmip.ResultReasonInvalidMessage,
	kmip.ResultReasonWrongKeyLifecycleState:             kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonConstraintViolation:                kmip.ResultReasonInvalidField,
	kmip.ResultReasonIllegalObjectType:                  kmip.ResultReasonIllegalOperation,
	kmip.ResultReasonInvalidCSR:                         kmip.ResultReasonInvalidField,
	kmip.ResultReasonInvalidDataType:                    kmip.ResultReasonInvalidField,
	kmip.ResultReasonKeyWrapTypeNotSupported:            kmip.ResultReasonFeatureNotSupported,
	kmip.ResultReasonMissingInitializationVector:        kmip.ResultReasonInvalidMessage,
	kmip.ResultReasonMultiValuedAttribute:               kmip.ResultReasonInvalidField,
	kmip.ResultReasonNotAuthorised:                      kmip.ResultReasonPermissionDenied,
	kmip.ResultReasonNumericRange:                       kmip.ResultReasonInvalidField,
	kmip.ResultReasonUnknownMessageExtension:            kmip.ResultReasonFeatureNotSupported,
	kmip.ResultReasonUnknownObjectGroup:                 kmip.ResultReasonInvalidField,
	kmip.ResultReasonUnknownTag:                         kmip.ResultReasonInvalidField,
	kmip.ResultReasonWrappingObjectArchived:             kmip.ResultReasonObjectArchived,
	kmip.ResultReasonWrappingObjectDestroyed:            kmip.ResultReasonItemNotFound,
	kmip.ResultReasonWrappingObjectNotFound:             kmip.ResultReasonItemNotFound,
}
