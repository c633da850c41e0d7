package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/evidence"
)

func evidenceExportCommand() *cobra.Command {
	var filter evidenceFilter
	var format string
	var public bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all records that match, oldest first, as JSON lines or CSV",
		Example: `  postern evidence export --since 2026-03-01 --until 2026-04-01 > march.jsonl
  postern evidence export --kind denied --format csv --public > denied.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := evidenceDir(cmd)
			if err != nil {
				return err
			}
			q, err := filter.query()
			if err != nil {
				return err
			}
			var w recordWriter
			switch format {
			case "jsonl":
				w = jsonRecords{cmd.OutOrStdout()}
			case "csv":
				w = &csvRecords{w: csv.NewWriter(cmd.OutOrStdout())}
			default:
				return fmt.Errorf("format %q is not known, want jsonl or csv", format)
			}
			return export(dir, q, public, w)
		},
	}
	filter.add(cmd)
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	cmd.Flags().BoolVar(&public, "public", false, "leave out statements' texts and parameters")
	return cmd
}

func export(dir string, q evidence.Query, public bool, w recordWriter) error {
	for r, err := range evidence.Search(dir, q) {
		if err != nil {
			return err
		}
		if public {
			r.SQL, r.Params = "", nil
		}
		if err := w.write(r); err != nil {
			return err
		}
	}
	return w.end()
}

// recordWriter writes records in a format.
type recordWriter interface {
	write(r *evidence.Record) error
	end() error
}

type jsonRecords struct{ w io.Writer }

func (j jsonRecords) write(r *evidence.Record) error { return writeJSONLine(j.w, r) }
func (j jsonRecords) end() error                     { return nil }

// csvRecords writes one column for each member of a record that is one value;
// lists are joined by spaces.
type csvRecords struct {
	w      *csv.Writer
	headed bool
}

func csvHeader() []string {
	return []string{
		"seq", "time", "kind", "identity", "issuer", "subject", "actor", "client_addr", "application_name",
		"gateway", "server", "database", "role", "session", "stmt_no", "command", "class", "fingerprint", "shape", "relations", "sql",
		"effect", "rules", "bundle", "approval", "approvers", "reason", "outcome", "sqlstate", "rows", "bytes", "duration_us", "held_us", "masked",
	}
}

func (c *csvRecords) write(r *evidence.Record) error {
	if err := c.head(); err != nil {
		return err
	}
	var relations []string
	for _, rel := range r.Relations {
		relations = append(relations, string(rel.Verb)+":"+rel.Name)
	}
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	row := []string{
		strconv.FormatUint(r.Seq, 10), r.Time.Format(time.RFC3339Nano), string(r.Kind), r.Identity, r.Issuer, r.Subject, r.Actor, r.ClientAddr, r.ApplicationName,
		r.Gateway, r.Server, r.Database, r.Role, r.Session, strconv.FormatUint(r.StmtNo, 10), r.Command, string(r.Class), r.Fingerprint, r.Shape, strings.Join(relations, " "), r.SQL,
		string(r.Effect), strings.Join(r.Rules, " "), r.Bundle, r.Approval, strings.Join(r.Approvers, " "), r.Reason, string(r.Outcome), r.SQLState,
		n(r.Rows), n(r.Bytes), n(r.DurationUS), n(r.HeldUS), strings.Join(r.Masked, " "),
	}
	for i := range row {
		row[i] = harmlessCell(row[i])
	}
	if err := c.w.Write(row); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (c *csvRecords) head() error {
	if c.headed {
		return nil
	}
	c.headed = true
	if err := c.w.Write(csvHeader()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (c *csvRecords) end() error {
	if err := c.head(); err != nil {
		return err
	}
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// harmlessCell keeps a spreadsheet from running what a client sent as a formula.
func harmlessCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
