package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// examineKeys verifies what is on the gateway's disk, and what is live at the
// control plane, with the trusted keys.
func (p *patient) examineKeys(ctx context.Context) []finding {
	if len(p.trust) == 0 {
		return []finding{skipped("keys", "give --trust as the gateway has it")}
	}
	ring, err := readKeyRing(p.trust)
	if err != nil {
		return []finding{problem("keys", err.Error(), "each line must be a public key as 'postern bundle keygen' makes it, or 'revoked' and a key's id")}
	}
	out := []finding{fine("keys", "trusted are %s", strings.Join(keyIDs(ring), ", "))}
	if p.gateway == "" {
		return append(out, skipped("policy", "give --gateway"))
	}
	if p.data != "" {
		out = append(out, p.keptPolicy(ring))
	}
	if live := p.liveRelease(ctx); live != nil {
		out = append(out, verifyFinding("release at the control plane", live, ring, p.gateway))
	}
	return out
}

// liveRelease is the sealed release at the control plane; nil if there is none,
// or none that can be read, which other findings say.
func (p *patient) liveRelease(ctx context.Context) []byte {
	client, err := p.control.client()
	if err != nil {
		return nil
	}
	defer client.Close()
	live, err := client.Live(ctx, p.gateway, 0, 0)
	if err != nil || live == nil {
		return nil
	}
	return live.Signed
}

func verifyFinding(check string, signed []byte, ring bundle.KeyRing, gateway string) finding {
	r, err := bundle.OpenRelease(signed, ring, gateway)
	switch {
	case errors.Is(err, bundle.ErrUnknownKey), errors.Is(err, bundle.ErrRevokedKey):
		return problem(check, err.Error(), "let the gateway trust that key, or publish with one that it trusts")
	case err != nil:
		return problem(check, err.Error(), "publish again; if you did not publish this, somebody else can write to the control plane")
	}
	return fine(check, "revision %d verifies", r.Revision)
}

// keptPolicy is whether the gateway could start without a control plane.
func (p *patient) keptPolicy(ring bundle.KeyRing) finding {
	const check = "policy on disk"
	policy, err := p.readKept(ring)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warning(check, "there is none", "once a policy was released the gateway keeps it, and starts with it when the control plane is away")
	case errors.Is(err, fs.ErrPermission):
		return problem(check, err.Error(), "run this as the gateway's user")
	case err != nil:
		return problem(check, err.Error(), "the gateway will not start with it: it needs a release under a trusted key")
	}
	return fine(check, "revision %d since its last change, bundle %s", policy.Release.Revision, shortDigest(policy.Digest))
}

// readKept loads what the gateway keeps, without changing anything there.
func (p *patient) readKept(ring bundle.KeyRing) (*livepolicy.Policy, error) {
	dir := filepath.Join(p.data, "policy")
	if _, err := os.Stat(filepath.Join(dir, "release.json")); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	release, sealed, err := (&livepolicy.FileSource{Dir: dir}).Next(ctx, bundle.Release{})
	if err != nil {
		return nil, err
	}
	live, err := livepolicy.Open(livepolicy.Config{Gateway: p.gateway, Trusted: ring})
	if err != nil {
		return nil, err
	}
	return live.Apply(release, sealed)
}

// certificateLeft is how long before its end a certificate is warned of.
const certificateLeft = 14 * 24 * time.Hour

// leastFree is how much of a disk must be free for evidence, in bytes.
const leastFree = 1 << 30

// examineHost looks at the data directory, the disk and the certificate.
func (p *patient) examineHost() []finding {
	if p.data == "" {
		return []finding{skipped("data directory", "give --data on the gateway's host")}
	}
	info, err := os.Stat(p.data)
	if err != nil || !info.IsDir() {
		return []finding{problem("data directory", fmt.Sprintf("%s cannot be read as a directory: %v", p.data, err), "give --data as the gateway has it, and run this as its user")}
	}
	return []finding{p.modeFinding(info), diskFinding(p.data), p.certificateFinding(time.Now())}
}

// modeFinding looks for secrets that others can read.
func (p *patient) modeFinding(info fs.FileInfo) finding {
	var open []string
	if info.Mode().Perm()&0o022 != 0 {
		open = append(open, p.data)
	}
	for _, pattern := range []string{"*.key", "*.token"} {
		files, _ := filepath.Glob(filepath.Join(p.data, pattern)) // the pattern is well formed
		for _, name := range files {
			if i, err := os.Stat(name); err == nil && i.Mode().Perm()&0o077 != 0 {
				open = append(open, name)
			}
		}
	}
	if len(open) > 0 {
		slices.Sort(open)
		return problem("data directory", "others can read or change "+strings.Join(open, ", "), "chmod 700 the directory and chmod 600 the files; if others have read a key, make a new one")
	}
	return fine("data directory", "%s, its secrets are its owner's alone", p.data)
}

