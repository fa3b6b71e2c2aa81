package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"kmipd/fips"
	"kmipd/keystore"
	"kmipd/keystore/audit"
)

// config is everything that an operator sets. Each field has one name: max_batch in the file is
// KMIPD_MAX_BATCH in the environment and --max-batch on the command line, in rising precedence.
type config struct {
	Listen                 string
	Transport              string
	DataDir                string
	Policy                 string
	PolicySwitches         []string
	PolicyFile             string
	Release                string
	tables                 tables
	AdminSocket            string
	TLSCertificate         string
	TLSKey                 string
	TLSClientCA            string
	TLSCRL                 []string
	TLSCRLMode             string
	AllowSoftwareTLSKey    bool
	TokenModule            string
	TokenLabel             string
	TokenSerial            string
	TokenPINFile           string
	TokenLock              string
	TokenSessions          int
	RefuseComposed         bool
	SoftHSMConf            string
	TokenCertificates      string
	AllowUnvalidatedToken  bool
	AllowUncertifiedModule bool
	SelfTest               string
	SelfTestInterval       time.Duration
	SelfTestPairs          string
	TokenRNG               string
	FIPSReportInterval     time.Duration
	FIPSReportKeep         int
	AllowWeakerPolicy      bool
	LeaseTime              uint32
	FreshGroup             string
	AllowDestroy           bool
	Credentials            string
	Approve                []string
	JobLifetime            time.Duration
	JobWorkers             int
	LogLevel               string
	LogFormat              string
	MaxConnections         int
	MaxPerAddress          int
	MaxHandshakes          int
	MaxRequestSize         int
	MaxBatch               int
	HandshakeTime          time.Duration
	ReadTimeout            time.Duration
	WriteTimeout           time.Duration
	IdleTimeout            time.Duration
	RequestTimeout         time.Duration
	ShutdownTimeout        time.Duration
	TimeTolerance          time.Duration
	CertificateProfiles    string
	CRLListen              string
	CRLURL                 string
	CRLLife                time.Duration
	AuditDir               string
	AuditRotateSize        int64
	AuditKeep              int
	AuditCheckpoint        time.Duration
	AuditBacklog           uint64
	AuditReleases          string
	AuditSyslog            string
	AuditSyslogCA          string
	AuditSyslogFormat      string
	courier                keystore.Courier // of serve; nil for commands, which leave messages to the server
	// certify is what serve made of them.
	certify keystore.CertifyConfig
	// forward and facts are what serve tells the audit trail.
	forward *audit.Forwarder
	facts   []audit.Fact
	// found is what is known of the cryptographic modules.
	found fips.Evidence
	// report is what the keystore is told about evidence reports.
	report keystore.ReportConfig
	// devCA is the authority that serve makes when there is none; nil for no such.
	devCA *keystore.NewAuthority
}

