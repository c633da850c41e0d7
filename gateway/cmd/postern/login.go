package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/login"
)

// loginCommand signs a person in.
func loginCommand() *cobra.Command {
	var flags controlFlags
	var issuer, gateway, hint string
	var device bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in at your identity provider",
		Long: `Sign in at your identity provider, in the browser, or with --device on any other
device. Where there is no browser, the device flow is used by itself.

The login is kept in the operating system's keyring or, where there is none, in
a file that only you can read. It holds no database credential: each connection
gets a fresh one that lives for minutes.`,
		Example: `  postern login --control https://postern.example.com:8443
  postern login --device
  postern psql orders`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLogin(cmd, &flags, loginChoice{issuer: issuer, gateway: gateway, hint: hint, device: device})
		},
	}
	flags.addPlace(cmd)
	cmd.Flags().StringVar(&issuer, "issuer", "", "`name` of the issuer to sign in at, if there are several")
	cmd.Flags().StringVar(&gateway, "gateway", "", "`name` of the gateway that other commands use, if there are several")
	cmd.Flags().StringVar(&hint, "login-hint", "", "who signs in, for the identity provider's page")
	cmd.Flags().BoolVar(&device, "device", false, "show a code to enter on another device, instead of opening a browser here")
	return cmd
}

// loginChoice is what a person chose.
type loginChoice struct {
	issuer, gateway, hint string
	device                bool
	more                  map[string]string // for the authorization request
}

