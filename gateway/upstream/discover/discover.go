// Package discover looks for columns that hold what should be masked, in a
// bounded sample of a database, and proposes masking policies for them.
//
//	found, err := discover.Sample(ctx, conn, discover.Options{})
//	policies := discover.Propose(found.Columns)
//
// Only counts and names leave this package: no value that was read is kept,
// returned or printed.
package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/mask/detect"
	"github.com/posternhq/postern/policylang"
)

// Querier runs SQL by the simple query protocol, as *pgconn.PgConn does.
type Querier interface {
	Exec(ctx context.Context, sql string) *pgconn.MultiResultReader
}

// Options bound what is read. Zero fields take the defaults.
type Options struct {
	Schemas []string // those of users if empty
	Rows    int      // of each table; 1,000
	Tables  int      // 2,000
}

// maxValue is how many characters of a value are read.
const maxValue = 2000

// Confidence says how sure a finding is.
type Confidence string

// The confidences.
const (
	High   Confidence = "high"   // most values are nothing else
	Medium Confidence = "medium" // many values have it, or some and the column's name says so
	Low    Confidence = "low"    // a few values have it, or the column's name alone says so
)

// Column is a column that may need masking.
type Column struct {
	Schema     string     `json:"schema"`
	Table      string     `json:"table"`
	Column     string     `json:"column"`
	Kind       string     `json:"kind"`
	Sampled    int        `json:"sampled"` // values that were read, NULL not counted
	Matched    int        `json:"matched"` // values that hold one of the kind
	Whole      int        `json:"whole"`   // values that are one and nothing else
	Confidence Confidence `json:"confidence"`
}

// Name is the column's name as policies write it.
func (c *Column) Name() string { return part(c.Schema) + "." + part(c.Table) + "." + part(c.Column) }

// part quotes what a pattern would not take literally.
func part(name string) string {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	return name
}

// Result is what a sample showed.
type Result struct {
	Tables  int      `json:"tables"` // that were read
	Columns []Column `json:"columns"`
	Skipped []string `json:"skipped"` // tables that could not be read, and why
}

type table struct {
	schema, name string
	rows         float64 // the planner's estimate; negative if it has none
	sampled      bool    // TABLESAMPLE works on it
	columns      []string
}

// Sample reads some rows of each table, in a transaction that changes nothing.
func Sample(ctx context.Context, conn Querier, o Options) (*Result, error) {
	if o.Rows <= 0 {
		o.Rows = 1000
	}
	if o.Tables <= 0 {
		o.Tables = 2000
	}
	if err := run(ctx, conn, "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '2s'; SET LOCAL search_path = ''", nil); err != nil {
		return nil, fmt.Errorf("discover: %w", err)
	}
	defer func() { _ = run(context.WithoutCancel(ctx), conn, "ROLLBACK", nil) }()
	tables, err := list(ctx, conn, &o)
	if err != nil {
		return nil, fmt.Errorf("discover: list the tables: %w", err)
	}
	out := &Result{Columns: []Column{}, Skipped: []string{}}
	for i := range tables {
		t := &tables[i]
		if i >= o.Tables {
			out.Skipped = append(out.Skipped, fmt.Sprintf("%d more tables: the bound is %d", len(tables)-i, o.Tables))
			break
		}
		columns, err := t.read(ctx, conn, o.Rows)
		var pg *pgconn.PgError
		switch {
		case errors.As(err, &pg): // the message might quote a value
			out.Skipped = append(out.Skipped, fmt.Sprintf("%s.%s: SQLSTATE %s", part(t.schema), part(t.name), pg.Code))
		case err != nil:
			return nil, fmt.Errorf("discover: read %s.%s: %w", t.schema, t.name, err)
		default:
			out.Tables++
			out.Columns = append(out.Columns, columns...)
		}
	}
	return out, nil
}

func list(ctx context.Context, conn Querier, o *Options) ([]table, error) {
	only := "true"
	if len(o.Schemas) > 0 {
		var quoted []string
		for _, s := range o.Schemas {
			quoted = append(quoted, "'"+strings.ReplaceAll(s, "'", "''")+"'")
		}
		only = "n.nspname IN (" + strings.Join(quoted, ", ") + ")"
	}
	var out []table
	err := run(ctx, conn, `SELECT n.nspname, c.relname, c.reltuples, c.relkind IN ('r', 'm'), a.attname
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
		WHERE c.relkind IN ('r', 'm', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
		AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'postern') AND `+only+`
		AND (t.typcategory = 'S' OR e.typcategory = 'S' OR t.typname IN ('json', 'jsonb', 'xml', 'int8', 'numeric', 'hstore'))
		ORDER BY 1, 2, a.attnum`, func(row [][]byte) {
		schema, name := string(row[0]), string(row[1])
		if n := len(out); n == 0 || out[n-1].schema != schema || out[n-1].name != name {
			rows, _ := strconv.ParseFloat(string(row[2]), 64)
			out = append(out, table{schema: schema, name: name, rows: rows, sampled: string(row[3]) == "t"})
		}
		t := &out[len(out)-1]
		t.columns = append(t.columns, string(row[4]))
	})
	return out, err
}

