package fips

import (
	"fmt"
	"slices"
	"strings"

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
}

// Narrow is the policy with what the operator left of it. The error lists every value that is not a KMIP name.
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
	if unknown != nil {
		slices.Sort(unknown)
		return nil, fmt.Errorf("no KMIP enumeration has the values %s", strings.Join(unknown, ", "))
	}
	out := policyOf(p.name, append(slices.Clone(p.tables), t)...)
	out.left = append(slices.Clone(p.left), n)
	return out, nil
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
