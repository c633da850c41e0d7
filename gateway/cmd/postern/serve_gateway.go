package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/accept"
	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/console"
	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/mask"
	"github.com/posternhq/postern/policylang"
)

// gatewayFlags say what a gateway is.
type gatewayFlags struct {
	name           string
	address        string
	allowPlaintext bool
	limits         gateway.Limits
	peers          peerFlags
	source         sourceFlags
	login          loginFlags
	upstream       meansFlags
}

func (f *gatewayFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "gateway", "", "`name` of the gateway in the policy")
	flags.StringVar(&f.address, "listen", "127.0.0.1:6432", "`address` that clients connect to")
	flags.BoolVar(&f.allowPlaintext, "allow-plaintext", false, "let clients in without TLS; a token sent so can be stolen")
	addLimits(cmd, &f.limits)
	f.peers.add(cmd)
	mustRegister(cmd.MarkFlagRequired("gateway"))
	f.login.add(cmd)
	f.upstream.add(cmd)
}

// gatewayHalf is a gateway that is put together.
type gatewayHalf struct {
	flags    *gatewayFlags
	listener net.Listener
	journal  *evidence.Journal
	live     *livepolicy.Live
	trusted  *trustedKeys
	auth     *authenticate.Authenticator
	server   *gateway.Server
	client   *controlclient.Client // nil without a control plane
	dir      string                // of the evidence
	report   chan struct{}
	instance string
	started  time.Time
	counted  *metrics.Gateway

	revocations string // file of the last ones that were heard of
	log         *slog.Logger
}

// open puts a gateway together. client is nil without a control plane: then
// statements that a rule holds are refused, and nobody is told how it fares.
// keys is how the keys of issuers are read, the control plane's among them.
func (f *gatewayFlags) open(common *commonFlags, client *controlclient.Client, keys http.RoundTripper, seen *observer, log *slog.Logger) (half *gatewayHalf, err error) {
	h := &gatewayHalf{
		flags: f, client: client, log: log, started: time.Now(), instance: instanceName(),
		dir: common.path("evidence"), report: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.trusted, err = openTrustedKeys(common.trust, log); err != nil {
		return nil, err
	}
	source, err := f.source.open(f.name, client)
	if err != nil {
		return nil, err
	}
	served, err := common.serveCertificate(log)
	if err != nil {
		return nil, err
	}
	served.NextProtos = []string{accept.ALPN}
	peers, err := f.peers.peers()
	if err != nil {
		return nil, err
	}
	masking, err := maskKeys(common.path("mask.key"))
	if err != nil {
		return nil, err
	}
	signer, err := evidence.LoadKey(common.path("evidence.key"), f.name)
	if err != nil {
		return nil, err
	}
	if h.journal, err = evidence.Open(evidence.Config{Dir: h.dir, Origin: f.name, Key: signer, Logger: log}); err != nil {
		return nil, err
	}
	counted := metrics.NewGateway(seen.registry)
	h.counted = counted
	h.live, err = livepolicy.Open(livepolicy.Config{
		Gateway: f.name, Trusted: h.trusted.ring, Dir: common.path("policy"), Source: source, Logger: log,
		Report: func(_ context.Context, s livepolicy.Status) {
			counted.Policy(s.Release.Revision, s.Since)
			if s.Err != nil {
				counted.PolicyErrors.Inc()
			}
			h.reportSoon()
		},
	})
	if err != nil {
		return nil, err
	}
	clientCAs, err := f.login.authorities()
	if err != nil {
		return nil, err
	}
	logins, err := f.login.parse()
	if err != nil {
		return nil, err
	}
	networks, err := f.login.networks()
	if err != nil {
		return nil, err
	}
	means, err := f.upstream.means(common)
	if err != nil {
		return nil, err
	}
	h.auth = authenticate.New(authenticate.Config{Issuers: h.issuers, ClientCAs: clientCAs, AllowLoopbackHTTP: common.demo, Transport: keys, Logger: log})
	var approvals gateway.Approvals
	if client != nil {
		approvals = client.Broker(f.name)
	}
	h.server = gateway.New(gateway.Config{
		Name: f.name, Live: h.live, Authenticator: h.auth, Journal: h.journal, Approvals: approvals, MaskKeys: masking, Metrics: counted, Tracer: seen.tracer, Logger: log, Limits: f.limits, Peers: peers,
		Accept: accept.Config{
			TLS:            served,
			AllowPlaintext: f.allowPlaintext,
		},
		Login: logins, CINetworks: networks, Upstream: means,
	})
	h.revocations = common.path("revocations.json")
	if err := h.loadRevocations(); err != nil {
		return nil, err
	}
	if h.listener, err = listen(f.address); err != nil {
		return nil, err
	}
	seen.ready("policy", func(context.Context) error {
		if h.live.Current() == nil {
			return errors.New("no verified policy is in force")
		}
		return nil
	})
	return h, nil
}

// run serves until ctx ends, and then until what runs has ended.
func (h *gatewayHalf) run(ctx context.Context) error {
	defer h.leave()
	h.log.LogAttrs(ctx, slog.LevelInfo, "the gateway is listening", slog.String("gateway", h.flags.name), slog.String("address", h.listener.Addr().String()))
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error { h.live.Run(ctx); return nil })
	run.Go(func() error { h.trusted.follow(ctx, h.live); return nil })
	run.Go(func() error { return h.server.Serve(ctx, h.listener) })
	if h.client != nil {
		run.Go(func() error { h.reportLoop(ctx); return nil })
		run.Go(func() error { h.revocationLoop(ctx); return nil })
	}
	return run.Wait()
}

