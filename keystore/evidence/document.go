// Package evidence is the document that proves to an auditor how a server is set up and what it did: its fields, its signed
// envelope, its page for people, and its verification, which needs nothing but the file and a public key. Who collects the
// facts is package keystore.
package evidence

import (
	"time"

	"kmipd/fips"
)

// Schema names this version of the format. A change that an old reader would get wrong takes another name.
const Schema = "kmipd-evidence-1"

// Unknown is the value of a text that nobody could tell. Every such fact has its reason in Document.Unknown.
const Unknown = "unknown"

// Document is one report. A fact that is not known is null, or Unknown where it is a text, and stands in Unknown.
type Document struct {
	Schema    string    `json:"schema"`
	Generated time.Time `json:"generated"`
	// Serial counts the reports of a store from 1. PreviousSHA256 is of the document before, in hexadecimal; "" for the first.
	Serial         uint64    `json:"serial"`
	PreviousSHA256 string    `json:"previous_sha256"`
	Verdict        Verdict   `json:"verdict"`
	Server         Server    `json:"server"`
	Policies       []Policy  `json:"policies"` // the server's first, then those of listeners and groups
	GoModule       *GoModule `json:"go_module"`
	Token          *Token    `json:"token"`
	TLS            []TLS     `json:"tls"` // listeners; null: unknown
	SelfTests      *SelfTest `json:"self_tests"`
	Pairwise       *Pairwise `json:"pairwise"`
	RNG            RNG       `json:"rng"`
	// ErrorState is why the server stopped all cryptography; null while it has not, or where self-tests are unknown.
	ErrorState *ErrorState `json:"error_state"`
	Counters   *Counters   `json:"counters"`
	Refusals   []Refusal   `json:"refusals"` // the last ones, oldest first
	// Audit is the newest record of the audit trail when the facts were collected; null: unknown.
	Audit      *Audit      `json:"audit"`
	Keys       Inventory   `json:"keys"`
	Sunset     []Sunset    `json:"sunset"`
	Deviations []Deviation `json:"deviations"`
	Clock      Clock       `json:"clock"`
	Unknown    []Missing   `json:"unknown"`
}

// Missing is a fact that is not known, with the reason.
type Missing struct {
	What string `json:"what"` // the field
	Why  string `json:"why"`
}

// Miss notes that a fact is not known.
func (d *Document) Miss(what, why string) { d.Unknown = append(d.Unknown, Missing{what, why}) }

// Deviate notes a deviation from a standard or from the strict default.
func (d *Document) Deviate(id, text string) { d.Deviations = append(d.Deviations, Deviation{id, text}) }

// Verdict is what the facts come to. It is about the system, never a claim that the server were a validated module.
type Verdict struct {
	Compliant bool     `json:"compliant"`
	Reasons   []string `json:"reasons"` // why not
}

// Server is the program.
type Server struct {
	Version      string            `json:"version"`
	Revision     string            `json:"revision"`
	BinarySHA256 string            `json:"binary_sha256"`
	Go           string            `json:"go"`
	Build        map[string]string `json:"build"` // settings of the build
	OS           string            `json:"os"`
	Arch         string            `json:"arch"`
}

// Policy is a policy that holds for the server, a listener or a group. Switches are those that are on: none is by default.
type Policy struct {
	For         string        `json:"for"` // server, listener or group
	Name        string        `json:"name"`
	Policy      string        `json:"policy"` // its name
	Fingerprint string        `json:"fingerprint"`
	Release     string        `json:"release,omitempty"` // how far key material may leave
	Rules       []fips.Rule   `json:"rules"`
	Limits      fips.Limits   `json:"limits"`
	Switches    []fips.Switch `json:"switches"`
}

