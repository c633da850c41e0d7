package main

import (
	"github.com/spf13/cobra"
)

func policyCheckCommand() *cobra.Command {
	var gateway string
	var strict bool
	cmd := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Report everything that is wrong with a policy",
		Long: `Report everything that is wrong with a policy: its syntax, names, references,
numbers, and the types and costs of its conditions. The exit status is 0 if there
are no errors.`,
		Example: `  postern policy check
  postern policy check -o json policies/`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyCheck(cmd, args, gateway, strict)
		},
	}
	addGatewayFlag(cmd, &gateway)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	return cmd
}

// checkData is the result of `postern policy check` as JSON has it.
type checkData struct {
	Valid    bool          `json:"valid"`
	Digest   string        `json:"digest,omitempty"`
	Objects  int           `json:"objects"`
	Tests    int           `json:"tests"`
	Problems []problemData `json:"problems"`
}

func runPolicyCheck(cmd *cobra.Command, paths []string, gateway string, strict bool) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	file, program, problems, err := loadPolicy(paths, gateway)
	if err != nil {
		return err
	}
	data := checkData{
		Valid: program != nil, Objects: len(file.Policy.Objects()), Tests: len(file.Tests), Problems: problemsData(problems),
	}
	if program != nil {
		data.Digest = program.Digest()
	}
	err = out.show(data, func() error {
		if err := printProblems(out, file, problems); err != nil || program == nil {
			return err
		}
		return out.printf("%s %s, %s\n%s\n", out.paint(styleGreen, "ok:"), plural(data.Objects, "object"), plural(data.Tests, "test"), out.paint(styleFaint, data.Digest))
	})
	if err != nil {
		return err
	}
	if program == nil || strict && len(problems) > 0 {
		return problemCount(problems)
	}
	return nil
}
