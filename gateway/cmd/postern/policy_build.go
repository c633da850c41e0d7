package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// keyVariable is the environment variable that holds a private key's text.
const keyVariable = "POSTERN_SIGNING_KEY"

func policyBuildCommand() *cobra.Command {
	var gateway, out, keyFile string
	var canonical bool
	cmd := &cobra.Command{
		Use:   "build [PATH...]",
		Short: "Make a signed bundle of a policy",
		Long: `Make a signed bundle of a policy, as a gateway loads it. The private key is read
from the file that --key names, or from the environment variable
` + keyVariable + `. With --canonical the result is the policy's canonical encoding,
not signed: the bytes that the digest covers.`,
		Example: `  postern bundle keygen --name ops --out ops
  postern policy build --key ops.key --out orders.bundle policies/
  postern policy build --canonical --out - policies/ | sha256sum`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyBuild(cmd, args, buildOptions{gateway, out, keyFile, canonical})
		},
	}
	addGatewayFlag(cmd, &gateway)
	cmd.Flags().StringVar(&out, "out", "", "file to write, - for the standard output")
	cmd.Flags().StringVar(&keyFile, "key", "", "file with the private key")
	cmd.Flags().BoolVar(&canonical, "canonical", false, "write the canonical encoding, not signed")
	mustRegister(cmd.MarkFlagRequired("out"))
	return cmd
}

type buildOptions struct {
	gateway, out, keyFile string
	canonical             bool
}

// buildData is the result of `postern policy build` as JSON has it.
type buildData struct {
	Digest string `json:"digest"`
	KeyID  string `json:"key_id,omitempty"`
	Size   int    `json:"size"`
	File   string `json:"file"`
}

func runPolicyBuild(cmd *cobra.Command, paths []string, o buildOptions) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	_, program, err := mustLoadPolicy(cmd, paths, o.gateway)
	if err != nil {
		return err
	}
	data, keyID, err := seal(program.Policy(), o)
	if err != nil {
		return err
	}
	if o.out == "-" {
		if _, err := cmd.OutOrStdout().Write(data); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(o.out, data, 0o644); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	built := buildData{Digest: program.Digest(), KeyID: keyID, Size: len(data), File: o.out}
	t := newTable("file", "digest", "size", "key")
	t.row(built.File, built.Digest, built.Size, built.KeyID)
	return out.showTable(built, t)
}

func seal(p *policylang.Policy, o buildOptions) (data []byte, keyID string, err error) {
	if o.canonical {
		data, err = p.Canonical()
		return data, "", err
	}
	key, err := readPrivateKey(o.keyFile)
	if err != nil {
		return nil, "", err
	}
	data, err = bundle.Seal(p, key)
	return data, key.PublicKey().ID(), err
}

// readPrivateKey reads a private key from a file or, without one, from the
// environment. An error never holds any of it.
func readPrivateKey(file string) (*bundle.PrivateKey, error) {
	text := os.Getenv(keyVariable)
	if file != "" {
		data, err := readBounded(file, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read private key: %w", err)
		}
		text = string(data)
	}
	if text == "" {
		return nil, errors.New("no private key: name its file with --key, or set " + keyVariable)
	}
	return bundle.ParsePrivateKey(text)
}