// GoModule is Go's Cryptographic Module, which does TLS and what happens in the server's memory.
type GoModule struct {
	Enabled  bool   `json:"enabled"`  // approved mode
	Enforced bool   `json:"enforced"` // GODEBUG=fips140=only
	Version  string `json:"version"`
	Built    string `json:"gofips140"`       // GOFIPS140 of the build
	Default  string `json:"default_godebug"` // built in
	GODEBUG  string `json:"godebug"`         // of the environment
	// Platform is to be compared with the operating environments that the certificate names.
	Platform string `json:"platform"`
	// Certificate is the validation of this version; null where there is none.
	Certificate *Certificate `json:"certificate"`
}

// Certificate is a validation of a module that covers what runs, as the operator (the token's) or the program's own list
// (Go's module) names it. Compare it with the list of the authority before a claim.
type Certificate struct {
	Authority string `json:"authority"` // such as NIST CMVP
	Number    string `json:"number"`
	Standard  string `json:"standard"` // such as FIPS 140-3
	Level     int    `json:"level"`
	Algorithm string `json:"algorithms,omitempty"` // certificate of the algorithms
	Sunset    string `json:"sunset,omitempty"`     // YYYY-MM-DD
	Source    string `json:"source"`               // who says so
	// Status on the day of the report: StatusActive, or historical, revoked, in process. FIPS 140-2 is historical since
	// 2026-09-22: for systems that exist, and no new ones.
	Status string `json:"status"`
}

// StatusActive is the status of a validation that counts.
const StatusActive = "active"

// Token is the PKCS#11 token.
type Token struct {
	Library       string      `json:"library"` // path of the module
	LibrarySHA256 string      `json:"library_sha256"`
	LibraryInfo   string      `json:"library_info"` // description and version
	Manufacturer  string      `json:"manufacturer"`
	Model         string      `json:"model"`
	Firmware      string      `json:"firmware"`
	Hardware      string      `json:"hardware"`
	Serial        string      `json:"serial"`
	Label         string      `json:"label"`
	SlotFlags     uint        `json:"slot_flags"`  // CKF_ of CK_SLOT_INFO
	TokenFlags    uint        `json:"token_flags"` // CKF_ of CK_TOKEN_INFO
	Mechanisms    []Mechanism `json:"mechanisms"`  // that the token claims; null: unknown
	Uses          []string    `json:"uses"`        // what was tried and works, which is what the server uses
	// Certificate is the operator's that covers this token; null: none. Unvalidated says why it does not count.
	Certificate *Certificate `json:"certificate"`
	Unvalidated []string     `json:"unvalidated"`
	Warnings    []string     `json:"warnings"`
	Enforces    []Enforced   `json:"token_enforces"`
}

// Mechanism is one that the token claims.
type Mechanism struct {
	Name   string `json:"name"`
	MinKey uint   `json:"min_key_size"`
	MaxKey uint   `json:"max_key_size"`
	Flags  uint   `json:"flags"`
}

// Enforced tells whether the token itself refuses something that no approved mode allows.
type Enforced struct {
	What     string `json:"what"`
	Enforced bool   `json:"enforced"`
}

// TLS is one listener.
type TLS struct {
	Listener     string   `json:"listener"` // "" is the first one
	Address      string   `json:"address"`
	Policy       string   `json:"policy"`
	Versions     []string `json:"versions"`
	Suites       []string `json:"suites"`
	Groups       []string `json:"groups"`
	Certificates []string `json:"certificate_chain_sha256"`
	ClientAuth   string   `json:"client_auth"`
	Revocation   string   `json:"revocation"`
	Source       string   `json:"source"`
}

// SelfTest is the last run of the self-tests on the token.
type SelfTest struct {
	Reason  string       `json:"reason"`
	At      time.Time    `json:"at"`
	TookMS  int64        `json:"took_ms"`
	Passed  bool         `json:"passed"`
	Results []TestResult `json:"results"`
	Blocked []string     `json:"blocked"` // mechanisms that failed and are not used
	Drifted []string     `json:"drifted"` // keys whose flags on the token are not those recorded; null: not compared yet
}

// TestResult is one test.
type TestResult struct {
	Mechanism string    `json:"mechanism"`
	Name      string    `json:"name"`
	Result    string    `json:"result"`
	At        time.Time `json:"at"`
	TookUS    int64     `json:"took_us"`
}

