package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/source"
)

// policyCommand groups what authors and reviewers of policy need. None of it
// talks to a gateway or a database.
func policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, check and test policy files",
		Long: `Write, check and test policy files.

A PATH is a policy file, or a directory whose *.postern.hcl files are read as
one policy. Without any, it is the current directory.`,
	}
	addOutputFlag(cmd)
	cmd.AddCommand(
		policyFmtCommand(), policyCheckCommand(), policyTestCommand(), policyExplainCommand(),
		policyBuildCommand(), policyDocsCommand(),
	)
	return cmd
}

// hostFS is the host's file system under its own names, absolute and relative,
// so that one policy can come from anywhere.
type hostFS struct{}

// Open opens the file of that name.
func (hostFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

// policyPatterns turns paths into patterns for [source.ParseFS].
func policyPatterns(paths []string) ([]string, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var patterns []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read policy: %w", err)
		}
		pattern := escapePattern(filepath.ToSlash(filepath.Clean(p)))
		if info.IsDir() {
			pattern = strings.TrimPrefix(pattern+"/"+source.DefaultPattern, "./")
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// escapePattern makes a pattern that matches one name only.
func escapePattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// loadPolicy reads and compiles policy files for a gateway, or for none. The
// problems are all there are, with positions; the program is nil if any is an
// error.
func loadPolicy(paths []string, gateway string) (*source.File, *compile.Program, []policylang.Problem, error) {
	patterns, err := policyPatterns(paths)
	if err != nil {
		return nil, nil, nil, err
	}
	file, problems := source.ParseFS(hostFS{}, patterns...)
	program, more := compile.Compile(file.Policy, gateway)
	problems = append(problems, file.Locate(more)...)
	source.Sort(problems)
	if policylang.HasErrors(problems) {
		program = nil
	}
	return file, program, problems, nil
}

// mustLoadPolicy is loadPolicy for commands that need a policy without errors.
// It prints the problems to the command's error output or, if there are errors
// and JSON is wanted, as its result.
func mustLoadPolicy(cmd *cobra.Command, paths []string, gateway string) (*source.File, *compile.Program, error) {
	file, program, problems, err := loadPolicy(paths, gateway)
	if err != nil {
		return nil, nil, err
	}
	if program == nil {
		return nil, nil, refusePolicy(cmd, file, problems)
	}
	return file, program, printProblems(newOutput(cmd.ErrOrStderr()), file, problems)
}

// refusedData is what a command that needs a policy without errors gives as
// JSON for one that has some.
type refusedData struct {
	Problems []problemData `json:"problems"`
}

// refusePolicy prints what is wrong with a policy, and returns the error of a
// command that cannot go on.
func refusePolicy(cmd *cobra.Command, file *source.File, problems []policylang.Problem) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	err = out.show(refusedData{problemsData(problems)}, func() error {
		return printProblems(newOutput(cmd.ErrOrStderr()), file, problems)
	})
	return errors.Join(problemCount(problems), err)
}

// problemCount is the error of a command that found problems and printed them.
func problemCount(problems []policylang.Problem) error {
	errs, warnings := 0, 0
	for _, p := range problems {
		if p.Severity == policylang.SeverityWarning {
			warnings++
		} else {
			errs++
		}
	}
	text := "the policy has " + plural(errs, "error")
	if warnings > 0 {
		text += " and " + plural(warnings, "warning")
	}
	return errors.New(text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printProblems prints problems with the lines that they stand in.
func printProblems(o *output, file *source.File, problems []policylang.Problem) error {
	for _, p := range problems {
		if err := o.print(problemText(o, file, p)); err != nil {
			return err
		}
	}
	return nil
}

func problemText(o *output, file *source.File, p policylang.Problem) string {
	var b strings.Builder
	if at := problemPosition(p); at != "" {
		b.WriteString(o.paint(styleBold, printable(at)+": "))
	}
	if p.Severity == policylang.SeverityWarning {
		b.WriteString(o.paint(styleYellow, "warning: "))
	} else {
		b.WriteString(o.paint(styleRed, "error: "))
	}
	b.WriteString(printable(p.Summary) + "\n")
	excerpt := file.Excerpt(p)
	b.WriteString(paintCarets(o, excerpt, p))
	indent := "    "
	if excerpt != "" {
		indent = "    = "
	}
	if p.Suggestion != "" {
		b.WriteString(indent + "Did you mean " + o.paint(styleGreen, fmt.Sprintf("%q", p.Suggestion)) + "?\n")
	}
	if p.Advice != "" {
		b.WriteString(indent + printable(p.Advice) + "\n")
	}
	return b.String()
}

func problemPosition(p policylang.Problem) string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	case p.Path.Kind != "":
		return p.Path.String()
	}
	return p.File
}

func paintCarets(o *output, excerpt string, p policylang.Problem) string {
	s := styleRed
	if p.Severity == policylang.SeverityWarning {
		s = styleYellow
	}
	if line, carets, ok := strings.Cut(strings.TrimSuffix(excerpt, "\n"), "\n"); ok {
		at := strings.IndexByte(carets, '^')
		return line + "\n" + carets[:at] + o.paint(s, carets[at:]) + "\n"
	}
	return excerpt
}

// problemData is a problem as JSON has it.
type problemData struct {
	Severity   string `json:"severity"` // "error" or "warning"
	Kind       string `json:"kind,omitempty"`
	Name       string `json:"name,omitempty"`
	Attribute  string `json:"attribute,omitempty"`
	Summary    string `json:"summary"`
	Advice     string `json:"advice,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	File       string `json:"file,omitempty"`
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	EndLine    int    `json:"end_line,omitempty"`
	EndColumn  int    `json:"end_column,omitempty"`
}

func problemsData(problems []policylang.Problem) []problemData {
	out := make([]problemData, 0, len(problems))
	for _, p := range problems {
		severity := "error"
		if p.Severity == policylang.SeverityWarning {
			severity = "warning"
		}
		out = append(out, problemData{
			Severity: severity, Kind: string(p.Path.Kind), Name: p.Path.Name, Attribute: p.Path.Attr,
			Summary: p.Summary, Advice: p.Advice, Suggestion: p.Suggestion,
			File: p.File, Line: p.Line, Column: p.Col, EndLine: p.EndLine, EndColumn: p.EndCol,
		})
	}
	return out
}

// completePolicyPaths completes policy files and directories.
func completePolicyPaths(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"hcl"}, cobra.ShellCompDirectiveFilterFileExt
}

// addGatewayFlag gives a command the flag --gateway and completes it with the
// gateways of the policy.
func addGatewayFlag(cmd *cobra.Command, gateway *string) {
	cmd.Flags().StringVar(gateway, "gateway", "", "gateway of the policy to decide for")
	mustRegister(cmd.RegisterFlagCompletionFunc("gateway", completeNames(policylang.KindGateway)))
}

// completeNames completes the names of a kind of object in the policy that the
// command's arguments name.
func completeNames(kind policylang.Kind) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		patterns, err := policyPatterns(args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		file, _ := source.ParseFS(hostFS{}, patterns...)
		var names []string
		for _, o := range file.Policy.Objects() {
			if o.ObjectKind() == kind {
				names = append(names, o.ObjectName())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
