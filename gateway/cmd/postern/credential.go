package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/login"
)

// credentialFlags say which gateway a credential is for, and on whose behalf.
type credentialFlags struct {
	controlFlags
	gateway    string
	address    string
	actorToken string
}

func (f *credentialFlags) add(cmd *cobra.Command) {
	f.addPlace(cmd)
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "`name` of the gateway; the login's unless given")
	cmd.Flags().StringVar(&f.actorToken, "actor-token-file", "", "`file` that holds the token of an agent, which then acts on your behalf")
}

// addAddress is for commands that connect.
func (f *credentialFlags) addAddress(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "address", "", "`host:port` of the gateway; what the control plane says unless given")
}

// credentialSource gives fresh credentials of one login. It is safe for concurrent use.
type credentialSource struct {
	control string
	gateway string
	actor   string // file; empty if nobody acts for the person
	client  *http.Client
	caFile  string
	store   *login.Store // nil if the token came from the environment

	mu    sync.Mutex
	login *login.Login // guarded by mu
}

// source finds who is signed in: POSTERN_TOKEN holds the token of a job or an
// agent, else it is the stored login.
func (f *credentialFlags) source() (*credentialSource, error) {
	s := &credentialSource{gateway: f.gateway, actor: f.actorToken}
	if token := strings.TrimSpace(os.Getenv(envToken)); token != "" && !strings.HasPrefix(token, api.TokenPrefix) {
		s.login = &login.Login{IDToken: token, Expires: time.Now().Add(time.Hour)} // how long it really lives is the control plane's to say
	} else {
		var err error
		if s.store, err = login.DefaultStore(); err != nil {
			return nil, err
		}
		if s.login, err = s.store.Load(); err != nil {
			return nil, err
		}
		f.url = firstOf(f.url, os.Getenv(envControl), s.login.Control)
		f.ca = firstOf(f.ca, os.Getenv(envCA), s.login.CA)
		if f.url != s.login.Control {
			return nil, fmt.Errorf("you are signed in at %s, not at %s; run: postern login --control %s", s.login.Control, f.url, f.url)
		}
	}
	var err error
	if s.control, s.client, err = f.plain(); err != nil {
		return nil, err
	}
	s.caFile = firstOf(f.ca, os.Getenv(envCA))
	s.gateway = firstOf(s.gateway, s.login.Gateway)
	if s.gateway == "" {
		return nil, errors.New("no gateway is given: set --gateway")
	}
	return s, nil
}

// idToken returns an ID token that is good for a while.
func (s *credentialSource) idToken(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh, err := login.Renew(ctx, s.login, time.Now(), issuerClient())
	if err != nil {
		return "", err
	}
	if fresh != s.login {
		s.login = fresh
		if s.store != nil {
			if _, err := s.store.Save(fresh); err != nil {
				return "", err
			}
		}
	}
	return fresh.IDToken, nil
}

// credential returns a fresh credential.
func (s *credentialSource) credential(ctx context.Context) (*api.TokenGranted, error) {
	return exchangeBy(ctx, s, login.Exchange)
}

// exchangeBy exchanges the login, and the token of the agent if there is one, in
// one of the ways of package login.
func exchangeBy[T any](ctx context.Context, s *credentialSource, exchange func(ctx context.Context, control, gateway, subject, actor string, client *http.Client) (*T, error)) (*T, error) {
	token, err := s.idToken(ctx)
	if err != nil {
		return nil, err
	}
	var actor string
	if s.actor != "" {
		data, err := os.ReadFile(s.actor)
		if err != nil {
			return nil, fmt.Errorf("read the agent's token: %w", err)
		}
		actor = strings.TrimSpace(string(data))
	}
	return exchange(ctx, s.control, s.gateway, token, actor, s.client)
}

// splitAddress returns where the gateway is.
func (f *credentialFlags) splitAddress(told string) (host, port string, err error) {
	address := firstOf(f.address, told)
	if address == "" {
		return "", "", errors.New("the control plane does not say where the gateway is: set --address")
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("%q is not an address of the form host:port", address)
	}
	return host, port, nil
}

// whoamiCommand shows who the login is.
func whoamiCommand() *cobra.Command {
	var f credentialFlags
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to a gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			s, err := f.source()
			if err != nil {
				return err
			}
			granted, err := s.credential(cmd.Context())
			if err != nil {
				return err
			}
			who := whoIs(granted, s.control)
			t := newTable("name", "kind", "acting", "identity", "database role", "gateway", "address")
			t.row(who.Name, who.Kind, who.Actor, who.Identity, who.DatabaseRole, who.Gateway, who.Address)
			return out.showTable(who, t)
		},
	}
	addOutputFlag(cmd)
	f.add(cmd)
	return cmd
}

// identityShown is what `postern whoami` shows; it holds no token.
type identityShown struct {
	Name         string `json:"name"`
	Kind         string `json:"kind"`
	Actor        string `json:"actor,omitempty"`
	Identity     string `json:"identity"`
	DatabaseRole string `json:"database_role"`
	Gateway      string `json:"gateway"`
	Address      string `json:"address,omitempty"`
	Control      string `json:"control"`
}

func whoIs(g *api.TokenGranted, control string) identityShown {
	return identityShown{
		Name: g.Subject, Kind: g.Kind, Actor: g.Actor, Identity: g.Identity, DatabaseRole: g.DatabaseRole,
		Gateway: g.Gateway, Address: g.Address, Control: control,
	}
}
