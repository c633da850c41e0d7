package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// raw is what must never be shown to those for whom it is masked.
var raw = []string{"ida.holm@", "joao@", "mei.lin@", "900-12-3456", "900-65-4321", "4000 0000 0000 0002"}

func (w *world) applyPolicy(ctx context.Context) error {
	heading("terraform apply: a gateway, four identities, rules, a mask, an approval group")
	rc := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/posternhq/postern\" = %q\n  }\n  direct {}\n}\n", w.bin)
	if err := os.WriteFile(filepath.Join(w.dir, "terraform.rc"), []byte(rc), 0o600); err != nil {
		return err
	}
	if err := w.setVariables([]string{"carl"}); err != nil {
		return err
	}
	return w.apply(ctx)
}

// setVariables writes the story's variables.
func (w *world) setVariables(contractors []string) error {
	vars := map[string]any{
		"issuer_url": w.issuer.URL(), "control_url": w.controlURL, "upstream_host": w.postgres.Host, "upstream_port": w.postgres.Port, "upstream_tls": "disable",
		"upstream_credentials": "file:" + filepath.Join(w.dir, "upstream.pgpass"), "contractors": contractors,
	}
	data, err := json.MarshalIndent(vars, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.story, "demo.auto.tfvars.json"), data, 0o600)
}

func (w *world) apply(ctx context.Context) error {
	show("terraform apply")
	out, err := w.terraformCommand(ctx, "apply", "-auto-approve", "-no-color", "-input=false").CombinedOutput()
	if err != nil {
		return fmt.Errorf("terraform apply: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		for _, telling := range []string{"Plan: ", " complete after ", "Apply complete"} {
			if strings.Contains(line, telling) {
				fmt.Print("  " + line)
			}
		}
	}
	return nil
}

// signIn signs the people in, who from then on use `postern psql`.
func (w *world) signIn(ctx context.Context) error {
	heading("People sign in at their identity provider; each connection gets a credential of minutes")
	for _, user := range []string{"ana", "ben", "carl"} {
		if err := w.login(ctx, user); err != nil {
			return err
		}
	}
	show("postern whoami  # as ana")
	out, err := w.person(w.command(ctx, "whoami"), "ana").CombinedOutput()
	fmt.Print(indent(string(out)))
	if err != nil {
		return fmt.Errorf("postern whoami: %w", err)
	}
	return expect("postern whoami", string(out), []string{"ana", "human", "orders"})
}

func (w *world) maskedRead(ctx context.Context) error {
	heading("Ana, an engineer, reads customers: e-mail, SSN and card are masked")
	out, err := w.psql(ctx, "ana",
		"SELECT name, email, ssn, card FROM customers ORDER BY id",
		"SELECT id, contact FROM contacts ORDER BY id LIMIT 2",
		"SELECT c.name, c.email AS note FROM customers AS c ORDER BY c.id LIMIT 2")
	if err != nil {
		return fmt.Errorf("ana's read: %w", err)
	}
	if err := expect("ana's read", out, []string{"Ida Holm", "example.com", "3456", "note", "contact"}, raw...); err != nil {
		return err
	}
	aside("What would reveal a masked value is refused:")
	out, err = w.psql(ctx, "ana", "SELECT name FROM customers WHERE email LIKE 'ida%'")
	if err == nil {
		return fmt.Errorf("a predicate on a masked column was let through:\n%s", out)
	}
	if err := expect("the predicate", out, []string{"masked"}); err != nil {
		return err
	}
	aside("Ben, a DBA, is in the group that sees them:")
	out, err = w.psql(ctx, "ben", "SELECT name, email FROM customers ORDER BY id LIMIT 1")
	if err != nil {
		return fmt.Errorf("ben's read: %w", err)
	}
	return expect("ben's read", out, []string{"ida.holm@example.com"})
}

func (w *world) deniedStatement(ctx context.Context) error {
	heading("DROP DATABASE is denied, and the connection stays usable")
	out, _ := w.psql(ctx, "ana", "DROP DATABASE scratch", "SELECT count(*) FROM orders")
	return expect("DROP DATABASE", out, []string{"no_drop_database", "HINT", "count"})
}

// heldStatement shows one psql that waits while somebody else approves.
func (w *world) heldStatement(ctx context.Context) error {
	heading("An unfiltered DELETE waits for a DBA")
	const sql = "DELETE FROM carts"
	show(fmt.Sprintf("postern psql shop --  # as ana\n    -c %q", sql))
	held := w.psqlCommand(ctx, "ana", "-c", sql)
	var out strings.Builder
	held.Stdout, held.Stderr = &out, &out
	if err := held.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- held.Wait() }()

	id, err := w.pendingApproval(ctx)
	if err != nil {
		return fmt.Errorf("%w\npsql printed:\n%s", err, out.String())
	}
	select {
	case err := <-done:
		return fmt.Errorf("the held statement did not wait: %w\n%s", err, out.String())
	default:
	}
	show("postern approvals approve " + id + " --reason 'carts are test data'  # as ben, meanwhile")
	approve := w.person(w.command(ctx, "approvals", "approve", id, "--reason", "carts are test data"), "ben")
	approved, err := approve.CombinedOutput()
	fmt.Print(indent(string(approved)))
	if err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	select {
	case err := <-done:
		aside("and ana's psql goes on:")
		fmt.Print(indent(out.String()))
		if err != nil {
			return fmt.Errorf("the approved statement: %w", err)
		}
	case <-time.After(10 * time.Second):
		_ = held.Process.Kill()
		return fmt.Errorf("the approved statement did not go on; psql printed:\n%s", out.String())
	}
	return expect("the held statement", out.String(), []string{"waiting for approval", "DELETE 3"})
}

