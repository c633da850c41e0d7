package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang/bundle"
)

func releaseRolloutCommand(flags *controlFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Release to canaries first, and to the rest when they have proven themselves",
		Long: `Release a bundle to gateways stage by stage. A stage goes live when every instance
of the one before enforces it and, for as long as --observe says, no more than
--max-error-rate of its statements were denied or failed. Otherwise the rollout
stops, and what is live goes back to what was, unless --no-undo was given.

All releases are signed when the rollout starts, those that go back too: the
control plane carries it out and can sign nothing.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(rolloutStartCommand(flags), rolloutShowCommand(flags), rolloutListCommand(flags), rolloutStopCommand(flags))
	return cmd
}

// rolloutOptions say how a rollout goes.
type rolloutOptions struct {
	stages  []string
	observe time.Duration
	timeout time.Duration
	rate    float64
	minimum int
	noUndo  bool
	follow  bool
	publish publishOptions
}

func rolloutStartCommand(flags *controlFlags) *cobra.Command {
	var o rolloutOptions
	cmd := &cobra.Command{
		Use:   "start ID BUNDLE",
		Short: "Start a rollout, and follow it to its end",
		Example: `  postern release rollout start invoices-42 orders.bundle --key ops.key --observe 10m \
      --stage orders-canary --stage orders-eu,orders-us`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				return o.start(cmd.Context(), out, client, args[0], args[1])
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.stages, "stage", nil, "`GATEWAY[,GATEWAY]` of one stage; give it once for each, canaries first")
	f.DurationVar(&o.observe, "observe", time.Minute, "how long a stage is watched")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long the instances of a stage may take to enforce it")
	f.Float64Var(&o.rate, "max-error-rate", 0.05, "share of statements, from 0 to 1, that may be denied or fail")
	f.IntVar(&o.minimum, "min-instances", 1, "how many instances of each gateway must enforce a stage")
	f.BoolVar(&o.noUndo, "no-undo", false, "leave live what is live when the rollout stops")
	f.BoolVar(&o.follow, "follow", true, "follow the rollout to its end, and fail if it stops")
	o.publish.add(cmd)
	mustRegister(cmd.MarkFlagRequired("stage"))
	return cmd
}

func (o *rolloutOptions) start(ctx context.Context, out *output, client *controlclient.Client, id, file string) error {
	p, err := o.publish.open(file)
	if err != nil {
		return err
	}
	if err := client.PutBundle(ctx, p.digest, p.sealed); err != nil {
		return err
	}
	from := originHere(p.from)
	in := api.RolloutInput{
		Observe: o.observe.String(), Timeout: o.timeout.String(), MaxErrorRate: o.rate, MinInstances: o.minimum, Run: from.Run, Commit: from.Commit,
	}
	for _, stage := range o.stages {
		signed, err := p.signStage(ctx, client, strings.Split(stage, ","), !o.noUndo)
		if err != nil {
			return err
		}
		in.Stages = append(in.Stages, signed)
	}
	r, err := client.StartRollout(ctx, id, in)
	if err != nil {
		return err
	}
	if o.follow {
		return followRollout(ctx, out, client, r)
	}
	return showRollout(out, r)
}

// signStage signs what each gateway of a stage is to run, and what undoes it.
func (p *publication) signStage(ctx context.Context, client *controlclient.Client, gateways []string, undo bool) (api.RolloutStageInput, error) {
	var stage api.RolloutStageInput
	for _, gateway := range gateways {
		live, err := client.Live(ctx, gateway, 0, 0)
		if err != nil {
			return stage, err
		}
		if live == nil {
			live = &api.Release{}
		}
		next := p.after(gateway, live.Bundle, live.Revision)
		var one api.RolloutReleaseInput
		if one.Signed, err = bundle.SealRelease(next, p.key); err != nil {
			return stage, err
		}
		if live.Bundle != "" && undo {
			back := next
			back.Bundle, back.Predecessor, back.Revision, back.Note = live.Bundle, p.digest, next.Revision+1, "the rollout was stopped"
			if one.Undo, err = bundle.SealRelease(back, p.key); err != nil {
				return stage, err
			}
		}
		stage.Releases = append(stage.Releases, one)
	}
	return stage, nil
}

// followRollout prints each step of a rollout until its end.
func followRollout(ctx context.Context, out *output, client *controlclient.Client, r api.Rollout) error {
	for {
		if err := showRollout(out, r); err != nil {
			return err
		}
		switch r.Status {
		case api.RolloutDone:
			return nil
		case api.RolloutStopped:
			return errors.New("the rollout was stopped: " + r.Reason)
		case api.RolloutRunning:
		}
		next, err := client.Rollout(ctx, r.ID, r.Rev, api.MaxWait/2)
		for err == nil && next.Rev == r.Rev {
			next, err = client.Rollout(ctx, r.ID, r.Rev, api.MaxWait/2)
		}
		if err != nil {
			return err
		}
		r = next
	}
}

func showRollout(out *output, r api.Rollout) error {
	t := newTable("stage", "gateways", "state", "statements", "errors")
	for i, stage := range r.Stages {
		var names []string
		for _, one := range stage.Releases {
			names = append(names, fmt.Sprintf("%s (%d)", one.Gateway, one.Revision))
		}
		t.row(i+1, strings.Join(names, ", "), stageState(r, i), stage.Statements, stage.Errors)
	}
	if r.Reason != "" {
		t.row("", r.Reason, cell{string(r.Status), styleRed}, "", "")
	}
	return out.showTable(r, t)
}

func stageState(r api.Rollout, i int) cell {
	stage := r.Stages[i]
	switch {
	case stage.Releases[0].Undone:
		return cell{"undone", styleYellow}
	case stage.Proven != nil:
		return cell{"proven", styleGreen}
	case stage.Enforced != nil:
		return cell{"watched", styleCyan}
	case stage.LiveAt != nil:
		return cell{"live", styleCyan}
	}
	return cell{"waits", styleFaint}
}

func rolloutShowCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show how a rollout stands",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				r, err := client.Rollout(cmd.Context(), args[0], 0, 0)
				if err != nil {
					return err
				}
				return showRollout(out, r)
			})
		},
	}
}

func rolloutListCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the newest rollouts, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				list, err := client.Rollouts(cmd.Context(), 20)
				if err != nil {
					return err
				}
				t := newTable("id", "status", "stage", "started", "by", "reason")
				for _, r := range list {
					t.row(r.ID, string(r.Status), fmt.Sprintf("%d of %d", r.Stage+1, len(r.Stages)), timeText(&r.CreatedAt), r.CreatedBy, r.Reason)
				}
				return out.showTable(list, t)
			})
		},
	}
}

func rolloutStopCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stop ID",
		Short: "Stop a rollout that is running, and undo what it can",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				r, err := client.StopRollout(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return showRollout(out, r)
			})
		},
	}
}
