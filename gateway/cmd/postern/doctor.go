package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// finding is what one check has found. A problem says what to do.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // stateOK, stateWarning, stateProblem or stateSkipped
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

// The states of findings.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateProblem = "problem"
	stateSkipped = "skipped" // what it needs was not given
)

func fine(check, format string, args ...any) finding {
	return finding{Check: check, State: stateOK, Found: fmt.Sprintf(format, args...)}
}

func skipped(check, needs string) finding {
	return finding{Check: check, State: stateSkipped, Found: "not looked at", Advice: needs}
}

func problem(check, found, advice string) finding {
	return finding{Check: check, State: stateProblem, Found: found, Advice: advice}
}

func warning(check, found, advice string) finding {
	return finding{Check: check, State: stateWarning, Found: found, Advice: advice}
}

// patient is what is looked at.
type patient struct {
	control *controlFlags
	gateway string
	data    string
	trust   []string
}

// doctorCommand looks for what is wrong.
func doctorCommand() *cobra.Command {
	var p patient
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to do about it",
		Long: `Look at the control plane, the gateway, the keys, the clock, the certificate, the
disk and the upstream, and say of each what is wrong and what to do about it.

On a gateway's host give --gateway, --data and --trust as the gateway has them,
and run it as its user with its environment: it then tries the upstream with the
gateway's own credentials. Elsewhere it looks at the control plane and at what
the gateways report. What cannot be looked at is skipped, and it says why.

It changes nothing. It exits with 1 if there is a problem.`,
		Example: `  postern doctor
  postern doctor --gateway orders --data /var/lib/postern --trust publisher.pub`,
		Args: cobra.NoArgs,
	}
	addOutputFlag(cmd)
	p.control = addControlFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.gateway, "gateway", "", "`name` of the gateway to look at")
	f.StringVar(&p.data, "data", "", "its data `directory`")
	f.StringSliceVar(&p.trust, "trust", nil, "`file` of its trusted keys")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := outputOf(cmd)
		if err != nil {
			return err
		}
		findings := p.examine(cmd.Context())
		t := newTable("check", "state", "found", "what to do")
		problems := 0
		for _, f := range findings {
			style := map[string]style{stateOK: styleGreen, stateWarning: styleYellow, stateProblem: styleRed, stateSkipped: styleFaint}[f.State]
			t.row(f.Check, cell{f.State, style}, f.Found, f.Advice)
			if f.State == stateProblem {
				problems++
			}
		}
		if err := out.showTable(findings, t); err != nil {
			return err
		}
		if problems > 0 {
			return fmt.Errorf("%d of %d checks found a problem", problems, len(findings))
		}
		return nil
	}
	return cmd
}

// examine runs all checks.
func (p *patient) examine(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var all []finding
	all = append(all, p.examineControl(ctx)...)
	all = append(all, p.examineKeys(ctx)...)
	all = append(all, p.examineHost()...)
	return append(all, p.examineUpstream(ctx))
}
