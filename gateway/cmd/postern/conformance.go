package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/posternhq/postern/testacc/bypass"
)

// conformanceCommand groups public test suites that run against any gateway.
func conformanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Test a gateway, this or another, from outside",
	}
	addOutputFlag(cmd)
	cmd.AddCommand(conformanceBypassCommand())
	return cmd
}

// bypassFlags are the flags of `postern conformance bypass`.
type bypassFlags struct {
	server, directory         string
	target                    string
	passwords                 []string
	passwordCommand           string
	policy, policyCommand     string
	run, extended, known      string
	junit, export             string
	workers                   int
	patience                  time.Duration
	list, straight, twoWorlds bool
	ignore                    string
}

func conformanceBypassCommand() *cobra.Command {
	var f bypassFlags
	cmd := &cobra.Command{
		Use:   "bypass",
		Short: "Attack a gateway that masks columns and denies statements, and use it honestly",
		Long: `Attack a gateway that masks columns and denies statements, and use it honestly.

More than 1,000 cases are played by the wire protocol: attacks that reveal masked
values or do what is denied, and honest statements that must be served. The
gateway under test may be any. It stands before a throwaway PostgreSQL, of which
--server gives a superuser, and enforces one of two policies: --export writes
them, with the schema and the roles, into a directory. The roles and databases
are made, and the databases dropped, by this command.

How roles log in at the gateway: --password-command runs a command by sh with
the role in $POSTERN_ROLE and takes its output, a password or a token; or
--password ROLE=env:NAME and ROLE=file:PATH; or the password in --target.

Which policy is enforced: --policy names the one that the gateway holds, and
other cases are skipped; or --policy-command runs a command by sh that makes the
gateway hold $POSTERN_POLICY, standard or guarded, and mask the columns
$POSTERN_PROTECT too, before it returns.

The exit status is 0 if no attack succeeded and every honest statement was
served, cases of --known apart.`,
		Example: `  postern conformance bypass --export corpus/
  postern conformance bypass --server postgres://postgres@127.0.0.1:5432/?sslmode=disable --straight
  postern conformance bypass --server postgres://postgres@127.0.0.1:5432/?sslmode=disable \
    --target 'postgres://gateway.example:6432/?sslmode=verify-full' \
    --password-command './token.sh $POSTERN_ROLE' --policy standard --junit bypass.xml`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runBypass(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", "URL of a superuser of the throwaway PostgreSQL itself")
	flags.StringVar(&f.directory, "server-directory", "/var/run/postgresql", "directory of the server's socket, in which it may write")
	flags.StringVar(&f.target, "target", "", "URL of the gateway, with sslmode disable or verify-full")
	flags.StringArrayVar(&f.passwords, "password", nil, "ROLE=env:NAME or ROLE=file:PATH: a role's password or token at the gateway")
	flags.StringVar(&f.passwordCommand, "password-command", "", "command that prints the password or token of $POSTERN_ROLE")
	flags.StringVar(&f.policy, "policy", "standard", "policy that the gateway enforces: standard or guarded")
	flags.StringVar(&f.policyCommand, "policy-command", "", "command that makes the gateway enforce $POSTERN_POLICY")
	flags.StringVar(&f.run, "run", "", "regular expression: run only cases whose category/name it matches")
	flags.StringVar(&f.extended, "extended", "", "send statements by the extended protocol, results as text or binary")
	flags.StringVar(&f.known, "known", "", "file of cases that may fail, as lines \"category/name: reason\"")
	flags.StringVar(&f.junit, "junit", "", "also write results as JUnit's XML into this file")
	flags.StringVar(&f.export, "export", "", "write schema, roles and policies into this directory, and do nothing else")
	flags.IntVar(&f.workers, "workers", 2, "cases that are played at a time")
	flags.DurationVar(&f.patience, "patience", 10*time.Second, "how long an answer may take")
	flags.BoolVar(&f.list, "list", false, "list the cases, and do nothing else")
	flags.BoolVar(&f.straight, "straight", false, "attack the server itself: every attack must succeed, which proves the corpus")
	flags.BoolVar(&f.twoWorlds, "two-worlds", false, "play each case before two databases that differ in protected values alone: any difference is a leak")
	flags.StringVar(&f.ignore, "ignore", `Decision d_[0-9a-f]+`, "regular expression of what the gateway's messages have anew each time")
	mustRegister(cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]string{"standard", "guarded"}, cobra.ShellCompDirectiveNoFileComp)))
	mustRegister(cmd.RegisterFlagCompletionFunc("extended", cobra.FixedCompletions([]string{"text", "binary"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func runBypass(cmd *cobra.Command, f *bypassFlags) error {
	out, err := outputOf(cmd)
	if err != nil {
		return err
	}
	if f.export != "" {
		return exportBypass(out, f.export)
	}
	cases, err := f.cases()
	if err != nil {
		return err
	}
	if f.list {
		return listBypass(out, cases)
	}
	known, err := readKnown(f.known)
	if err != nil {
		return err
	}
	runner, err := f.runner()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := runner.Open(ctx); err != nil {
		return err
	}
	defer func() { _ = runner.Close(context.WithoutCancel(ctx)) }()
	play := runner.Run
	if f.twoWorlds {
		other := &bypass.Runner{
			Server: runner.Server, Superuser: runner.Superuser, Target: runner.Target, Directory: runner.Directory, Patience: runner.Patience,
			Use: runner.Use, Ignore: runner.Ignore, Rewrite: bypass.Elsewhere,
		}
		if err := other.Open(ctx); err != nil {
			return err
		}
		defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
		play = func(ctx context.Context, c bypass.Case) bypass.Result { return runner.Compare(ctx, c, other) }
	}
	cases, skipped := f.fitting(cases)
	results := skipped
	err = runner.RunAll(ctx, cases, f.workers, play, func(r bypass.Result) {
		results = append(results, r)
		if newOutput(cmd.ErrOrStderr()).terminal {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d", len(results)-len(skipped), len(cases))
		}
	})
	if err != nil {
		return err
	}
	return f.report(out, results, known)
}

// cases are those that the flags ask for.
func (f *bypassFlags) cases() ([]bypass.Case, error) {
	cases, err := bypass.Corpus()
	if err != nil {
		return nil, err
	}
	wanted, err := regexp.Compile(f.run)
	if err != nil {
		return nil, fmt.Errorf("read --run: %w", err)
	}
	cases = slices.DeleteFunc(cases, func(c bypass.Case) bool { return !wanted.MatchString(c.ID()) })
	if len(cases) == 0 {
		return nil, errors.New("no case of the corpus matches --run")
	}
	switch f.extended {
	case "":
		return cases, nil
	case "text", "binary":
	default:
		return nil, fmt.Errorf("--extended %q is neither text nor binary", f.extended)
	}
	for i := range cases {
		cases[i] = cases[i].Extended(f.extended == "binary")
	}
	return cases, nil
}

// fitting parts the cases into those of the policy that the gateway enforces
// and results of the others, which are skipped.
func (f *bypassFlags) fitting(cases []bypass.Case) (fit []bypass.Case, skipped []bypass.Result) {
	for _, c := range cases {
		p := c.Policy()
		switch {
		case f.straight || f.policyCommand != "" || p.Guarded == (f.policy == "guarded") && len(p.Protect) == 0:
			fit = append(fit, c)
		default:
			skipped = append(skipped, bypass.Result{Case: c, Outcome: bypass.Skipped, Detail: "the case is of another policy"})
		}
	}
	return fit, skipped
}

func (f *bypassFlags) runner() (*bypass.Runner, error) {
	if f.policy != "standard" && f.policy != "guarded" {
		return nil, fmt.Errorf("--policy %q is neither standard nor guarded", f.policy)
	}
	ignore, err := regexp.Compile(f.ignore)
	if err != nil {
		return nil, fmt.Errorf("read --ignore: %w", err)
	}
	if f.server == "" || (f.target == "") == !f.straight {
		return nil, errors.New("say --server, and either --target or --straight; --help has an example")
	}
	server, superuser, err := endpoint("--server", f.server)
	if err != nil {
		return nil, err
	}
	r := &bypass.Runner{
		Server: server, Superuser: superuser, Target: server, Directory: f.directory, Patience: f.patience,
		Use: f.use, Ignore: ignore,
	}
	if f.straight {
		return r, nil
	}
	if r.Target, _, err = endpoint("--target", f.target); err != nil {
		return nil, err
	}
	return r, f.logIns(&r.Target)
}

// endpoint reads a URL. Whether it is encrypted must be said: a client that
// falls back to plaintext would test another thing.
func endpoint(flag, url string) (bypass.Endpoint, string, error) {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return bypass.Endpoint{}, "", fmt.Errorf("%s is not a URL as libpq has it", flag) // the error would repeat the password
	}
	for _, fallback := range cfg.Fallbacks {
		if (fallback.TLSConfig == nil) != (cfg.TLSConfig == nil) {
			return bypass.Endpoint{}, "", fmt.Errorf("%s does not say whether it is encrypted: add sslmode=disable or sslmode=verify-full", flag)
		}
	}
	e := bypass.Endpoint{Address: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))}
	if cfg.TLSConfig != nil {
		e.TLS = cfg.TLSConfig.Clone()
		e.TLS.MinVersion = tls.VersionTLS12
	}
	if cfg.Password != "" {
		password := cfg.Password
		e.Password = func(string) (string, error) { return password, nil }
	}
	return e, cfg.User, nil
}

// logIns says how roles log in at the gateway.
func (f *bypassFlags) logIns(target *bypass.Endpoint) error {
	references := map[string]string{}
	for _, p := range f.passwords {
		role, reference, ok := strings.Cut(p, "=")
		if !ok {
			return errors.New("--password wants ROLE=env:NAME or ROLE=file:PATH")
		}
		references[role] = reference
	}
	everybody := target.Password
	switch {
	case f.passwordCommand != "":
		target.Password = f.ask(new(sync.Map))
	case len(references) > 0:
		target.Password = func(role string) (string, error) {
			if reference, ok := references[role]; ok {
				return readReference(reference)
			}
			if everybody != nil {
				return everybody(role)
			}
			return "", fmt.Errorf("there is no --password for %s", role)
		}
	}
	return nil
}

// ask runs the password command, and keeps an answer for a minute: tokens
// expire.
func (f *bypassFlags) ask(kept *sync.Map) func(role string) (string, error) {
	type answer struct {
		password string
		until    time.Time
	}
	return func(role string) (string, error) {
		if a, ok := kept.Load(role); ok {
			if have, ok := a.(answer); ok && time.Now().Before(have.until) {
				return have.password, nil
			}
		}
		cmd := exec.Command("sh", "-c", f.passwordCommand)
		cmd.Env = append(os.Environ(), "POSTERN_ROLE="+role)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("run --password-command: %w", err)
		}
		password := strings.TrimRight(string(text), "\r\n")
		kept.Store(role, answer{password, time.Now().Add(time.Minute)})
		return password, nil
	}
}

