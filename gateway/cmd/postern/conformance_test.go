package main

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/testacc/bypass"
)

// conformanceCases are a few of each kind; gateway/internal/bypasstest plays
// all of them.
const conformanceCases = "^(projection/.*alias|benign/(select|join).*|copy/table|nesting/plus|indirect/truncate.*|ddl/foreign-key-probe|oracle/relation-size)"

// TestConformanceBypass plays a part of the corpus against PostgreSQL itself,
// where each attack must succeed, and against a gateway, where none may.
func TestConformanceBypass(t *testing.T) {
	cluster := bypassCluster(t)
	server := " --server-directory " + filepath.Dir(cluster.LogFile()) + " --server " + cluster.URL("postgres", "postgres")
	base := "conformance bypass --run '" + conformanceCases + "'" + server

	got := bypassResult(t, base+" --straight -o json")
	if !got.Passed || got.Categories["projection"][bypass.Revealed] == 0 {
		t.Errorf("straight: %+v", got)
	}
	// The poison control: held to what a gateway must do, the server fails.
	if got := bypassResult(t, base+" -o json --target "+cluster.URL("postgres", "x")); got.Passed || got.Categories["projection"][bypass.Revealed] == 0 {
		t.Errorf("a server without a gateway passed: %+v", got)
	}

	target := " --target " + bypassTarget(t, cluster)
	got = bypassResult(t, base+target+" --junit out.xml -o json")
	if !got.Passed || got.Categories["benign"][bypass.Served] == 0 || got.Categories["indirect"][bypass.Refused] == 0 {
		t.Errorf("gateway: %+v", got)
	}
	if got := bypassResult(t, base+target+" --two-worlds -o json"); !got.Passed {
		t.Errorf("two worlds: %+v", got)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	data, err := os.ReadFile("out.xml")
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(data, &suite); err != nil || suite.Tests != len(got.Cases) || suite.Failures != 0 {
		t.Errorf("JUnit: %+v, %v", suite, err)
	}
}

// TestConformanceTable plays the whole corpus when it is asked to, and writes
// the table of docs/masking.md: go test -run ConformanceTable -table.
func TestConformanceTable(t *testing.T) {
	document, err := filepath.Abs("../../../docs/masking.md")
	if err != nil {
		t.Fatal(err)
	}
	known, err := filepath.Abs("../../internal/bypasstest/testdata/known.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !*writeTable {
		if text, err := os.ReadFile(document); err != nil || !strings.Contains(string(text), "<!-- begin bypass -->\n| category ") {
			t.Errorf("docs/masking.md has no table of the bypass corpus: %v", err)
		}
		return
	}
	cluster := bypassCluster(t)
	got := runLine("conformance bypass --known " + known + " --server-directory " + filepath.Dir(cluster.LogFile()) +
		" --server " + cluster.URL("postgres", "postgres") + " --target " + bypassTarget(t, cluster))
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- begin bypass -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end bypass -->\n")
	if !ok || !ok2 {
		t.Fatal("docs/masking.md has no place for the table")
	}
	if err := os.WriteFile(document, []byte(before+"<!-- begin bypass -->\n"+got+"<!-- end bypass -->\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

var writeTable = flag.Bool("table", false, "play the whole bypass corpus and write its table into docs/masking.md")

// bypassCluster is a server on which every attack of the corpus can work.
func bypassCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	cluster := pgtest.New(t, pgtest.Options{Settings: map[string]string{
		"wal_level": "logical", "max_replication_slots": "5", "max_prepared_transactions": "5", "full_page_writes": "off",
	}})
	cluster.MustExec(t, "postgres", "CREATE ROLE postern LOGIN")
	return cluster
}

// bypassTarget starts a gateway before the cluster, in a directory that the
// test changes to, and returns it with how roles log in and policies change.
func bypassTarget(t *testing.T, cluster *pgtest.Cluster) string {
	t.Helper()
	t.Chdir(t.TempDir())
	g := gatewaytest.New(t)
	runOK(t, "conformance bypass --export corpus")
	for _, role := range bypass.Roles() {
		writeFile(t, role+".token", g.Token(role)+"\n")
	}
	enforce := func(want string) error {
		words := strings.Fields(want)
		file, _, problems, err := loadPolicy([]string{"corpus/" + words[0] + ".postern.hcl"}, "")
		if err != nil || policylang.HasErrors(problems) {
			return fmt.Errorf("%v %w", problems, err)
		}
		p := &file.Policy
		p.Gateways = []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)}
		for i := range p.MaskingPolicies {
			if m := &p.MaskingPolicies[i]; m.Name == "redacted" {
				m.Columns = append(m.Columns, words[1:]...)
			}
		}
		return g.Release(p)
	}
	// The policy command leaves its wish in a file and waits until that is gone.
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if want, err := os.ReadFile("want"); err == nil {
				if err := enforce(string(want)); err != nil {
					t.Error(err)
				}
				_ = os.Remove("want")
			}
		}
	}()
	t.Cleanup(func() { close(done); <-stopped })
	return fmt.Sprintf("postgres://%s/?sslmode=verify-full&sslrootcert=%s --password-command 'cat $POSTERN_ROLE.token'"+
		" --policy-command 'echo $POSTERN_POLICY $POSTERN_PROTECT > w; mv w want; while [ -e want ]; do sleep 0.02; done'", g.Address, g.CAFile)
}

func bypassResult(t *testing.T, line string) bypassData {
	t.Helper()
	text := runLine(line)
	var got bypassData
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&got); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, text)
	}
	return got
}

func TestConformanceBypassWants(t *testing.T) {
	for line, want := range map[string]string{
		"conformance bypass": "say --server, and either --target or --straight",
		"conformance bypass --server postgres://a@h/ --target postgres://b@h/":                                                "--server does not say whether it is encrypted",
		"conformance bypass --server postgres://a:secret@h:x/ --straight":                                                     "--server is not a URL",
		"conformance bypass --server postgres://a@h/?sslmode=disable --straight --policy other":                               `--policy "other" is neither`,
		"conformance bypass --server postgres://a@h/?sslmode=disable --straight --run '^none$'":                               "no case of the corpus matches",
		"conformance bypass --server postgres://a@h/?sslmode=disable --target postgres://b@h/?sslmode=disable --password app": "--password wants ROLE=",
	} {
		if got := runLine(line); !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", line, got)
		}
	}
}
