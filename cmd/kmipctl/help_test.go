package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The help pins commands, flags, defaults and examples.
func TestHelp(t *testing.T) {
	noEnvironment(t)
	code, out, _ := call(t, "help")
	if code != 0 {
		t.Fatalf("status %d", code)
	}
	golden(t, "help.txt", []byte(out))
	for _, topic := range topics {
		code, out, _ := call(t, "help", topic.name)
		if code != 0 {
			t.Errorf("%s: status %d", topic.name, code)
		}
		golden(t, "help-"+topic.name+".txt", []byte(out))
	}
	for _, c := range commands() {
		code, out, _ := call(t, "help", c.name)
		code2, out2, _ := call(t, c.name, "--help")
		if code != 0 || code2 != 0 || out != out2 {
			t.Errorf("%s: status %d and %d; help and --help differ: %v", c.name, code, code2, out != out2)
		}
		if len(c.examples) == 0 {
			t.Errorf("%s has no example", c.name)
		}
		for _, e := range c.examples {
			if !strings.HasPrefix(e, c.name) {
				t.Errorf("%s: example %q is of another command", c.name, e)
			}
		}
		golden(t, "help-"+c.name+".txt", []byte(out))
	}
}

// A command's flag of the same name would hide one of the connection, silently.
func TestFlagsDiffer(t *testing.T) {
	shared := pflag.NewFlagSet("shared", pflag.ContinueOnError)
	(&kit{}).define(shared)
	for _, c := range commands() {
		f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
		c.setup(f)
		f.VisitAll(func(f *pflag.Flag) {
			if shared.Lookup(f.Name) != nil {
				t.Errorf("%s has a --%s of its own", c.name, f.Name)
			}
		})
	}
}

