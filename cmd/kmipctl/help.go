package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

const helpWidth = 110

func usage(w io.Writer) {
	fmt.Fprint(w, "kmipctl is a KMIP client for the command line.\n\nUsage: kmipctl COMMAND [arguments] [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-20s %s\n", c.name, c.short)
	}
	fmt.Fprintf(w, "  %-20s %s\n", "version", "print the version of kmipctl")
	fmt.Fprint(w, "\nTopics:\n")
	for _, t := range topics {
		fmt.Fprintf(w, "  %-20s %s\n", t.name, t.short)
	}
	fmt.Fprint(w, "\nkmipctl help COMMAND and kmipctl help TOPIC tell more.\n")
}

// help is the command help.
func help(k *kit, shared *pflag.FlagSet, args []string) int {
	if len(args) == 0 {
		usage(k.out)
		return 0
	}
	if args[0] == "connection" {
		fmt.Fprint(k.out, connectionHelp, "\nFlags:\n", shared.FlagUsagesWrapped(helpWidth))
		return 0
	}
	for _, t := range topics {
		if t.name == args[0] {
			fmt.Fprint(k.out, t.text)
			return 0
		}
	}
	c := find(args[0])
	if c == nil {
		return k.fail(nil, usageError("there is no command or topic %q; kmipctl help lists them", args[0]))
	}
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SortFlags = false
	c.setup(f)
	c.help(k.out, f.FlagUsagesWrapped(helpWidth))
	return 0
}

// help prints the help of a command; flags is the list of its own flags.
func (c *command) help(w io.Writer, flags string) {
	fmt.Fprintf(w, "kmipctl %s: %s\n\nUsage: kmipctl %s\n", c.name, c.short, strings.Join(strings.Fields(c.name+" "+c.args+" [flags]"), " "))
	if c.about != "" {
		fmt.Fprintf(w, "\n%s\n", c.about)
	}
	if flags != "" {
		fmt.Fprintf(w, "\nFlags:\n%s", flags)
	}
	fmt.Fprint(w, "\nExamples:\n")
	for _, e := range c.examples {
		fmt.Fprintf(w, "  kmipctl %s\n", e)
	}
	fmt.Fprint(w, "\nFlags of connection and output (--dir, --address, --json, ...): kmipctl help connection\n")
}

var topics = []struct{ name, short, text string }{
	{"connection", "how to name the server and who asks", ""},
	{"attributes", "how attribute values are written", attributesHelp},
	{"data", "how files and octets go in and out", dataHelp},
	{"output", "what --json prints, and exit statuses", outputHelp},
}

const connectionHelp = `Every flag below may stand before or after the command, and has an environment variable: --server-name is
KMIPCTL_SERVER_NAME. Flags go before the environment. The password comes from a file or, with --username alone, from a
prompt on the terminal; it is never the value of a flag.

  kmipctl --dir .dev query
  export KMIPCTL_ADDRESS=kms.example:5696 KMIPCTL_CA=ca.pem KMIPCTL_CERT=me.pem KMIPCTL_KEY=me.key
  kmipctl query

KMIP over HTTPS is another address; its messages may be in XML or JSON, which tools on the way can read:

  kmipctl --dir .dev --address https://127.0.0.1:5696 --message-encoding json query
`

const attributesHelp = `Attributes are written NAME=VALUE. The name is that of the specification; case, blanks and hyphens are disregarded. An
attribute of the specification has a type, and its value is written so:

  Text String     as it is
  Enumeration     the name of the value, or its number 0x...     Cryptographic Algorithm=AES
  usage mask      names with commas between them                 Cryptographic Usage Mask=encrypt,decrypt
  Integer         decimal or 0x...                               Cryptographic Length=256
  Boolean         true or false                                  Sensitive=true
  Byte String     hexadecimal
  Date-Time       RFC 3339, a day, now, or a distance from now   Activation Date=2026-01-01, =now, =+720h, =-30d
  Interval        seconds, or a duration                         Lease Time=3600, =1h
  Structure       Field=Value;Field=Value                        Link=Link Type=Public Key Link;Linked Object Identifier=ID
                  (\; and \\ stand for ; and \ in a value)

Name=first-key is short for Name=Name Value=first-key;Name Type=Uninterpreted Text String, and the same goes for
Alternative Name. Application Specific Information=ssl:www.example is namespace and data.

The names of custom attributes begin with x-. Their values are text unless a type stands before them:

  text: int: long: big: enum: bool: bytes: date: interval: struct:

  x-Owner=alice      x-Count=int:7      x-Mark=bytes:00ff      x-Due=date:2026-01-01T12:00:00Z
  x-Pair=struct:Name Value=text:alice;0x540001=int:7      (the fields are tags: a name of the specification or a number)

The same prefixes go before values of attributes that kmipctl does not know.
`

