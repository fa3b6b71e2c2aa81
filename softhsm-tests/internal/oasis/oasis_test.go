package oasis

import (
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// TestEveryCaseLoads reads every case in scope: no tag, name or value may be unknown.
func TestEveryCaseLoads(t *testing.T) {
	shared := registry.Shared(t)
	reg, err := registry.Load(shared, "1.4")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Manifest(shared)
	if err != nil {
		t.Fatal(err)
	}
	s := Select(all, Versions, Operations)
	cases := 0
	for _, g := range s.Groups {
		for _, e := range g {
			cases++
			if _, err := Load(shared, e, reg); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d cases in %d groups, %d excluded", cases, len(s.Groups), len(s.Excluded))
	if cases < 170 {
		t.Errorf("got %d cases, want at least 170", cases)
	}
	for _, x := range s.Excluded {
		if x.Reason == "" {
			t.Errorf("%s is excluded without a reason", x.Name)
		}
	}
}

func TestParse(t *testing.T) {
	reg, err := registry.Load(registry.Shared(t), "1.4")
	if err != nil {
		t.Fatal(err)
	}
	const doc = `<KMIP># TIME 0
	<RequestMessage><BatchItem><Operation type="Enumeration" value="Get"/>
	  <RequestPayload><UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>
	    <Attribute><AttributeName type="TextString" value="Object   Type"/><AttributeValue type="Enumeration" value="SymmetricKey"/></Attribute>
	    <Attribute><AttributeName type="TextString" value="Cryptographic Usage Mask"/><AttributeValue type="Integer" value="Encrypt   Decrypt"/></Attribute>
	    <TTLV tag="0x540001" type="TextString" value="na"/></RequestPayload></BatchItem></RequestMessage>
	<ResponseMessage/></KMIP>`
	got, err := Parse(strings.NewReader(doc), reg)
	if err != nil {
		t.Fatal(err)
	}
	payload := got[0].Request.Find(reg.MustTag("BatchItem"), reg.MustTag("RequestPayload"))
	if v := payload.Children[0].Value; v != Var("$UNIQUE_IDENTIFIER_0") {
		t.Errorf("variable: got %v", v)
	}
	if v := payload.Children[1].Children; v[0].Text() != "Object Type" || v[1].Value != uint32(2) {
		t.Errorf("attribute: got %v, %v", v[0].Value, v[1].Value)
	}
	if v := payload.Children[2].Children[1].Value; v != int32(12) {
		t.Errorf("mask: got %v", v)
	}
	if n := payload.Children[3]; n.Tag != 0x540001 || n.Type != rawttlv.TextString {
		t.Errorf("extension: got 0x%06X %s", n.Tag, n.Type)
	}
}

func TestSelect(t *testing.T) {
	all := []Entry{
		{Name: "A", Version: "1.0", Operations: []string{"Get"}},
		{Name: "B", Version: "1.0", Operations: []string{"Sign"}},
		{Name: "S-1", Version: "1.0", Operations: []string{"Get"}, Notes: "sequence S"},
		{Name: "S-2", Version: "1.0", Operations: []string{"Get"}, Notes: "sequence S"},
		{Name: "T-1", Version: "1.0", Operations: []string{"Sign"}, Notes: "sequence T"},
		{Name: "T-2", Version: "1.0", Operations: []string{"Get"}, Notes: "sequence T"},
		{Name: "MSGENC-XML-M-1-10", Version: "1.0", Operations: []string{"Get"}},
		{Name: "C", Version: "2.1", Operations: []string{"Get"}},
	}
	s := Select(all, []string{"1.0"}, []string{"Get"})
	if len(s.Groups) != 3 || len(s.Groups[1]) != 2 || len(s.Excluded) != 1 {
		t.Errorf("got %+v", s)
	}
	if s.Groups[0][0].Encoding() != "" || s.Groups[2][0].Encoding() != "xml" {
		t.Error("Encoding")
	}
}
