package testacc

import (
	"debug/elf"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	vulnerable       = "github.com/jackc/pgproto3/v2"
	vulnerableMethod = vulnerable + ".(*DataRow).Decode"
	control          = vulnerable + ".(*ParameterStatus).Decode" // what the gateway does use
)

// TestDataRowDecodeIsUnreachable backs the statement of postern.openvex.json
// about CVE-2026-32286: rows are walked by code of our own, and pgproto3's
// DataRow.Decode is not even linked in.
func TestDataRowDecodeIsUnreachable(t *testing.T) {
	t.Run("no product code names what calls it", func(t *testing.T) {
		for file, names := range namesOf(t, vulnerable) {
			for _, name := range []string{"DataRow", "Frontend", "NewFrontend"} {
				if slices.Contains(names, name) {
					t.Errorf("%s uses pgproto3.%s, through which DataRow.Decode can be reached", file, name)
				}
			}
		}
	})
	t.Run("the binary does not hold it", func(t *testing.T) {
		symbols := symbolsOf(t, "../bin/postern")
		if !slices.Contains(symbols, control) {
			t.Fatalf("%s is not in the binary: this test looks for the wrong names", control)
		}
		if slices.Contains(symbols, vulnerableMethod) {
			t.Errorf("%s is in the binary", vulnerableMethod)
		}
	})
}

// namesOf returns what each file of the product uses of a package.
func namesOf(t *testing.T, path string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, root := range []string{"../gateway", "../policylang", "../provider"} {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			local := ""
			for _, imported := range parsed.Imports {
				if imported.Path.Value == `"`+path+`"` {
					local = "pgproto3"
					if imported.Name != nil {
						local = imported.Name.Name
					}
				}
			}
			if local == "" {
				return nil
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
						out[file] = append(out[file], s.Sel.Name)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatalf("nothing imports %s any more: drop it from postern.openvex.json", path)
	}
	return out
}

// symbolsOf returns the symbols of a program that make build has built.
func symbolsOf(t *testing.T, program string) []string {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatalf("%v (make build makes it)", err)
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(symbols))
	for i, s := range symbols {
		names[i] = s.Name
	}
	return names
}

// TestVEX reads the OpenVEX document that releases ship (OpenVEX 0.2.0): it
// names the version of the library that go.mod requires.
func TestVEX(t *testing.T) {
	data, err := os.ReadFile("../docs/postern.openvex.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Context    string `json:"@context"`
		Statements []struct {
			Vulnerability struct {
				Name string `json:"name"`
			} `json:"vulnerability"`
			Products []struct {
				ID            string `json:"@id"`
				Subcomponents []struct {
					ID string `json:"@id"`
				} `json:"subcomponents"`
			} `json:"products"`
			Status        string `json:"status"`
			Justification string `json:"justification"`
			Impact        string `json:"impact_statement"`
		} `json:"statements"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Context != "https://openvex.dev/ns/v0.2.0" || len(doc.Statements) != 1 {
		t.Fatalf("context %q, %d statements", doc.Context, len(doc.Statements))
	}
	s := doc.Statements[0]
	if s.Vulnerability.Name != "CVE-2026-32286" || s.Status != "not_affected" || s.Justification != "vulnerable_code_not_present" || s.Impact == "" {
		t.Errorf("the statement is %+v", s)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Products {
		for _, c := range p.Subcomponents {
			module, version, _ := strings.Cut(strings.TrimPrefix(c.ID, "pkg:golang/"), "@")
			if !strings.Contains(string(mod), module+" "+version+"\n") {
				t.Errorf("go.mod does not require %s %s", module, version)
			}
		}
	}
	release, err := os.ReadFile("../.goreleaser.yml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(release), "postern.openvex.json") < 2 {
		t.Error(".goreleaser.yml does not ship postern.openvex.json, in the archive and beside it")
	}
}
