package softhsmtests

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/compare"
	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
	"kmipd/softhsm-tests/internal/web"
)

// TestConformance plays the OASIS cases against one server, a connection for each case or sequence of cases. Those of Suite B
// have a server with listeners of these policies beside the first one.
func TestConformance(t *testing.T) {
	r := newRunner(t)
	s := harness.Start(t, harness.Dir(t))
	var suiteB *harness.Server
	for _, g := range r.selection.Groups {
		if *oneCase != "" && !slices.ContainsFunc(g, func(e oasis.Entry) bool { return e.Name == *oneCase }) {
			continue
		}
		if g[0].Policy() == "" {
			r.group(t, s, g)
			continue
		}
		if suiteB == nil {
			suiteB = harness.Start(t, harness.Dir(t), "--listener", "suiteb128=127.0.0.1:0", "--listener", "suiteb192=127.0.0.1:0")
		}
		r.group(t, suiteB, g)
	}
	if *oneCase != "" {
		return
	}
	for _, x := range r.selection.Excluded {
		fmt.Printf("EXCL %-55s %s\n", x.Name, x.Reason)
	}
	fmt.Print(r.table())
}

// runner keeps the score of one run.
type runner struct {
	shared    string
	reg       *registry.Registry
	selection oasis.Selection
	known     map[string]string // cases that do not pass, and why
	says      map[string]string // words that the failure of such a case has; none for any failure
	encodings []string          // of the groups in turn: "" is TTLV without HTTPS
	turn      int
	score     map[suiteKey]*score
}

type suiteKey struct{ suite, version string }

type score struct{ passed, failed, known, excluded int }

func newRunner(t *testing.T) *runner {
	t.Helper()
	shared := registry.Shared(t)
	reg, err := registry.Load(shared, "1.4")
	if err != nil {
		t.Fatal(err)
	}
	all, err := oasis.Manifest(shared)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{shared, reg, oasis.Select(all, oasis.Versions, oasis.Operations), known, nil, []string{*encoding}, 0, map[suiteKey]*score{}}
	for _, x := range r.selection.Excluded {
		r.of(x.Entry).excluded++
	}
	return r
}

func (r *runner) of(e oasis.Entry) *score {
	k := suiteKey{e.Suite, e.Version}
	if r.score[k] == nil {
		r.score[k] = &score{}
	}
	return r.score[k]
}

// group plays cases that share variables, then removes what they left, so that the next one finds an empty server.
func (r *runner) group(t *testing.T, s *harness.Server, g oasis.Group) {
	c := r.connect(t, s, g[0])
	session := compare.NewSession(r.reg)
	for _, e := range g {
		t.Run(e.Name, func(t *testing.T) {
			session.NextFile()
			var from *endpoint
			if e.ServerToClient() {
				from = newEndpoint(t, s, e.Version)
			}
			r.verdict(t, e, r.play(t, c, from, session, e))
		})
	}
	if err := message.Clean(c); err != nil {
		t.Logf("cleaning up after %s: %v", g[0].Name, err)
	}
}