func diskFinding(dir string) finding {
	free, total, err := diskSpace(dir)
	switch {
	case err != nil:
		return skipped("disk", "this system does not say how much is free: "+err.Error())
	case free < leastFree/8:
		return problem("disk", fmt.Sprintf("%d MiB are free", free>>20), "free some: without evidence nothing is executed, so the gateway will refuse statements")
	case free < leastFree || free < total/20:
		return warning("disk", fmt.Sprintf("%d MiB of %d MiB are free", free>>20, total>>20), "free some, or ship old evidence elsewhere, before the gateway refuses statements")
	}
	return fine("disk", "%d MiB of %d MiB are free", free>>20, total>>20)
}

func (p *patient) certificateFinding(now time.Time) finding {
	const check = "certificate"
	data, err := os.ReadFile(filepath.Join(p.data, "server.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return skipped(check, "none was generated here; that of --tls-cert is yours to renew")
	}
	block, _ := pem.Decode(data)
	if err != nil || block == nil {
		return problem(check, "server.pem cannot be read", "remove it and start the gateway again, which makes another")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return problem(check, "server.pem: "+err.Error(), "remove it and start the gateway again, which makes another")
	case now.After(cert.NotAfter):
		return problem(check, "it has expired on "+cert.NotAfter.Format(time.DateOnly), "start the gateway again, which renews it")
	case cert.NotAfter.Sub(now) < certificateLeft:
		return warning(check, "it expires on "+cert.NotAfter.Format(time.DateOnly), "start the gateway again, which renews it")
	}
	return fine(check, "good until %s", cert.NotAfter.Format(time.DateOnly))
}

// examineUpstream logs in as the gateway's reader of the catalog would.
func (p *patient) examineUpstream(ctx context.Context) finding {
	const check = "upstream"
	if p.data == "" || p.gateway == "" || len(p.trust) == 0 {
		return skipped(check, "give --gateway, --data and --trust, which say where it is")
	}
	ring, err := readKeyRing(p.trust)
	if err != nil {
		return skipped(check, "the trusted keys cannot be read")
	}
	policy, err := p.readKept(ring)
	if err != nil {
		return skipped(check, "there is no policy on disk that says where it is")
	}
	target := &policy.Program.Gateway().Upstream
	means, err := meansIn(p.data)
	if err != nil {
		return problem(check, err.Error(), "see that this runs as the gateway's user, in its environment")
	}
	login := upstream.Login{Role: target.CatalogRole, Database: "postgres", Means: means}
	var versions []string
	for _, server := range target.Servers() {
		conn, err := upstream.Connect(ctx, target.At(server), login)
		if err != nil {
			return problem(check, err.Error(), upstreamAdvice(err, target))
		}
		versions = append(versions, fmt.Sprintf("%s lets %q in, version %s", server, target.CatalogRole, conn.ParameterStatus("server_version")))
		_ = conn.Close(ctx) // it was only looked at
	}
	if len(versions) > 1 {
		conn, err := upstream.Connect(ctx, target, login)
		if err != nil {
			return problem(check, err.Error(), fmt.Sprintf("see that one of the servers is what upstream.target_session_attrs asks for: %q", target.Attrs()))
		}
		_ = conn.Close(ctx) // the same
	}
	return fine(check, "%s", strings.Join(versions, "; "))
}

func upstreamAdvice(err error, target *policylang.Upstream) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "refused"), strings.Contains(text, "timeout"), strings.Contains(text, "no route"):
		return "start PostgreSQL, or open the network from this host to it"
	case strings.Contains(text, "no such host"):
		return "correct the upstream's host in the policy, or the name service here"
	case target.LoginBy() == policylang.LoginCertificate && strings.Contains(text, "postern upstream"):
		return "prepare PostgreSQL as 'postern upstream prepare' prints it, with ssl_ca_file from this directory"
	case strings.Contains(text, "28P01"), strings.Contains(text, "28000"):
		return fmt.Sprintf("create the role %q with these credentials, and let pg_hba.conf admit it from this host: see 'postern upstream prepare'", target.CatalogRole)
	case strings.Contains(text, "certificate"):
		return "let the policy's upstream trust the authority of PostgreSQL's certificate"
	}
	return "see that this runs in the gateway's environment, and PostgreSQL's log"
}
