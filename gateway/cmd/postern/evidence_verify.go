package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/posternhq/postern/gateway/evidence"
)

func evidenceVerifyCommand() *cobra.Command {
	var keyFile string
	var checkpoints []string
	cmd := &cobra.Command{
		Use:   "verify [PROOF]",
		Short: "Check that the evidence is whole and unaltered",
		Long: `Check that the evidence is whole and unaltered: every checksum, that no number is
missing, the Merkle tree over the records, the signed checkpoints over that, and
that each session has all its statements. Or check the proof of one record, as
"postern evidence prove" makes it, which needs nothing but a key.

The journal's own copy of its public key shows that nothing was altered by
somebody without the private key. To be sure of more, give the public key that
you noted when the gateway was set up, and checkpoints that you kept elsewhere:
only those show that the end was not cut off.

It exits with 0 if all is well, else with 1.`,
		Example: `  postern evidence verify --dir /var/lib/postern/evidence
  postern evidence verify --key orders.pub --checkpoint 2026-03-01.checkpoint
  postern evidence verify record-4711.json --key orders.pub`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return runVerifyProof(cmd, args[0], keyFile)
			}
			return runVerifyJournal(cmd, keyFile, checkpoints)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`file` of the public keys that you trust, one a line")
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "`file` of a checkpoint that was kept elsewhere; may be repeated")
	return cmd
}

func readVerifiers(file string) (note.Verifiers, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read public keys: %w", err)
	}
	return evidence.Verifiers(string(data))
}

func runVerifyJournal(cmd *cobra.Command, keyFile string, checkpointFiles []string) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	dir, err := evidenceDir(cmd)
	if err != nil {
		return err
	}
	keys, err := readVerifiers(firstOf(keyFile, filepath.Join(dir, "key.pub")))
	if err != nil {
		return err
	}
	var known [][]byte
	for _, file := range checkpointFiles {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read checkpoint: %w", err)
		}
		known = append(known, data)
	}
	report, err := evidence.Verify(dir, keys, known...)
	if err != nil {
		return err
	}
	err = out.show(verifyResult{Verified: report.OK(), KeyFile: keyFile, Report: report}, func() error {
		return out.print(reportText(out, report, keyFile))
	})
	if err == nil && !report.OK() {
		err = fmt.Errorf("the evidence is not what was recorded: %s", plural(len(report.Findings)+report.More, "finding"))
	}
	return err
}

// verifyResult is the result of `postern evidence verify` as JSON has it.
type verifyResult struct {
	Verified bool   `json:"verified"`
	KeyFile  string `json:"key_file,omitempty"` // empty: the key is the journal's own copy
	*evidence.Report
}

func reportText(o *output, r *evidence.Report, keyFile string) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("journal", "%s, %s", printable(r.Origin), plural(r.Segments, "segment"))
	line("population", "%s, %d to %d", plural(int(r.Records), "record"), r.First, r.Last)
	if r.Records > 0 {
		line("time", "%s to %s", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	}
	line("root", "%s over %s", hex.EncodeToString(r.Root[:]), plural(int(r.Blocks), "block"))
	signed := fmt.Sprintf("up to record %d, by %s", r.Signed, orDash(strings.Join(r.Keys, ", ")))
	if r.Last > r.Signed {
		signed += fmt.Sprintf("; %s not yet", plural(int(r.Last-r.Signed), "record"))
	}
	line("signed", "%s", signed)
	if r.Unread > 0 {
		line("tail", "%s at the end are no whole frame: the gateway is writing them, died writing them, or they were changed", plural(int(r.Unread), "byte"))
	}
	if keyFile == "" {
		line("key", "the journal's own copy; give --key to check against one that you trust")
	} else {
		line("key", "%s", keyFile)
	}
	line("sessions", "%d complete, %d open, %d interrupted", r.Sessions.Complete, r.Sessions.Open, r.Sessions.Interrupted)
	if r.Redacted > 0 {
		line("erased", "the private part of %s", plural(int(r.Redacted), "record"))
	}
	if r.Lost > 0 {
		line("lost", "%s in crashes, as the journal says", plural(int(r.Lost), "byte"))
	}
	for _, f := range r.Findings {
		line("finding", "%s", o.paint(styleRed, printable(f.String())))
	}
	if r.More > 0 {
		line("finding", "and %d more", r.More)
	}
	if r.OK() {
		line("result", "%s", o.paint(styleGreen, "verified"))
	} else {
		line("result", "%s", o.paint(styleRed, "NOT verified"))
	}
	return b.String()
}

func runVerifyProof(cmd *cobra.Command, file, keyFile string) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	if keyFile == "" {
		return errors.New("a proof needs the journal's public key: give it with --key")
	}
	keys, err := readVerifiers(keyFile)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read proof: %w", err)
	}
	var proof evidence.Proof
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&proof); err != nil {
		return fmt.Errorf("read proof %s: %w", file, err)
	}
	record, checkpoint, err := proof.Verify(keys)
	if err != nil {
		return err
	}
	return out.show(record, func() error {
		return out.print(recordTable([]*evidence.Record{record}).String(out) + fmt.Sprintf("%s: in a log of %s that was signed at %s\n",
			out.paint(styleGreen, "verified"), plural(int(checkpoint.Records), "record"), checkpoint.Time.Format(time.RFC3339)))
	})
}

func evidenceProveCommand() *cobra.Command {
	var public bool
	cmd := &cobra.Command{
		Use:   "prove SEQ",
		Short: "Make the proof of one record, for somebody who has only the key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := evidenceDir(cmd)
			if err != nil {
				return err
			}
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not a record's number", args[0])
			}
			proof, err := evidence.Prove(dir, seq)
			if err != nil {
				return err
			}
			if public {
				proof.Private = ""
			}
			return (&output{w: cmd.OutOrStdout()}).printJSON(proof)
		},
	}
	cmd.Flags().BoolVar(&public, "public", false, "leave out the statement's text and parameters")
	return cmd
}
