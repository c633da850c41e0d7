package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang/bundle"
)

// publishOptions say what is released, and by whom.
type publishOptions struct {
	keyFile string
	note    string
	dir     string
	wait    time.Duration
	from    controlclient.Origin
}

func (o *publishOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.keyFile, "key", "", "`file` with the private key that signs; "+keyVariable+" holds the key itself unless given")
	f.StringVar(&o.note, "note", "", "why, for people who read the history")
	addOriginFlags(cmd, &o.from)
}

// addOriginFlags has the history say where a release was made.
func addOriginFlags(cmd *cobra.Command, from *controlclient.Origin) {
	cmd.Flags().StringVar(&from.Run, "run", "", "`URL` of the job that releases it; that of a CI job unless given")
	cmd.Flags().StringVar(&from.Commit, "commit", "", "`hash` of the policy's source; that of a CI job unless given")
}

// originHere is where this is run, as CI systems tell it by environment.
func originHere(given controlclient.Origin) controlclient.Origin {
	github := ""
	if id := os.Getenv("GITHUB_RUN_ID"); id != "" {
		github = os.Getenv("GITHUB_SERVER_URL") + "/" + os.Getenv("GITHUB_REPOSITORY") + "/actions/runs/" + id
	}
	return controlclient.Origin{
		Run:    firstOf(given.Run, os.Getenv("TFC_RUN_ID"), github, os.Getenv("CI_JOB_URL"), os.Getenv("BUILD_URL")),
		Commit: firstOf(given.Commit, os.Getenv("GITHUB_SHA"), os.Getenv("CI_COMMIT_SHA"), os.Getenv("GIT_COMMIT")),
	}
}

func releasePublishCommand(flags *controlFlags) *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish GATEWAY BUNDLE",
		Short: "Sign a release of a bundle and make it live",
		Long: `Sign a release of a bundle, made by 'postern policy build', and make it live at
the control plane. It returns when the gateway enforces it. If somebody else
publishes meanwhile, theirs stays and this one fails.

With --dir the release is not sent: it is written to a directory as gateways
read it with --source, after the release that is there. Copy the directory to a
web server or an S3-compatible store, the bundle before release.json.`,
		Example: `  postern policy build --key ops.key --out orders.bundle policies/
  postern release publish orders orders.bundle --key ops.key --note 'ana reads invoices'
  postern release publish orders orders.bundle --key ops.key --dir /srv/policies/orders`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPublish(cmd, flags, args[0], args[1], o)
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.dir, "dir", "", "`directory` to write the release to, in place of a control plane")
	cmd.Flags().DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait until the gateway enforces it; 0 not to wait")
	return cmd
}

func runPublish(cmd *cobra.Command, flags *controlFlags, gateway, file string, o publishOptions) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	key, err := readPrivateKey(o.keyFile)
	if err != nil {
		return err
	}
	sealed, digest, err := readBundle(file)
	if err != nil {
		return err
	}
	if o.dir != "" {
		release, err := publishTo(o.dir, gateway, digest, sealed, key, o.note)
		if err != nil {
			return err
		}
		return showReleased(out, release.Revision, release.Bundle, release.Predecessor)
	}
	client, err := flags.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := cmd.Context()
	live, err := publishAt(ctx, client, gateway, digest, sealed, key, o)
	if err != nil {
		return err
	}
	if err := showReleased(out, live.Revision, live.Bundle, live.Predecessor); err != nil || o.wait == 0 {
		return err
	}
	return awaitEnforced(ctx, client, live, o.wait)
}

func showReleased(out *output, revision uint64, digest, predecessor string) error {
	t := newTable("revision", "bundle", "in place of")
	t.row(revision, digest, predecessor)
	return out.showTable(map[string]any{"revision": revision, "bundle": digest, "predecessor": predecessor}, t)
}

// readBundle reads a sealed bundle and says which policy is in it.
func readBundle(file string) (sealed []byte, digest string, err error) {
	if sealed, err = readEnvelope(file); err != nil {
		return nil, "", err
	}
	inside, err := bundle.InspectUnverified(sealed)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", file, err)
	}
	if inside.Type != bundle.TypeBundle {
		return nil, "", fmt.Errorf("read %s: it is a release, not a bundle", file)
	}
	return sealed, inside.Digest, nil
}

// publishAt makes a bundle live at a control plane if what is live stays so.
func publishAt(ctx context.Context, client *controlclient.Client, gateway, digest string, sealed []byte, key *bundle.PrivateKey, o publishOptions) (*api.Release, error) {
	live, err := client.Live(ctx, gateway, 0, 0)
	if err != nil {
		return nil, err
	}
	if live == nil {
		live = &api.Release{}
	}
	if err := client.PutBundle(ctx, digest, sealed); err != nil {
		return nil, err
	}
	signed, err := bundle.SealRelease(bundle.Release{
		Gateway: gateway, Bundle: digest, Predecessor: live.Bundle, Revision: live.Revision + 1, Time: time.Now(), Note: o.note,
	}, key)
	if err != nil {
		return nil, err
	}
	return client.PublishFrom(ctx, gateway, signed, live.Bundle, originHere(o.from))
}

// publishTo writes a release after the one that is in a directory, which the
// same key must have signed: what lies there may be anybody's.
func publishTo(dir, gateway, digest string, sealed []byte, key *bundle.PrivateKey, note string) (bundle.Release, error) {
	ring, err := bundle.NewKeyRing(key.PublicKey())
	if err != nil {
		return bundle.Release{}, err
	}
	var before bundle.Release
	if data, err := os.ReadFile(filepath.Join(dir, "release.json")); err == nil {
		if before, err = bundle.OpenRelease(data, ring, gateway); err != nil {
			return bundle.Release{}, fmt.Errorf("the release that is in %s: %w", dir, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return bundle.Release{}, err
	}
	next := bundle.Release{Gateway: gateway, Bundle: digest, Predecessor: before.Bundle, Revision: before.Revision + 1, Time: time.Now(), Note: note}
	signed, err := bundle.SealRelease(next, key)
	if err != nil {
		return bundle.Release{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bundle.Release{}, err
	}
	if err := publishFile(filepath.Join(dir, strings.Replace(digest, ":", "-", 1)+".bundle.json"), sealed); err != nil {
		return bundle.Release{}, err
	}
	return next, publishFile(filepath.Join(dir, "release.json"), signed)
}

// publishFile writes a file so that readers see all of the old or all of the
// new.
func publishFile(name string, data []byte) error {
	if err := os.WriteFile(name+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
