package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang/bundle"
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
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			client, err := flags.client()
			if err != nil {
				return err
			}
			defer client.Close()
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
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	return cmd
}

// rollbackOptions say what is rolled back, and to what.
type rollbackOptions struct {
	keyFile string
	to      uint64
	note    string
	wait    time.Duration
}

func releaseRollbackCommand(flags *controlFlags) *cobra.Command {
	var o rollbackOptions
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
			return runRollback(cmd, flags, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.keyFile, "key", "", "`file` with the private key that signs; "+keyVariable+" holds the key itself unless given")
	f.Uint64Var(&o.to, "to", 0, "`revision` whose bundle is released again; what was live before unless given")
	f.StringVar(&o.note, "note", "", "why, for people who read the history")
	f.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until the gateway enforces it; 0 not to wait")
	mustRegister(cmd.MarkFlagRequired("note"))
	return cmd
}

func runRollback(cmd *cobra.Command, flags *controlFlags, gateway string, o rollbackOptions) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	key, err := readPrivateKey(o.keyFile)
	if err != nil {
		return err
	}
	client, err := flags.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := cmd.Context()
	live, err := rollback(ctx, client, key, gateway, o)
	if err != nil {
		return err
	}
	t := newTable("revision", "bundle", "in place of")
	t.row(live.Revision, live.Bundle, live.Predecessor)
	if err := out.showTable(live, t); err != nil || o.wait == 0 {
		return err
	}
	return awaitEnforced(ctx, client, live, o.wait)
}

// rollback releases an older bundle if what is live stays so.
func rollback(ctx context.Context, client *controlclient.Client, key *bundle.PrivateKey, gateway string, o rollbackOptions) (*api.Release, error) {
	live, err := client.Live(ctx, gateway, 0, 0)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return nil, fmt.Errorf("nothing was ever released to gateway %q", gateway)
	}
	older, err := olderBundle(ctx, client, live, o.to)
	if err != nil {
		return nil, err
	}
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: gateway, Bundle: older, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now(), Note: o.note,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("sign the release: %w", err)
	}
	return client.PublishFrom(ctx, gateway, signed, live.Bundle, originHere(controlclient.Origin{}))
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