// define declares every setting with default, unit and meaning: the one list of them.
func (c *config) define(f *pflag.FlagSet) {
	f.StringVar(&c.Listen, "listen", "0.0.0.0:5696", "address and port of the KMIP listener")
	f.StringVar(&c.Transport, "transport", "tls", "what the listener's connections carry: tls (KMIP in TLS), https (KMIP in HTTPS, in TTLV, XML or JSON), both")
	f.StringVar(&c.DataDir, "data-dir", "", "directory of the records (required)")
	f.StringVar(&c.Policy, "policy", "default", "which algorithms are allowed: "+strings.Join(fips.Names(), ", "))
	f.StringSliceVar(&c.PolicySwitches, "policy-switches", nil, "named exceptions of the policy: allow-ecb, client-iv, legacy-import, cnsa2-transition, other-objects")
	f.StringVar(&c.PolicyFile, "policy-file", "", "TOML file of what remains of the policy, when an operator takes more away")
	f.StringVar(&c.Release, "release", "", "how far keys may leave: none, wrapped or clear (default: clear in the default policy, wrapped in the others)")
	f.StringVar(&c.AdminSocket, "admin-socket", "", "Unix socket for administrators' commands while the server runs (default: admin.sock in the data directory)")
	f.StringVar(&c.TLSCertificate, "tls-certificate", "", "PEM file: the server's certificate and its chain (required)")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM file of the key of the server's certificate, or its name on the token: pkcs11:object=LABEL (required)")
	f.StringVar(&c.TLSClientCA, "tls-client-ca", "", "PEM file: certification authorities of client certificates (required)")
	f.StringSliceVar(&c.TLSCRL, "tls-crl", nil, "files or directories of the revocation lists of those authorities, PEM or DER; read again when they change")
	f.StringVar(&c.TLSCRLMode, "tls-crl-mode", "", "clients without a valid revocation list: off, soft (accept, but refuse who is revoked), hard (refuse) (default: hard in strict policies, else soft with tls-crl)")
	f.BoolVar(&c.AllowSoftwareTLSKey, "allow-software-tls-key", false, "in strict policies, too: let the key of the server's certificate be in a file")
	f.StringVar(&c.TokenModule, "token-module", "", "PKCS#11 module, a shared library (default: SoftHSM2 where it is found)")
	f.StringVar(&c.TokenLabel, "token-label", "", "label of the token (this or token-serial is required)")
	f.StringVar(&c.TokenSerial, "token-serial", "", "serial number of the token")
	f.StringVar(&c.TokenPINFile, "token-pin-file", "", "file with the user PIN; - asks on the terminal (required)")
	f.StringVar(&c.TokenLock, "token-lock", "auto", "changes of token objects one at a time: auto, on, off")
	f.IntVar(&c.TokenSessions, "token-sessions", 0, "PKCS#11 sessions at most; 0 for what the token and the processors suggest")
	f.BoolVar(&c.RefuseComposed, "refuse-composed", false, "refuse what the token cannot do alone and the server would compose with key bytes in its memory")
	f.StringVar(&c.SoftHSMConf, "softhsm-conf", "", "configuration file of SoftHSM2, for that module only")
	f.StringVar(&c.TokenCertificates, "token-certificates", "", "TOML file of the validation certificates of tokens and what they cover")
	f.BoolVar(&c.AllowUnvalidatedToken, "allow-unvalidated-token", false, "in strict policies, too: use a token that no certificate covers (development)")
	f.BoolVar(&c.AllowUncertifiedModule, "allow-uncertified-module", false, "in strict policies, too: run with a version of Go's cryptographic module that has no active certificate")
	f.StringVar(&c.SelfTest, "self-test", "start", "self-tests before anything is served: start or off")
	f.DurationVar(&c.SelfTestInterval, "self-test-interval", 24*time.Hour, "time between two self-tests; 0 for none on schedule")
	f.StringVar(&c.SelfTestPairs, "self-test-pairs", "auto", "test each generated key pair before it is published: on, off, or auto, which is on in strict policies")
	f.StringVar(&c.TokenRNG, "token-rng", "", "the token's random bit generator, as its vendor's security policy names it, for reports and clients: "+strings.Join(keystore.RNGTypes(), ", "))
	f.DurationVar(&c.FIPSReportInterval, "fips-report-interval", 24*time.Hour, "time between two evidence reports; 0 for none on schedule")
	f.IntVar(&c.FIPSReportKeep, "fips-report-keep", 400, "evidence reports that are kept in the directory evidence of data-dir")
	f.BoolVar(&c.AllowWeakerPolicy, "allow-weaker-policy", false, "start under a policy that allows what the one of the last run did not")
	f.Uint32Var(&c.LeaseTime, "lease-time", 0, "Lease Time of new objects in seconds; 0 gives them none")
	f.StringVar(&c.FreshGroup, "fresh-group", "", "Object Group in which Locate makes a fresh AES-256 key when none is left")
	f.BoolVar(&c.AllowDestroy, "allow-destroy", true, "let clients destroy objects")
	f.StringVar(&c.Credentials, "credentials", "verify", "credentials in message headers that are not registered: verify (refuse), ignore, enrol (development)")
	f.StringSliceVar(&c.Approve, "approve", nil, "operations that wait for kmipd job approve, such as destroy,create-key-pair")
	f.DurationVar(&c.JobLifetime, "job-lifetime", 24*time.Hour, "how long an asynchronous request waits for approval, and its answer for polls")
	f.IntVar(&c.JobWorkers, "job-workers", 2, "asynchronous requests that are worked on at a time")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "json", "json or text")
	f.IntVar(&c.MaxConnections, "max-connections", 1024, "client connections at most")
	f.IntVar(&c.MaxPerAddress, "max-connections-per-address", 0, "client connections of one IPv4 address or IPv6 /64 at most; 0 for a quarter of max-connections, but at least 16")
	f.IntVar(&c.MaxHandshakes, "max-handshakes", 0, "TLS handshakes in progress at most; 0 for half of max-connections, but at least 16")
	f.IntVar(&c.MaxRequestSize, "max-request-size", 1<<20, "octets of one request message at most")
	f.IntVar(&c.MaxBatch, "max-batch", 256, "items of one request message at most")
	f.DurationVar(&c.HandshakeTime, "handshake-timeout", 10*time.Second, "for the TLS handshake")
	f.DurationVar(&c.ReadTimeout, "read-timeout", 30*time.Second, "from a message's first octet to its last")
	f.DurationVar(&c.WriteTimeout, "write-timeout", 30*time.Second, "for sending an answer")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", 15*time.Minute, "between two messages of a connection")
	f.DurationVar(&c.RequestTimeout, "request-timeout", 2*time.Minute, "for working on one request message")
	f.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", 30*time.Second, "for running requests when the server stops")
	f.DurationVar(&c.TimeTolerance, "time-tolerance", 0, "how far a request's Time Stamp may be off; 0 for any")
	f.StringVar(&c.CertificateProfiles, "certificate-profiles", "", "TOML file of the certificates that Certify makes (default: one profile, TLS for 397 days)")
	f.StringVar(&c.CRLListen, "crl-listen", "", "address and port of the HTTP listener for revocation lists and authorities' certificates; none when empty")
	f.StringVar(&c.CRLURL, "crl-url", "", "where clients reach that listener, such as http://pki.example.com:8080; certificates then name it")
	f.DurationVar(&c.CRLLife, "crl-life", 7*24*time.Hour, "time from a revocation list to its Next Update; it is renewed at half of it")
	c.defineAudit(f)
}

