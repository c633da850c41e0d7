package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

const (
	docsFile      = "../../../docs/metrics.md"
	dashboardFile = "../../../docs/grafana/postern.json"
)

// declared is a metric as it was declared.
type declared struct{ name, kind, labels, help string }

// recorder is a registry that remembers what is declared in it.
type recorder struct{ all []declared }

func (r *recorder) Register(c prometheus.Collector) error  { r.MustRegister(c); return nil }
func (r *recorder) Unregister(c prometheus.Collector) bool { return false }

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}`)

func (r *recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		kind := "histogram"
		switch c.(type) {
		case *prometheus.GaugeVec:
			kind = "gauge"
		case *prometheus.CounterVec:
			kind = "counter"
		case *prometheus.HistogramVec:
		case prometheus.Gauge: // has a counter's methods too
			kind = "gauge"
		case prometheus.Counter:
			kind = "counter"
		}
		descs := make(chan *prometheus.Desc, 4)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			m := description.FindStringSubmatch(d.String())
			if m == nil {
				panic("cannot read " + d.String())
			}
			r.all = append(r.all, declared{m[1], kind, strings.ReplaceAll(m[3], ",", ", "), m[2]})
		}
	}
}

func declarations() (gateway, control []declared) {
	var g, c recorder
	NewGateway(&g)
	NewControl(&c)
	for _, r := range []*recorder{&g, &c} {
		slices.SortFunc(r.all, func(a, b declared) int { return strings.Compare(a.name, b.name) })
	}
	return g.all, c.all
}

// TestDocumentation keeps docs/metrics.md what is declared.
func TestDocumentation(t *testing.T) {
	gateway, control := declarations()
	var b strings.Builder
	b.WriteString(`# Metrics and health

` + "`postern gateway`, `control` and `serve` take `--observe-listen 127.0.0.1:9187`" + ` and
answer there, in plain HTTP and without asking who calls:

| path | answer |
|---|---|
| ` + "`/metrics`" + ` | what is below, the Go runtime's and the process's own metrics, in Prometheus's text format |
| ` + "`/healthz`" + ` | 200 while the process runs |
| ` + "`/readyz`" + ` | 200 if a gateway has a verified policy and a control plane its store; else 503 and what is missing |

No label has a value that a client chose. Who did what is [evidence](evidence.md).
[grafana/postern.json](grafana/postern.json) is a dashboard of these, to be imported into Grafana.
This page is generated from gateway/internal/metrics.

The log goes to standard error: ` + "`--log-format json`" + ` and ` + "`--log-level debug`" + ` change how and
how much. It never has a token, a literal of a statement or a value of a row.

Traces are off. They go to an OpenTelemetry collector if the environment names
one, ` + "`OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318`" + `: a span for each statement,
with its shape, decision and outcome, a child of the span that the client names
in a comment, ` + "`/*traceparent='00-…-…-01'*/`" + ` (SQLCommenter). With or without a
collector the trace's id is in the evidence.
`)
	for _, part := range []struct {
		title string
		all   []declared
	}{{"A gateway's", gateway}, {"A control plane's", control}} {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | kind | labels | what |\n|---|---|---|---|\n", part.title)
		for _, d := range part.all {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, d.labels, d.help)
		}
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil || string(got) != b.String() {
		t.Errorf("docs/metrics.md is not what is declared (run: go test ./gateway/internal/metrics -update): %v", err)
	}
}

// TestDashboard looks for names in the dashboard that nobody declares, and for
// metrics that it does not show.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	gateway, control := declarations()
	shown := map[string]bool{"postern_build_info": true}
	for _, d := range slices.Concat(gateway, control) {
		shown[d.name] = false
	}
	name := regexp.MustCompile(`\bpostern_[a-z_]+`)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, n := range name.FindAllString(target.Expr, -1) {
				n = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(n, "_bucket"), "_sum"), "_count")
				if _, ok := shown[n]; !ok {
					t.Errorf("panel %q shows %s, which is not declared", p.Title, n)
				}
				shown[n] = true
			}
		}
	}
	for n, ok := range shown {
		if !ok {
			t.Errorf("no panel shows %s", n)
		}
	}
}

// TestCounts reads metrics as Prometheus would.
func TestCounts(t *testing.T) {
	r := NewRegistry("1.2.3")
	g := NewGateway(r)
	g.Statement("write", StatementCompleted)
	g.Statement("unheard of", StatementDenied)
	g.Login("token", "")
	g.Login("token", "token_refused")
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); strings.HasPrefix(f.GetName(), "postern") && v != 0 {
				got[f.GetName()+" "+strings.Join(labels, " ")] = v
			}
		}
	}
	want := []string{
		"postern_build_info 1.2.3", "postern_logins_total token ok", "postern_logins_total token token_refused",
		"postern_statements_total misc denied", "postern_statements_total write completed",
	}
	for _, w := range want {
		if got[w] != 1 {
			t.Errorf("%s is %v, want 1", w, got[w])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
