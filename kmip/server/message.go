package server

import (
	"context"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// peer is what the message layer knows of the connection that a message came from.
type peer struct {
	identify func(context.Context) (kmip.Caller, error)
	log      zerolog.Logger
	listener string // its name
	remote   string // HOST:PORT
}

// message is a request message whose frame is understood: header and undecoded items.
type message struct {
	version kmip.Version // the answer's; set even when the message is refused
	header  kmip.RequestHeader
	items   []ttlv.Item
}

// handle processes one request message and appends the answer to out, which is empty. It tells whether the connection
// can go on. It never panics: what a handler does wrong is answered with General Failure.
func (s *Server) handle(ctx context.Context, p *peer, msg []byte, out *buffer) (keep bool) {
	s.counters.requests.Add(1)
	now := s.cfg.Clock().UTC()
	corr := s.correlation()
	version := s.answerVersion(salvageVersion(msg))
	defer func() {
		if r := recover(); r != nil {
			s.counters.panics.Add(1)
			p.log.Error().Str("corr", corr).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("panic in a request")
			out.truncate(0)
			s.answerOne(out, version, now, corr, errPanic)
			keep = false
		}
	}()
	ctx, cancel := within(ctx, s.cfg.RequestTimeout)
	defer cancel()
	m, err := s.decode(msg, version, now)
	if err != nil {
		p.log.Warn().Str("corr", corr).Err(err).Msg("message refused")
		s.auditMessage(ctx, p, corr, err)
		s.answerOne(out, m.version, now, corr, err)
		return true
	}
	b := newBatch(s, p, m, now, corr, out)
	if b.tooMany() {
		s.auditMessage(ctx, p, corr, errTooLarge)
		out.truncate(0)
		s.answerOne(out, m.version, now, corr, errTooLarge)
		return true
	}
	keep = b.authenticate(ctx)
	b.run(ctx)
	return keep && !b.panicked
}

// decode reads the frame of a message: everything but the items' payloads. version is for the answer to a message that
// is too broken to have one.
func (s *Server) decode(msg []byte, version kmip.Version, now time.Time) (*message, error) {
	m := &message{version: version}
	root, err := ttlv.Parse(msg, s.limits())
	if err != nil {
		return m, err
	}
	header, err := m.split(root, s.cfg.MaxBatch)
	if err != nil {
		return m, err
	}
	if version, err = versionOf(header); err != nil {
		return m, err
	}
	m.version = s.answerVersion(version)
	if !s.speaks(version) {
		return m, s.foreign(m, version)
	}
	if err := m.header.Decode(header); err != nil {
		return m, err
	}
	return m, s.check(m, now)
}

// limits are those of a request message, in whatever encoding it came.
func (s *Server) limits() ttlv.Limits {
	return ttlv.Limits{MaxSize: s.cfg.MaxRequestSize, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: ttlv.DefaultLimits.MaxItems}
}

// split finds header and items. "All fields SHALL appear in the order specified" (KMIP 1.4 section 7).
func (m *message) split(root ttlv.Item, maxBatch int) (header ttlv.Item, err error) {
	if root.Tag != kmip.TagRequestMessage || root.Type != ttlv.Structure {
		return header, kmip.Errorf(kmip.ResultReasonInvalidMessage, "not a Request Message")
	}
	for it := range root.Members {
		switch {
		case header.IsZero():
			if it.Tag != kmip.TagRequestHeader || it.Type != ttlv.Structure {
				return header, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Message does not begin with a Request Header")
			}
			header = it
		case it.Tag != kmip.TagBatchItem || it.Type != ttlv.Structure:
			return header, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Message holds something else than Batch Items after its header")
		case len(m.items) == maxBatch:
			return header, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Message has more than %d Batch Items", maxBatch)
		default:
			m.items = append(m.items, it)
		}
	}
	if header.IsZero() {
		return header, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Message has no Request Header")
	}
	return header, nil
}

// answerVersion is the version in which to answer a message of version v, the zero Version when that is unknown.
func (s *Server) answerVersion(v kmip.Version) kmip.Version {
	switch {
	case s.speaks(v):
		return v
	case v == kmip.Version{}:
		return s.oldest()
	}
	return s.newest()
}

// foreign handles a message in a version that the server does not speak. Its header is not decoded: it may have fields
// of its version. Discover Versions alone is answered, in the newest version spoken, as long as the major version is
// ours (KMIP 1.4 section 11.1): it is how such a client finds a common version.
func (s *Server) foreign(m *message, v kmip.Version) error {
	m.header = kmip.RequestHeader{
		ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: v.Major, ProtocolVersionMinor: v.Minor},
		BatchCount:      int32(len(m.items)),
	}
	discover := v.Major == m.version.Major && len(m.items) > 0
	for _, it := range m.items {
		op := it.Find(kmip.TagOperation)
		discover = discover && op.Type == ttlv.Enumeration && kmip.Operation(op.Enum()) == kmip.OperationDiscoverVersions
	}
	if discover {
		return s.checkBatch(m)
	}
	return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Protocol Version %s is not supported; the server speaks %s to %s",
		v, s.oldest(), s.newest())
}

