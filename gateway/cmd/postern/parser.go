package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang/statement"
)

const (
	probeCommandName = "probe-parser"
	probeTimeout     = time.Minute
)

// probeCommand reads the deepest texts that the gateway admits. It is run in a
// process of its own, since one whose stack is too small does not survive it.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    probeCommandName,
		Short:  "Check that the SQL parser has stack enough on this machine",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return statement.ProbeStack(0) },
	}
}

// checkParser runs the probe as a child of this program and with its limits. A
// gateway must not serve if it fails: one text of a client would end it.
func checkParser(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to check the SQL parser: %w", err)
	}
	return runProbe(ctx, self)
}

func runProbe(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := exec.CommandContext(ctx, program, probeCommandName).Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return fmt.Errorf("the SQL parser does not survive deeply nested texts on this machine (%w): "+
			"raise the limit on stack size (ulimit -s) to 8192 or more", err)
	}
	return fmt.Errorf("check the SQL parser: %w", err)
}
