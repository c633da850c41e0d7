package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// maxClockSkew is how far two clocks may be apart: what token verification
// allows.
const maxClockSkew = 30 * time.Second

// examineControl looks at the control plane, at who calls it, at the clock and
// at what the gateways report.
func (p *patient) examineControl(ctx context.Context) []finding {
	client, err := p.control.client()
	if errors.Is(err, errNoControl) {
		return []finding{skipped("control plane", "give --control, or set "+envControl+", unless gateways run with --source alone")}
	}
	if err != nil {
		return []finding{problem("control plane", err.Error(), "correct the flags or the environment")}
	}
	defer client.Close()
	began := time.Now()
	info, date, err := client.VersionAt(ctx)
	if err != nil {
		return []finding{problem("control plane", err.Error(), controlAdvice(err))}
	}
	all := []finding{controlVersion(client.URL(), info), clockFinding(date, began, time.Now())}
	who, err := client.Whoami(ctx)
	if err != nil {
		return append(all, problem("token", err.Error(), "sign in again with 'postern login', or make a new token with 'postern token create'"))
	}
	all = append(all, tokenFinding(who, time.Now()))
	return append(all, p.examineFleet(ctx, client, who)...)
}

func controlAdvice(err error) string {
	switch {
	case strings.Contains(err.Error(), "certificate is not trusted"):
		return "give --ca the authority of its certificate: ca.pem in the control plane's data directory, if it was generated"
	case strings.Contains(err.Error(), "certificate is for another name"):
		return "use a name that the certificate has, or start the control plane with this one in --host"
	case errors.Is(err, controlclient.ErrUnavailable):
		return "check that it runs, its address, and the network between; its log says more. Gateways go on with the policy that they have"
	}
	return "check --control: it must be the URL of a Postern control plane"
}

func controlVersion(url string, info api.VersionInfo) finding {
	found := fmt.Sprintf("%s answers, version %s", url, info.Version)
	switch {
	case info.API != api.Version:
		return problem("control plane", fmt.Sprintf("%s, with API %d; this is version %s with API %d", found, info.API, version, api.Version), "use the command line of the control plane's version")
	case info.Version != version:
		return warning("control plane", found+"; this is "+version, "upgrade the control plane first, then gateways, then what publishes")
	}
	return fine("control plane", "%s", found)
}

// clockFinding compares this clock with the control plane's, whose answer came
// between two moments and names whole seconds.
func clockFinding(theirs, began, ended time.Time) finding {
	if theirs.IsZero() {
		return warning("clock", "the control plane does not say its time", "a proxy in between may remove the Date header")
	}
	skew := max(0, theirs.Sub(ended), began.Add(-time.Second).Sub(theirs))
	if skew > maxClockSkew {
		return problem("clock", fmt.Sprintf("this clock and the control plane's are %s apart", skew.Round(time.Second)),
			"have both follow a time server (chrony, systemd-timesyncd): tokens are refused that seem expired or not yet valid")
	}
	return fine("clock", "within %s of the control plane's", (skew + time.Second).Round(time.Second))
}

func tokenFinding(who api.Caller, now time.Time) finding {
	found := fmt.Sprintf("%s %q with roles %s", who.Kind, who.Name, rolesText(who.Roles))
	switch {
	case len(who.Roles) == 0:
		return warning("token", found, "it only sees its own approvals; an administrator gives roles to tokens and groups")
	case who.Expires != nil && who.Kind == api.CallerToken && who.Expires.Sub(now) < 7*24*time.Hour:
		return warning("token", found+", expires "+who.Expires.Format(time.RFC3339), "make a new one with 'postern token create' before")
	}
	return fine("token", "%s", found)
}

// examineFleet looks at what gateways report.
func (p *patient) examineFleet(ctx context.Context, client *controlclient.Client, who api.Caller) []finding {
	var names []string
	if p.gateway != "" {
		names = []string{p.gateway}
	}
	all, err := readStatus(ctx, client, names)
	if status, _ := controlclient.Status(err); status == 403 {
		return []finding{skipped("gateways", fmt.Sprintf("%q may not read them: use a token with the role viewer", who.Name))}
	}
	if err != nil {
		return []finding{problem("gateways", err.Error(), "start the gateway, and see that its token is for a gateway of that name")}
	}
	var out []finding
	for _, g := range all {
		out = append(out, gatewayFindings(g, time.Now())...)
	}
	if len(out) == 0 {
		out = append(out, warning("gateways", "the control plane has heard of none", "declare one, release a policy to it, and start it"))
	}
	return out
}

func gatewayFindings(g gatewayStatus, now time.Time) []finding {
	check := "gateway " + g.Gateway
	var out []finding
	if g.Live == nil {
		out = append(out, problem(check, "nothing was released to it: it refuses every client", "release a policy, with Terraform or 'postern release publish'"))
	}
	seen := 0
	for _, i := range g.Instances {
		who := check + "/" + i.Instance
		switch state := instanceState(g.Live, i, now).text; state {
		case "lost":
			continue // stopped, or replaced by another
		case "ok":
			out = append(out, fine(who, "revision %d since %s, %d clients", i.Revision, timeText(i.Since), i.Sessions))
		default:
			out = append(out, problem(who, fmt.Sprintf("%s: revision %d of %d; %s", state, i.Revision, liveRevision(g.Live), firstOf(i.Error, "it gives no reason")), instanceAdvice(i)))
		}
		seen++
	}
	if seen == 0 {
		out = append(out, problem(check, "no instance has reported for a minute", "start it; if it runs, its log says why it does not reach the control plane. It enforces what it had all the same"))
	}
	return out
}

// instanceAdvice is what to do about what an instance reports.
func instanceAdvice(i api.Instance) string {
	switch {
	case strings.Contains(i.Error, "compile:"):
		return "its version " + i.Version + " cannot load the newest bundle and keeps the policy that it has: upgrade it, or correct the policy"
	case strings.Contains(i.Error, "unknown key"), strings.Contains(i.Error, "revoked key"), strings.Contains(i.Error, "withdrawn"):
		return "let it trust the key (--trust), or publish with a key that it trusts"
	case strings.Contains(i.Error, "rolled back"), strings.Contains(i.Error, "forked"):
		return "it has seen a newer release than the control plane has: was the store restored from a backup? Publish at a higher revision"
	case strings.Contains(i.Error, "on disk"):
		return "free its disk: it enforces the policy, and would not have it after a restart"
	case i.Error == "":
		return "wait a few seconds; then see its log"
	}
	return "see its log"
}
