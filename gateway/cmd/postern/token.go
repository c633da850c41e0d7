package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/control"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// envStore is where the control plane's store is, in place of a flag: a URL
// may hold a password.
const envStore = "POSTERN_STORE"

// tokenCommand groups the making and revoking of API tokens.
func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a fresh database credential; make, list and revoke API tokens",
		Long: `By itself it prints a fresh credential for a gateway: the password of one
connection, which lives for minutes.

  PGPASSWORD=$(postern token) psql 'host=db.example.com sslmode=verify-full user=ana'

With --certificate it writes a client certificate instead, and with --scram it
prints a SCRAM secret and the grant that belongs to it. Either is made for a
secret that never leaves this machine, and lives as long.

  postern token --certificate ~/.postgresql && psql 'host=db.example.com sslmode=verify-full user=ana'
  eval "$(postern token --scram)" && psql 'host=db.example.com sslmode=verify-full user=ana'

Its subcommands make, list and revoke the control plane's API tokens: for
Terraform and for jobs. A gateway gets its own by 'postern gateway enroll';
people sign in with 'postern login'.

It takes an administrator's token; the first is made by
'postern control bootstrap'.`,
		Args: cobra.NoArgs,
	}
	addOutputFlag(cmd)
	flags := addControlFlags(cmd)
	var f credentialFlags
	var form tokenForm
	form.add(cmd)
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "`name` of the gateway; the login's unless given")
	cmd.Flags().StringVar(&f.actorToken, "actor-token-file", "", "`file` that holds the token of an agent, which then acts on your behalf")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.controlFlags = *flags
		return form.print(cmd, &f)
	}
	cmd.AddCommand(tokenCreateCommand(flags), tokenListCommand(flags), tokenRevokeCommand(flags), tokenWhoamiCommand(flags))
	return cmd
}

func tokenCreateCommand(flags *controlFlags) *cobra.Command {
	var in api.TokenInput
	var roles []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, this once",
		Example: `  postern token create terraform --role author --expires-in 8760h
  postern token create reports --role auditor --expires-in 720h`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			in.Name = args[0]
			for _, text := range roles {
				role, err := api.ParseRole(text)
				if err != nil {
					return err
				}
				in.Roles = append(in.Roles, role)
			}
			client, err := flags.client()
			if err != nil {
				return err
			}
			created, err := client.CreateToken(cmd.Context(), in)
			if err != nil {
				return err
			}
			return out.show(created, func() error { return out.print(created.Token + "\n") })
		},
	}
	cmd.Flags().StringSliceVar(&roles, "role", nil, "what it may do: viewer, author, approver, auditor, admin or gateway:NAME")
	cmd.Flags().StringVar(&in.Subject, "subject", "", "as whom a token of role approver approves")
	cmd.Flags().StringVar(&in.ExpiresIn, "expires-in", "", "how long it lives, as 720h; for ever unless given")
	mustRegister(cmd.MarkFlagRequired("role"))
	return cmd
}

func tokenListCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens that are not revoked",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				list, err := client.Tokens(cmd.Context())
				if err != nil {
					return err
				}
				t := newTable("id", "name", "roles", "subject", "created", "expires", "last used")
				for _, token := range list {
					t.row(token.ID, token.Name, rolesText(token.Roles), token.Subject, timeText(&token.CreatedAt), timeText(token.ExpiresAt), timeText(token.LastUsedAt))
				}
				return out.showTable(list, t)
			})
		},
	}
}

func tokenRevokeCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a token at once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := flags.client()
			if err != nil {
				return err
			}
			return client.RevokeToken(cmd.Context(), args[0])
		},
	}
}

func tokenWhoamiCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who your token makes you",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				who, err := client.Whoami(cmd.Context())
				if err != nil {
					return err
				}
				t := newTable("name", "kind", "roles", "groups", "approves as", "expires")
				t.row(who.Name, who.Kind, rolesText(who.Roles), strings.Join(who.Groups, ", "), who.Subject, timeText(who.Expires))
				return out.showTable(who, t)
			})
		},
	}
}

func rolesText(roles []api.Role) string {
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = string(r)
	}
	return strings.Join(texts, ", ")
}

func timeText(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

// controlBootstrapCommand makes the first administrator's token. It opens the
// store itself, so that only who can read it can run it.
func controlBootstrapCommand() *cobra.Command {
	var store, name string
	var life time.Duration
	var again bool
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Make the first administrator's token, on the control plane's host",
		Long: `Make the first administrator's token and print it, this once.

It works on the store itself, so it is run where that can be reached: on the
control plane's host. It refuses if an administrator's token is in force, but
with --again, for when that one was lost.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if store = firstOf(store, os.Getenv(envStore)); store == "" {
				return fmt.Errorf("no store is given: set --store or %s", envStore)
			}
			server, err := control.New(cmd.Context(), control.Config{Store: store})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, server.Close()) }()
			token, err := server.Bootstrap(cmd.Context(), name, life, again)
			if errors.Is(err, control.ErrBootstrapped) {
				return fmt.Errorf("%w; give --again if it was lost", err)
			}
			if err != nil {
				return err
			}
			return newOutput(cmd.OutOrStdout()).print(token + "\n")
		},
	}
	cmd.Flags().StringVar(&store, "store", "", "the control plane's store, postgres://… or the path of its SQLite file; "+envStore+" unless given")
	cmd.Flags().StringVar(&name, "name", "admin", "what lists of tokens call it")
	cmd.Flags().DurationVar(&life, "expires-in", 0, "how long it lives, as 24h; for ever unless given")
	cmd.Flags().BoolVar(&again, "again", false, "even if there is one")
	return cmd
}
