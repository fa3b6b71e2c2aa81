package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

var cmdLocate = command{
	name: "locate", short: "find objects by their attributes",
	about: `Prints one Unique Identifier a line. An object is found when it has all that the flags ask for; without any, all objects
are. Structures given with --attribute may lack fields: --attribute 'Link=Link Type=Public Key Link'. A range of dates
is --date 'Initial Date=FROM..TO' (either end may be missing), a single date is compared as it is.`,
	examples: []string{
		"locate --name first-key",
		"locate --type symmetric-key --algorithm AES --length 256 --state active --details",
		"locate --date 'Initial Date=2026-01-01T00:00:00Z..2026-02-01T00:00:00Z'",
		"locate --date 'Deactivation Date=..now' --max 10 --offset 20",
		"locate --group disks --group-member fresh",
	},
	setup: func(f *pflag.FlagSet) action {
		l := &locate{}
		l.define(f)
		return l.run
	},
}

type locate struct {
	later
	flags                                                      *pflag.FlagSet
	name, typ, group, algorithm, state, usage, member, storage string
	attributes, dates                                          []string
	length, max, offset                                        int32
	details                                                    bool
}

func (l *locate) define(f *pflag.FlagSet) {
	l.flags = f
	f.StringVar(&l.name, "name", "", "`Name`")
	f.StringVar(&l.typ, "type", "", "Object `Type`: symmetric-key, public-key, private-key, certificate, secret-data, opaque-object, ...")
	f.StringVar(&l.group, "group", "", "`Object Group`")
	f.StringVar(&l.algorithm, "algorithm", "", "Cryptographic `Algorithm`")
	f.Int32Var(&l.length, "length", 0, "Cryptographic Length in `bits`")
	f.StringVar(&l.state, "state", "", "`State`: pre-active, active, deactivated, compromised, destroyed, destroyed-compromised")
	f.StringVar(&l.usage, "usage", "", "`list` of uses that the key must be for: encrypt,decrypt,...")
	f.StringArrayVar(&l.attributes, "attribute", nil, "any attribute, as `NAME=VALUE`; may be repeated: kmipctl help attributes")
	f.StringArrayVar(&l.dates, "date", nil, "`NAME=FROM..TO` or NAME=DATE of an attribute that is a date; may be repeated")
	f.Int32Var(&l.max, "max", 0, "`number` of objects to return at most; --max 0 only counts them")
	f.Int32Var(&l.offset, "offset", 0, "`number` of objects to pass over (KMIP 1.3)")
	f.StringVar(&l.member, "group-member", "", "fresh or default, with --group")
	f.StringVar(&l.storage, "storage", "", "`list` of where the objects are: on-line-storage,archival-storage")
	f.BoolVar(&l.details, "details", false, "show type, algorithm, length, state and names, too")
	l.later.define(f)
}

func (l *locate) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := none(args); err != nil {
		return nil, err
	}
	req, err := l.request()
	if err != nil {
		return nil, err
	}
	c, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	res, err := askLater(ctx, c, l.later, kmip.OperationLocate, req, viewLocate)
	out, done := res.(*located)
	if err != nil || !done {
		return res, err
	}
	if out.Located != nil && !k.json {
		fmt.Fprintf(k.err, "objects that match: %d\n", *out.Located)
	}
	if out.details = l.details; l.details {
		out.Objects, err = describeAll(ctx, c, out.IDs)
	}
	return out, err
}

func viewLocate(r *kmip.LocateResponse) result {
	return &located{IDs: append([]string{}, r.UniqueIdentifier...), Located: r.LocatedItems}
}

