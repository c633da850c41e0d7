package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/controlclient"
	"github.com/posternhq/postern/policylang/bundle"
)

// TestGatewayLeaves: a gateway that is stopped tells the control plane, so that
// no release waits for it.
func TestGatewayLeaves(t *testing.T) {
	t.Setenv(asPostern, "1")
	url, admin := startControl(t)
	t.Setenv(envControl, url)
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	key, err := bundle.GenerateKey("publisher")
	if err != nil {
		t.Fatal(err)
	}
	trust := file("publisher.pub", key.PublicKey().String())
	token := file("token", strings.TrimSpace(run(t, tokenCommand(), admin, "create", "orders", "--role", "gateway:orders")))
	t.Setenv(envToken, "")
	client, err := controlclient.New(controlclient.Config{URL: url, Token: controlclient.StaticToken(admin)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	instances := func() int {
		t.Helper()
		list, err := client.Instances(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() {
		cmd := rootCommand()
		cmd.SetArgs([]string{"gateway", "--gateway", "orders", "--data", filepath.Join(dir, "data"), "--trust", trust, "--listen", "127.0.0.1:0", "--token-file", token})
		done <- cmd.ExecuteContext(ctx)
	}()
	eventually(t, "the gateway reports", func() bool { return instances() == 1 })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway has left", func() bool { return instances() == 0 })
}