// readReference reads a secret that a flag refers to: flags themselves are
// seen by everybody on the host.
func readReference(reference string) (string, error) {
	kind, name, _ := strings.Cut(reference, ":")
	switch kind {
	case "env":
		if value, ok := os.LookupEnv(name); ok {
			return value, nil
		}
		return "", fmt.Errorf("the environment has no %s", name)
	case "file":
		data, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read a password: %w", err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", errors.New("a password is given as env:NAME or file:PATH")
}

// use makes the gateway enforce a policy, or trusts that it does.
func (f *bypassFlags) use(ctx context.Context, p bypass.Policy) error {
	if f.policyCommand == "" {
		return nil
	}
	name := "standard"
	if p.Guarded {
		name = "guarded"
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", f.policyCommand)
	cmd.Env = append(os.Environ(), "POSTERN_POLICY="+name, "POSTERN_PROTECT="+strings.Join(p.Protect, " "))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run --policy-command: %w", err)
	}
	return nil
}

func exportBypass(out *output, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export the corpus: %w", err)
	}
	var names []string
	for name, text := range bypass.Setup() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("export the corpus: %w", err)
		}
		names = append(names, filepath.Join(dir, name))
	}
	slices.Sort(names)
	return out.show(names, func() error { return out.print(strings.Join(names, "\n") + "\n") })
}