func versionOf(header ttlv.Item) (kmip.Version, error) {
	pv := header.Find(kmip.TagProtocolVersion)
	major, minor := pv.Find(kmip.TagProtocolVersionMajor), pv.Find(kmip.TagProtocolVersionMinor)
	if major.Type != ttlv.Integer || minor.Type != ttlv.Integer {
		return kmip.Version{}, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Header has no Protocol Version")
	}
	return kmip.Version{Major: major.Int(), Minor: minor.Int()}, nil
}

// salvageVersion finds the Protocol Version of a message whose rest may be broken: it stands first in every message.
func salvageVersion(msg []byte) kmip.Version {
	const at = 2 * ttlv.HeaderSize // behind the headers of Request Message and Request Header
	const size = ttlv.HeaderSize + 2*16
	if len(msg) < at+size {
		return kmip.Version{}
	}
	pv, err := ttlv.Parse(msg[at:at+size], ttlv.DefaultLimits)
	if err != nil || pv.Tag != kmip.TagProtocolVersion {
		return kmip.Version{}
	}
	major, minor := pv.Find(kmip.TagProtocolVersionMajor), pv.Find(kmip.TagProtocolVersionMinor)
	if major.Type != ttlv.Integer || minor.Type != ttlv.Integer {
		return kmip.Version{}
	}
	return kmip.Version{Major: major.Int(), Minor: minor.Int()}
}

// check holds the header against the rules of KMIP 1.4 section 6. Asynchronous Indicator says only what the client can
// take (6.7): the server decides for each item (async.go). Batch Order Option (6.12) is always kept, Batch Error
// Continuation Option on a single item (6.13) is harmless and some clients send it.
func (s *Server) check(m *message, now time.Time) error {
	if tol, ts := s.cfg.TimeStampTolerance, m.header.TimeStamp; tol > 0 && ts != nil {
		if d := now.Sub(*ts); d > tol || d < -tol {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Time Stamp is more than %s off the server's time", tol)
		}
	}
	switch m.header.BatchErrorContinuationOption {
	case 0, kmip.BatchErrorContinuationOptionStop, kmip.BatchErrorContinuationOptionContinue, kmip.BatchErrorContinuationOptionUndo:
	default:
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Batch Error Continuation Option has an unknown value")
	}
	return s.checkBatch(m)
}

// checkBatch is KMIP 1.4 sections 6.14 and 7.2: the count is right and several items have identifiers of their own.
func (s *Server) checkBatch(m *message) error {
	if int(m.header.BatchCount) != len(m.items) {
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Batch Count is %d but the message has %d Batch Items", m.header.BatchCount, len(m.items))
	}
	switch len(m.items) {
	case 0:
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Message has no Batch Item")
	case 1:
		return nil
	}
	seen := make(map[string]struct{}, len(m.items))
	for _, it := range m.items {
		id := it.Find(kmip.TagUniqueBatchItemID)
		if id.Type != ttlv.ByteString {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Unique Batch Item ID is missing from an item of a batch")
		}
		seen[string(id.Value)] = struct{}{}
	}
	if len(seen) != len(m.items) {
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Unique Batch Item ID stands in two items of the batch")
	}
	return nil
}

func (m *message) undo() bool {
	return m.header.BatchErrorContinuationOption == kmip.BatchErrorContinuationOptionUndo
}

func (m *message) goesOn() bool {
	return m.header.BatchErrorContinuationOption == kmip.BatchErrorContinuationOptionContinue
}

func itoa(n int) string { return strconv.Itoa(n) }
