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

// publishOptions say by whom something is released, and why.
type publishOptions struct {
	keyFile string
	note    string
	from    controlclient.Origin
}

func (o *publishOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.keyFile, "key", "", "`file` with the private key that signs; "+keyVariable+" holds the key itself unless given")
	f.StringVar(&o.note, "note", "", "why, for people who read the history")
	f.StringVar(&o.from.Run, "run", "", "`URL` of the job that releases it; that of a CI job unless given")
	f.StringVar(&o.from.Commit, "commit", "", "`hash` of the policy's source; that of a CI job unless given")
}

// addWaitFlag has a command wait until what it released is enforced.
func addWaitFlag(cmd *cobra.Command, wait *time.Duration) {
	cmd.Flags().DurationVar(wait, "wait", 30*time.Second, "how long to wait until the gateway enforces it; 0 not to wait")
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
	var dir string
	var wait time.Duration
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
			b, err := o.open(args[1])
			switch {
			case err != nil:
				return err
			case dir != "":
				return publishInto(cmd, dir, args[0], b)
			}
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				return b.publish(cmd.Context(), out, client, args[0], wait)
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "`directory` to write the release to, in place of a control plane")
	addWaitFlag(cmd, &wait)
	return cmd
}

// publication is a bundle, and the key that releases it.
type publication struct {
	sealed []byte
	digest string
	key    *bundle.PrivateKey
	publishOptions
}

// open reads the bundle's file and the key.
func (o publishOptions) open(file string) (p publication, err error) {
	p.publishOptions = o
	if p.key, err = readPrivateKey(o.keyFile); err != nil {
		return publication{}, err
	}
	p.sealed, p.digest, err = readBundle(file)
	return p, err
}

// after is the release of the bundle in place of what is live: bundle and
// revision are empty and 0 if nothing is.
func (p *publication) after(gateway, predecessor string, revision uint64) bundle.Release {
	return bundle.Release{Gateway: gateway, Bundle: p.digest, Predecessor: predecessor, Revision: revision + 1, Time: time.Now(), Note: p.note}
}

// publish makes the bundle live, if what is live stays so, and waits until it
// is enforced.
func (p *publication) publish(ctx context.Context, out *output, client *controlclient.Client, gateway string, wait time.Duration) error {
	before, err := client.Live(ctx, gateway, 0, 0)
	if err != nil {
		return err
	}
	if err := client.PutBundle(ctx, p.digest, p.sealed); err != nil {
		return err
	}
	return p.release(ctx, out, client, gateway, before, wait)
}

// release releases a bundle that is stored in place of the release before, nil
// if there is none, and waits until it is enforced.
func (p *publication) release(ctx context.Context, out *output, client *controlclient.Client, gateway string, before *api.Release, wait time.Duration) error {
	if before == nil {
		before = &api.Release{}
	}
	signed, err := bundle.SealRelease(p.after(gateway, before.Bundle, before.Revision), p.key)
	if err != nil {
		return fmt.Errorf("sign the release: %w", err)
	}
	live, err := client.PublishFrom(ctx, gateway, signed, before.Bundle, originHere(p.from))
	if err != nil {
		return err
	}
	if err := showReleased(out, live.Revision, live.Bundle, live.Predecessor); err != nil || wait == 0 {
		return err
	}
	return awaitEnforced(ctx, client, live, wait)
}

// publishInto writes the release and its bundle to a directory.
func publishInto(cmd *cobra.Command, dir, gateway string, p publication) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	release, err := p.publishTo(dir, gateway)
	if err != nil {
		return err
	}
	return showReleased(out, release.Revision, release.Bundle, release.Predecessor)
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

// publishTo writes a release after the one that is in a directory, which the
// same key must have signed: what lies there may be anybody's.
func (p *publication) publishTo(dir, gateway string) (bundle.Release, error) {
	ring, err := bundle.NewKeyRing(p.key.PublicKey())
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
	next := p.after(gateway, before.Bundle, before.Revision)
	signed, err := bundle.SealRelease(next, p.key)
	if err != nil {
		return bundle.Release{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bundle.Release{}, err
	}
	if err := publishFile(filepath.Join(dir, strings.Replace(p.digest, ":", "-", 1)+".bundle.json"), p.sealed); err != nil {
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