const dataHelp = `Data is read from --file, or from standard input. With --hex the file is text in hexadecimal, in which blanks, colons and
ends of lines do not matter. No secret is ever the value of a flag.

Values of flags that are octets (--iv, --tag, --aad, --salt, --signature, ...) are hexadecimal. --aad, --salt and --label may
be text: --aad text:header.

What an operation makes is printed in hexadecimal, or written as octets with --out: to a new file that only you can read, which
--force lets replace another one, or to standard output with --out -. What is secret (decrypt, rng-retrieve, get, export) is
printed with --show only.

A file of more than 512 KiB is sent in parts (KMIP 1.3): so files of any size can be encrypted in modes other than gcm, hashed and
signed. kmipd buffers the whole of what it does in one go, gcm and MACs: 16 MiB at most. A result is written part by part; when
the operation fails, the file is taken away. Before KMIP 1.3 all data goes into one message.

  kmipctl encrypt --name k --mode gcm --random-iv --file letter.txt --out letter.enc --json > letter.json
  kmipctl decrypt --name k --mode gcm --iv $(jq -r .iv_counter_nonce letter.json) \
      --tag $(jq -r .authenticated_encryption_tag letter.json) --file letter.enc --out letter.txt
`

const outputHelp = `Without --json the output is for people and may change. With --quiet it is Unique Identifiers alone, one a line,
and the Asynchronous Correlation Value of an operation that is pending.

With --json standard output holds one JSON document, whatever happens. Absent fields are left out.

  create, register, import, derive-key, join-split-key     {"unique_identifier", "object_type"}
  create-key-pair, re-key-key-pair   {"private_key_unique_identifier", "public_key_unique_identifier"}
  get                     {"unique_identifier", "object_type", "object": {... "material": {"octets", "hex" or "fields"}}}
                          hex and fields with --show only; with --out "file" and "written" (octets)
  export                  as get, and "attributes": [ATTRIBUTE]
  get-attributes          {"unique_identifier", "attributes": [ATTRIBUTE]}
  get-attribute-list      {"unique_identifier", "attribute_names": [NAME]}
  add-, modify-, delete-attribute    {"unique_identifier", "attribute": ATTRIBUTE}
  locate                  {"unique_identifiers": [ID], "located_items"}; with --details "objects": [{"unique_identifier", "attributes"}]
  check                   {"unique_identifier"}
  activate, revoke, destroy, archive, recover, re-key, certify, re-certify, get-usage-allocation    {"unique_identifier"}
  obtain-lease            {"unique_identifier", "lease_time", "last_change_date"}
  create-split-key        {"unique_identifiers": [ID]}
  encrypt                 {"unique_identifier", "data", "iv_counter_nonce", "authenticated_encryption_tag"}; the latter two as the
                          server answers them; with --out "file" and "written" instead of "data", here and below
  sign, mac, hash         {"unique_identifier", "signature_data"}, {"unique_identifier", "mac_data"}, {"data"}
  decrypt, rng-retrieve   {"unique_identifier", "octets", "data"}, {"octets", "data"}; data with --show only
  signature-verify, mac-verify, validate     {"unique_identifier", "validity_indicator": "Valid", "Invalid" or "Unknown"}
  rng-seed                {"data_length"}
  query                   {"operations", "object_types", "vendor_identification", "server_information", ...}
  discover-versions       {"protocol_versions": ["1.4"]}
  with --async            {"asynchronous_correlation_value", "result_status": "Operation Pending"}, unless it is done at once
  poll                    what the command prints, or the same
  cancel                  {"asynchronous_correlation_value", "cancellation_result"}
  failure                 {"error": {"reason", "message"}}

ATTRIBUTE is {"name", "index", "type", "value"}. Values: Text String, Date-Time (RFC 3339, UTC), Enumeration (its name, or
"0x..." for one that kmipctl does not know), Byte String (hexadecimal) and Big Integer ("0x...") are strings; Integer, Long
Integer and Interval (seconds) are numbers; masks are lists of names; structures are objects whose fields have the
specification's names, with a list for a field that may be repeated.

"reason" is the Result Reason of the specification; Client Error when the request never reached the server or its answer
was not understood; Usage for mistakes in the call.

Exit status: 0 done; 1 refused by the server, or the network failed, or the answer is no: a signature that is not valid, an
operation that is not done when it is polled, one that could not be canceled; 2 a mistake in the call.
`
