package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// statusCommand shows the fleet.
func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [GATEWAY...]",
		Short: "Show which gateway runs which policy since when, its clients, denials and holds",
		Long: `Show each instance of each gateway as it last reported: the revision and the
bundle that it enforces and since when, how many clients it has, how many
statements it has seen, denied and held since it started, and how many wait for
an approval now. An instance is behind if a newer release is live than it
enforces, and lost if it has not reported for a minute. What ails it comes last;
'postern doctor' says what to do.`,
		Example: `  postern status
  postern status orders -o json`,
	}
	addOutputFlag(cmd)
	flags := addControlFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
			all, err := readStatus(cmd.Context(), client, args)
			if err != nil {
				return err
			}
			return out.showTable(all, statusTable(all, time.Now()))
		})
	}
	return cmd
}

// gatewayStatus is a gateway as `postern status -o json` has it.
type gatewayStatus struct {
	Gateway   string         `json:"gateway"`
	Live      *api.Release   `json:"live,omitempty"`
	Instances []api.Instance `json:"instances"`
}

func readStatus(ctx context.Context, client *controlclient.Client, names []string) ([]gatewayStatus, error) {
	gateways, err := client.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	all := []gatewayStatus{}
	for _, g := range gateways {
		if len(names) > 0 && !wanted[g.Name] {
			continue
		}
		delete(wanted, g.Name)
		instances, err := client.Instances(ctx, g.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, gatewayStatus{g.Name, g.Live, instances})
	}
	for n := range wanted {
		return nil, fmt.Errorf("the control plane has heard of no gateway %q that you may see", n)
	}
	return all, nil
}

func statusTable(all []gatewayStatus, now time.Time) *table {
	t := newTable("gateway", "instance", "state", "revision", "bundle", "since", "clients", "statements", "denied", "held", "waiting", "version", "problem")
	for _, g := range all {
		if len(g.Instances) == 0 {
			t.row(g.Gateway, "-", cell{"no instance", styleYellow}, liveRevision(g.Live), shortDigest(liveBundle(g.Live)), "-", 0, 0, 0, 0, 0, "-", "")
		}
		for _, i := range g.Instances {
			t.row(g.Gateway, i.Instance, instanceState(g.Live, i, now), i.Revision, shortDigest(i.Bundle), timeText(i.Since),
				i.Sessions, i.Statements, i.Denied, i.Held, i.Waiting, i.Version, i.Error)
		}
	}
	return t
}

// lostAfter is how long an instance may be silent: six reports.
const lostAfter = time.Minute

func instanceState(live *api.Release, i api.Instance, now time.Time) cell {
	switch {
	case now.Sub(i.SeenAt) > lostAfter:
		return cell{"lost", styleRed}
	case i.Revision < liveRevision(live):
		return cell{"behind", styleYellow}
	case i.Revision == 0:
		return cell{"no policy", styleRed}
	case i.Error != "":
		return cell{"troubled", styleYellow}
	}
	return cell{"ok", styleGreen}
}

func liveRevision(live *api.Release) uint64 {
	if live == nil {
		return 0
	}
	return live.Revision
}

func liveBundle(live *api.Release) string {
	if live == nil {
		return ""
	}
	return live.Bundle
}