// source is where a command finds its configuration.
type source struct {
	config
	file, dir string
	flags     *pflag.FlagSet
}

func (c *source) define(f *pflag.FlagSet) {
	c.flags = f
	f.StringVar(&c.file, "config", "", "TOML configuration file (default: kmipd.toml in --dir)")
	f.StringVar(&c.dir, "dir", "", "directory made by kmipd init or kmipd dev")
	c.config.define(f)
}

// otherVariables are what begins with KMIPD_ and is no setting: what Kubernetes tells of services (KMIPD_SERVICE_HOST,
// KMIPD_PORT_5696_TCP), and the variables of this repository's tests.
var otherVariables = regexp.MustCompile(`^((.+_)?SERVICE_(HOST|PORT.*)|(.+_)?PORT(_[0-9].*)?|REQUIRE_SOFTHSM|BINARY|CASE|KEEP_GOING|BENCH|(TEST|CRASH|BENCH|KILL|NSS)_.*)$`)

// load fills what flags left open from the environment, then from the file. All problems are reported together.
func (c *source) load() error {
	if c.file == "" && c.dir != "" {
		c.file = filepath.Join(c.dir, "kmipd.toml")
	}
	var problems []error
	values := map[string]any{}
	if c.file != "" {
		if _, err := toml.DecodeFile(c.file, &values); err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
	}
	byFlag := map[string]bool{}
	c.flags.Visit(func(f *pflag.Flag) { byFlag[f.Name] = true })
	known := map[string]bool{}
	c.flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "dir" {
			return
		}
		name := strings.ReplaceAll(f.Name, "-", "_")
		known[name] = true
		if byFlag[f.Name] {
			return
		}
		value, from := "", ""
		if v, ok := values[name]; ok {
			value, from = setting(v), c.file
		}
		// Empty is as if it were not set: what passes a variable on that it does not have must not take a setting away.
		if v := os.Getenv("KMIPD_" + strings.ToUpper(name)); v != "" {
			value, from = v, "the environment"
		}
		if from == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s in %s: %q is not a value: %w", name, from, value, err))
		}
	})
	if c.file != "" {
		var err error
		if c.tables, err = loadTables(c.file); err != nil {
			problems = append(problems, err)
		}
	}
	for name := range values {
		if !known[name] && !isTable(name) {
			problems = append(problems, fmt.Errorf("%s: there is no setting %q", c.file, name))
		}
	}
	for _, variable := range os.Environ() {
		variable, _, _ = strings.Cut(variable, "=")
		name, ours := strings.CutPrefix(variable, "KMIPD_")
		if ours && !known[strings.ToLower(name)] && !otherVariables.MatchString(name) {
			problems = append(problems, fmt.Errorf("%s in the environment: there is no setting %q", variable, strings.ToLower(name)))
		}
	}
	c.relative()
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// setting is a value of the file as a flag takes it: a list becomes its members with commas between them.
func setting(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	var parts []string
	for _, m := range list {
		parts = append(parts, fmt.Sprint(m))
	}
	return strings.Join(parts, ",")
}

// relative makes paths of a configuration file relative to the file's directory, so that the directory can be moved.
func (c *source) relative() {
	if c.file == "" {
		return
	}
	base := filepath.Dir(c.file)
	makeRelative(base, &c.DataDir, &c.AdminSocket, &c.TLSCertificate, &c.TLSClientCA, &c.TokenPINFile, &c.SoftHSMConf, &c.CertificateProfiles, &c.PolicyFile, &c.TokenCertificates,
		&c.AuditDir, &c.AuditSyslogCA)
	if !isTokenKey(c.TLSKey) {
		makeRelative(base, &c.TLSKey)
	}
	for i := range c.TLSCRL {
		makeRelative(base, &c.TLSCRL[i])
	}
	for i := range c.tables.Listener {
		makeRelative(base, c.tables.Listener[i].paths()...)
	}
}

