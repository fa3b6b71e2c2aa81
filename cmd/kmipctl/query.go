package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

var cmdDiscoverVersions = command{
	name: "discover-versions", args: "[VERSION ...]", short: "list the protocol versions that the server speaks",
	about:    "With versions as arguments the server answers with those of them that it speaks, as it prefers them. KMIP 1.1 and newer.",
	examples: []string{"discover-versions", "discover-versions 1.2 1.4 2.1"},
	setup: func(*pflag.FlagSet) action {
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			req := &kmip.DiscoverVersionsRequest{}
			for _, a := range args {
				var v kmip.ProtocolVersion
				if _, err := fmt.Sscanf(a, "%d.%d", &v.ProtocolVersionMajor, &v.ProtocolVersionMinor); err != nil || versionText(v) != a {
					return nil, usageError("%q is not a version such as 1.4", a)
				}
				req.ProtocolVersion = append(req.ProtocolVersion, v)
			}
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.DiscoverVersionsRequest, kmip.DiscoverVersionsResponse](ctx, c, kmip.OperationDiscoverVersions, req)
			if err != nil {
				return nil, err
			}
			out := &versions{ProtocolVersions: []string{}}
			for _, v := range resp.ProtocolVersion {
				out.ProtocolVersions = append(out.ProtocolVersions, versionText(v))
			}
			return out, nil
		}
	},
}

func versionText(v kmip.ProtocolVersion) string {
	return fmt.Sprintf("%d.%d", v.ProtocolVersionMajor, v.ProtocolVersionMinor)
}

// versions is the result of Discover Versions.
type versions struct {
	ProtocolVersions []string `json:"protocol_versions"`
}

func (v *versions) rows() []row     { return nil }
func (v *versions) ids() []string   { return nil }
func (v *versions) plain() []string { return v.ProtocolVersions }

var cmdQuery = command{
	name: "query", short: "show what the server can do",
	examples: []string{
		"query",
		"query --function query-operations,query-objects --json",
	},
	setup: func(f *pflag.FlagSet) action {
		var functions []string
		f.StringSliceVar(&functions, "function", nil, "`list` of what to ask: query-operations, query-objects, query-server-information, query-application-namespaces,"+
			" query-extension-list, query-extension-map, query-attestation-types, query-rngs, query-validations, query-profiles, query-capabilities,"+
			" query-client-registration-methods; query- may be left out (default all that the version has)")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if err := none(args); err != nil {
				return nil, err
			}
			req, err := queryRequest(functions, k.version)
			if err != nil {
				return nil, err
			}
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.QueryRequest, kmip.QueryResponse](ctx, c, kmip.OperationQuery, req)
			if err != nil {
				return nil, err
			}
			return viewQuery(resp), nil
		}
	},
}

func queryRequest(functions []string, ver kmip.Version) (*kmip.QueryRequest, error) {
	req := &kmip.QueryRequest{}
	var problems []error
	for _, f := range functions {
		v, ok := enumByName("QueryFunction", "query "+f)
		if !ok {
			var err error
			if v, err = parseEnum("QueryFunction", f); err != nil {
				problems = append(problems, fmt.Errorf("--function: %w", err))
			}
		}
		req.QueryFunction = append(req.QueryFunction, kmip.QueryFunction(v))
	}
	if len(functions) == 0 {
		for _, n := range kmip.EnumNames("QueryFunction") {
			v, _ := kmip.EnumByName("QueryFunction", n)
			// The map of the extensions holds their list.
			if q := kmip.QueryFunction(v); q.KnownIn(ver) && q != kmip.QueryFunctionQueryExtensionList {
				req.QueryFunction = append(req.QueryFunction, q)
			}
		}
	}
	return req, joined("", problems)
}

// serverView is the result of Query. What the server did not answer is left out.
type serverView struct {
	Operations          []string     `json:"operations,omitempty"`
	ObjectTypes         []string     `json:"object_types,omitempty"`
	Vendor              string       `json:"vendor_identification,omitempty"`
	ServerInformation   structured   `json:"server_information,omitempty"`
	Namespaces          []string     `json:"application_namespaces,omitempty"`
	Extensions          []structured `json:"extensions,omitempty"`
	AttestationTypes    []string     `json:"attestation_types,omitempty"`
	RNGs                []structured `json:"rngs,omitempty"`
	Profiles            []structured `json:"profiles,omitempty"`
	Validations         []structured `json:"validations,omitempty"`
	Capabilities        []structured `json:"capabilities,omitempty"`
	RegistrationMethods []string     `json:"client_registration_methods,omitempty"`
}

