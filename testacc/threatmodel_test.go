package testacc_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelNamesTests wants each test that docs/threat-model.md names to
// exist, and each claim that something is stopped to name one.
func TestThreatModelNamesTests(t *testing.T) {
	declared := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		src, err := os.ReadFile("../" + name)
		for _, m := range declaration.FindAllSubmatch(src, -1) {
			declared[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	claims := 0
	for line := range strings.Lines(string(text)) {
		tests := named.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			if !declared[m[1]] {
				t.Errorf("%s is named, and there is no such test", m[1])
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") || strings.Contains(cells[3], " test ") || strings.Contains(cells[1], "publisher (") || isPart(cells[1]) {
			continue
		}
		claims++
		if len(tests) == 0 && !strings.HasPrefix(strings.TrimSpace(cells[2]), "not stopped") {
			t.Errorf("a claim without a test: %s", strings.TrimSpace(line))
		}
	}
	if claims < 40 {
		t.Errorf("%d claims were found", claims)
	}
}

// isPart reports whether a row's first cell is one of the table of parts.
func isPart(cell string) bool {
	switch strings.TrimSpace(cell) {
	case "part", "control plane", "gateway", "Terraform state", "laptop":
		return true
	}
	return false
}