// read counts what a sample of a table's rows holds.
func (t *table) read(ctx context.Context, conn Querier, rows int) ([]Column, error) {
	var selected []string
	for _, c := range t.columns {
		selected = append(selected, fmt.Sprintf("pg_catalog.left(%s::pg_catalog.text, %d)", ident(c), maxValue))
	}
	sample := ""
	if share := float64(rows) * 200 / t.rows; t.sampled && t.rows > 0 && share < 50 { // twice as many as wanted: blocks are not even
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%f)", share)
	}
	counts := make([]tally, len(t.columns))
	// The savepoint keeps the transaction alive when a table may not be read.
	err := run(ctx, conn, "SAVEPOINT one", nil)
	if err == nil {
		err = run(ctx, conn, fmt.Sprintf("SELECT %s FROM %s.%s%s LIMIT %d", strings.Join(selected, ", "), ident(t.schema), ident(t.name), sample, rows), func(row [][]byte) {
			for i, v := range row {
				if v != nil {
					counts[i].add(v)
				}
			}
		})
	}
	if err != nil {
		return nil, errors.Join(err, run(ctx, conn, "ROLLBACK TO one", nil))
	}
	var out []Column
	for i, name := range t.columns {
		out = append(out, counts[i].columns(t, name)...)
	}
	return out, nil
}

// tally counts a column's values.
type tally struct {
	sampled        int
	matched, whole map[detect.Kind]int
}

func (n *tally) add(value []byte) {
	if n.matched == nil {
		n.matched, n.whole = map[detect.Kind]int{}, map[detect.Kind]int{}
	}
	n.sampled++
	var seen detect.Kind
	for s := range detect.All(value, detect.Every) {
		if seen&s.Kind == 0 {
			seen |= s.Kind
			n.matched[s.Kind]++
		}
		if s.Start == 0 && s.End == len(value) {
			n.whole[s.Kind]++
		}
	}
}

// hints are parts of names that columns of a kind have.
var hints = map[detect.Kind][]string{
	detect.Email: {"email", "e_mail", "mail"},
	detect.Card:  {"card_number", "cardnumber", "creditcard", "credit_card", "card_no", "pan"},
	detect.SSN:   {"ssn", "social_security"},
	detect.IBAN:  {"iban"},
	detect.Phone: {"phone", "mobile", "telefon", "msisdn"},
}

func hinted(kind detect.Kind, name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(hints[kind], func(h string) bool { return name == h || len(h) > 3 && strings.Contains(name, h) })
}

// columns are the findings on one column: at most one of each kind.
func (n *tally) columns(t *table, name string) []Column {
	var out []Column
	for kind := detect.Email; kind <= detect.Phone; kind <<= 1 {
		c := Column{
			Schema: t.schema, Table: t.name, Column: name, Kind: kind.String(),
			Sampled: n.sampled, Matched: n.matched[kind], Whole: n.whole[kind],
		}
		const few = 3
		switch named := hinted(kind, name); {
		case c.Matched == 0 && !named:
			continue
		case c.Matched == 0:
			c.Confidence = Low
		case c.Whole*10 >= c.Sampled*8 && (c.Sampled >= few || named):
			c.Confidence = High
		case c.Matched*10 >= c.Sampled*3 || named:
			c.Confidence = Medium
		default:
			c.Confidence = Low
		}
		out = append(out, c)
	}
	return out
}

// Propose returns masking policies for what was found with high or medium
// confidence: one for each kind, and one for texts that hold values among other
// words. A column is in one of them.
func Propose(columns []Column) []policylang.MaskingPolicy {
	byName := map[string][]Column{}
	for _, c := range columns {
		if c.Confidence != Low {
			byName[c.Name()] = append(byName[c.Name()], c)
		}
	}
	policies := map[string]*policylang.MaskingPolicy{}
	for name, found := range byName {
		kind := "text"
		slices.SortFunc(found, func(a, b Column) int { return cmp.Or(cmp.Compare(b.Whole, a.Whole), strings.Compare(a.Kind, b.Kind)) })
		if best := found[0]; best.Whole*2 >= best.Matched && best.Whole > 0 {
			kind = best.Kind
		}
		if policies[kind] == nil {
			policies[kind] = proposal(kind)
		}
		policies[kind].Columns = append(policies[kind].Columns, name)
	}
	var out []policylang.MaskingPolicy
	for _, p := range policies {
		out = append(out, *p)
	}
	sorted := (&policylang.Policy{MaskingPolicies: out}).Sorted()
	return sorted.MaskingPolicies
}

// proposal is a policy that fits a kind, without columns.
func proposal(kind string) *policylang.MaskingPolicy {
	p := &policylang.MaskingPolicy{Name: "discovered_" + kind, Transform: policylang.TransformPartial}
	switch kind {
	case "email":
		p.Format, p.KeepFirst = "email", 1
	case "card":
		p.Format, p.KeepLast = "card", 4
	case "phone":
		p.Format, p.KeepLast = "phone", 2
	case "ssn", "iban":
		p.KeepLast = 4
	default:
		p.Transform = policylang.TransformRedact
	}
	return p
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// run executes SQL and hands every row to each, which may be nil and must not
// keep the row.
func run(ctx context.Context, conn Querier, sql string, each func([][]byte)) error {
	results := conn.Exec(ctx, sql)
	for results.NextResult() {
		rows := results.ResultReader()
		for rows.NextRow() {
			if each != nil {
				each(rows.Values())
			}
		}
		if _, err := rows.Close(); err != nil {
			_ = results.Close() // reports the same error
			return err
		}
	}
	return results.Close()
}
