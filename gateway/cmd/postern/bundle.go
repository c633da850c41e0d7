package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// bundleCommand groups what is done with signed bundles, releases and keys.
func bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Make keys, and inspect, verify and compare bundles",
	}
	addOutputFlag(cmd)
	cmd.AddCommand(bundleKeygenCommand(), bundleInspectCommand(), bundleVerifyCommand(), bundleDiffCommand())
	return cmd
}

func bundleKeygenCommand() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key that signs bundles",
		Long: `Make a key that signs bundles and releases. The private key goes into OUT.key,
readable by you alone, and the public key, which gateways trust, into OUT.pub.
Files that exist are not touched.`,
		Example: `  postern bundle keygen --name ops-2026 --out ops`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBundleKeygen(cmd, name, out)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the key, for people")
	cmd.Flags().StringVar(&out, "out", "", "where to write: OUT.key and OUT.pub (default the key's name)")
	mustRegister(cmd.MarkFlagRequired("name"))
	return cmd
}

// keyData is the result of `postern bundle keygen` as JSON has it.
type keyData struct {
	KeyID      string `json:"key_id"`
	PublicKey  string `json:"public_key"`
	PublicFile string `json:"public_key_file"`
	SecretFile string `json:"private_key_file"`
}

func runBundleKeygen(cmd *cobra.Command, name, base string) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	if base == "" {
		base = name
	}
	key, err := bundle.GenerateKey(name)
	if err != nil {
		return err
	}
	data := keyData{KeyID: key.PublicKey().ID(), PublicKey: key.PublicKey().String(), PublicFile: base + ".pub", SecretFile: base + ".key"}
	if err := writeNewFile(data.SecretFile, key.Secret()+"\n", 0o600); err != nil {
		return err
	}
	if err := writeNewFile(data.PublicFile, data.PublicKey+"\n", 0o644); err != nil {
		return errors.Join(err, os.Remove(data.SecretFile))
	}
	t := newTable("key", "public key", "private key")
	t.row(data.KeyID, data.PublicFile, data.SecretFile)
	return out.showTable(data, t)
}

// writeNewFile writes a file that must not exist.
func writeNewFile(name, text string, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write key: %w", errors.Join(err, os.Remove(name)))
	}
	return nil
}

func bundleInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a bundle or a release says of itself",
		Long: `Show what a bundle or a release says of itself. No signature is verified: anybody
may have made the file. See postern bundle verify.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			data, err := readEnvelope(args[0])
			if err != nil {
				return err
			}
			u, err := bundle.InspectUnverified(data)
			if err != nil {
				return err
			}
			return showEnvelope(out, u, false)
		},
	}
}

func bundleVerifyCommand() *cobra.Command {
	var trust, gateway string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a bundle or a release",
		Long: `Verify a bundle or a release: that a trusted key signed it, that nothing was
altered, and that it is in canonical form. Of a release also that it is for the
gateway that --gateway names.`,
		Example: `  postern bundle verify --trust ops.pub orders.bundle`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBundleVerify(cmd, args[0], trust, gateway)
		},
	}
	cmd.Flags().StringVar(&trust, "trust", "", "file with the public keys that are trusted, one a line")
	cmd.Flags().StringVar(&gateway, "gateway", "", "gateway that a release must be for")
	mustRegister(cmd.MarkFlagRequired("trust"))
	return cmd
}

func runBundleVerify(cmd *cobra.Command, file, trust, gateway string) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	ring, err := readKeyRing([]string{trust})
	if err != nil {
		return err
	}
	data, err := readEnvelope(file)
	if err != nil {
		return err
	}
	u, err := bundle.InspectUnverified(data)
	if err != nil {
		return err
	}
	if u.Type == bundle.TypeRelease {
		if gateway == "" {
			return errors.New("the file is a release: say with --gateway which gateway it must be for")
		}
		u.Release, err = bundle.OpenRelease(data, ring, gateway)
	} else {
		u.Policy, _, err = bundle.Open(data, ring)
	}
	if err != nil {
		return err
	}
	return showEnvelope(out, u, true)
}

// envelopeData is a bundle or a release as JSON has it.
type envelopeData struct {
	Type     string         `json:"type"` // "bundle" or "release"
	Verified bool           `json:"verified"`
	KeyID    string         `json:"key_id"`
	Digest   string         `json:"digest"`
	Objects  map[string]int `json:"objects,omitempty"`
	Release  *releaseData   `json:"release,omitempty"`
}

type releaseData struct {
	Gateway     string `json:"gateway"`
	Bundle      string `json:"bundle"`
	Predecessor string `json:"predecessor,omitempty"`
	Revision    uint64 `json:"revision"`
	Time        string `json:"time"`
	Note        string `json:"note,omitempty"`
}

func showEnvelope(out *output, u bundle.Unverified, verified bool) error {
	data := envelopeData{Type: "bundle", Verified: verified, KeyID: u.KeyID, Digest: u.Digest}
	t := newTable("", "")
	signature := cell{"not verified", styleYellow}
	if verified {
		signature = cell{"verified", styleGreen}
	}
	if u.Type == bundle.TypeRelease {
		r := u.Release
		data.Type = "release"
		data.Release = &releaseData{r.Gateway, r.Bundle, r.Predecessor, r.Revision, r.Time.Format(time.RFC3339), r.Note}
	} else {
		data.Objects = objectCounts(&u.Policy)
	}
	t.row("type", data.Type)
	t.row("signature", signature)
	t.row("key", data.KeyID)
	t.row("digest", data.Digest)
	for _, k := range policylang.Kinds() {
		if n := data.Objects[string(k)]; n > 0 {
			t.row(string(k), n)
		}
	}
	if r := data.Release; r != nil {
		t.row("gateway", r.Gateway)
		t.row("bundle", r.Bundle)
		t.row("predecessor", r.Predecessor)
		t.row("revision", r.Revision)
		t.row("time", r.Time)
		t.row("note", r.Note)
	}
	return out.showTable(data, t)
}

func objectCounts(p *policylang.Policy) map[string]int {
	counts := map[string]int{}
	for _, o := range p.Objects() {
		counts[string(o.ObjectKind())]++
	}
	return counts
}

// readEnvelope reads a bundle's or a release's file, but no more than the
// largest can have.
func readEnvelope(name string) ([]byte, error) {
	data, err := readBounded(name, bundle.MaxBundleSize)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return data, nil
}
