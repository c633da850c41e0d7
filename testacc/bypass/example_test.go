package bypass_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"

	"github.com/posternhq/postern/testacc/bypass"
)

// A gateway on port 6432 that takes tokens as passwords, before the PostgreSQL
// on port 5432.
func Example() {
	ctx := context.Background()
	runner := &bypass.Runner{
		Server: bypass.Endpoint{Address: "127.0.0.1:5432"},
		Target: bypass.Endpoint{
			Address: "127.0.0.1:6432", TLS: &tls.Config{ServerName: "gateway.example"},
			Password: func(role string) (string, error) { return os.Getenv("TOKEN_" + role), nil },
		},
		Directory: "/var/run/postgresql",
	}
	if err := runner.Open(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = runner.Close(ctx) }()
	cases, err := bypass.Corpus()
	if err != nil {
		fmt.Println(err)
		return
	}
	tally := bypass.Tally{}
	if err := runner.RunAll(ctx, cases, 2, runner.Run, tally.Add); err != nil {
		fmt.Println(err)
	}
	_ = tally.WriteTable(os.Stdout)
}
