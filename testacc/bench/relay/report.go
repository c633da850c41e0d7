package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// results are all samples, in the order of the workloads.
type results struct {
	proxies []string
	rows    []*row
}

type row struct {
	workload *workload
	samples  map[string][]sample
}

func (r *results) add(w *workload, proxy string, s sample) {
	i := slices.IndexFunc(r.rows, func(row *row) bool { return row.workload.name == w.name })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{workload: w, samples: map[string][]sample{}})
	}
	r.rows[i].samples[proxy] = append(r.rows[i].samples[proxy], s)
}

// rate and cpu are medians.
func (r *row) rate(proxy string) float64 {
	return median(r.samples[proxy], func(s sample) float64 { return s.rate })
}

func (r *row) cpu(proxy string) float64 {
	return median(r.samples[proxy], func(s sample) float64 { return s.cpu })
}

func median(samples []sample, of func(sample) float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}

// text is the results for a terminal.
func (r *results) text() string {
	var rows, out strings.Builder
	w := &rows // tabwriter aligns them
	fmt.Fprintf(w, "workload\t%s\t\n", strings.Join(r.proxies, "\t"))
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s, %s\t", row.workload.name, row.workload.unit)
		for _, p := range r.proxies {
			fmt.Fprintf(w, "%s\t", cell("%.0f", row.rate(p)))
		}
		fmt.Fprintf(w, "\n  CPU %s\t", row.workload.cpuUnit)
		for _, p := range r.proxies {
			fmt.Fprintf(w, "%s\t", cell("%.1f", row.cpu(p)))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "\nPostern against\tgorelay: throughput\tCPU\tpgbouncer: throughput\tCPU\tdirect: throughput\t")
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", row.workload.name,
			ratio(row.rate("postern"), row.rate("gorelay")), ratio(row.cpu("postern"), row.cpu("gorelay")),
			ratio(row.rate("postern"), row.rate("pgbouncer")), ratio(row.cpu("postern"), row.cpu("pgbouncer")),
			ratio(row.rate("postern"), row.rate("direct")))
	}
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := t.Write([]byte(rows.String()))
	if err = errors.Join(err, t.Flush()); err != nil { // into memory, it never fails
		return rows.String()
	}
	return out.String()
}

func cell(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// bar is what a row of the report should show of Postern. CPU is against the
// bare relay, throughput against what against names.
type bar struct {
	against    string
	throughput float64
	cpu        float64 // 0: none
}

func (w *workload) bar() bar {
	switch {
	case w.only != "" && w.unit == "tps":
		return bar{}
	case w.only != "":
		return bar{against: "direct", throughput: 0.5}
	case w.unit == "MB/s":
		return bar{against: "direct", throughput: 0.9}
	case w.name == "connections":
		return bar{against: "direct", throughput: 0.7}
	case strings.HasSuffix(w.name, ", 1"):
		return bar{against: "gorelay", throughput: 1.1, cpu: 1}
	}
	return bar{against: "gorelay", throughput: 1, cpu: 1}
}

// markdown is the section of docs/benchmarks.md.
func (r *results) markdown(o *options) string {
	var out strings.Builder
	fmt.Fprintf(&out, `## What a connection through Postern costs

%smake bench-relay%s, %s of %d rounds of %v a cell on %d cores of a machine that others were using; PostgreSQL, pgbench
and the proxy share them. Postern enforces a policy of a hundred rules, masks two columns of a table for everybody but the
identity of the unmasked rows, and records every statement; the others enforce nothing. Everything speaks plaintext. A bare
relay is two goroutines that copy bytes. Streams are of %d MB.

In the masked rows columns are masked for the identity. Then the gateway asks the server along with each statement whether
the definitions that the statement rests on are still what they were: a query more in each transaction, but no round trip.

### Throughput

Transactions or MB a second straight to PostgreSQL, then the part of that which is left. The bar is a ratio.

| workload | direct | pgbouncer | haproxy | bare Go relay | Postern | bar | |
|---|---:|---:|---:|---:|---:|---|---|
`, "`", "`", "medians", o.rounds, o.duration, runtime.NumCPU(), o.stream)
	for _, row := range r.rows {
		direct := row.rate("direct")
		b := row.workload.bar()
		if b.against == "" {
			fmt.Fprintf(&out, "| %s | %.0f %s | | | | %s | | |\n", row.workload.name, direct, row.workload.unit, ratio(row.rate("postern"), direct))
			continue
		}
		fmt.Fprintf(&out, "| %s | %.0f %s | %s | %s | %s | %s | %.1f of %s | %s |\n", row.workload.name, direct, row.workload.unit,
			ratio(row.rate("pgbouncer"), direct), ratio(row.rate("haproxy"), direct), ratio(row.rate("gorelay"), direct), ratio(row.rate("postern"), direct),
			b.throughput, plain(b.against), verdict(row.rate("postern")/row.rate(b.against), b.throughput, true))
	}
	out.WriteString(`
### CPU time of the proxy

Microseconds for each transaction, user and kernel; for streams, milliseconds for each GB.

| workload | pgbouncer | haproxy | bare Go relay | Postern | Postern : relay | bar | |
|---|---:|---:|---:|---:|---:|---|---|
`)
	for _, row := range r.rows {
		b := row.workload.bar()
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |", row.workload.name, cell("%.0f", row.cpu("pgbouncer")), cell("%.0f", row.cpu("haproxy")),
			cell("%.0f", row.cpu("gorelay")), cell("%.0f", row.cpu("postern")), ratio(row.cpu("postern"), row.cpu("gorelay")))
		if b.cpu > 0 {
			fmt.Fprintf(&out, " %.1f | %s |\n", b.cpu, verdict(row.cpu("postern")/row.cpu("gorelay"), b.cpu, false))
			continue
		}
		out.WriteString(" | |\n")
	}
	return out.String()
}

func plain(name string) string {
	if name == "gorelay" {
		return "the relay"
	}
	return name
}

func verdict(have, want float64, atLeast bool) string {
	if have >= want == atLeast || have == want {
		return fmt.Sprintf("met: %.2f", have)
	}
	return fmt.Sprintf("**missed: %.2f**", have)
}

// writeSection replaces what stands between the markers of a section.
func writeSection(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	before, rest, ok1 := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no section %q", file, name)
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}