// bypassCaseData is a case, and what became of it, as JSON has it.
type bypassCaseData struct {
	ID         string         `json:"id"`
	Title      string         `json:"title"`
	Goal       bypass.Goal    `json:"goal"`
	Policy     string         `json:"policy"`
	Protect    []string       `json:"protect,omitempty"`
	Outcome    bypass.Outcome `json:"outcome,omitempty"`
	Failure    bool           `json:"failure,omitempty"`
	Known      string         `json:"known,omitempty"` // why it may fail
	Detail     string         `json:"detail,omitempty"`
	Transcript []string       `json:"transcript,omitempty"` // of a failure
	Millis     int64          `json:"ms,omitempty"`
}

func bypassCase(c *bypass.Case) bypassCaseData {
	d := bypassCaseData{ID: c.ID(), Title: c.Title, Goal: c.Goal, Policy: "standard", Protect: c.Protect}
	if c.Policy().Guarded {
		d.Policy = "guarded"
	}
	return d
}

func listBypass(out *output, cases []bypass.Case) error {
	t := newTable("case", "goal", "policy", "title")
	var data []bypassCaseData
	for i := range cases {
		d := bypassCase(&cases[i])
		data = append(data, d)
		t.row(d.ID, d.Goal, d.Policy, d.Title)
	}
	return out.showTable(data, t)
}

