package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang/source"
)

// formatting is how `postern policy fmt` was asked to format.
type formatting struct {
	check bool // change nothing, and fail if something would change
	diff  bool // change nothing, and print what would
}

func policyFmtCommand() *cobra.Command {
	var f formatting
	cmd := &cobra.Command{
		Use:   "fmt [PATH...]",
		Short: "Format policy files",
		Long: `Format policy files in place and print the names of those that changed. Comments
and meaning are kept. With - the standard input is formatted to the standard
output.`,
		Example: `  postern policy fmt
  postern policy fmt --diff               # look first
  postern policy fmt --check policies/    # in CI
  postern policy fmt - < orders.postern.hcl`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return f.input(cmd)
			}
			return f.run(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "change nothing; fail if a file is not formatted")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "change nothing; print what would change, as a diff")
	return cmd
}

// input formats the standard input to the standard output.
func (f formatting) input(cmd *cobra.Command) error {
	src, err := readAll(cmd.InOrStdin(), "the standard input", maxPolicyFile)
	if err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	formatted, err := format(cmd, "stdin", src)
	if err != nil {
		return err
	}
	out := newOutput(cmd.OutOrStdout())
	switch {
	case f.diff:
		err = out.print(out.paintDiff(unifiedDiff("stdin", src, formatted)))
	case !f.check:
		err = out.print(string(formatted))
	}
	if f.check && !bytes.Equal(src, formatted) {
		err = errors.Join(err, errors.New("the input is not formatted"))
	}
	return err
}

// formattedFiles is the result of `postern policy fmt` as JSON has it.
type formattedFiles struct {
	Changed []string `json:"changed"`
	Diff    string   `json:"diff,omitempty"`
}

func (f formatting) run(cmd *cobra.Command, paths []string) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	names, err := policyFiles(paths)
	if err != nil {
		return err
	}
	result := formattedFiles{Changed: []string{}}
	var errs []error
	for _, name := range names {
		errs = append(errs, f.file(cmd, name, &result))
	}
	errs = append(errs, out.show(result, func() error { return f.print(out, result) }))
	if f.check && len(result.Changed) > 0 {
		errs = append(errs, fmt.Errorf("%s not formatted", plural(len(result.Changed), "file")))
	}
	return errors.Join(errs...)
}

// print prints what changed, or would, for people.
func (f formatting) print(out *output, result formattedFiles) error {
	if f.diff {
		return out.print(out.paintDiff(result.Diff))
	}
	if len(result.Changed) == 0 {
		return nil
	}
	t := newTable("changed")
	for _, name := range result.Changed {
		t.row(name)
	}
	return out.print(t.String(out))
}

// policyFiles lists the policy files that paths name.
func policyFiles(paths []string) ([]string, error) {
	patterns, err := policyPatterns(paths)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pattern := range patterns {
		found, err := fs.Glob(hostFS{}, pattern)
		if err != nil {
			return nil, fmt.Errorf("find policy files: %w", err)
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil, errors.New("no policy file (*.postern.hcl) is there")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// file formats a file and adds it to the result if that changes it.
func (f formatting) file(cmd *cobra.Command, name string, result *formattedFiles) error {
	src, err := readBounded(name, maxPolicyFile)
	if err != nil {
		return fmt.Errorf("read policy: %w", err)
	}
	formatted, err := format(cmd, name, src)
	if err != nil || bytes.Equal(src, formatted) {
		return err
	}
	result.Changed = append(result.Changed, name)
	if f.diff {
		result.Diff += unifiedDiff(name, src, formatted)
	}
	if f.diff || f.check {
		return nil
	}
	return replaceFile(name, formatted)
}

// unifiedDiff is what formatting changes in a file, as patch reads it; empty if
// nothing.
func unifiedDiff(name string, before, after []byte) string {
	text := string(diff.Diff(name, before, name+" formatted", after))
	if _, hunks, headed := strings.Cut(text, "\n"); headed { // the first line says "diff"
		return hunks
	}
	return text
}

// format formats a file's text and prints why it could not.
func format(cmd *cobra.Command, name string, src []byte) ([]byte, error) {
	formatted, problems := source.Format(name, src)
	if len(problems) == 0 {
		return formatted, nil
	}
	file, _ := source.Parse(name, src)
	if err := printProblems(newOutput(cmd.ErrOrStderr()), file, problems); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("cannot format %s", name)
}

// replaceFile puts a file in the place of another at once, with its mode, so
// that nobody ever reads half of it.
func replaceFile(name string, data []byte) (err error) {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("replace file: %w", err)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".postern-*")
	if err != nil {
		return fmt.Errorf("replace file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("replace file: %w", err), os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