// Mistakes in the call have status 2 and never reach for the network.
func TestUsageErrors(t *testing.T) {
	noEnvironment(t)
	for _, tc := range []struct{ args, want string }{
		{"", "Usage: kmipctl"},
		{"fly", `there is no command "fly"`},
		{"help fly", `there is no command or topic "fly"`},
		{"--nope query", "unknown flag: --nope"},
		{"query --nope", "unknown flag: --nope"},
		{"query extra", `unexpected argument "extra"`},
		{"query --function fly", "--function"},
		{"query --version 2.1", `--version: "2.1" is none of`},
		{"query --timeout 0s", "--timeout must be positive"},
		{"query --password-file x", "--password-file needs --username"},
		{"query --json=false --quiet --json", ""},
		{"query --address 127.0.0.1:1", "--ca is not set"},
		{"discover-versions x", "is not a version"},
		{"create --type tree", "--type"},
		{"create --algorithm tree", "--algorithm"},
		{"create --activation-date never --attribute a", "--activation-date"},
		{"create --usage fly", "--usage"},
		{"create-key-pair", "name the algorithm"},
		{"create-key-pair --algorithm EC --curve round", "--curve"},
		{"create-key-pair --algorithm EC --private-usage fly --public-attribute x", "--private-usage"},
		{"register", "name the kind of object"},
		{"register --type symmetric-key", "name the file"},
		{"register --type symmetric-key --file /nonexistent --algorithm AES", "no such file"},
		{"register --type symmetric-key --file /dev/null", "name the algorithm"},
		{"register --type template --attribute State=active", "a template needs a --name"},
		{"register --type template --name a --file x", "a template has no --file"},
		{"register --type opaque-object --file /dev/null --wrap-mode oaep", "need --wrapping-key"},
		{"register --type private-key --file /dev/null", "the format of the key is not known"},
		{"register --type split-key --file /dev/null", "needs --split-parts"},
		{"register --type secret-data --file /dev/null --wrapping-key k", "not empty"},
		{"register --type certificate-request --file /dev/null", "cannot be registered"},
		{"get", "name the object"},
		{"get a b", `unexpected argument "b"`},
		{"get a --name b", "not both"},
		{"get a --pem", "--pem needs --out or --show"},
		{"get a --show --out x", "exclude each other"},
		{"get a --encoding no", "need --wrap-with"},
		{"get a --wrap-with k --encoding some", "neither no nor ttlv"},
		{"get a --wrap-with k --wrap-mode paper", "--wrap-mode"},
		{"get a --wrap-with k --wrap-mode nist-key-wrap --wrap-hash sha-1", "--wrap-hash needs"},
		{"get a --wrap-with k --encoding no --version 1.0", "--encoding no needs KMIP 1.1"},
		{"get a --out /nonexistent/file", "there is no directory"},
		{"get a --out /", "is a directory"},
		{"get a --out - --json=true", "would mix"},
		{"get a --force", "--force needs"},
		{"get-attributes", "name the object"},
		{"add-attribute id", "NAME=VALUE is missing"},
		{"add-attribute id x", "is not NAME=VALUE"},
		{"add-attribute id Name[1]=x", "leave [1] out"},
		{"modify-attribute --name n", "NAME=VALUE is missing"},
		{"delete-attribute id", "NAME is missing"},
		{"delete-attribute id x[y]", "index"},
		{"locate --state asleep", "--state"},
		{"locate --max -1", "negative"},
		{"locate --group-member old", "--group-member"},
		{"locate --date Name=now", "--date"},
		{"locate --storage shelf", "--storage"},
		{"check id --usage fly --lease long", "--lease"},
		{"revoke id --reason mood", "--reason"},
		{"revoke id --compromise-date soon", "--compromise-date"},
		{"locate --details --async", "exclude each other"},
		{"re-key", "name the object"},
		{"re-key id --offset later", "--offset"},
		{"re-key id --usage fly", "--usage"},
		{"re-key-key-pair id --offset -1s", "--offset"},
		{"re-key-key-pair id --public-usage fly", "--public-usage"},
		{"get-usage-allocation id", "--count"},
		{"derive-key", "name the object"},
		{"derive-key id", "--method"},
		{"derive-key id --method magic", "--method"},
		{"derive-key id --method hash --hash magic", "--hash"},
		{"derive-key id --method pbkdf2 --salt pepper", "--salt"},
		{"derive-key id --method hash --hex", "--hex needs --file"},
		{"derive-key id --method hmac --file /nonexistent", "no such file"},
		{"create-split-key", "--split-parts"},
		{"create-split-key a b --split-parts 2", "only one key"},
		{"create-split-key a --split-parts 2 --length 128", "are for a new key"},
		{"create-split-key --split-parts 2 --split-method axe", "--split-method"},
		{"create-split-key --split-parts 2 --prime-field-size x", "--prime-field-size"},
		{"create-split-key --split-parts 2 --usage fly", "--usage"},
		{"join-split-key", "name the object"},
		{"join-split-key a b --type secret-data --secret-type whisper", "--secret-type"},
		{"export a --show --out x", "exclude each other"},
		{"export a --encoding no", "need --wrap-with"},
		{"import", "--file"},
		{"import --file /dev/null", "is not what export writes"},
		{"import --file /dev/null --usage sign", "--usage needs --type"},
		{"import --type opaque-object --file /dev/null", "is missing"},
		{"import a --type opaque-object", "name the file"},
		{"import a b", `unexpected argument "b"`},
		{"import --file /dev/null --wrap-type paper", "--wrap-type"},
		{"certify", "name the object"},
		{"certify --request /nonexistent", "--request: open /nonexistent"},
		{"certify --request /dev/null", "is empty"},
		{"certify --request /dev/null --subject CN=a", "do not go with --request"},
		{"certify --request /dev/null --request-type paper", "--request-type"},
		{"re-certify id --offset later", "--offset"},
		{"validate", "name the object"},
		{"validate --file /dev/null", "holds no certificate"},
		{"validate id --date never", "--date"},
		{"encrypt", "name the object"},
		{"encrypt id --mode fast", "--mode"},
		{"encrypt id --iv text", "--iv"},
		{"encrypt id --iv 00 --random-iv", "exclude each other"},
		{"encrypt id --iv-length 96", "--iv-length needs"},
		{"encrypt id --file /nonexistent", "--file: open /nonexistent"},
		{"encrypt id --out - --json", "would mix"},
		{"encrypt id --aad 00 --version 1.3", "cannot be sent in KMIP 1.3"},
		{"decrypt id --padding some --tag x", "--tag"},
		{"decrypt id --show --out x", "exclude each other"},
		{"decrypt id --force", "--force needs"},
		{"sign id --salt-length 20 --version 1.2", "Salt Length cannot be sent"},
		{"sign id --signature-algorithm pen", "--signature-algorithm"},
		{"signature-verify id", "give either --signature or --signature-file"},
		{"signature-verify id --signature 00 --signature-file x", "give either"},
		{"signature-verify id --signature-file -", "cannot both be standard input"},
		{"signature-verify id --signature x", "--signature"},
		{"mac id --algorithm magic", "--algorithm"},
		{"mac-verify id", "give either --mac or --mac-file"},
		{"mac-verify id --mac-file /nonexistent", "--mac-file: open /nonexistent"},
		{"hash extra", "unexpected argument"},
		{"hash --hash magic", "--hash"},
		{"rng-retrieve", "--length"},
		{"rng-retrieve --length 5 --show --out x", "exclude each other"},
		{"rng-seed --file /nonexistent", "no such file"},
		{"poll", "is missing"},
		{"poll xyz", "hexadecimal"},
		{"poll 00 11", "unexpected argument"},
		{"poll 00 --wait -1s", "--wait"},
		{"cancel", "is missing"},
	} {
		code, out, errOut := call(t, strings.Fields(tc.args)...)
		if code != 2 {
			t.Errorf("%q: status %d, want 2", tc.args, code)
		}
		if strings.Contains(errOut, ": usage") {
			t.Errorf("%q: the mark of the error shows: %q", tc.args, errOut)
		}
		if !strings.Contains(out+errOut, tc.want) {
			t.Errorf("%q: got %q, want %q in it", tc.args, out+errOut, tc.want)
		}
	}
}
