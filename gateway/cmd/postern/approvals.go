package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// approvalsCommand groups what people need who approve held statements.
func approvalsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "See, approve and refuse held statements",
		Long: `See, approve and refuse statements that a gateway holds until people approve
them.

You approve as yourself, with your own OpenID Connect token: in a file that
--token-file names, or in ` + envToken + `. Nobody approves their own statement.
Characters of a statement that would not show are written as ‹U+202E›.`,
		Args: cobra.NoArgs,
	}
	addOutputFlag(cmd)
	flags := addControlFlags(cmd)
	cmd.AddCommand(
		approvalsListCommand(flags), approvalsShowCommand(flags),
		approvalsVoteCommand(flags, api.VerdictApprove, "Approve a held statement"),
		approvalsVoteCommand(flags, api.VerdictRefuse, "Refuse a held statement"),
	)
	return cmd
}

func approvalsListCommand(flags *controlFlags) *cobra.Command {
	var status, gateway string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the approvals that concern you, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				if status == "all" {
					status = ""
				}
				list, err := client.Approvals(cmd.Context(), api.ApprovalStatus(status), gateway)
				if err != nil {
					return err
				}
				if len(list) == 0 && out.terminal && !out.json {
					return out.print("No approvals.\n")
				}
				return out.showTable(list, approvalsTable(list, time.Now()))
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", string(api.StatusPending), "of this status, or all")
	cmd.Flags().StringVar(&gateway, "gateway", "", "of this gateway")
	return cmd
}

func approvalsTable(list []api.Approval, now time.Time) *table {
	t := newTable("id", "status", "who", "gateway", "database", "groups", "expires", "statement")
	for _, a := range list {
		expires := "-"
		if a.Status == api.StatusPending {
			expires = "in " + a.ExpiresAt.Sub(now).Round(time.Second).String()
		}
		t.row(a.ID, cell{string(a.Status), statusStyle(a.Status)}, requesterText(a.Requester), a.Gateway, a.Database,
			strings.Join(groupTexts(&a), ", "), expires, oneLine(a.SQL, 60))
	}
	return t
}

func approvalsShowCommand(flags *controlFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a held statement and everything about it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				a, err := client.Approval(cmd.Context(), args[0], 0)
				if err != nil {
					return err
				}
				return out.show(a, func() error { return out.print(approvalText(out, &a, time.Now())) })
			})
		},
	}
}

// approvalsVoteCommand makes the commands that approve and refuse.
func approvalsVoteCommand(flags *controlFlags, verdict, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   verdict + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, flags, func(out *output, client *controlclient.Client) error {
				vote := client.Approve
				if verdict == api.VerdictRefuse {
					vote = client.Refuse
				}
				a, err := vote(cmd.Context(), args[0], reason)
				if err != nil {
					return err
				}
				return out.show(a, func() error { return out.print(votedText(out, &a)) })
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the requester and the record")
	return cmd
}

// votedText says what a vote has led to.
func votedText(o *output, a *api.Approval) string {
	text := fmt.Sprintf("%s %s: %s's statement on %s.\n", o.paint(statusStyle(a.Status), string(a.Status)), a.ID,
		printable(requesterText(a.Requester)), printable(a.Gateway))
	if a.Status == api.StatusPending {
		text += "Your vote is counted. Still needed: " + printable(strings.Join(missingTexts(a), ", ")) + ".\n"
	}
	return text
}

// approvalText shows all of an approval.
func approvalText(o *output, a *api.Approval, now time.Time) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s %s\n", o.paint(styleFaint, fmt.Sprintf("%-11s", name)), printable(value))
		}
	}
	fmt.Fprintf(&b, "%s  %s\n\n", o.paint(styleBold, a.ID), o.paint(statusStyle(a.Status), string(a.Status)))
	line("who", requesterText(a.Requester))
	line("subject", strings.TrimSpace(a.Requester.Issuer+" "+a.Requester.ID))
	line("where", fmt.Sprintf("gateway %s, database %s, role %s", a.Gateway, a.Database, a.Role))
	line("from", strings.TrimSpace(a.ClientAddr+" "+a.Application))
	line("why", a.Reason)
	line("held by", strings.Join(a.Rules, ", "))
	line("message", a.Message)
	line("approval", strings.Join(groupTexts(a), ", "))
	line("requested", a.RequestedAt.Local().Format(time.DateTime))
	if a.Status == api.StatusPending {
		line("expires", a.ExpiresAt.Local().Format(time.DateTime)+", in "+a.ExpiresAt.Sub(now).Round(time.Second).String())
	}
	line("policy", a.Bundle)
	line("console", a.URL)
	b.WriteString("\n" + indent(api.RevealText(a.SQL)))
	for i, p := range a.Params {
		fmt.Fprintf(&b, "%s %s\n", o.paint(styleFaint, fmt.Sprintf("    $%d =", i+1)), paramText(p))
	}
	if len(a.Votes) > 0 {
		b.WriteString("\n")
	}
	for _, v := range a.Votes {
		fmt.Fprintf(&b, "%s %s: %s %s\n", v.At.Local().Format(time.DateTime), printable(v.Approver), v.Verdict, printable(v.Reason))
	}
	return b.String()
}

func requesterText(r api.Requester) string {
	if r.Actor == "" {
		return r.Name
	}
	return fmt.Sprintf("%s (through %s)", r.Name, r.Actor)
}

// groupTexts says for each group how many of its members have approved.
func groupTexts(a *api.Approval) []string {
	var out []string
	for _, q := range quorums(a) {
		out = append(out, fmt.Sprintf("%s %d/%d", q.Group, q.Have, q.Required))
	}
	return out
}

// missingTexts says how many members of which group must still approve.
func missingTexts(a *api.Approval) []string {
	var out []string
	for _, q := range quorums(a) {
		if !q.Met() {
			out = append(out, fmt.Sprintf("%d of %s", q.Required-q.Have, q.Group))
		}
	}
	return out
}

func quorums(a *api.Approval) []api.Quorum {
	var approvers []string
	for _, v := range a.Votes {
		if v.Verdict == api.VerdictApprove {
			approvers = append(approvers, v.Approver)
		}
	}
	return api.Quorums(a.Groups, a.Requester, approvers)
}

func paramText(p api.Param) string {
	switch {
	case p.Null:
		return "NULL"
	case p.Binary != nil:
		return "binary " + hex.EncodeToString(p.Binary)
	}
	return strconv.Quote(api.RevealText(p.Text))
}

// oneLine shows the start of a statement on one line.
func oneLine(sql string, width int) string {
	runes := []rune(api.RevealText(strings.Join(strings.Fields(sql), " ")))
	if len(runes) <= width {
		return string(runes)
	}
	return string(slices.Concat(runes[:width-1], []rune{'…'}))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

func statusStyle(s api.ApprovalStatus) style {
	switch s {
	case api.StatusPending:
		return styleYellow
	case api.StatusApproved, api.StatusUsed:
		return styleGreen
	case api.StatusRefused:
		return styleRed
	case api.StatusExpired, api.StatusWithdrawn:
		return styleFaint
	}
	return styleCyan
}