// pendingApproval waits until a statement is held and returns its approval.
func (w *world) pendingApproval(ctx context.Context) (string, error) {
	for range 100 {
		cmd := w.person(w.command(ctx, "approvals", "list", "-o", "json"), "ben")
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("list approvals: %w", err)
		}
		var approvals []struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(out, &approvals); err != nil {
			return "", fmt.Errorf("list approvals: %w", err)
		}
		if len(approvals) > 0 {
			return approvals[0].ID, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", fmt.Errorf("nothing was held")
}

func (w *world) pipelineInsert(ctx context.Context) error {
	heading("The CI job writes with its own identity, not a shared password")
	out, err := w.job(ctx, "orders_ci", "INSERT INTO orders (customer_id, item, total) VALUES (2, 'shade', 18.00)")
	if err != nil {
		return fmt.Errorf("the CI job's insert: %w", err)
	}
	return expect("the CI job's insert", out, []string{"INSERT 0 1"})
}

// contractorLeaves removes an identity while its session is open.
func (w *world) contractorLeaves(ctx context.Context) error {
	heading("Carl's contract ends: removed in Terraform, his open session ends")
	show("postern psql shop  # as carl, left open")
	psql := w.psqlCommand(ctx, "carl")
	stdin, err := psql.StdinPipe()
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(w.dir, "carl-")
	if err != nil {
		return err
	}
	defer out.Close()
	psql.Stdout, psql.Stderr = out, out
	if err := psql.Start(); err != nil {
		return err
	}
	defer func() { _ = psql.Process.Kill() }()
	if _, err := io.WriteString(stdin, "SELECT count(*) AS orders FROM orders;\n"); err != nil {
		return err
	}
	if err := awaitFile(ctx, out.Name(), "(1 row)"); err != nil {
		return err
	}
	if _, err := io.WriteString(stdin, "SELECT pg_sleep(60);\n"); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = psql.Wait() // it fails: its session ends
	}()
	if err := w.setVariables([]string{}); err != nil {
		return err
	}
	if err := w.apply(ctx); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(time.Second):
		return fmt.Errorf("carl's session did not end within a second of the apply")
	}
	data, err := os.ReadFile(out.Name())
	if err != nil {
		return err
	}
	aside("carl's psql, in the middle of a statement, had ended by the time that apply returned:")
	fmt.Print(indent(string(data)))
	if err := expect("carl's session", string(data), []string{"FATAL", "no longer"}); err != nil {
		return err
	}
	again, err := w.psql(ctx, "carl", "SELECT 1")
	if err == nil {
		return fmt.Errorf("carl is still let in:\n%s", again)
	}
	return expect("carl's next login", again, []string{"no identity"})
}

func awaitFile(ctx context.Context, name, want string) error {
	for range 200 {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.Contains(string(data), want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	data, _ := os.ReadFile(name)
	return fmt.Errorf("%q did not appear in:\n%s", want, data)
}

func (w *world) readEvidence(ctx context.Context) error {
	heading("The evidence: who, what, decision, rule, policy")
	dir := filepath.Join(w.data(), "evidence")
	kinds := "statement,denied,held,approval,session_end"
	show("postern evidence search --dir evidence --kind " + kinds)
	out, err := w.command(ctx, "evidence", "search", "--dir", dir, "--kind", kinds).CombinedOutput()
	fmt.Print(indent(align(string(out))))
	if err != nil {
		return fmt.Errorf("search the evidence: %w", err)
	}
	if err := expect("the evidence", string(out), []string{"ana", "carl", "orders-ci", "no_drop_database", "DROP DATABASE", "DELETE", "INSERT", "by ben", "masked email, ssn, card"}); err != nil {
		return err
	}
	key := filepath.Join(w.data(), "evidence.key.pub")
	show("postern evidence verify --dir evidence --key evidence.key.pub")
	out, err = w.command(ctx, "evidence", "verify", "--dir", dir, "--key", key).CombinedOutput()
	fmt.Print(indent(string(out)))
	if err != nil {
		return fmt.Errorf("verify the evidence: %w", err)
	}
	return expect("the verification", string(out), []string{"verified", "0 interrupted"})
}

func (w *world) hint() {
	heading("Left running; Ctrl-C stops and removes everything")
	note("console   %s/  (sign in with the token below)", w.controlURL)
	note("token     %s", w.adminToken)
	note("psql      POSTERN_LOGIN_FILE=%s %s psql shop", filepath.Join(w.dir, "login-ana.json"), filepath.Join(w.bin, "postern"))
	note("sign in   %s login --control %s --ca %s  (ana, ben; the secret is %s)", filepath.Join(w.bin, "postern"), w.controlURL, w.ca(), w.issuer.Secret())
	note("policy    %s  (edit main.tf; then:)", w.story)
	note("          cd %s && TF_CLI_CONFIG_FILE=%s POSTERN_ENDPOINT=%s POSTERN_CA_FILE=%s \\", w.story, filepath.Join(w.dir, "terraform.rc"), w.controlURL, w.ca())
	note("          POSTERN_TOKEN=%s POSTERN_SIGNING_KEY=$(cat %s) terraform apply", w.adminToken, filepath.Join(w.dir, "publisher.key"))
}