// suiteBSuites are the cipher suites that the profile names for each level (KMIP Suite B Profile 1.0 sections 2.1, 4.1).
var suiteBSuites = map[string][]uint16{
	"suiteb128": {tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	"suiteb192": {tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
}

// connect connects to the listener of a group, without HTTPS or with the encoding that the case or the run has.
func (r *runner) connect(t *testing.T, s *harness.Server, e oasis.Entry) message.Exchanger {
	t.Helper()
	c := connectFor(t, s, e.Policy())
	encoding := r.encodings[r.turn%len(r.encodings)]
	r.turn++
	if e.Encoding() != "" {
		encoding = e.Encoding()
	}
	if encoding == "" {
		return c
	}
	return web.New(c, encoding, r.reg)
}

// connectFor connects to the listener of a policy. The client offers what it would offer anybody: that the connection is as
// the profile wants it is the server's doing.
func connectFor(t *testing.T, s *harness.Server, policy string) *harness.Conn {
	t.Helper()
	if policy == "" {
		return s.Connect(t)
	}
	c := s.ConnectListener(t, policy)
	state := c.Conn.(*tls.Conn).ConnectionState()
	if state.Version != tls.VersionTLS12 || !slices.Contains(suiteBSuites[policy], state.CipherSuite) {
		t.Errorf("%s: the connection is %s with %s", policy, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	}
	return c
}

// verdict books the outcome of a case, with the list of known divergences.
func (r *runner) verdict(t *testing.T, e oasis.Entry, problem error) {
	section, listed := r.known[e.Name]
	switch {
	case problem == nil && listed:
		r.of(e).failed++
		t.Errorf("passes, but the list of known divergences has it (%s): take it off", section)
	case problem == nil:
		r.of(e).passed++
		fmt.Printf("PASS %s\n", e.Name)
	case listed && !strings.Contains(problem.Error(), r.says[e.Name]):
		r.of(e).failed++
		t.Errorf("fails otherwise than by %q: %v", r.says[e.Name], problem)
	case listed:
		r.of(e).known++
		fmt.Printf("KNOWN %-54s %s: %v\n", e.Name, section, problem)
	default:
		r.of(e).failed++
		fmt.Printf("FAIL %-55s %v\n", e.Name, problem)
		t.Error(problem)
	}
}

// play sends the requests of a case until an answer differs, and takes those that the server sends to the endpoint. A listed
// case that fails is not shown in full.
func (r *runner) play(t *testing.T, c message.Exchanger, from *endpoint, session *compare.Session, e oasis.Entry) error {
	exchanges, err := oasis.Load(r.shared, e, r.reg)
	if err != nil {
		return err
	}
	if e.Waits() {
		session.Hurry(waitHurry)
	}
	for i, x := range exchanges {
		if e.Waits() && i > 0 {
			time.Sleep(r.pause(exchanges[i-1].Response, x.Response) / waitHurry)
		}
		if from != nil && r.pushed(x.Request) {
			asked := r.asked(t, from, x.Request)
			if err := errors.Join(r.take(t, from, session, x), <-asked); err != nil {
				return fmt.Errorf("exchange %d of %d: %w", i+1, len(exchanges), err)
			}
			continue
		}
		request, err := session.Request(x.Request)
		if err != nil {
			return fmt.Errorf("exchange %d: %w", i+1, err)
		}
		got, err := r.exchange(c, request, x.Response)
		if err != nil {
			return fmt.Errorf("exchange %d of %d: %w\nrequest:\n%s", i+1, len(exchanges), err, request.Dump(r.reg))
		}
		d := session.Response(x.Response, got)
		if d == nil {
			continue
		}
		if _, listed := r.known[e.Name]; !listed {
			t.Logf("exchange %d of %d\nrequest:\n%s\ngot:\n%s\nwant:\n%s", i+1, len(exchanges),
				request.Dump(r.reg), got.Dump(r.reg), x.Response.Dump(r.reg))
		}
		return fmt.Errorf("exchange %d of %d: %w", i+1, len(exchanges), d)
	}
	return nil
}

// pushed says that a request of a case is the server's.
func (r *runner) pushed(request *rawttlv.Node) bool {
	operation := r.reg.MustTag("Operation")
	switch r.reg.ValueName(operation, rawttlv.Enumeration, request.Find(r.reg.MustTag("BatchItem"), operation).Enum()) {
	case "Notify", "Put", "Query", "DiscoverVersions":
		return true
	}
	return false
}

// asked has an administrator make the server send the request of a case, if it is not one that the server sends by itself. The
// channel tells what came of it, once the request is answered.
func (r *runner) asked(t *testing.T, from *endpoint, request *rawttlv.Node) <-chan error {
	done := make(chan error, 1)
	name := func(tag string, n *rawttlv.Node) string {
		return r.reg.ValueName(r.reg.MustTag(tag), rawttlv.Enumeration, n.Enum())
	}
	item := request.Find(r.reg.MustTag("BatchItem"))
	var args []string
	switch name("Operation", item.Find(r.reg.MustTag("Operation"))) {
	case "Query":
		args = []string{"query"}
		for _, f := range item.Find(r.reg.MustTag("RequestPayload")).Children {
			args = append(args, "--function", name("QueryFunction", f))
		}
	case "DiscoverVersions":
		args = []string{"discover-versions"}
	default:
		done <- nil
		return done
	}
	go func() {
		out, err := from.manage(args[0], args[1:]...)
		if err == nil && !strings.Contains(string(out), ": ") {
			err = fmt.Errorf("kmipd client %v shows no answer: %q", args, out)
		}
		done <- err
	}()
	return done
}

// take plays the client in an exchange that the server begins.
func (r *runner) take(t *testing.T, from *endpoint, session *compare.Session, x oasis.Exchange) error {
	got, answer, err := from.next()
	if err != nil {
		return err
	}
	response, err := session.Answer(x.Response)
	if err != nil {
		return err
	}
	if err := answer(response); err != nil {
		return err
	}
	if d := session.Pushed(x.Request, got); d != nil {
		t.Logf("got:\n%s\nwant:\n%s", got.Dump(r.reg), x.Request.Dump(r.reg))
		return d
	}
	return nil
}

// exchange sends a request. A Poll is repeated until the answer is not pending any more, as the cases say beside it, unless
// the case wants to see a pending one.
func (r *runner) exchange(c message.Exchanger, request, want *rawttlv.Node) (*rawttlv.Node, error) {
	status := func(n *rawttlv.Node) string {
		tag := r.reg.MustTag("ResultStatus")
		return r.reg.ValueName(tag, rawttlv.Enumeration, n.Find(r.reg.MustTag("BatchItem"), tag).Enum())
	}
	operation := r.reg.MustTag("Operation")
	asked := r.reg.ValueName(operation, rawttlv.Enumeration, request.Find(r.reg.MustTag("BatchItem"), operation).Enum())
	deadline := time.Now().Add(harness.Timeout)
	for {
		got, err := c.Exchange(request)
		if err != nil || asked != "Poll" || status(got) != "OperationPending" || status(want) == "OperationPending" || time.Now().After(deadline) {
			return got, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// waitHurry makes the two minutes that a case waits for a date four seconds.
const waitHurry = 30

// pause is the time between two responses of a case file.
func (r *runner) pause(earlier, later *rawttlv.Node) time.Duration {
	stamp := func(n *rawttlv.Node) time.Time {
		d, _ := n.Find(r.reg.MustTag("ResponseHeader"), r.reg.MustTag("TimeStamp")).Value.(time.Time)
		return d
	}
	return max(0, stamp(later).Sub(stamp(earlier)))
}

// table is the score by suite and version.
func (r *runner) table() string {
	var b strings.Builder
	keys := make([]suiteKey, 0, len(r.score))
	for k := range r.score {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b suiteKey) int {
		if c := strings.Compare(a.suite, b.suite); c != 0 {
			return c
		}
		return strings.Compare(a.version, b.version)
	})
	fmt.Fprintf(&b, "\n%-44s %-8s %7s %7s %7s %9s\n", "suite", "version", "passed", "failed", "known", "excluded")
	var sum score
	for _, k := range keys {
		s := r.score[k]
		fmt.Fprintf(&b, "%-44s %-8s %7d %7d %7d %9d\n", k.suite, k.version, s.passed, s.failed, s.known, s.excluded)
		sum.passed, sum.failed = sum.passed+s.passed, sum.failed+s.failed
		sum.known, sum.excluded = sum.known+s.known, sum.excluded+s.excluded
	}
	fmt.Fprintf(&b, "%-44s %-8s %7d %7d %7d %9d\n", "all", "", sum.passed, sum.failed, sum.known, sum.excluded)
	return b.String()
}

// TestKnownNames keeps the list of known divergences free of names that no run plays.
func TestKnownNames(t *testing.T) {
	r := newRunner(t)
	names := map[string]bool{}
	for _, g := range r.selection.Groups {
		for _, e := range g {
			names[e.Name] = true
		}
	}
	for name, section := range known {
		if !names[name] {
			t.Errorf("%s is in the list of known divergences and in no run", name)
		}
		if section == "" {
			t.Errorf("%s is listed without a section", name)
		}
	}
}