// check finds everything that is wrong with the settings, each with its remedy.
func (c *config) check() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, _, err := net.SplitHostPort(c.Listen)
	bad(err == nil, "listen: %q is not HOST:PORT", c.Listen)
	bad(c.DataDir != "", "data_dir is not set: name the directory for the records, or make one with kmipd init")
	errs = append(errs, c.checkPolicy()...)
	for _, f := range []struct{ name, path, remedy string }{
		{"tls_certificate", c.TLSCertificate, "name the PEM file of the server's certificate"},
		{"tls_key", c.TLSKey, "name the PEM file of the server's key, or the key on the token"},
		{"tls_client_ca", c.TLSClientCA, "name the PEM file of the authorities that sign client certificates"},
	} {
		bad(f.path != "", "%s is not set: %s", f.name, f.remedy)
	}
	errs = append(errs, c.checkListeners()...)
	if _, err := fips.ByName(c.Policy); err == nil {
		_, err := c.identities()
		bad(err == nil, "%w", err)
	}
	errs = append(errs, c.checkToken()...)
	errs = append(errs, c.checkSelfTests()...)
	_, err = keystore.ParseRNG(c.TokenRNG)
	bad(err == nil, "token_rng: %v", err)
	bad(c.FIPSReportInterval == 0 || c.FIPSReportInterval >= time.Minute, "fips_report_interval must be 0 (no reports on schedule), or 1m and more")
	bad(c.FIPSReportKeep > 0, "fips_report_keep must be positive")
	errs = append(errs, c.checkCertification()...)
	errs = append(errs, c.checkAudit()...)
	bad(slices.Contains([]string{"verify", "ignore", "enrol"}, c.Credentials), "credentials: %q is none of verify, ignore, enrol", c.Credentials)
	_, err = approvals(c.Approve)
	bad(err == nil, "approve: %v", err)
	bad(c.JobWorkers > 0, "job_workers must be positive")
	bad(slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel), "log_level: %q is none of debug, info, warn, error", c.LogLevel)
	bad(slices.Contains([]string{"json", "text"}, c.LogFormat), "log_format: %q is neither json nor text", c.LogFormat)
	bad(c.MaxConnections > 0, "max_connections must be positive")
	bad(c.MaxPerAddress >= 0, "max_connections_per_address must not be negative")
	bad(c.MaxHandshakes >= 0, "max_handshakes must not be negative")
	bad(c.MaxRequestSize >= 16<<10 && c.MaxRequestSize <= 1<<28, "max_request_size must be from 16384 to %d", 1<<28)
	bad(c.MaxBatch > 0, "max_batch must be positive")
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"handshake_timeout", c.HandshakeTime}, {"read_timeout", c.ReadTimeout}, {"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout}, {"request_timeout", c.RequestTimeout}, {"shutdown_timeout", c.ShutdownTimeout},
		{"job_lifetime", c.JobLifetime}} {
		bad(d.d > 0, "%s must be positive, for example 30s", d.name)
	}
	bad(c.TimeTolerance >= 0, "time_tolerance must not be negative")
	return errors.Join(errs...)
}

// checkToken is the part of check that fsck and doctor need, too.
func (c *config) checkToken() []error {
	var errs []error
	if c.TokenModule == "" {
		errs = append(errs, errors.New("token_module is not set and SoftHSM2 was not found: name the PKCS#11 module of your token, or install softhsm2"))
	} else if _, err := os.Stat(c.TokenModule); err != nil {
		errs = append(errs, fmt.Errorf("token_module: %w", err))
	}
	if c.TokenLabel == "" && c.TokenSerial == "" {
		errs = append(errs, errors.New("token_label and token_serial are not set: kmipd doctor lists the tokens of a module"))
	}
	if c.TokenPINFile == "" {
		errs = append(errs, errors.New("token_pin_file is not set: name a file that holds the user PIN, or - to be asked"))
	}
	for _, f := range []struct{ name, path string }{{"token_pin_file", c.TokenPINFile}, {"softhsm_conf", c.SoftHSMConf}} {
		if f.path == "" || f.path == "-" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	if c.Policy != "default" {
		if err := exposed("token_pin_file", c.TokenPINFile); err != nil {
			errs = append(errs, fmt.Errorf("%w, as policy %s wants it", err, c.Policy))
		}
	}
	if !slices.Contains([]string{"auto", "on", "off"}, c.TokenLock) {
		errs = append(errs, fmt.Errorf("token_lock: %q is none of auto, on, off", c.TokenLock))
	}
	if c.TokenSessions < 0 || c.TokenSessions == 1 {
		errs = append(errs, errors.New("token_sessions must be 0, or 2 and more"))
	}
	return errs
}

func (c *config) socket() string {
	if c.AdminSocket != "" {
		return c.AdminSocket
	}
	return filepath.Join(c.DataDir, "admin.sock")
}
