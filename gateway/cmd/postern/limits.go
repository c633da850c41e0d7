package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway"
)

// addLimits adds the flags of a gateway's limits. Each has an error of its own
// in docs/errors.md.
func addLimits(cmd *cobra.Command, l *gateway.Limits) {
	flags := cmd.Flags()
	flags.IntVar(&l.Connections, "max-connections", 1000, "connections at once, those that log in among them")
	flags.IntVar(&l.IdentityConnections, "max-identity-connections", 250, "sessions of one identity at once")
	flags.IntVar(&l.Spares, "spare-connections", 2, "connections to the database that wait for the next session of a login that repeats, for each login; 0 for none")
	flags.IntVar(&l.Lookups, "max-lookups", 100, "comparisons of masked columns with values that policies allow by equality, for each identity in an hour")
	flags.IntVar(&l.Message, "max-message", 64<<20, "`bytes` of one message of a client, but for COPY data")
	flags.IntVar(&l.Statement.MaxBytes, "max-statement", 1<<20, "`bytes` of one text of statements")
	flags.IntVar(&l.Statement.MaxDepth, "max-nesting", 3000, "`levels` that a statement nests, at most 3000")
	flags.IntVar(&l.Statement.MaxStatements, "max-statements", 100, "statements in one text")
	flags.DurationVar(&l.LoginTimeout, "login-time", 30*time.Second, "longest `time` from the connection to the end of the login")
	flags.DurationVar(&l.Idle, "idle-time", 0, "longest `time` in which nothing runs and the client sends nothing; 0 for no limit")
	flags.DurationVar(&l.SessionTTL, "session-time", 8*time.Hour, "longest `time` of a session")
	flags.DurationVar(&l.Stuck, "stuck-time", 15*time.Minute, "longest `time` in which the client takes nothing of its results, or the database nothing of what is sent")
	flags.DurationVar(&l.Drain, "drain-time", 30*time.Second, "longest `time` that running statements and transactions may go on after SIGTERM")
}
