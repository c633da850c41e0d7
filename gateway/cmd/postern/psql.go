package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// psqlCommand runs psql with a fresh credential.
func psqlCommand() *cobra.Command {
	var f credentialFlags
	var with string
	cmd := &cobra.Command{
		Use:   "psql DATABASE [-- PSQL-ARGUMENTS]",
		Short: "Run psql through the gateway, as yourself",
		Long: `Run psql through the gateway with a fresh credential as its password and the
gateway's certificate verified (sslmode=verify-full).

The credential lives for minutes and is only needed to connect: the session goes
on after it has expired. It is given to psql in its environment, which no other
user can read; programs that psql starts with \! can.

With --with certificate or --with scram psql sends nothing that is of use to who
sees it, and proves instead that it has a secret that was made on this machine.`,
		Example: `  postern psql orders
  postern psql orders -- -c 'SELECT count(*) FROM customers'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("say which database: postern psql DATABASE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPsql(cmd, &f, with, args[0], args[1:])
		},
	}
	f.add(cmd)
	f.addAddress(cmd)
	cmd.Flags().StringVar(&with, "with", withToken, "how psql proves who you are: token, certificate or scram")
	return cmd
}

func runPsql(cmd *cobra.Command, f *credentialFlags, with, database string, args []string) error {
	psql, err := exec.LookPath("psql")
	if err != nil {
		return errors.New("psql is not on PATH; on Debian: apt-get install postgresql-client")
	}
	s, err := f.source()
	if err != nil {
		return err
	}
	proof, err := s.proveBy(cmd.Context(), with)
	if err != nil {
		return err
	}
	defer proof.remove()
	host, port, err := f.splitAddress(proof.address)
	if err != nil {
		return err
	}
	run := exec.Command(psql, args...) // not bound to the context: Ctrl-C is psql's
	run.Env = append(withoutPG(os.Environ()),
		"PGHOST="+host, "PGPORT="+port, "PGDATABASE="+database, "PGUSER="+proof.role,
		"PGSSLMODE=verify-full", "PGGSSENCMODE=disable")
	run.Env = append(run.Env, proof.env...)
	if s.caFile != "" {
		run.Env = append(run.Env, "PGSSLROOTCERT="+s.caFile)
	}
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	signal.Ignore(os.Interrupt) // psql cancels its statement; we wait for its end
	defer signal.Reset(os.Interrupt)
	if err := run.Start(); err != nil {
		return fmt.Errorf("run psql: %w", err)
	}
	stop := context.AfterFunc(cmd.Context(), func() { _ = run.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = run.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitStatus(exit.ExitCode())
	}
	return err
}

// withoutPG drops what would connect psql elsewhere, or as somebody else. What
// only changes how it looks or behaves stays.
func withoutPG(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch {
		case name == envToken:
		case strings.HasPrefix(name, "PG") && name != "PGOPTIONS" && name != "PGAPPNAME" && name != "PGCONNECT_TIMEOUT" &&
			name != "PGTZ" && name != "PGDATESTYLE" && name != "PGCLIENTENCODING" && name != "PGSSLROOTCERT":
		default:
			out = append(out, e)
		}
	}
	return out
}

// exitStatus is the status that a program which we ran ended with. It has said
// itself what went wrong.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("it ended with status %d", int(s)) }