func viewQuery(r *kmip.QueryResponse) *serverView {
	v := &serverView{
		Operations: enumNames("Operation", r.Operation), ObjectTypes: enumNames("ObjectType", r.ObjectType),
		Namespaces: r.ApplicationNamespace, AttestationTypes: enumNames("AttestationType", r.AttestationType),
		RegistrationMethods: enumNames("ClientRegistrationMethod", r.ClientRegistrationMethod),
		RNGs:                viewAll(r.RNGParameters), Profiles: viewAll(r.ProfileInformation),
		Validations: viewAll(r.ValidationInformation), Capabilities: viewAll(r.CapabilityInformation),
	}
	if r.VendorIdentification != nil {
		v.Vendor = *r.VendorIdentification
	}
	labels := map[ttlv.Tag]string{}
	for _, e := range r.ExtensionInformation {
		v.Extensions = append(v.Extensions, viewExtension(&e))
		if e.ExtensionTag != nil {
			labels[ttlv.Tag(*e.ExtensionTag)] = e.ExtensionName
		}
	}
	if r.ServerInformation.Type == ttlv.Structure {
		// The extension map, when it was asked for, names the fields.
		v.ServerInformation = decodeStructure(r.ServerInformation, func(t ttlv.Tag) string {
			if n := labels[t]; n != "" {
				return n
			}
			return tagLabel(t)
		})
	}
	return v
}

// viewExtension writes tag and type as the specification does.
func viewExtension(e *kmip.ExtensionInformation) structured {
	out := structured{{"Extension Name", e.ExtensionName}}
	if e.ExtensionTag != nil {
		out = append(out, member{"Extension Tag", fmt.Sprintf("0x%06X", *e.ExtensionTag)})
	}
	if e.ExtensionType != nil {
		out = append(out, member{"Extension Type", ttlv.Type(*e.ExtensionType).String()})
	}
	return out
}

func enumNames[T ~uint32](enum string, list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, enumName(enum, uint32(v)))
	}
	return out
}

func viewAll[T any, P interface {
	*T
	structure
}](list []T) []structured {
	var out []structured
	for i := range list {
		out = append(out, fieldsOf(P(&list[i])))
	}
	return out
}

func (v *serverView) rows() []row {
	var out []row
	if v.Vendor != "" {
		out = append(out, text("Vendor Identification", v.Vendor))
	}
	if v.ServerInformation != nil {
		out = append(out, text("Server Information", v.ServerInformation))
	}
	for _, l := range []struct {
		label string
		list  []string
	}{{"Operations", v.Operations}, {"Object Types", v.ObjectTypes}, {"Application Namespaces", v.Namespaces},
		{"Attestation Types", v.AttestationTypes}, {"Client Registration", v.RegistrationMethods}} {
		if len(l.list) > 0 {
			out = append(out, row{l.label, printableAll(l.list)})
		}
	}
	for _, l := range []struct {
		label string
		list  []structured
	}{{"Capabilities", v.Capabilities}, {"RNGs", v.RNGs}, {"Profiles", v.Profiles}, {"Validations", v.Validations},
		{"Extensions", v.Extensions}} {
		var r row
		for _, s := range l.list {
			r.label = l.label
			r.lines = append(r.lines, oneOrMore(s, l.label == "Capabilities")...)
		}
		if r.label != "" {
			out = append(out, r)
		}
	}
	return out
}

// oneOrMore is a structure on one line, its values alone, or with a line for each field.
func oneOrMore(s structured, many bool) []string {
	if many {
		return lines(s)
	}
	var values []string
	for _, m := range s {
		values = append(values, strings.Join(lines(m.value), " "))
	}
	return []string{strings.Join(values, ", ")}
}

func (v *serverView) ids() []string { return nil }
