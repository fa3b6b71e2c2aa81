package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// newObject is the flags that give attributes to a new object.
type newObject struct {
	flags *pflag.FlagSet

	names, groups, templates, attributes []string
	usage, description, comment, contact string
	activation, deactivation             string
	processStart, protectStop            string
	sensitive, extractable               bool
}

func (o *newObject) define(f *pflag.FlagSet) {
	f.StringArrayVar(&o.names, "name", nil, "`Name` of the object; may be repeated")
	o.defineRest(f)
}

// defineNew is define for commands whose --name finds the object that the new one is made from.
func (o *newObject) defineNew(f *pflag.FlagSet) {
	f.StringArrayVar(&o.names, "new-name", nil, "`Name` of the new object; may be repeated")
	o.defineRest(f)
}

func (o *newObject) defineRest(f *pflag.FlagSet) {
	f.StringArrayVar(&o.groups, "group", nil, "`Object Group` of the object; may be repeated")
	f.StringArrayVar(&o.templates, "template", nil, "`Name` of a template to take attributes from; may be repeated")
	o.defineUsage(f)
	o.defineCommon(f)
}

func (o *newObject) defineUsage(f *pflag.FlagSet) {
	f.StringVar(&o.usage, "usage", "", "`list` of what the key is for: encrypt,decrypt,sign,verify,wrap,unwrap,mac-generate,mac-verify,derive,...; none")
}

// templateAttribute is what the flags say of an object that is made from another one: nothing is assumed. nil when they
// say nothing.
func (o *newObject) templateAttribute() (*kmip.TemplateAttribute, error) {
	list, err := o.list()
	if err != nil {
		return nil, err
	}
	ta := &kmip.TemplateAttribute{Name: templateNames(o.templates), Attribute: append(list, o.release()...)}
	if len(ta.Name)+len(ta.Attribute) == 0 {
		return nil, nil
	}
	return ta, nil
}

// defineCommon declares the flags that the two halves of a pair share.
func (o *newObject) defineCommon(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.activation, "activation-date", "", "`date` from which the object is active: now, 2026-01-31, +24h, ...")
	f.StringVar(&o.processStart, "process-start-date", "", "`date` before which the key must not process anything")
	f.StringVar(&o.protectStop, "protect-stop-date", "", "`date` from which the key must not protect anything new")
	f.StringVar(&o.deactivation, "deactivation-date", "", "`date` from which the object is deactivated")
	f.BoolVar(&o.sensitive, "sensitive", false, "the key leaves the server wrapped only (KMIP 1.4)")
	f.BoolVar(&o.extractable, "extractable", true, "the key may leave the server at all (KMIP 1.4)")
	f.StringVar(&o.description, "description", "", "`text` for people (KMIP 1.4)")
	f.StringVar(&o.comment, "comment", "", "`text` for people (KMIP 1.4)")
	f.StringVar(&o.contact, "contact", "", "Contact Information `text`")
	f.StringArrayVar(&o.attributes, "attribute", nil, "any attribute, as `NAME=VALUE`; may be repeated: kmipctl help attributes")
}

// list is the attributes of all flags, names first. All that is wrong is reported at once.
func (o *newObject) list() ([]kmip.Attribute, error) {
	var out []kmip.Attribute
	var problems []error
	for _, n := range o.names {
		out = append(out, nameAttribute(n))
	}
	for _, g := range o.groups {
		out = append(out, attribute("Object Group", ttlv.AppendText(nil, kmip.TagAttributeValue, g)))
	}
	if o.usage != "" {
		a, err := usageAttribute(o.usage)
		if err != nil {
			problems = append(problems, fmt.Errorf("--usage: %w", err))
		}
		out = append(out, a)
	}
	for _, d := range []struct{ flag, name, text string }{
		{"activation-date", "Activation Date", o.activation}, {"process-start-date", "Process Start Date", o.processStart},
		{"protect-stop-date", "Protect Stop Date", o.protectStop}, {"deactivation-date", "Deactivation Date", o.deactivation},
	} {
		if d.text == "" {
			continue
		}
		t, err := parseDate(d.text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", d.flag, err))
			continue
		}
		out = append(out, dateAttribute(d.name, t))
	}
	for _, t := range []struct{ name, text string }{{"Description", o.description}, {"Comment", o.comment},
		{"Contact Information", o.contact}} {
		if t.text != "" {
			out = append(out, attribute(t.name, ttlv.AppendText(nil, kmip.TagAttributeValue, t.text)))
		}
	}
	more, bad := parseAttributes("attribute", o.attributes)
	return append(out, more...), joined("", append(problems, bad...))
}