func (l *locate) request() (*kmip.LocateRequest, error) {
	req := &kmip.LocateRequest{}
	var problems []error
	if l.details && l.async {
		problems = append(problems, errors.New("--details and --async exclude each other: the outcome of poll is identifiers"))
	}
	bad := func(flag string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	// What the short flags mean is written as --attribute would have it, so that there is one parser.
	for _, a := range []struct{ flag, name, value string }{{"type", "Object Type", l.typ}, {"algorithm", "Cryptographic Algorithm", l.algorithm},
		{"state", "State", l.state}, {"usage", "Cryptographic Usage Mask", l.usage}} {
		if a.value != "" {
			v, err := parseValue(a.name, true, a.value, true)
			bad(a.flag, err)
			req.Attribute = append(req.Attribute, kmip.Attribute{AttributeName: a.name, AttributeValue: v})
		}
	}
	if l.name != "" {
		req.Attribute = append(req.Attribute, nameAttribute(l.name))
	}
	if l.group != "" {
		req.Attribute = append(req.Attribute, attribute("Object Group", ttlv.AppendText(nil, kmip.TagAttributeValue, l.group)))
	}
	if l.length != 0 {
		req.Attribute = append(req.Attribute, intAttribute("Cryptographic Length", l.length))
	}
	for _, s := range l.attributes {
		a, err := parseFilter(s)
		bad("attribute", err)
		req.Attribute = append(req.Attribute, a)
	}
	for _, s := range l.dates {
		list, err := parseDates(s)
		bad("date", err)
		req.Attribute = append(req.Attribute, list...)
	}
	bad("max, --offset", l.page(req))
	return req, joined("", append(problems, l.where(req)...))
}

func (l *locate) page(req *kmip.LocateRequest) error {
	if l.max < 0 || l.offset < 0 {
		return fmt.Errorf("they must not be negative")
	}
	if l.flags.Changed("max") {
		req.MaximumItems = &l.max
	}
	if l.flags.Changed("offset") {
		req.OffsetItems = &l.offset
	}
	return nil
}

func (l *locate) where(req *kmip.LocateRequest) (problems []error) {
	switch l.member {
	case "":
	case "fresh":
		req.ObjectGroupMember = kmip.ObjectGroupMemberGroupMemberFresh
	case "default":
		req.ObjectGroupMember = kmip.ObjectGroupMemberGroupMemberDefault
	default:
		problems = append(problems, fmt.Errorf("--group-member: %q is neither fresh nor default", l.member))
	}
	if l.storage != "" {
		n, err := parseMask("StorageStatusMask", l.storage)
		if err != nil {
			problems = append(problems, fmt.Errorf("--storage: %w", err))
		}
		mask := kmip.StorageStatusMask(n)
		req.StorageStatusMask = &mask
	}
	return problems
}

// The ends of a range that is open: no object is older or younger.
var (
	beforeAll = time.Unix(0, 0).UTC()
	afterAll  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// parseDates reads NAME=DATE, or NAME=FROM..TO, which is the attribute twice (KMIP 1.4 section 4.9).
func parseDates(s string) ([]kmip.Attribute, error) {
	given, value, ok := strings.Cut(s, "=")
	if !ok {
		return nil, fmt.Errorf("%q is not NAME=FROM..TO", s)
	}
	name, known := attributeName(strings.TrimSpace(given))
	if !known || !isCustom(name) && attributeType(attributeTag(name)) != ttlv.DateTime {
		return nil, fmt.Errorf("%q is not an attribute that is a date", given)
	}
	from, to, isRange := strings.Cut(value, "..")
	if !isRange {
		t, err := parseDate(value)
		return []kmip.Attribute{dateAttribute(name, t)}, err
	}
	a, b := beforeAll, afterAll
	var err error
	if from != "" {
		if a, err = parseDate(from); err != nil {
			return nil, err
		}
	}
	if to != "" {
		if b, err = parseDate(to); err != nil {
			return nil, err
		}
	}
	if b.Before(a) {
		return nil, fmt.Errorf("%s: %s is after %s", name, dateText(a), dateText(b))
	}
	return []kmip.Attribute{dateAttribute(name, a), dateAttribute(name, b)}, nil
}

// located is the result of Locate.
type located struct {
	IDs     []string        `json:"unique_identifiers"`
	Located *int32          `json:"located_items,omitempty"`
	Objects []attributeList `json:"objects,omitempty"`
	details bool
}

func (l *located) rows() []row   { return nil }
func (l *located) ids() []string { return l.IDs }

func (l *located) plain() []string {
	if l.details {
		return detailTable(l.Objects)
	}
	return printableAll(l.IDs)
}
