package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/gateway/authenticate"
	"github.com/posternhq/postern/gateway/console"
	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/control/signin"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/gateway/internal/metrics"
	"github.com/posternhq/postern/gateway/internal/pki"
	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang"
)

// controlPlaneFlags say what a control plane is.
type controlPlaneFlags struct {
	address     string
	publicURL   string
	store       string
	identifyFor []string
	signInAt    []string
	addresses   map[string]string
	clientCA    string
	clientRoles map[string]string
}

func (f *controlPlaneFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.address, "control-listen", "127.0.0.1:8443", "`address` of API and console")
	flags.StringVar(&f.publicURL, "public-url", "", "where people reach the console; https:// and --control-listen unless given")
	flags.StringSliceVar(&f.signInAt, "sign-in", nil, "`issuer` of the gateways' policies at which people sign in; any of them unless given")
	flags.StringToStringVar(&f.addresses, "gateway-address", nil, "where people reach a gateway, as `NAME=HOST:PORT`; told by postern login")
	flags.StringVar(&f.clientCA, "client-ca", "", "PEM `file` of the authorities whose client certificates are accepted in place of a token")
	flags.StringToStringVar(&f.clientRoles, "client-role", nil, "what a client certificate may do, as `NAME=ROLE[+ROLE]`; NAME is its first URI or else its common name")
	flags.StringVar(&f.store, "store", "", "postgres:// URL, or path of an SQLite file; "+envStore+", else DATA/control.db, unless given")
}

// controlPlane is a control plane that is put together.
type controlPlane struct {
	flags    *controlPlaneFlags
	listener net.Listener
	server   *control.Server
	signIn   *signin.Server
	clientCA *pki.Authority          // signs client certificates
	gateways func() []signin.Gateway // whose policies are known
	http     *http.Server
	identify func(context.Context, string) (*policylang.Subject, error)
	audit    func(context.Context, control.Event) error
	evidence console.EvidenceReader // nil: the console shows none
	log      *slog.Logger
}

