package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/policylang"
)

// envEvidence names the journal's directory where --dir is not given.
const envEvidence = "POSTERN_EVIDENCE"

// evidenceCommand groups what is done with the journal of a gateway.
func evidenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Search, follow, verify and export what a gateway recorded",
		Long: `Search, follow, verify and export the evidence that a gateway recorded: who ran
what, what was decided by which rule of which bundle, and what came of it.

The commands read the journal's directory, which is "evidence" in the gateway's
data directory. The gateway may be running.`,
		Args: cobra.NoArgs,
	}
	addOutputFlag(cmd)
	cmd.PersistentFlags().String("dir", "", "`directory` of the journal; "+envEvidence+" unless given")
	cmd.AddCommand(evidenceSearchCommand(), evidenceTailCommand(), evidenceVerifyCommand(), evidenceProveCommand(), evidenceExportCommand())
	return cmd
}

func evidenceDir(cmd *cobra.Command) (string, error) {
	dir, err := cmd.Flags().GetString("dir")
	if err != nil {
		return "", fmt.Errorf("read flag --dir: %w", err)
	}
	dir = firstOf(dir, os.Getenv(envEvidence))
	if dir == "" {
		return "", errors.New("which journal? Give its directory with --dir, or in " + envEvidence)
	}
	return dir, nil
}

// evidenceFilter is the flags that choose records.
type evidenceFilter struct {
	since, until    string
	kinds           []string
	effect, outcome string
	q               evidence.Query
	now             func() time.Time
}

func (f *evidenceFilter) add(cmd *cobra.Command) {
	f.now = time.Now
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "", "not before this `time`: RFC 3339, a date, or how long ago (90m, 7d)")
	flags.StringVar(&f.until, "until", "", "before this `time`, written alike")
	flags.StringVar(&f.q.Identity, "identity", "", "of this identity, or of an agent that acted for one")
	flags.StringVar(&f.q.Session, "session", "", "of this session")
	flags.StringVar(&f.q.Database, "database", "", "in this database")
	flags.StringVar(&f.q.Role, "role", "", "under this database role")
	flags.StringSliceVar(&f.kinds, "kind", nil, "of these kinds: "+strings.Join(recordKinds(), ", "))
	flags.StringVar(&f.effect, "effect", "", "decided so: allow, deny or hold")
	flags.StringVar(&f.q.Rule, "rule", "", "decided by this rule")
	flags.StringVar(&f.outcome, "outcome", "", "that ended so: completed, failed, refused, cancelled, ...")
	flags.StringVar(&f.q.Command, "command", "", "of this command tag, such as UPDATE")
	flags.StringVar(&f.q.Relation, "relation", "", "that touched this relation")
	flags.StringVar(&f.q.Approval, "approval", "", "of this request for approval")
	flags.StringVar(&f.q.Text, "text", "", "with this in the statement's text")
}

func recordKinds() []string {
	var names []string
	for _, k := range evidence.Kinds() {
		names = append(names, string(k))
	}
	return names
}

// query reads the flags.
func (f *evidenceFilter) query() (evidence.Query, error) {
	q := f.q
	var err error
	if q.From, err = parseTime(f.since, f.now()); err != nil {
		return q, fmt.Errorf("read --since: %w", err)
	}
	if q.To, err = parseTime(f.until, f.now()); err != nil {
		return q, fmt.Errorf("read --until: %w", err)
	}
	for _, name := range f.kinds {
		if !slices.Contains(recordKinds(), name) {
			return q, fmt.Errorf("there is no kind %q of record%s", name, didYouMean(name, recordKinds()))
		}
		q.Kinds = append(q.Kinds, evidence.Kind(name))
	}
	q.Effect, q.Outcome = policylang.Effect(f.effect), evidence.Outcome(f.outcome)
	return q, nil
}

func didYouMean(name string, candidates []string) string {
	if s := policylang.Suggest(name, candidates); s != "" {
		return fmt.Sprintf("; did you mean %q?", s)
	}
	return ""
}

// parseTime reads a time as people write it. An empty text is the zero time.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time, want 2006-01-02T15:04:05Z, 2006-01-02, 90m or 7d", text)
}

