// Command postern is the gateway, the control plane and their command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the release build.
var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { <-ctx.Done(); stop() }() // a second signal ends the process at once
	err := rootCommand().ExecuteContext(ctx)
	stop()
	var ended exitStatus
	if errors.As(err, &ended) {
		os.Exit(int(ended))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "postern: %v\n", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "Policy as code for PostgreSQL access",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		loginCommand(), logoutCommand(), whoamiCommand(), psqlCommand(), connectCommand(), revokeCommand(), statusCommand(), doctorCommand(),
		serveCommand(), gatewayCommand(), controlCommand(), policyCommand(), bundleCommand(), releaseCommand(), approvalsCommand(), tokenCommand(), evidenceCommand(),
		conformanceCommand(), upstreamCommand(), probeCommand(),
	)
	return root
}
