// Package testacc_test holds the acceptance tests, which may import anything.
package testacc_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/posternhq/postern"

// mayImport is the architecture: each row names the packages of this module
// that the non-test files of the package on the left may import. "policylang"
// alone means the root package, not its subpackages. Mains and acceptance
// tests wire things together and have no row; a new package gets one when it
// is created.
var mayImport = map[string][]string{
	"policylang":           {},
	"policylang/pgcatalog": {"policylang"},
	"policylang/reference": {"policylang"},
	"policylang/source":    {"policylang"},
	"policylang/condition": {"policylang"},
	"policylang/statement": {"policylang", "policylang/internal/ast", "policylang/internal/protopack"},
	"policylang/bundle":    {"policylang"},
	"policylang/lineage":   {"policylang", "policylang/pgcatalog", "policylang/statement", "policylang/internal/ast"},
	"policylang/compile":   {"policylang", "policylang/condition"},
	"policylang/scenario":  {"policylang", "policylang/*", "policylang/internal/ast"},

	"policylang/internal/ast":       {},
	"policylang/internal/protopack": {},

	// The steps of the gateway never import each other.
	"gateway/accept":       {"gateway/internal/*"},
	"gateway/authenticate": {"policylang", "gateway/internal/*"},
	"gateway/livepolicy":   {"policylang", "policylang/bundle", "policylang/compile", "gateway/internal/*"},
	// Where else than at a control plane a policy may be.
	"gateway/livepolicy/remote": {"policylang/bundle", "gateway/livepolicy"},

	"gateway/catalog":  {"policylang", "policylang/pgcatalog", "gateway/internal/*"},
	"gateway/approve":  {"policylang", "gateway/internal/*"},
	"gateway/upstream": {"policylang", "gateway/upstream/vault", "gateway/internal/*"},

	// What prepares a database, and looks at one, for a gateway.
	"gateway/upstream/prepare":         {"policylang", "policylang/pgcatalog", "policylang/lineage"},
	"gateway/upstream/vault":           {},
	"gateway/upstream/vault/vaulttest": {},
	"gateway/upstream/discover":        {"policylang", "gateway/mask/detect"},

	"gateway/relay":       {"gateway/internal/*"},
	"gateway/mask":        {"policylang", "gateway/mask/detect", "gateway/internal/*"},
	"gateway/mask/detect": {},
	"gateway/evidence":    {"policylang", "gateway/internal/*"},

	// The control plane is not in the path of data.
	"gateway/control":                {"policylang", "policylang/*", "gateway/evidence", "gateway/internal/*", "gateway/control/internal/*"},
	"gateway/control/internal/store": {"policylang", "gateway/internal/api"},
	"gateway/control/signin":         {"policylang", "gateway/control/saml", "gateway/internal/api", "gateway/internal/oidc", "gateway/internal/pki"},
	"gateway/control/saml":           {"policylang"},
	"gateway/internal/samltest":      {},
	"gateway/internal/issuertest":    {"gateway/internal/pgtest"},
	"gateway/console":                {"policylang", "policylang/*", "gateway/evidence", "gateway/internal/*"},

	// What composes the steps; it does not know the control plane's server.
	"gateway": {
		"policylang", "policylang/*", "gateway/accept", "gateway/authenticate", "gateway/livepolicy", "gateway/catalog",
		"gateway/approve", "gateway/upstream", "gateway/relay", "gateway/mask", "gateway/mask/detect", "gateway/evidence", "gateway/internal/*",
	},

	"gateway/internal/api":           {"policylang"},
	"gateway/internal/controlclient": {"policylang", "policylang/bundle", "gateway/internal/api", "gateway/approve"},
	"gateway/internal/demoissuer":    {},
	"gateway/internal/freeport":      {},
	"gateway/internal/leaktest":      {},
	"gateway/internal/localproxy":    {},
	"gateway/internal/login":         {"gateway/internal/api", "gateway/internal/pki"},
	"gateway/internal/gatewaytest": {
		"policylang", "policylang/bundle", "gateway", "gateway/accept", "gateway/approve", "gateway/authenticate", "gateway/evidence",
		"gateway/livepolicy", "gateway/mask", "gateway/internal/*",
	},
	"gateway/internal/metrics": {"policylang", "gateway/internal/refusal"},
	"gateway/internal/netloop": {},
	"gateway/internal/oidc":    {"policylang", "gateway/internal/api"},
	"gateway/internal/pgtest":  {"gateway/internal/freeport"},
	"gateway/internal/pki":     {},
	"gateway/internal/refusal": {},
	"gateway/internal/sockets": {},
	"gateway/internal/sqlgen":  {},
	"gateway/internal/tracing": {},

	// The provider builds without cgo for every platform: no SQL parser.
	"provider": {
		"policylang", "policylang/source", "policylang/condition", "policylang/compile", "policylang/bundle", "provider/internal/*",
	},
	"provider/internal/tfmodel":     {"policylang"},
	"provider/internal/client":      {"policylang"},
	"provider/internal/policydiff":  {"policylang"},
	"provider/internal/fakecontrol": {"policylang", "policylang/bundle"},
}

// TestImportDirections parses the source itself rather than running go list,
// so that the test cache sees which files the result depends on.
func TestImportDirections(t *testing.T) {
	root := os.DirFS("..")
	seen := map[string]bool{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		from := path.Dir(name)
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") ||
			strings.HasPrefix(from, "testacc") || strings.Contains(from+"/", "/cmd/") {
			return err
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" {
			return nil // mains wire things together
		}
		seen[from] = true
		for _, spec := range file.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(imp, module+"/")
			allows := func(pattern string) bool { ok, _ := path.Match(pattern, to); return ok }
			if ours && to != from && !slices.ContainsFunc(mayImport[from], allows) {
				t.Errorf("%s: %s may not import %s", name, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range seen {
		if _, ok := mayImport[pkg]; !ok {
			t.Errorf("package %s has no row in mayImport", pkg)
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("mayImport has a row for %s, which is not a package", pkg)
		}
	}
}