func (h *gatewayHalf) close() {
	if h.listener != nil {
		_ = h.listener.Close()
	}
	if h.journal != nil {
		if err := h.journal.Close(); err != nil {
			h.log.LogAttrs(context.Background(), slog.LevelError, "close the evidence journal", slog.Any("error", err))
		}
	}
}

// issuers are those of the policy in force.
func (h *gatewayHalf) issuers() []policylang.Issuer {
	if p := h.live.Current(); p != nil {
		return p.Program.Gateway().Issuers
	}
	return nil
}

// identify says who an OpenID Connect token's owner is under the policy in
// force.
func (h *gatewayHalf) identify(ctx context.Context, token string) (*policylang.Subject, error) {
	return identifyBy(ctx, h.auth, h.live, token)
}

func identifyBy(ctx context.Context, auth *authenticate.Authenticator, live *livepolicy.Live, token string) (*policylang.Subject, error) {
	policy := live.Current()
	if policy == nil {
		return nil, errors.New("no policy is live that says who people are")
	}
	claims, err := auth.Token(ctx, token)
	if err != nil {
		return nil, err
	}
	return policy.Program.Identify(claims, time.Now())
}

// leaveTime bounds how long the end of a gateway waits to be told.
const leaveTime = 2 * time.Second

// leave has nobody wait for this instance any more: a release that is
// published now is acknowledged without it.
func (h *gatewayHalf) leave() {
	if h.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if err := h.client.Leave(ctx, h.flags.name, h.instance); err != nil {
		h.log.LogAttrs(ctx, slog.LevelDebug, "tell the control plane that this instance ends", slog.Any("error", err))
	}
}

const reportInterval = 10 * time.Second

// reportSoon has the control plane told how the gateway fares.
func (h *gatewayHalf) reportSoon() {
	select {
	case h.report <- struct{}{}:
	default: // one is due already
	}
}

// reportLoop tells the control plane how the gateway fares, at once when the
// policy changes.
func (h *gatewayHalf) reportLoop(ctx context.Context) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		status := h.live.Status()
		beat := api.Heartbeat{
			Version: version, Bundle: status.Release.Bundle, Revision: status.Release.Revision,
			Sessions: h.server.Sessions(), StartedAt: h.started, Counts: api.Counts(h.counted.Counts()),
		}
		if status.Release.Revision > 0 {
			beat.Since = &status.Since
		}
		if status.Err != nil {
			beat.Error = status.Err.Error()
		}
		if err := h.client.Report(ctx, h.flags.name, h.instance, beat); err != nil && ctx.Err() == nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "report to the control plane", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.report:
		}
	}
}

// instanceName names this process among those of its gateway.
func instanceName() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hostName() + "-" + hex.EncodeToString(b[:])
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// maskKeys returns the keys of hashes and tokens, from a secret that is made
// at the first start. Gateways whose tokens are to be equal share the file.
func maskKeys(file string) (*mask.Keys, error) {
	secret, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails, see crypto/rand
		err = os.WriteFile(file, secret, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("read the masking key: %w", err)
	}
	return mask.NewKeys(secret)
}

// SearchEvidence searches the journal for the console, newest first, and
// records who read it.
func (h *gatewayHalf) SearchEvidence(_ context.Context, reader string, q console.EvidenceQuery) ([]evidence.Record, error) {
	if q.Gateway != "" && q.Gateway != h.flags.name {
		return nil, nil
	}
	read := &evidence.Record{
		Kind: evidence.KindEvidenceRead, Identity: reader, Gateway: h.flags.name, Command: "SEARCH", Outcome: evidence.OutcomeCompleted,
	}
	if _, err := h.journal.Append(read, evidence.Process); err != nil {
		return nil, fmt.Errorf("record that evidence was read: %w", err)
	}
	query := evidence.Query{From: q.Since, Identity: q.Identity, Text: q.Text, Newest: true, Limit: q.Limit}
	if q.Kind != "" {
		query.Kinds = []evidence.Kind{q.Kind}
	}
	var out []evidence.Record
	for r, err := range evidence.Search(h.dir, query) {
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// recordAdministration makes what changes the control plane's state evidence,
// before it is done.
func (h *gatewayHalf) recordAdministration(_ context.Context, e control.Event) error {
	_, err := h.journal.Append(&evidence.Record{
		Time: e.Time, Kind: evidence.KindAdmin, Identity: e.Caller, Gateway: e.Gateway, Command: e.Action,
		SQL: e.Target, Bundle: e.Bundle, Reason: e.Reason, Outcome: evidence.OutcomeStarted,
	}, evidence.Process)
	return err
}
