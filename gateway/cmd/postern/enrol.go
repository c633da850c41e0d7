package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/internal/api"
)

// gatewayInviteCommand makes an enrolment token.
func gatewayInviteCommand(flags *controlFlags) *cobra.Command {
	var life string
	cmd := &cobra.Command{
		Use:   "invite NAME",
		Short: "Make a token with which a gateway enrols, and print it, this once",
		Long: `Make a token with which one gateway enrols, once, and print it. It is for
'postern gateway enroll' on the gateway's host, within the hour, and lets in
nobody but the gateway of that name. It takes an administrator's token.`,
		Example: `  postern gateway invite orders > enrolment.token`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := flags.client()
			if err != nil {
				return err
			}
			created, err := client.CreateEnrolment(cmd.Context(), api.EnrolmentInput{Gateway: args[0], ExpiresIn: life})
			if err != nil {
				return err
			}
			return newOutput(cmd.OutOrStdout()).print(created.Token + "\n")
		},
	}
	cmd.Flags().StringVar(&life, "expires-in", "", "how long it may wait to be used, as 24h; an hour unless given, a week at most")
	return cmd
}

// gatewayEnrolCommand exchanges an enrolment token for the gateway's own.
func gatewayEnrolCommand(flags *controlFlags) *cobra.Command {
	var common commonFlags
	var name, instance string
	var again bool
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Get the gateway a token of its own from the control plane",
		Long: `Exchange an enrolment token for a token of this gateway's own, which is kept in
DATA/gateway.token, readable for its owner alone. 'postern gateway' uses it from
there. The enrolment token, which --token-file or ` + envToken + ` gives, is used up.

Each host of a gateway enrols by itself, so that each token can be revoked by
itself: 'postern token list' and 'postern token revoke'.`,
		Example: `  postern gateway enroll --gateway orders --control https://control:8443 --data /var/lib/postern --token-file enrolment.token`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := common.prepare(); err != nil {
				return err
			}
			file := enrolledToken(&common)
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) && !again {
				return errors.Join(fmt.Errorf("this gateway has enrolled: %s is there; give --again to replace it", file), err)
			}
			if token, err := flags.token(cmd.Context()); err != nil || !strings.HasPrefix(token, api.EnrolmentPrefix) {
				return fmt.Errorf("no enrolment token is given: put what 'postern gateway invite %s' printed into a file, and name it with --token-file", name)
			}
			client, err := flags.client()
			if err != nil {
				return err
			}
			defer client.Close()
			created, err := client.Enrol(cmd.Context(), api.EnrolInput{Gateway: name, Instance: firstOf(instance, hostName())})
			if err != nil {
				return err
			}
			if err := writePrivate(file, created.Token+"\n"); err != nil {
				return fmt.Errorf("keep the gateway's token: %w; revoke %s and enrol again", err, created.Detail.ID)
			}
			return newOutput(cmd.OutOrStdout()).print(fmt.Sprintf("Enrolled as %s (%s); the token is in %s.\n", created.Detail.Name, created.Detail.ID, file))
		},
	}
	cmd.Flags().StringVar(&common.data, "data", "", "the gateway's `directory`")
	cmd.Flags().StringVar(&name, "gateway", "", "`name` of the gateway in the policy")
	cmd.Flags().StringVar(&instance, "instance", "", "what lists of tokens call this host; its name unless given")
	cmd.Flags().BoolVar(&again, "again", false, "replace the token that is there")
	mustRegister(errors.Join(cmd.MarkFlagRequired("data"), cmd.MarkFlagRequired("gateway")))
	return cmd
}

func enrolledToken(common *commonFlags) string { return common.path("gateway.token") }

// useEnrolled has the token sent with which the gateway has enrolled, unless
// another is given.
func (f *controlFlags) useEnrolled(common *commonFlags) {
	if f.tokenFile != "" || os.Getenv(envToken) != "" {
		return
	}
	if _, err := os.Stat(enrolledToken(common)); err == nil {
		f.tokenFile = enrolledToken(common)
	}
}

// writePrivate replaces a file by one that only its owner can read.
func writePrivate(file, content string) error {
	next := file + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}