func runLogin(cmd *cobra.Command, flags *controlFlags, choice loginChoice) error {
	ctx, store, err := cmd.Context(), (*login.Store)(nil), error(nil)
	if store, err = login.DefaultStore(); err != nil {
		return err
	}
	// A second login goes where the first one went.
	if before, err := store.Load(); err == nil {
		flags.url = firstOf(flags.url, os.Getenv(envControl), before.Control)
		flags.ca = firstOf(flags.ca, os.Getenv(envCA), before.CA)
	}
	control, client, err := flags.plain()
	if err != nil {
		return err
	}
	places, err := login.SignIn(ctx, control, client)
	if err != nil {
		return err
	}
	at, err := chooseIssuer(places.Issuers, choice.issuer)
	if err != nil {
		return err
	}
	gateway, err := chooseGateway(places.Gateways, choice.gateway)
	if err != nil {
		return err
	}
	identityProvider := issuerClient()
	if at.SAML { // the control plane is the issuer, and sends the browser on
		identityProvider = client
		choice.more = map[string]string{"idp": at.Name, "gateway": gateway.Name}
	}
	provider, err := login.Discover(ctx, at, identityProvider)
	if err != nil {
		return err
	}
	l, err := signIn(ctx, provider, choice, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	l.Control, l.Gateway = control, gateway.Name
	if ca := firstOf(flags.ca, os.Getenv(envCA)); ca != "" {
		if l.CA, err = filepath.Abs(ca); err != nil {
			return err
		}
	}
	// Only a login that the policy has a place for is worth keeping.
	granted, err := login.Exchange(ctx, control, gateway.Name, l.IDToken, "", client)
	if err != nil {
		return err
	}
	inKeyring, err := store.Save(l)
	if err != nil {
		return err
	}
	if store.Keyring && !inKeyring {
		tell(cmd.ErrOrStderr(), "There is no keyring here, so the login is kept in %s, which only you can read.\n", store.File)
	}
	return newOutput(cmd.OutOrStdout()).print(fmt.Sprintf("Signed in as %s (%s).\n", granted.Subject, granted.Kind))
}

func signIn(ctx context.Context, p *login.Provider, choice loginChoice, notices io.Writer) (*login.Login, error) {
	open, found := browser()
	if choice.more != nil && (choice.device || !found) {
		return nil, errors.New("this identity provider speaks SAML, which needs a browser on this machine: run it where there is one, or set BROWSER")
	}
	if !choice.device && found {
		return p.Browser(ctx, login.BrowserConfig{Hint: choice.hint, More: choice.more, Open: func(url string) error {
			tell(notices, "Sign in, in the browser, at\n  %s\n", url)
			return open(url)
		}})
	}
	return p.Device(ctx, func(d *oauth2.DeviceAuthResponse) {
		tell(notices, "On any device, open\n  %s\nand enter the code %s\n", d.VerificationURI, d.UserCode)
		if d.VerificationURIComplete != "" {
			tell(notices, "or open\n  %s\n", d.VerificationURIComplete)
		}
	})
}

// tell is a notice to a person. That it can't be written changes nothing.
func tell(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func chooseIssuer(issuers []api.SignInIssuer, name string) (api.SignInIssuer, error) {
	var names []string
	for _, i := range issuers {
		if i.Name == name || name == "" && len(issuers) == 1 {
			return i, nil
		}
		names = append(names, i.Name)
	}
	switch {
	case len(names) == 0:
		return api.SignInIssuer{}, errors.New("nobody can sign in yet: no policy that names an issuer has been released to a gateway")
	case name == "":
		return api.SignInIssuer{}, fmt.Errorf("there are several issuers; choose one: --issuer %s", strings.Join(names, "|"))
	}
	return api.SignInIssuer{}, fmt.Errorf("there is no issuer %q; there is %s", name, strings.Join(names, ", "))
}

func chooseGateway(gateways []api.SignInGateway, name string) (api.SignInGateway, error) {
	var names []string
	for _, g := range gateways {
		if g.Name == name || name == "" && len(gateways) == 1 {
			return g, nil
		}
		names = append(names, g.Name)
	}
	switch {
	case len(names) == 0:
		return api.SignInGateway{}, errors.New("the control plane knows no gateway's policy; its operator starts it with --identify-for")
	case name == "":
		return api.SignInGateway{}, fmt.Errorf("there are several gateways; choose one: --gateway %s", strings.Join(names, "|"))
	}
	return api.SignInGateway{}, fmt.Errorf("there is no gateway %q; there is %s", name, strings.Join(names, ", "))
}

// browser returns what shows a page to the person: $BROWSER, or the desktop's
// own if there is one.
func browser() (open func(url string) error, found bool) {
	name := os.Getenv("BROWSER")
	switch {
	case name != "":
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name = "explorer"
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		name = "xdg-open"
	default:
		return nil, false
	}
	words := strings.Fields(name)
	if len(words) == 0 {
		return nil, false
	}
	return func(url string) error {
		cmd := exec.Command(words[0], append(words[1:], url)...)
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("open the browser: %w; use --device", err)
		}
		go func() { _ = cmd.Wait() }() // ends with the browser; what it says is nobody's concern
		return nil
	}, true
}

// plain is the control plane's URL, and a client for what needs no token.
func (f *controlFlags) plain() (string, *http.Client, error) {
	control := strings.TrimSuffix(firstOf(f.url, os.Getenv(envControl)), "/")
	if control == "" {
		return "", nil, fmt.Errorf("no control plane is given: set --control or %s", envControl)
	}
	if !strings.HasPrefix(control, "https://") {
		return "", nil, fmt.Errorf("the control plane's URL %q must start with https://", control)
	}
	roots, err := f.roots()
	if err != nil {
		return "", nil, err
	}
	return control, httpClient(roots), nil
}

// issuerClient reaches identity providers.
func issuerClient() *http.Client { return httpClient(nil) }

func httpClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		// A redirect would carry what was sent elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// logoutCommand forgets the login.
func logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget your login on this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := login.DefaultStore()
			if err != nil {
				return err
			}
			if err := store.Remove(); err != nil {
				return err
			}
			return newOutput(cmd.OutOrStdout()).print("Signed out. Sessions that are open go on until they end.\n")
		},
	}
}
