package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
)

// revokeCommand takes back what was given to somebody.
func revokeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke subject|token|session|account|sign_in VALUE",
		Short: "Take back a person's tokens, one token or one session, at once",
		Long: `Take back what was given: gateways refuse it within a second, and end the live
sessions that rest on it, with the statement that is running.

  subject NAME  every token issued to the subject or agent until now
  token JTI     one token or credential, by its id
  session ID    one session, by the id that the evidence has
  account 'ISSUER SUB'  every token of that account issued until now, whatever its name
  sign_in 'ISSUER SID'  every token that rests on one sign-in at the identity provider

It does not keep anybody from signing in again: remove the identity from the
policy for that. It takes an administrator's token.`,
		Example: `  postern revoke subject carl --reason 'laptop stolen'
  postern revoke session s_0123456789abcdef`,
		Args: cobra.ExactArgs(2),
	}
	flags := addControlFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the evidence")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := flags.client()
		if err != nil {
			return err
		}
		_, err = client.Revoke(cmd.Context(), api.RevocationInput{Kind: api.RevocationKind(args[0]), Value: args[1], Reason: reason})
		return err
	}
	return cmd
}

// revocationLoop keeps the gateway's revocations as the control plane has them.
// While it can't be reached the last ones stay in force.
func (h *gatewayHalf) revocationLoop(ctx context.Context) {
	var after uint64
	for ctx.Err() == nil {
		asked := time.Now()
		list, err := h.client.Revocations(ctx, h.flags.name, after, api.MaxWait/2)
		news := err == nil && list.Revision > after
		if news {
			after = list.Revision
			h.server.Revoke(list.Revocations)
			err = h.saveRevocations(list.Revocations)
		}
		if err != nil && ctx.Err() == nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "follow the revocations", slog.Any("error", err))
		}
		// A control plane that is stopping does not wait for news.
		if err != nil || !news && time.Since(asked) < time.Second {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// loadRevocations puts in force what was heard of before the last stop, so that
// a restart without the control plane forgives nobody.
func (h *gatewayHalf) loadRevocations() error {
	data, err := os.ReadFile(h.revocations)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list []api.Revocation
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return fmt.Errorf("read the revocations: %w", err)
	}
	h.server.Revoke(list)
	return nil
}

func (h *gatewayHalf) saveRevocations(list []api.Revocation) error {
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("keep the revocations: %w", err)
	}
	next := h.revocations + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("keep the revocations: %w", err)
	}
	if err := os.Rename(next, h.revocations); err != nil {
		return fmt.Errorf("keep the revocations: %w", err)
	}
	return nil
}
