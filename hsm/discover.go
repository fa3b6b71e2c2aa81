package hsm

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// OpenProblem says why a token cannot be opened, in terms of what its operator can change.
type OpenProblem uint8

// The problems.
const (
	ProblemModule         OpenProblem = iota + 1 // the module is missing, does not load or does not initialise
	ProblemInUse                                 // this process has the module open already
	ProblemNoSuchToken                           // no token with that label or serial number; Labels has those that exist
	ProblemAmbiguous                             // several tokens with that label: give the serial number
	ProblemNotInitialized                        // the token has no user PIN yet
	ProblemPIN                                   // the PIN is wrong; it is not tried again
	ProblemPINLocked                             // the PIN is locked or expired
	ProblemToken                                 // the token is there but does not work
)

// OpenError is a token that cannot be opened.
type OpenError struct {
	Problem OpenProblem
	Text    string
	Labels  []string // of the tokens that the module has
	Err     error    // the failed call, if any
}

// Error is for the operator; the PIN is not in it.
func (e *OpenError) Error() string {
	s := "hsm: open: " + e.Text
	if len(e.Labels) > 0 {
		quoted := make([]string, len(e.Labels))
		for i, l := range e.Labels {
			quoted[i] = strconv.Quote(l)
		}
		s += " (tokens: " + strings.Join(quoted, ", ") + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is the failed call.
func (e *OpenError) Unwrap() error { return e.Err }

// Is makes an OpenError an ErrUnavailable.
func (e *OpenError) Is(target error) bool { return target == error(ErrUnavailable) }

// opened guards the modules of this process: one owner each, since PKCS#11 state is per process and module.
var opened = struct {
	mu    sync.Mutex
	paths map[string]bool
}{paths: map[string]bool{}}

// claim takes the module for one owner.
func claim(path string) (release func(), err error) {
	opened.mu.Lock()
	defer opened.mu.Unlock()
	if opened.paths[path] {
		return nil, &OpenError{Problem: ProblemInUse, Text: "the module is already open in this process"}
	}
	if _, err := os.Stat(path); err != nil {
		return nil, &OpenError{Problem: ProblemModule, Text: "the module cannot be read", Err: err}
	}
	opened.paths[path] = true
	return func() {
		opened.mu.Lock()
		defer opened.mu.Unlock()
		delete(opened.paths, path)
	}, nil
}

// TokenSummary is one token that a module has.
type TokenSummary struct {
	Slot                                 uint
	Label, Serial, Manufacturer, Model   string
	Firmware                             string
	Initialized, PINInitialized, PINLock bool
}

// ListTokens lists the tokens of a module, uninitialised ones too. The module must not be open in this process.
func ListTokens(path string) (list []TokenSummary, err error) {
	err = withModule(path, func(m *module) error {
		list, err = m.tokens()
		return err
	})
	return list, err
}

// withModule runs f on an initialised module and finalises it afterwards.
func withModule(path string, f func(*module) error) (err error) {
	release, err := claim(path)
	if err != nil {
		return err
	}
	defer release()
	m, err := loadModule(path)
	if err != nil {
		return &OpenError{Problem: ProblemModule, Text: "the module does not load", Err: err}
	}
	defer m.unload()
	if err := m.initialize(); err != nil {
		return &OpenError{Problem: ProblemModule, Text: "the module does not initialise", Err: err}
	}
	defer func() { err = errors.Join(err, m.finalize()) }()
	return f(m)
}

// tokens lists what the module has. A slot whose token has just gone is left out.
func (m *module) tokens() ([]TokenSummary, error) {
	slots, err := m.slots()
	if err != nil {
		return nil, err
	}
	var list []TokenSummary
	for _, slot := range slots {
		i, err := m.tokenInfo(slot)
		if hasCode(err, p11.CKR_TOKEN_NOT_PRESENT) || hasCode(err, p11.CKR_TOKEN_NOT_RECOGNIZED) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, TokenSummary{
			Slot: slot, Label: trim(i.Label), Serial: trim(i.SerialNumber), Manufacturer: trim(i.ManufacturerID), Model: trim(i.Model),
			Firmware:       version(i.FirmwareVersion),
			Initialized:    i.Flags&p11.CKF_TOKEN_INITIALIZED != 0,
			PINInitialized: i.Flags&p11.CKF_USER_PIN_INITIALIZED != 0,
			PINLock:        i.Flags&p11.CKF_USER_PIN_LOCKED != 0,
		})
	}
	return list, nil
}

// trim removes the padding of fixed-length strings; some modules pad with zeros.
func trim(s string) string { return strings.TrimRight(s, " \x00") }

func version(v p11.Version) string {
	return strconv.Itoa(int(v.Major)) + "." + strconv.Itoa(int(v.Minor))
}

// choose finds the one token with that label and serial number (either may be empty) that can be logged in to.
func (m *module) choose(label, serial string) (TokenSummary, error) {
	list, err := m.tokens()
	if err != nil {
		return TokenSummary{}, &OpenError{Problem: ProblemModule, Text: "the module does not list its tokens", Err: err}
	}
	var labels []string
	var found []TokenSummary
	for _, t := range list {
		if t.Initialized {
			labels = append(labels, t.Label)
		}
		if t.Initialized && (label == "" || t.Label == label) && (serial == "" || t.Serial == serial) {
			found = append(found, t)
		}
	}
	slices.Sort(labels)
	switch {
	case len(found) == 0:
		return TokenSummary{}, &OpenError{Problem: ProblemNoSuchToken, Text: "no token has the configured label and serial number", Labels: labels}
	case len(found) > 1:
		return TokenSummary{}, &OpenError{Problem: ProblemAmbiguous, Text: "several tokens have the configured label: configure the serial number too", Labels: labels}
	case !found[0].PINInitialized:
		return TokenSummary{}, &OpenError{Problem: ProblemNotInitialized, Text: "the token has no user PIN"}
	case found[0].PINLock:
		return TokenSummary{}, &OpenError{Problem: ProblemPINLocked, Text: "the user PIN is locked"}
	}
	return found[0], nil
}

// FindModule looks for SoftHSM2 where distributions put it; it returns "" when it is nowhere.
func FindModule() string {
	for _, path := range []string{
		"/usr/lib/softhsm/libsofthsm2.so",                   // Debian, Ubuntu
		"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",  // older Debian
		"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", //
		"/usr/lib64/pkcs11/libsofthsm2.so",                  // Fedora
		"/usr/lib64/softhsm/libsofthsm2.so",                 // SUSE
		"/usr/lib/pkcs11/libsofthsm2.so",                    // Arch, Alpine
		"/usr/lib/libsofthsm2.so",                           //
		"/usr/local/lib/softhsm/libsofthsm2.so",             // from source
		"/opt/homebrew/lib/softhsm/libsofthsm2.so",          // macOS
		"/usr/local/opt/softhsm/lib/softhsm/libsofthsm2.so", // macOS on Intel
		"/run/current-system/sw/lib/softhsm/libsofthsm2.so", // NixOS
	} {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}

// InitToken initialises the first uninitialised token of a module with a label and both PINs, and returns its serial
// number. A label that exists already gives ErrExists: nothing is ever overwritten.
func InitToken(path, label string, soPIN, userPIN PIN) (serial string, err error) {
	if label == "" || len(label) > 32 || soPIN == "" || userPIN == "" {
		return "", refuse(KindInvalidData, "a token needs a label of 1 to 32 octets and two PINs")
	}
	err = withModule(path, func(m *module) error {
		list, err := m.tokens()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(t TokenSummary) bool { return t.Initialized && t.Label == label }) {
			return refuse(KindExists, "a token with that label exists")
		}
		i := slices.IndexFunc(list, func(t TokenSummary) bool { return !t.Initialized })
		if i < 0 {
			return refuse(KindNotFound, "the module has no uninitialised token")
		}
		serial, err = m.initToken(list[i].Slot, label, soPIN, userPIN)
		return err
	})
	return serial, err
}

func (m *module) initToken(slot uint, label string, soPIN, userPIN PIN) (serial string, err error) {
	if err := m.result("C_InitToken", m.ctx.InitToken(slot, string(soPIN), label)); err != nil {
		return "", err
	}
	s, err := m.openSession(slot)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, m.closeSession(s)) }()
	if err := m.result("C_Login", m.ctx.Login(s, p11.CKU_SO, string(soPIN))); err != nil {
		return "", err
	}
	if err := m.result("C_InitPIN", m.ctx.InitPIN(s, string(userPIN))); err != nil {
		return "", err
	}
	if err := m.result("C_Logout", m.ctx.Logout(s)); err != nil {
		return "", err
	}
	info, err := m.tokenInfo(slot)
	return trim(info.SerialNumber), err
}
