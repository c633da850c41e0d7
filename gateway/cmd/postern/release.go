package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// releaseCommand groups what is done with releases where Terraform is not at
// hand.
func releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Release bundles, list what was released to a gateway, and roll it back",
	}
	addOutputFlag(cmd)
	flags := addControlFlags(cmd)
	cmd.AddCommand(releaseListCommand(flags), releasePublishCommand(flags), releaseRollbackCommand(flags), releaseRolloutCommand(flags))
	return cmd
}

func releaseListCommand(flags *controlFlags) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list GATEWAY",
		Short: "List a gateway's releases, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				releases, err := client.Releases(cmd.Context(), args[0], limit)
				if err != nil {
					return err
				}
				t := newTable("revision", "bundle", "released", "by", "key", "commit", "run", "note")
				for i := range releases {
					r := &releases[i]
					t.row(r.Revision, r.Bundle, timeText(&r.ReleasedAt), r.ReleasedBy, r.KeyID, r.Commit, r.Run, r.Note)
				}
				return out.showTable(releases, t)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	return cmd
}

func releaseRollbackCommand(flags *controlFlags) *cobra.Command {
	var o publishOptions
	var to uint64
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "rollback GATEWAY",
		Short: "Release again what a gateway ran before",
		Long: `Release again the bundle that a gateway ran before the live one, or that of the
revision that --to names: signed with your key, under a new revision, since a
gateway never goes back to an older one. It returns when the gateway enforces it.

Terraform will not undo it unasked: its next plan fails and says what is live.`,
		Example: `  postern release list orders
  postern release rollback orders --key ops.key --note 'nobody can work since 42'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				return o.rollback(cmd.Context(), out, client, args[0], to, wait)
			})
		},
	}
	o.add(cmd)
	cmd.Flags().Uint64Var(&to, "to", 0, "`revision` whose bundle is released again; what was live before unless given")
	addWaitFlag(cmd, &wait)
	mustRegister(cmd.MarkFlagRequired("note"))
	return cmd
}

// rollback releases an older bundle, that of a revision or else what was live
// before, if what is live stays so.
func (o publishOptions) rollback(ctx context.Context, out *output, client *controlclient.Client, gateway string, to uint64, wait time.Duration) error {
	p := publication{publishOptions: o}
	var err error
	if p.key, err = readPrivateKey(o.keyFile); err != nil {
		return err
	}
	live, err := client.Live(ctx, gateway, 0, 0)
	if err != nil {
		return err
	}
	if live == nil {
		return fmt.Errorf("nothing was ever released to gateway %q", gateway)
	}
	if p.digest, err = olderBundle(ctx, client, live, to); err != nil {
		return err
	}
	return p.release(ctx, out, client, gateway, live, wait)
}

// mostReleases is how far back a revision is looked for.
const mostReleases = 1000

// olderBundle is the bundle of a revision, or of what was live before if it is
// 0.
func olderBundle(ctx context.Context, client *controlclient.Client, live *api.Release, revision uint64) (string, error) {
	bundle := live.Predecessor
	if revision > 0 {
		releases, err := client.Releases(ctx, live.Gateway, mostReleases)
		if err != nil {
			return "", err
		}
		bundle = ""
		for i := range releases {
			if releases[i].Revision == revision {
				bundle = releases[i].Bundle
			}
		}
	}
	switch bundle {
	case "":
		return "", fmt.Errorf("gateway %q has no such release to go back to; postern release list %s shows what there is", live.Gateway, live.Gateway)
	case live.Bundle:
		return "", fmt.Errorf("bundle %s is live already", bundle)
	}
	return bundle, nil
}

// awaitEnforced waits until all of a gateway's instances enforce the release.
func awaitEnforced(ctx context.Context, client *controlclient.Client, r *api.Release, wait time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	for {
		instances, err := client.Instances(ctx, r.Gateway)
		if ctx.Err() == nil && err != nil {
			return err
		}
		behind, why := 0, ""
		for i := range instances {
			if instances[i].Revision < r.Revision && time.Since(instances[i].SeenAt) < time.Minute {
				behind, why = behind+1, instances[i].Error
			}
		}
		if err == nil && behind == 0 && len(instances) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			err := fmt.Errorf("revision %d is published, but %d of %d instances do not enforce it yet", r.Revision, behind, len(instances))
			if why != "" {
				return errors.Join(err, errors.New(why))
			}
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
