package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// commonFlags are those of everything that runs for long.
type commonFlags struct {
	data     string
	trust    []string
	certFile string
	keyFile  string
	hosts    []string
	demo     bool
	observe  string // address of metrics and health

	logFormat logFormat
	logLevel  logLevel
}

func (f *commonFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "`directory` of everything that is kept")
	flags.StringSliceVar(&f.trust, "trust", nil, "`file` with public keys that may publish policy, one a line (made by postern bundle keygen)")
	flags.StringVar(&f.certFile, "tls-cert", "", "PEM `file` of the TLS certificate; generated with its own authority, DATA/ca.pem, unless given")
	flags.StringVar(&f.keyFile, "tls-key", "", "PEM `file` of its key")
	flags.StringSliceVar(&f.hosts, "host", []string{"localhost", "127.0.0.1", "::1"}, "names and addresses of a generated certificate")
	flags.BoolVar(&f.demo, "demo", false, "accept OpenID Connect issuers by plain HTTP on this machine; for demonstrations alone")
	flags.StringVar(&f.observe, "observe-listen", "", "`address` of plain HTTP with /metrics, /healthz and /readyz, such as 127.0.0.1:9187; none unless given")
	flags.Var(&f.logFormat, "log-format", "how the log is written: text or json")
	flags.Var(&f.logLevel, "log-level", "what is logged: debug, info, warn or error, and what is worse")
	mustRegister(cmd.MarkFlagRequired("data"))
}

// prepare makes the data directory.
func (f *commonFlags) prepare() error {
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return nil
}

// serveCommand runs the control plane and a gateway in one process.
func serveCommand() *cobra.Command {
	var common commonFlags
	var gw gatewayFlags
	var ctl controlPlaneFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a gateway and its control plane in one process",
		Long: `Run a gateway and its control plane in one process: the smallest installation.

The gateway refuses every client until a policy has been released to it, by
Terraform or otherwise, that a trusted key has signed. The control plane keeps
everything in one SQLite file, DATA/control.db; make its first administrator's
token with 'postern control bootstrap --store DATA/control.db'.`,
		Example: `  postern bundle keygen --name publisher
  postern serve --gateway orders --data /var/lib/postern --trust publisher.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), &common, &gw, &ctl)
		},
	}
	common.add(cmd)
	gw.add(cmd)
	ctl.add(cmd)
	mustRegister(cmd.MarkFlagRequired("trust"))
	return cmd
}

func runServe(ctx context.Context, common *commonFlags, gw *gatewayFlags, ctl *controlPlaneFlags) error {
	if err := common.prepare(); err != nil {
		return err
	}
	if err := checkParser(ctx); err != nil {
		return err
	}
	log := common.logger()
	seen, err := common.openObserver(ctx, log)
	if err != nil {
		return err
	}
	defer seen.close()
	plane, err := ctl.open(ctx, common, seen, log)
	if err != nil {
		return err
	}
	defer plane.close()
	// The gateway reaches the control plane by calling it, not by the network.
	client, err := controlclient.New(controlclient.Config{
		URL: "https://control.invalid", UserAgent: "postern/" + version,
		Transport: controlclient.InProcess(plane.server.As("gateway "+gw.name, api.GatewayRole(gw.name))),
	})
	if err != nil {
		return err
	}
	keys, err := plane.keysInProcess()
	if err != nil {
		return err
	}
	gw.login.inProcess = plane.clientCA
	half, err := gw.open(common, client, keys, seen, log)
	if err != nil {
		return err
	}
	defer half.close()
	plane.join(half)

	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error { return plane.run(ctx) })
	run.Go(func() error { return half.run(ctx) })
	run.Go(func() error { return seen.run(ctx) })
	return withoutCancel(run.Wait())
}

// gatewayCommand runs a gateway by itself.
func gatewayCommand() *cobra.Command {
	var common commonFlags
	var gw gatewayFlags
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway that pulls its policy from a control plane, or from elsewhere",
		Long: `Run a gateway. It pulls its policy from a control plane, or from what --source
names, and verifies it with the keys of --trust either way; these are read again
when they change. It sends the control plane the token that 'postern gateway
enroll' left in its data directory, unless another is given. Without a control
plane it refuses statements that a rule holds for approval.

Credentials of a source are never in its URL: ` + envSourceToken + ` holds the token
of an HTTPS server, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
and AWS_REGION those of an S3-compatible store, and a registry's are where
'docker login' leaves them.`,
		Example: `  postern gateway enroll --gateway orders --control https://control:8443 --data /var/lib/postern --token-file enrolment.token
  postern gateway --gateway orders --control https://control:8443 --data /var/lib/postern --trust publisher.pub
  postern gateway --gateway orders --source https://policy.example.com/orders --data /var/lib/postern --trust publisher.pub`,
		Args: cobra.NoArgs,
	}
	control := addControlFlags(cmd)
	common.add(cmd)
	gw.add(cmd)
	gw.source.add(cmd)
	mustRegister(cmd.MarkFlagRequired("trust"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := common.prepare(); err != nil {
			return err
		}
		if err := checkParser(cmd.Context()); err != nil {
			return err
		}
		control.useEnrolled(&common)
		client, err := control.client()
		switch {
		case err == nil:
			defer client.Close()
		case gw.source.url == "" || !errors.Is(err, errNoControl):
			return err
		}
		keys, err := control.keysByNetwork()
		if err != nil {
			return err
		}
		log := common.logger()
		seen, err := common.openObserver(cmd.Context(), log)
		if err != nil {
			return err
		}
		defer seen.close()
		half, err := gw.open(&common, client, keys, seen, log)
		if err != nil {
			return err
		}
		defer half.close()
		run, ctx := errgroup.WithContext(cmd.Context())
		run.Go(func() error { return half.run(ctx) })
		run.Go(func() error { return seen.run(ctx) })
		return withoutCancel(run.Wait())
	}
	cmd.AddCommand(gatewayInviteCommand(control), gatewayEnrolCommand(control))
	return cmd
}

// controlCommand runs a control plane by itself, and groups what is done on
// its host.
func controlCommand() *cobra.Command {
	var common commonFlags
	var ctl controlPlaneFlags
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Run a control plane, or work on its store",
		Long: `Run a control plane: it stores drafts, bundles and releases, and handles
approvals. It has no signing key; gateways verify what it gives them.

With --identify-for, people may use it with tokens of the issuers that the
named gateways' policies name, which --trust verifies.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := common.prepare(); err != nil {
				return err
			}
			log := common.logger()
			seen, err := common.openObserver(ctx, log)
			if err != nil {
				return err
			}
			defer seen.close()
			plane, err := ctl.open(ctx, &common, seen, log)
			if err != nil {
				return err
			}
			defer plane.close()
			run, ctx := errgroup.WithContext(ctx)
			run.Go(func() error { return plane.runWithPolicies(ctx, &common) })
			run.Go(func() error { return seen.run(ctx) })
			return withoutCancel(run.Wait())
		},
	}
	common.add(cmd)
	ctl.add(cmd)
	cmd.Flags().StringSliceVar(&ctl.identifyFor, "identify-for", nil, "`gateway` whose live policy says who people are")
	cmd.AddCommand(controlBootstrapCommand())
	return cmd
}

// logger writes to standard error as the flags say.
func (f *commonFlags) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.Level(f.logLevel)}
	if f.logFormat == logJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// withoutCancel makes an ordered stop a success.
func withoutCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func (f *commonFlags) path(name string) string { return filepath.Join(f.data, name) }