// Pairwise counts the pairwise consistency tests since the start.
type Pairwise struct {
	Count    uint64 `json:"count"`
	Failures uint64 `json:"failures"`
}

// RNG is where random numbers come from.
type RNG struct {
	Source string `json:"source"`
	DRBG   string `json:"drbg"`   // as configured
	Health string `json:"health"` // of the continuous test
}

// ErrorState is why all cryptography stopped.
type ErrorState struct {
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// Counters count batch items since the start of the server.
type Counters struct {
	Since    time.Time `json:"since"`
	Approved []Count   `json:"approved"` // that succeeded, less those that were legacy uses
	Legacy   []Count   `json:"legacy"`   // uses of keys that may only process what exists, by use
	Refused  []Count   `json:"refused"`  // by operation and Result Reason
	// Connections are those refused at or after their handshake, by rule.
	Connections []Count `json:"connections_refused"`
}

// Count is one of them.
type Count struct {
	Operation string `json:"operation"`
	Reason    string `json:"reason,omitempty"`
	Count     uint64 `json:"count"`
}

// Refusal is one refusal by a policy.
type Refusal struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client"`
	Listener  string    `json:"listener"`
	Operation string    `json:"operation"`
	Object    string    `json:"object,omitempty"`
	Policy    string    `json:"policy"`
	Rule      string    `json:"rule"`
	Reason    string    `json:"reason"`
}

// Audit is a record of the audit trail: the report and the trail up to it belong together.
type Audit struct {
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"` // of the record in the chain, hexadecimal
}

// Inventory is the keys of the store. Objects of the server itself (authorities, this key) are those of the owner "kmipd".
type Inventory struct {
	At       time.Time `json:"at"`
	Policy   string    `json:"policy"`   // that the states are by; "" for that of each owner
	Complete bool      `json:"complete"` // else Unknown says why
	Objects  int       `json:"objects"`  // counted, destroyed ones left out
	Keys     []Keys    `json:"rows"`
	// Frozen are the objects that the policy disallows: they rest. FrozenTotal counts those that the list leaves off.
	Frozen      []Object `json:"frozen"`
	FrozenTotal int      `json:"frozen_total"`
	Damaged     []string `json:"damaged"` // records that cannot be read
}

// Keys counts objects that are alike.
type Keys struct {
	Type      string    `json:"object_type"`
	Algorithm string    `json:"algorithm"`
	Bits      int       `json:"bits"`
	Curve     string    `json:"curve,omitempty"`
	State     string    `json:"state"`      // of the life cycle
	FIPS      string    `json:"fips_state"` // approved, legacy or disallowed
	Release   string    `json:"release"`    // none, wrapped or clear
	Age       string    `json:"age"`        // "up to 1 year" and so on
	Oldest    time.Time `json:"oldest"`
	Count     int       `json:"count"`
	Owners    int       `json:"owners"`
}

// Object is one object.
type Object struct {
	UID    string `json:"unique_identifier"`
	Client string `json:"client"`
}

// Sunset is a dated rule that will hit objects that are allowed today.
type Sunset struct {
	From    string   `json:"refused_from"` // YYYY-MM-DD
	Policy  string   `json:"policy"`
	Rule    string   `json:"rule"`
	Source  string   `json:"source"`
	Remains string   `json:"remaining_uses,omitempty"` // legacy uses after that day
	Objects []Object `json:"objects"`                  // as many as are listed
	Total   int      `json:"objects_total"`
	Clients []string `json:"clients"`
}

// Deviation is something that a standard or a strict policy would have otherwise.
type Deviation struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Clock is what the times of the report are by.
type Clock struct {
	Source string    `json:"source"`
	Time   time.Time `json:"time"`
	// Previous is the time of the report before; null for the first. Behind tells that the clock was set back since.
	Previous *time.Time `json:"previous"`
	Behind   bool       `json:"behind"`
}
