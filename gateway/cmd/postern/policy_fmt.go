package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang/source"
)

func policyFmtCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [PATH...]",
		Short: "Format policy files",
		Long: `Format policy files in place and print the names of those that changed. Comments
and meaning are kept. With - the standard input is formatted to the standard
output.`,
		Example: `  postern policy fmt
  postern policy fmt --check policies/    # in CI
  postern policy fmt - < orders.postern.hcl`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return formatInput(cmd)
			}
			return runPolicyFmt(cmd, args, check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; fail if a file is not formatted")
	return cmd
}

func formatInput(cmd *cobra.Command) error {
	src, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	formatted, err := format(cmd, "stdin", src)
	if err != nil {
		return err
	}
	if _, err := cmd.OutOrStdout().Write(formatted); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func runPolicyFmt(cmd *cobra.Command, paths []string, check bool) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	names, err := policyFiles(paths)
	if err != nil {
		return err
	}
	changed := []string{}
	var errs []error
	for _, name := range names {
		did, err := formatFile(cmd, name, check)
		errs = append(errs, err)
		if did {
			changed = append(changed, name)
		}
	}
	t := newTable("changed")
	for _, name := range changed {
		t.row(name)
	}
	if len(changed) > 0 || out.json {
		errs = append(errs, out.showTable(struct {
			Changed []string `json:"changed"`
		}{changed}, t))
	}
	if check && len(changed) > 0 {
		errs = append(errs, fmt.Errorf("%s not formatted", plural(len(changed), "file")))
	}
	return errors.Join(errs...)
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

// formatFile formats a file and reports whether that changes it.
func formatFile(cmd *cobra.Command, name string, check bool) (bool, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("read policy: %w", err)
	}
	formatted, err := format(cmd, name, src)
	if err != nil || bytes.Equal(src, formatted) {
		return false, err
	}
	if check {
		return true, nil
	}
	return true, replaceFile(name, formatted)
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
