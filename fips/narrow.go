package fips

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kmipd/kmip"
)

// narrowName is the name of what an operator took away.
const narrowName = "operator"

// Narrowing is what an operator leaves of a policy: for each field the values that remain, by their KMIP names. A list
// that is not there leaves all; an empty one leaves nothing. It can take away and never add.
type Narrowing struct {
	Algorithms  map[string][]int `toml:"algorithms" json:"algorithms"` // algorithm to lengths in bits; no lengths: all
	Curves      *[]string        `toml:"curves" json:"curves"`
	Hashes      *[]string        `toml:"hashes" json:"hashes"`
	Modes       *[]string        `toml:"modes" json:"modes"`
	Paddings    *[]string        `toml:"paddings" json:"paddings"`
	Signatures  *[]string        `toml:"signatures" json:"signatures"`
	Derivations *[]string        `toml:"derivations" json:"derivations"`
	Formats     *[]string        `toml:"formats" json:"formats"`
	Objects     *[]string        `toml:"objects" json:"objects"`
	Until       Sunsets          `toml:"until" json:"until,omitzero"`
}

// Sunsets are days (2006-01-02, UTC) by KMIP names: from its day on a value is refused, but for processing what exists already.
type Sunsets struct {
	Algorithms  map[string]string `toml:"algorithms" json:"algorithms,omitempty"`
	Curves      map[string]string `toml:"curves" json:"curves,omitempty"`
	Hashes      map[string]string `toml:"hashes" json:"hashes,omitempty"`
	Modes       map[string]string `toml:"modes" json:"modes,omitempty"`
	Paddings    map[string]string `toml:"paddings" json:"paddings,omitempty"`
	Signatures  map[string]string `toml:"signatures" json:"signatures,omitempty"`
	Derivations map[string]string `toml:"derivations" json:"derivations,omitempty"`
}

// Narrow is the policy with what the operator left of it. The error lists every value that is not a KMIP name, or not a day.
func (p *Policy) Narrow(n Narrowing) (*Policy, error) {
	t := &table{name: narrowName}
	var unknown []string
	if n.Algorithms != nil {
		t.keys = []keyRow{}
	}
	for name, lengths := range n.Algorithms {
		a, ok := named[kmip.CryptographicAlgorithm](name)
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		if len(lengths) == 0 {
			t.keys = append(t.keys, keyRow{algorithm: a, terms: terms{uses: everything, source: narrowName}})
		}
		for _, bits := range lengths {
			t.keys = append(t.keys, keyRow{algorithm: a, min: bits, max: bits, terms: terms{uses: everything, source: narrowName}})
		}
	}
	slices.SortFunc(t.keys, func(a, b keyRow) int { return int(a.algorithm) - int(b.algorithm) })
	t.curves = left[kmip.RecommendedCurve](n.Curves, &unknown)
	t.hashes = left[kmip.HashingAlgorithm](n.Hashes, &unknown)
	t.modes = left[kmip.BlockCipherMode](n.Modes, &unknown)
	t.paddings = left[kmip.PaddingMethod](n.Paddings, &unknown)
	t.signatures = left[kmip.DigitalSignatureAlgorithm](n.Signatures, &unknown)
	t.derivations = left[kmip.DerivationMethod](n.Derivations, &unknown)
	t.formats = left[kmip.KeyFormatType](n.Formats, &unknown)
	t.objects = left[kmip.ObjectType](n.Objects, &unknown)
	ends, days := n.Until.table(p, &unknown)
	var errs []error
	if unknown != nil {
		slices.Sort(unknown)
		errs = append(errs, fmt.Errorf("no KMIP enumeration has the values %s", strings.Join(unknown, ", ")))
	}
	if days != nil {
		slices.Sort(days)
		errs = append(errs, fmt.Errorf("until: no days as 2031-12-31: %s", strings.Join(days, ", ")))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	tables := append(slices.Clone(p.tables), t)
	if ends != nil {
		tables = append(tables, ends)
	}
	out := policyOf(p.name, tables...)
	out.left = append(slices.Clone(p.left), n)
	return out, nil
}

// table has a row for each value that ends, and leaves the rest; nil without any. bad are the days that are none.
func (s Sunsets) table(p *Policy, unknown *[]string) (t *table, bad []string) {
	t = &table{name: narrowName, rest: true, clock: p.tables[0].clock}
	for _, r := range ending[kmip.CryptographicAlgorithm](s.Algorithms, unknown, &bad) {
		t.keys = append(t.keys, keyRow{algorithm: r.value, terms: r.terms})
	}
	t.curves = ending[kmip.RecommendedCurve](s.Curves, unknown, &bad)
	t.hashes = ending[kmip.HashingAlgorithm](s.Hashes, unknown, &bad)
	t.modes = ending[kmip.BlockCipherMode](s.Modes, unknown, &bad)
	t.paddings = ending[kmip.PaddingMethod](s.Paddings, unknown, &bad)
	t.signatures = ending[kmip.DigitalSignatureAlgorithm](s.Signatures, unknown, &bad)
	t.derivations = ending[kmip.DerivationMethod](s.Derivations, unknown, &bad)
	if len(t.keys)+len(t.curves)+len(t.hashes)+len(t.modes)+len(t.paddings)+len(t.signatures)+len(t.derivations) == 0 {
		return nil, bad
	}
	return t, bad
}

// ending are the rows of values that end, in the order of their names.
func ending[T enum](days map[string]string, unknown, bad *[]string) []row[T] {
	var rows []row[T]
	for _, name := range slices.Sorted(maps.Keys(days)) {
		v, ok := named[T](name)
		if !ok {
			*unknown = append(*unknown, name)
		}
		day, err := time.Parse(time.DateOnly, days[name])
		if err != nil {
			*bad = append(*bad, fmt.Sprintf("%s = %q", name, days[name]))
		}
		if ok && err == nil {
			rows = append(rows, row[T]{v, terms{uses: everything, legacy: processing, until: day, source: narrowName}})
		}
	}
	return rows
}

// enum is a KMIP enumeration.
type enum interface {
	~uint32
	fmt.Stringer
}

// named finds a value of an enumeration by its name. The values of KMIP are small numbers.
func named[T enum](name string) (T, bool) {
	for i := T(1); i < 256; i++ {
		if i.String() == name && name != fmt.Sprintf("%08X", uint32(i)) { // String of a value without a name
			return i, true
		}
	}
	return 0, false
}

func left[T enum](names *[]string, unknown *[]string) []row[T] {
	if names == nil {
		return nil
	}
	rows := []row[T]{}
	for _, name := range *names {
		v, ok := named[T](name)
		if !ok {
			*unknown = append(*unknown, name)
			continue
		}
		rows = append(rows, row[T]{v, terms{uses: everything, source: narrowName}})
	}
	return rows
}