func (f *controlPlaneFlags) open(ctx context.Context, common *commonFlags, seen *observer, log *slog.Logger) (*controlPlane, error) {
	config, err := common.serveCertificate(log)
	if err != nil {
		return nil, err
	}
	clients, certificateRoles, err := f.certificates()
	if err != nil {
		return nil, err
	}
	l, err := listen(f.address)
	if err != nil {
		return nil, err
	}
	p := &controlPlane{flags: f, listener: l, log: log, gateways: func() []signin.Gateway { return nil }}
	p.identify = func(context.Context, string) (*policylang.Subject, error) {
		return nil, errors.New("this control plane knows no policy that says who people are")
	}
	p.audit = p.logEvent
	p.server, err = control.New(ctx, control.Config{
		Store: firstOf(f.store, os.Getenv(envStore), common.path("control.db")), Version: version, PublicURL: p.url(), Logger: log,
		Metrics:  metrics.NewControl(seen.registry),
		Identify: p.identifyLogin,
		Audit:    func(ctx context.Context, e control.Event) error { return p.audit(ctx, e) },

		CertificateRoles: certificateRoles,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	seen.ready("store", p.server.Ping)
	if err := p.openSignIn(common); err != nil {
		return nil, errors.Join(err, p.server.Close(), l.Close())
	}
	if clients != nil {
		config.ClientCAs, config.ClientAuth = clients, tls.VerifyClientCertIfGiven
	}
	p.http = &http.Server{
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// certificates returns the authorities of client certificates, nil if none are
// accepted, and what these may do.
func (f *controlPlaneFlags) certificates() (*x509.CertPool, map[string][]api.Role, error) {
	authorities, err := readAuthorities(f.clientCA)
	if err != nil {
		return nil, nil, fmt.Errorf("read the authorities of client certificates: %w", err)
	}
	if (authorities == nil) != (len(f.clientRoles) == 0) {
		return nil, nil, errors.New("--client-ca and --client-role go together")
	}
	roles := map[string][]api.Role{}
	for name, list := range f.clientRoles {
		for _, text := range strings.Split(list, "+") {
			role, err := api.ParseRole(text)
			if err != nil {
				return nil, nil, fmt.Errorf("--client-role %s: %w", name, err)
			}
			if role == api.RoleApprover {
				return nil, nil, fmt.Errorf("--client-role %s: certificates approve nothing", name)
			}
			roles[name] = append(roles[name], role)
		}
	}
	return authorities, roles, nil
}

// url is where people reach the console.
func (p *controlPlane) url() string {
	if p.flags.publicURL != "" {
		return p.flags.publicURL
	}
	return "https://" + p.listener.Addr().String()
}

// run serves until ctx ends.
func (p *controlPlane) run(ctx context.Context) error {
	pages, err := console.New(console.Config{
		API: p.server.Handler(), Sessions: p.server.Sessions(), Evidence: p.evidence, PublicURL: p.url(), Version: version, Logger: p.log,
	})
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	for _, prefix := range []string{"/v1/", "/healthz", "/readyz"} {
		routes.Handle(prefix, p.server.Handler())
	}
	for _, prefix := range []string{"/.well-known/openid-configuration", "/oauth/", "/saml/"} {
		routes.Handle(prefix, p.signIn.Handler())
	}
	routes.Handle("/", pages)
	p.http.Handler = routes
	p.log.LogAttrs(ctx, slog.LevelInfo, "the control plane is listening", slog.String("url", p.url()))
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error {
		if err := p.http.ServeTLS(p.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the control plane: %w", err)
		}
		return nil
	})
	run.Go(func() error {
		<-ctx.Done()
		p.server.Drain()
		drain, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		return p.http.Shutdown(drain)
	})
	return run.Wait()
}

func (p *controlPlane) close() {
	_ = p.listener.Close()
	if err := p.server.Close(); err != nil {
		p.log.LogAttrs(context.Background(), slog.LevelError, "close the control plane's store", slog.Any("error", err))
	}
}

// join lets a gateway in this process say who people are, and keep the
// evidence of what is done here. It is called before run.
func (p *controlPlane) join(h *gatewayHalf) {
	p.identify, p.audit, p.evidence = h.identify, h.recordAdministration, h
	p.gateways = func() []signin.Gateway {
		return []signin.Gateway{p.flags.signInGateway(h.flags.name, h.listener.Addr().String(), h.auth, h.live)}
	}
}

// logEvent is the audit trail of a control plane without a journal.
func (p *controlPlane) logEvent(ctx context.Context, e control.Event) error {
	p.log.LogAttrs(ctx, slog.LevelInfo, "administration", slog.String("caller", e.Caller), slog.String("action", e.Action),
		slog.String("target", e.Target), slog.String("gateway", e.Gateway), slog.String("bundle", e.Bundle))
	return nil
}

// runWithPolicies serves, and follows the live policies of the gateways that
// say who people are.
func (p *controlPlane) runWithPolicies(ctx context.Context, common *commonFlags) error {
	run, ctx := errgroup.WithContext(ctx)
	var known []func(context.Context, string) (*policylang.Subject, error)
	var gateways []func() signin.Gateway
	keys, err := p.keysInProcess()
	if err != nil {
		return err
	}
	for _, name := range p.flags.identifyFor {
		trusted, err := openTrustedKeys(common.trust, p.log)
		if err != nil {
			return err
		}
		client, err := controlclient.New(controlclient.Config{
			URL: "https://control.invalid", UserAgent: "postern/" + version,
			Transport: controlclient.InProcess(p.server.As("control plane", api.GatewayRole(name))),
		})
		if err != nil {
			return err
		}
		live, err := livepolicy.Open(livepolicy.Config{Gateway: name, Trusted: trusted.ring, Source: client.Source(name), Logger: p.log})
		if err != nil {
			return err
		}
		auth := authenticate.New(authenticate.Config{AllowLoopbackHTTP: common.demo, Transport: keys, Logger: p.log, Issuers: func() []policylang.Issuer {
			if now := live.Current(); now != nil {
				return now.Program.Gateway().Issuers
			}
			return nil
		}})
		known = append(known, func(ctx context.Context, token string) (*policylang.Subject, error) {
			return identifyBy(ctx, auth, live, token)
		})
		gateways = append(gateways, func() signin.Gateway { return p.flags.signInGateway(name, "", auth, live) })
		run.Go(func() error { live.Run(ctx); return nil })
		run.Go(func() error { trusted.follow(ctx, live); return nil })
	}
	p.gateways = func() []signin.Gateway {
		var all []signin.Gateway
		for _, gateway := range gateways {
			all = append(all, gateway())
		}
		return all
	}
	if len(known) > 0 {
		p.identify = func(ctx context.Context, token string) (*policylang.Subject, error) {
			var errs []error
			for _, identify := range known {
				subject, err := identify(ctx, token)
				if err == nil {
					return subject, nil
				}
				errs = append(errs, err)
			}
			return nil, errors.Join(errs...)
		}
	}
	run.Go(func() error { return p.run(ctx) })
	return run.Wait()
}