// bypassData is the result of `postern conformance bypass` as JSON has it.
type bypassData struct {
	Passed     bool             `json:"passed"`
	Failures   int              `json:"failures"` // that are not known
	Categories bypass.Tally     `json:"categories"`
	Cases      []bypassCaseData `json:"cases"`
}

func (f *bypassFlags) report(out *output, results []bypass.Result, known map[string]string) error {
	slices.SortFunc(results, func(a, b bypass.Result) int { return strings.Compare(a.Case.ID(), b.Case.ID()) })
	if f.junit != "" {
		if err := writeJUnit(f.junit, results); err != nil {
			return err
		}
	}
	data := bypassData{Categories: bypass.Tally{}}
	for i := range results {
		r := &results[i]
		d := bypassCase(&r.Case)
		d.Outcome, d.Detail, d.Millis = r.Outcome, r.Detail, r.Took.Milliseconds()
		d.Failure = f.failed(r)
		id, _, _ := strings.Cut(d.ID, "+")
		if d.Failure {
			d.Known, d.Transcript = known[id], r.Transcript
		}
		if d.Failure && d.Known == "" {
			data.Failures++
		}
		data.Categories.Add(*r)
		data.Cases = append(data.Cases, d)
	}
	data.Passed = data.Failures == 0
	if err := out.show(data, func() error { return data.print(out) }); err != nil {
		return err
	}
	if !data.Passed {
		return fmt.Errorf("%s of %d did not end as they must", plural(data.Failures, "case"), len(results))
	}
	return nil
}

// failed reports whether a case ended as it must not: against the server
// itself, an attack that doesn't succeed.
func (f *bypassFlags) failed(r *bypass.Result) bool {
	if !f.straight {
		return r.Outcome.Failure()
	}
	if r.Case.Unproven || r.Outcome == bypass.Skipped {
		return false
	}
	wants := map[bypass.Goal]bypass.Outcome{
		bypass.Reveal: bypass.Revealed, bypass.Execute: bypass.Executed,
		bypass.Allow: bypass.Served, bypass.Serve: bypass.Revealed, bypass.Control: bypass.Alive,
	}
	return r.Outcome != wants[r.Case.Goal]
}

func (d *bypassData) print(out *output) error {
	if err := d.Categories.WriteTable(out.w); err != nil {
		return err
	}
	for i := range d.Cases {
		c := &d.Cases[i]
		switch {
		case c.Known != "":
			if err := out.printf("\n%s: %s, as is known: %s\n", c.ID, c.Outcome, printable(c.Known)); err != nil {
				return err
			}
		case c.Failure:
			if err := out.printf("\n%s: %s\n  %s\n  %s\n", out.paint(styleRed, c.ID), c.Outcome, printable(c.Title), printable(c.Detail)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeJUnit(name string, results []bypass.Result) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	return errors.Join(bypass.WriteJUnit(file, results), file.Close())
}

// readKnown reads the cases that may fail, and why.
func readKnown(name string) (map[string]string, error) {
	out := map[string]string{}
	if name == "" {
		return out, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read known failures: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if id, reason, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			out[id] = reason
		}
	}
	return out, nil
}
