package kmip

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kmipd/kmip/internal/oasisjson"
	"kmipd/kmip/ttlv"
)

const shared = "../../shared/kmip/registry"

// The z*.go files are what the generator makes of the registry.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "kmipd/kmip/internal/kmipgen", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fresh, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	have, err := filepath.Glob("z*.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(fresh) == 0 || len(fresh) != len(have) {
		t.Errorf("%d files are generated, %d are here", len(fresh), len(have))
	}
	for _, path := range fresh {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not current: make generate", filepath.Base(path))
		}
	}
}

// constants are the typed constants of a generated file, as the compiler will see them.
func constants(t *testing.T, file string) map[string]uint32 {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]uint32{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			if v, err := strconv.ParseUint(lit.Value, 0, 32); err == nil {
				values[spec.Names[0].Name] = uint32(v)
			}
		}
		return true
	})
	return values
}

// ident is a specification identifier as a Go name: underscores stay between digits only.
func ident(s string) string {
	var b strings.Builder
	digit := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= '0' && s[i] <= '9' }
	for i := range len(s) {
		if s[i] != '_' || digit(i-1) && digit(i+1) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

var versions = map[string]Version{"1.0": V1_0, "1.1": V1_1, "1.2": V1_2, "1.3": V1_3, "1.4": V1_4, "2.0": V2_0, "2.1": V2_1}

func TestTagsAgainstTheSpecification(t *testing.T) {
	want := oasisjson.Load(t, shared).Tags
	consts := constants(t, "ztags.go")
	for v, w := range want {
		tag := ttlv.Tag(v)
		if !slices.ContainsFunc(w.Idents, func(s string) bool { return consts["Tag"+ident(s)] == v }) {
			t.Errorf("%06X %s has no constant of that value", v, w.Names[0])
		}
		name := NameOfTag(tag)
		if !slices.Contains(w.Names, name) {
			t.Errorf("%06X is named %q, want one of %q", v, name, w.Names)
		}
		if back, ok := TagByName(name); !ok || back != tag {
			t.Errorf("TagByName(%q) is %06X", name, uint32(back))
		}
		if ident := IdentOfTag(tag); !slices.Contains(w.Idents, ident) {
			t.Errorf("%06X has the identifier %q, want one of %q", v, ident, w.Idents)
		} else if back, ok := TagByIdent([]byte(ident)); !ok || back != tag {
			t.Errorf("TagByIdent(%q) is %06X", ident, uint32(back))
		}
		typ := ""
		if n := TagType(tag); n != 0 {
			typ = strings.NewReplacer(" ", "", "-", "").Replace(n.String())
		}
		first := oasisjson.Versions[slices.IndexFunc(oasisjson.Versions, func(ver string) bool { return w.In[ver] })]
		if typ != w.Types[first] && !(typ == "" && w.Types[first] == "") && !slices.Contains([]string{"Reference", "NameReference"}, w.Types[first]) {
			t.Errorf("%06X %s: type %q, want %q", v, name, typ, w.Types[first])
		}
		for ver, version := range versions {
			if TagKnownIn(tag, version) != w.In[ver] {
				t.Errorf("%06X %s in %s: known %t, want %t", v, name, ver, TagKnownIn(tag, version), w.In[ver])
			}
		}
	}
	for name, v := range consts {
		if strings.HasPrefix(name, "Tag") && want[v] == nil {
			t.Errorf("%s is not in the specification", name)
		}
	}
	if len(tagTable) != len(want) {
		t.Errorf("%d tags, want %d", len(tagTable), len(want))
	}
}

func TestEnumerationsAgainstTheSpecification(t *testing.T) {
	want := oasisjson.Load(t, shared).Enums
	consts := constants(t, "zenums.go")
	total := 0
	for key, values := range want {
		enum := ident(key)
		total += len(values)
		if got := len(EnumNames(enum)); got != len(values) {
			t.Errorf("%s has %d values, want %d", enum, got, len(values))
		}
		for v, w := range values {
			if !slices.ContainsFunc(w.Idents, func(s string) bool { c, ok := consts[enum+ident(s)]; return ok && c == v }) {
				t.Errorf("%s %08X %s has no constant of that value", enum, v, w.Names[0])
			}
			name := EnumName(enum, v)
			if !slices.Contains(w.Names, name) {
				t.Errorf("%s %08X is named %q, want one of %q", enum, v, name, w.Names)
			}
			if back, ok := EnumByName(enum, name); !ok || back != v {
				t.Errorf("EnumByName(%s, %q) is %08X, want %08X", enum, name, back, v)
			}
			for _, s := range w.Idents {
				if back, ok := EnumByIdent(enum, []byte(s)); !ok || back != v {
					t.Errorf("EnumByIdent(%s, %q) is %08X, want %08X", enum, s, back, v)
				}
			}
			if !slices.Contains(w.Idents, EnumIdent(enum, v)) {
				t.Errorf("%s %08X has the identifier %q, want one of %q", enum, v, EnumIdent(enum, v), w.Idents)
			}
			if enum == "CertificateType" && name == "PGP" {
				continue // deprecated from 1.2 to 1.4, which the extract takes for dropped
			}
			for ver, version := range versions {
				if EnumKnownIn(enum, v, version) != w.In[ver] {
					t.Errorf("%s %s in %s: known %t, want %t", enum, name, ver, EnumKnownIn(enum, v, version), w.In[ver])
				}
			}
		}
	}
	if len(consts) != total {
		t.Errorf("%d constants, want %d", len(consts), total)
	}
	if len(enumTables) != len(want) {
		t.Errorf("%d enumerations, want %d", len(enumTables), len(want))
	}
}

func TestLookups(t *testing.T) {
	if s := (CryptographicUsageMaskEncrypt | CryptographicUsageMaskDecrypt | 1<<30).String(); s != "Encrypt, Decrypt, 40000000" {
		t.Errorf("mask is %q", s)
	}
	if !(CryptographicUsageMaskEncrypt | CryptographicUsageMaskSign).KnownIn(V1_0) || CryptographicUsageMask(1<<30).KnownIn(V2_1) {
		t.Error("masks are known by their bits")
	}
	if s := ObjectType(0x99).String(); s != "00000099" {
		t.Errorf("unknown value is %q", s)
	}
	for _, name := range []string{"Pre-Active", "preactive", "PRE_ACTIVE"} {
		if v, ok := EnumByName("State", name); !ok || State(v) != StatePreActive {
			t.Errorf("State %q is %d", name, v)
		}
	}
	if _, ok := EnumByName("State", "nothing"); ok {
		t.Error("a name that does not exist is found")
	}
	if _, ok := EnumByName("Nothing", "x"); ok || EnumNames("Nothing") != nil || EnumKnownIn("Nothing", 1, V1_0) || EnumName("Nothing", 1) != "00000001" {
		t.Error("an enumeration that does not exist is found")
	}
	if _, ok := EnumByIdent("Nothing", []byte("x")); ok || EnumIdent("Nothing", 1) != "" || EnumIdent("ObjectType", 0x99) != "" || IsMask("Nothing") {
		t.Error("an identifier that does not exist is found")
	}
	if _, ok := TagByIdent([]byte("Nothing")); ok || IdentOfTag(0x540001) != "" {
		t.Error("the identifier of a tag that does not exist is found")
	}
	if !IsMask("CryptographicUsageMask") || IsMask("ObjectType") {
		t.Error("IsMask")
	}
	if TagEnum(TagObjectType) != "ObjectType" || TagEnum(TagCryptographicUsageMask) != "CryptographicUsageMask" ||
		TagEnum(TagCryptographicLength) != "" || TagEnum(0x540001) != "" {
		t.Error("TagEnum")
	}
	if NameOfTag(0x540001) != "540001" || TagType(0x540001) != 0 || TagKnownIn(0x540001, V1_4) {
		t.Error("an extension tag is known")
	}
	if v, ok := OperationSince(OperationDiscoverVersions); !ok || v != V1_1 {
		t.Errorf("Discover Versions since %s", v)
	}
	if _, ok := OperationSince(OperationPing); ok {
		t.Error("Ping has payloads")
	}
}

func TestVersions(t *testing.T) {
	for i, v := range Supported {
		if i > 0 && !v.Before(Supported[i-1]) {
			t.Error("Supported is not newest first")
		}
		if v.Before(v) {
			t.Errorf("%s is before itself", v)
		}
	}
	if !V1_4.Before(V2_0) || V2_0.Before(V1_4) || V1_2.String() != "1.2" {
		t.Error("order of versions")
	}
}
