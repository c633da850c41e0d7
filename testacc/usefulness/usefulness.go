// Package usefulness is a corpus of what honest applications send: the queries
// of object-relational mappers in the shapes that these give them, reports with
// CTEs and windows as dbt compiles them, and what people type. A gateway that
// masks customers.email, customers.phone and payments.card should serve as much
// of it as it can; what it refuses, and why, is worth knowing beforehand.
//
// Each testdata/*.txtar is an application and each of its files a statement. A
// line "args: a | b" at a file's start gives its parameters as text. schema.sql
// makes the tables. A statement of which the name begins with "refused" can only
// be answered with what is masked: no gateway should serve it.
package usefulness

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/tools/txtar"
)

//go:embed testdata/*.txtar testdata/schema.sql
var files embed.FS

// Statement is one statement of an application.
type Statement struct {
	Application string
	Name        string
	SQL         string
	Args        []string
}

// Forbidden reports whether no gateway should serve it.
func (s *Statement) Forbidden() bool { return strings.HasPrefix(s.Name, "refused") }

// Schema is the SQL that makes the tables.
func Schema() (string, error) {
	data, err := files.ReadFile("testdata/schema.sql")
	return string(data), err
}

// Corpus returns the statements, by application and in the order of the files.
func Corpus() ([]Statement, error) {
	names, err := fs.Glob(files, "testdata/*.txtar")
	if err != nil {
		return nil, err
	}
	var out []Statement
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		for _, f := range txtar.Parse(data).Files {
			s := Statement{Application: strings.TrimSuffix(path.Base(name), ".txtar"), Name: f.Name, SQL: string(f.Data)}
			if rest, ok := strings.CutPrefix(s.SQL, "args: "); ok {
				line, sql, _ := strings.Cut(rest, "\n")
				s.Args, s.SQL = strings.Split(line, " | "), sql
			}
			s.SQL = strings.TrimSpace(s.SQL)
			out = append(out, s)
		}
	}
	return out, nil
}

// Backslash returns the commands that people type at psql, most of which ask the
// system catalogs.
func Backslash() []string {
	return []string{
		`\d`, `\dt`, `\dt+`, `\d customers`, `\d+ customers`, `\d orders`, `\dv`, `\d+ customer_totals`, `\di`, `\ds`, `\dn`, `\dn+`, `\du`, `\df`, `\dT`,
		`\l`, `\dp`, `\dx`, `\dC`, `\do`, `\da`, `\db`, `\conninfo`, `\encoding`, `\sv customer_totals`, `\ddp`, `\dD`, `\dE`, `\dF`, `\dL`, `\dm`, `\des`, `\drds`,
		`\x`, `\timing`, `\pset null x`, `\echo hello`, `\dRp`, `\dy`, `\dA`, `\dX`,
	}
}