func evidenceSearchCommand() *cobra.Command {
	var filter evidenceFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "search",
		Short: "List the newest records that match",
		Long: `List the newest records that match, oldest first. A statement is shown by its
shape; its text, constants included, is in the JSON.`,
		Example: `  postern evidence search --identity ana --since 2h
  postern evidence search --kind denied,held --limit 0
  postern evidence search --relation customers --effect allow -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			dir, err := evidenceDir(cmd)
			if err != nil {
				return err
			}
			q, err := filter.query()
			if err != nil {
				return err
			}
			q.Newest, q.Limit = true, max(0, limit)
			records, err := findRecords(dir, q)
			if err != nil {
				return err
			}
			slices.Reverse(records)
			if len(records) == 0 && out.terminal && !out.json {
				return out.print("No records match.\n")
			}
			return out.showTable(records, recordTable(records))
		},
	}
	filter.add(cmd)
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "at most so many records; 0 is no limit")
	return cmd
}

func findRecords(dir string, q evidence.Query) ([]*evidence.Record, error) {
	records := []*evidence.Record{}
	for r, err := range evidence.Search(dir, q) {
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// recordTable shows who did what, and what was decided by which rule of which
// bundle.
func recordTable(records []*evidence.Record) *table {
	t := newTable("seq", "time", "who", "what", "decision", "rule", "outcome", "bundle", "statement")
	for _, r := range records {
		t.row(r.Seq, r.Time.Local().Format(time.DateTime), recordWho(r), recordWhat(r),
			cell{string(r.Effect), effectStyle(string(r.Effect))}, orDash(strings.Join(r.Rules, ", ")), recordOutcome(r),
			orDash(shortDigest(r.Bundle)), oneLine(recordStatement(r), 80))
	}
	return t
}

func recordWho(r *evidence.Record) string {
	switch {
	case r.Identity == "" && r.Subject != "":
		return r.Subject
	case r.Actor != "":
		return r.Actor + " for " + r.Identity
	}
	return orDash(r.Identity)
}

func recordWhat(r *evidence.Record) string {
	if r.Kind == evidence.KindStatement && r.Command != "" {
		return r.Command
	}
	return strings.TrimSpace(string(r.Kind) + " " + r.Command)
}

// recordOutcome says what came of it, and what matters about that.
func recordOutcome(r *evidence.Record) string {
	s := string(r.Outcome)
	add := func(text string) { s = strings.TrimSpace(s + " " + text) }
	switch {
	case r.SQLState != "" && r.SQLState != "00000":
		add(r.SQLState)
	case r.Kind == evidence.KindStatement && r.Outcome == evidence.OutcomeCompleted:
		add(plural(int(r.Rows), "row"))
	case r.Kind == evidence.KindSessionEnd:
		add("after " + plural(int(r.StmtNo), "statement"))
	case r.Command == evidence.JournalRecovered:
		add(plural(int(r.Bytes), "byte") + " lost")
	}
	if len(r.Masked) > 0 {
		add("masked " + strings.Join(r.Masked, ", "))
	}
	if len(r.Approvers) > 0 {
		add("by " + strings.Join(r.Approvers, ", "))
	}
	return orDash(s)
}

// recordStatement is the statement without constants if that is known.
func recordStatement(r *evidence.Record) string {
	switch {
	case r.Shape != "":
		return r.Shape
	case r.SQL == "" && r.Redacted:
		return "(erased)"
	}
	return r.SQL
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// shortDigest is enough of a digest for people to tell bundles apart.
func shortDigest(digest string) string {
	hexadecimal := strings.TrimPrefix(digest, "sha256:")
	return hexadecimal[:min(12, len(hexadecimal))]
}

// tailInterval is how often tail looks for new records.
const tailInterval = 250 * time.Millisecond

func evidenceTailCommand() *cobra.Command {
	var filter evidenceFilter
	var limit int
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the last records, and follow new ones",
		Long:  "Show the last records that match, one a line, and with -f go on with new ones until interrupted.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			dir, err := evidenceDir(cmd)
			if err != nil {
				return err
			}
			q, err := filter.query()
			if err != nil {
				return err
			}
			return tail(cmd.Context(), out, dir, q, limit, follow)
		},
	}
	filter.add(cmd)
	cmd.Flags().IntVarP(&limit, "lines", "n", 10, "how many records to begin with")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new records")
	return cmd
}

func tail(ctx context.Context, out *output, dir string, q evidence.Query, limit int, follow bool) error {
	last, err := findRecords(dir, evidence.Query{Newest: true, Limit: 1})
	if err != nil {
		return err
	}
	if limit > 0 {
		begin := q
		begin.Newest, begin.Limit = true, limit
		records, err := findRecords(dir, begin)
		if err != nil {
			return err
		}
		slices.Reverse(records)
		if err := printRecords(out, records); err != nil {
			return err
		}
		last = append(last, records...)
	}
	for _, r := range last {
		q.AfterSeq = max(q.AfterSeq, r.Seq)
	}
	ticker := time.NewTicker(tailInterval)
	defer ticker.Stop()
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		records, err := findRecords(dir, q)
		if err != nil {
			return err
		}
		for _, r := range records {
			q.AfterSeq = r.Seq
		}
		if err := printRecords(out, records); err != nil {
			return err
		}
	}
	return nil
}

// printRecords prints a line for each record.
func printRecords(out *output, records []*evidence.Record) error {
	for _, r := range records {
		if out.json {
			if err := writeJSONLine(out.w, r); err != nil {
				return err
			}
			continue
		}
		effect := string(r.Effect)
		if len(r.Rules) > 0 {
			effect += " by " + strings.Join(r.Rules, ", ")
		}
		line := fmt.Sprintf("%s  %s  %s  %s  %s  %s", out.paint(styleFaint, r.Time.Local().Format("15:04:05.000")), printable(recordWho(r)), printable(recordWhat(r)),
			out.paint(effectStyle(string(r.Effect)), printable(orDash(effect))), printable(recordOutcome(r)), printable(oneLine(recordStatement(r), 120)))
		if err := out.print(strings.TrimRight(line, " ") + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func writeJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
