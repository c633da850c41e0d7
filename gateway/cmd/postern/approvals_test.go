package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/approve"
	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang"
)

// startControl runs a control plane whose people's tokens are their names, and
// returns its URL and an administrator's token.
func startControl(t *testing.T) (url, admin string) {
	t.Helper()
	store := filepath.Join(t.TempDir(), "control.db")
	admin = strings.TrimSpace(run(t, controlBootstrapCommand(), "", "--store", store))
	server, err := control.New(t.Context(), control.Config{
		Store: store, Version: "test", Logger: slog.New(slog.DiscardHandler),
		Identify: func(_ context.Context, token string) (*policylang.Subject, error) {
			if strings.Contains(token, " ") {
				return nil, errors.New("not a name")
			}
			return &policylang.Subject{Name: token, Issuer: "https://idp", ID: token}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		server.Drain()
		h.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return h.URL, admin
}

// execute runs a command with a token and returns what it printed.
func execute(t *testing.T, cmd *cobra.Command, token string, args ...string) (string, error) {
	t.Helper()
	t.Setenv(envToken, token)
	var out bytes.Buffer
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func run(t *testing.T, cmd *cobra.Command, token string, args ...string) string {
	t.Helper()
	out, err := execute(t, cmd, token, args...)
	if err != nil {
		t.Fatalf("%s %s: %v", cmd.Name(), strings.Join(args, " "), err)
	}
	return out
}

func TestApprovals(t *testing.T) {
	url, admin := startControl(t)
	t.Setenv(envControl, url)
	gatewayToken := strings.TrimSpace(run(t, tokenCommand(), admin, "create", "orders", "--role", "gateway:orders"))
	client, err := controlclient.New(controlclient.Config{URL: url, Token: controlclient.StaticToken(gatewayToken)})
	if err != nil {
		t.Fatal(err)
	}
	request := &approve.Request{
		Gateway: "orders", Database: "shop", Role: "ana", Subject: &policylang.Subject{Name: "ana", Issuer: "https://idp", ID: "ana"},
		SQL: "delete from orders\nwhere note = '\u202e' -- \x1b[2J", Params: []approve.Param{{Value: []byte("x\u200b")}, {}, {Value: []byte{1}, Binary: true}},
		Groups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben", "chloe"}, Required: 2}},
		Rules:  []string{"unfiltered_writes"}, Message: "Ask a DBA.", Bundle: "sha256:1",
	}
	pending, err := client.Broker("orders").Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}

	list := run(t, approvalsCommand(), "ben", "list")
	for _, want := range []string{pending.ID, "pending", "ana", "orders", "shop", "dba 0/2", "in 1", "delete from orders where note = '‹U+202E›'"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list misses %q: %s", want, list)
		}
	}
	if got := run(t, approvalsCommand(), "eve", "list"); got != "" {
		t.Errorf("eve sees %s", got)
	}
	show := run(t, approvalsCommand(), "ben", "show", pending.ID)
	for _, want := range []string{
		"    delete from orders\n    where note = '‹U+202E›' -- ‹U+001B›[2J\n", `$1 = "x‹U+200B›"`, "$2 = NULL", "$3 = binary 01",
		"unfiltered_writes", "Ask a DBA.", "gateway orders, database shop, role ana", "sha256:1",
	} {
		if !strings.Contains(show, want) {
			t.Errorf("the details miss %q: %s", want, show)
		}
	}

	if _, err := execute(t, approvalsCommand(), "ana", "approve", pending.ID); err == nil || !strings.Contains(err.Error(), "a statement of their own") {
		t.Errorf("ana approves her own: %v", err)
	}
	if got := run(t, approvalsCommand(), "ben", "approve", pending.ID, "--reason", "agreed"); !strings.Contains(got, "Still needed: 1 of dba") {
		t.Errorf("ben approves: %s", got)
	}
	if got := run(t, approvalsCommand(), "chloe", "approve", pending.ID); !strings.HasPrefix(got, "approved "+pending.ID) || strings.Contains(got, "Still") {
		t.Errorf("chloe approves: %s", got)
	}
	if got := run(t, approvalsCommand(), "ben", "-o", "json", "list", "--status", "approved"); !strings.Contains(got, `"status": "approved"`) {
		t.Errorf("as JSON: %s", got)
	}

	second, err := client.Broker("orders").Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("chloe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, approvalsCommand(), "", "refuse", second.ID, "--token-file", tokenFile); !strings.HasPrefix(got, "refused") {
		t.Errorf("chloe refuses: %s", got)
	}
	if got := run(t, approvalsCommand(), "ben", "list", "--status", "all", "--gateway", "orders"); strings.Count(got, "\n") != 2 {
		t.Errorf("all: %s", got)
	}
}

func TestTokenCommands(t *testing.T) {
	url, admin := startControl(t)
	t.Setenv(envControl, url)
	if !strings.HasPrefix(admin, api.TokenPrefix) {
		t.Errorf("bootstrap printed %q", admin)
	}
	secret := strings.TrimSpace(run(t, tokenCommand(), admin, "create", "ci", "--role", "author,viewer", "--expires-in", "1h"))
	if got := run(t, tokenCommand(), secret, "whoami"); !strings.HasPrefix(got, "ci\ttoken\tauthor, viewer\t") {
		t.Errorf("whoami: %s", got)
	}
	list := run(t, tokenCommand(), admin, "list")
	if strings.Contains(list, secret) || strings.Count(list, "\n") != 2 {
		t.Errorf("list: %s", list)
	}
	id, _, _ := strings.Cut(list, "\t")
	run(t, tokenCommand(), admin, "revoke", id)
	if _, err := execute(t, tokenCommand(), secret, "whoami"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a revoked token: %v", err)
	}
}

func TestConnectionMistakes(t *testing.T) {
	t.Setenv(envControl, "")
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, token string
		args        []string
		want        string
	}{
		{"no URL", "x", []string{"list"}, "set --control or POSTERN_ENDPOINT"},
		{"a plain URL", "x", []string{"list", "--control", "http://control.example"}, "must start with https://"},
		{"no token", "", []string{"list", "--control", "https://127.0.0.1:1"}, "set --token-file or POSTERN_TOKEN"},
		{"no token file", "", []string{"list", "--control", "https://127.0.0.1:1", "--token-file", "/nowhere"}, "no such file"},
		{"no authorities", "x", []string{"list", "--control", "https://127.0.0.1:1", "--ca", "/nowhere"}, "no such file"},
		{"no PEM", "x", []string{"list", "--control", "https://127.0.0.1:1", "--ca", notPEM}, "no PEM certificate"},
		{"nothing there", "x", []string{"list", "--control", "https://127.0.0.1:1"}, "control plane https://127.0.0.1:1: the control plane is not available"},
		{"no format", "x", []string{"list", "-o", "yaml"}, "not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := execute(t, approvalsCommand(), tt.token, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := execute(t, controlBootstrapCommand(), ""); err == nil || !strings.Contains(err.Error(), "--store") {
		t.Errorf("no store: %v", err)
	}
	store := filepath.Join(t.TempDir(), "control.db")
	run(t, controlBootstrapCommand(), "", "--store", store)
	if _, err := execute(t, controlBootstrapCommand(), "", "--store", store); err == nil || !strings.Contains(err.Error(), "--again") {
		t.Errorf("again: %v", err)
	}
}