// release is Sensitive and Extractable, where they were named.
func (o *newObject) release() []kmip.Attribute {
	var out []kmip.Attribute
	if o.flags.Changed("sensitive") {
		out = append(out, attribute("Sensitive", ttlv.AppendBool(nil, kmip.TagAttributeValue, o.sensitive)))
	}
	if o.flags.Changed("extractable") {
		out = append(out, attribute("Extractable", ttlv.AppendBool(nil, kmip.TagAttributeValue, o.extractable)))
	}
	return out
}

func usageAttribute(text string) (kmip.Attribute, error) {
	mask := int32(0)
	var err error
	if text != "none" {
		mask, err = parseMask("CryptographicUsageMask", text)
	}
	return intAttribute("Cryptographic Usage Mask", mask), err
}

func dateAttribute(name string, t time.Time) kmip.Attribute {
	return attribute(name, ttlv.AppendTime(nil, kmip.TagAttributeValue, t))
}

func parseAttributes(flag string, list []string) (out []kmip.Attribute, problems []error) {
	for _, s := range list {
		a, err := parseAttribute(s)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
		out = append(out, a)
	}
	return out, problems
}

func templateNames(names []string) []kmip.Name {
	out := make([]kmip.Name, len(names))
	for i, n := range names {
		out[i] = kmip.Name{NameValue: n, NameType: kmip.NameTypeUninterpretedTextString}
	}
	return out
}

// parseAlgorithm reads --algorithm; 0 for "".
func parseAlgorithm(s string) (kmip.CryptographicAlgorithm, error) {
	if s == "" {
		return 0, nil
	}
	v, err := parseEnum("CryptographicAlgorithm", s)
	if err != nil {
		return 0, fmt.Errorf("--algorithm: %w", err)
	}
	return kmip.CryptographicAlgorithm(v), nil
}

// secretUsage is the usage of a secret key when none is named: what its algorithm is for.
func secretUsage(alg kmip.CryptographicAlgorithm) kmip.CryptographicUsageMask {
	if isMAC(alg) {
		return kmip.CryptographicUsageMaskMACGenerate | kmip.CryptographicUsageMaskMACVerify
	}
	return kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskDecrypt
}

func isMAC(alg kmip.CryptographicAlgorithm) bool {
	return strings.HasPrefix(alg.String(), "HMAC")
}

// pairUsage is the usage of one half of a pair when none is named.
func pairUsage(alg kmip.CryptographicAlgorithm, private bool) kmip.CryptographicUsageMask {
	switch {
	case alg == kmip.CryptographicAlgorithmECDH || alg == kmip.CryptographicAlgorithmDH:
		return kmip.CryptographicUsageMaskKeyAgreement
	case private && alg == kmip.CryptographicAlgorithmRSA:
		return kmip.CryptographicUsageMaskSign | kmip.CryptographicUsageMaskDecrypt | kmip.CryptographicUsageMaskUnwrapKey
	case alg == kmip.CryptographicAlgorithmRSA:
		return kmip.CryptographicUsageMaskVerify | kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskWrapKey
	case private:
		return kmip.CryptographicUsageMaskSign
	}
	return kmip.CryptographicUsageMaskVerify
}
