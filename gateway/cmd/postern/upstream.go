package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/gateway/upstream/discover"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/source"
)

// upstreamCommand groups what concerns the database behind a gateway.
func upstreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upstream",
		Short: "Prepare, check and look through the database behind a gateway",
	}
	addOutputFlag(cmd)
	cmd.AddCommand(upstreamPrepareCommand(), upstreamCheckCommand(), upstreamDiscoverCommand())
	return cmd
}

// upstreamFlags say which database, and for whom.
type upstreamFlags struct {
	gateway, url, database string
	data                   string
	roles                  []string
	schemas                []string
}

func (f *upstreamFlags) add(cmd *cobra.Command, withRoles bool) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "connection URL of the database, env:NAME or file:PATH; as the gateway's catalog reader if it is left out")
	flags.StringVar(&f.data, "data", "", "the gateway's data `directory`, with whose authority its catalog reader logs in if --url is left out")
	flags.StringVar(&f.database, "database", "", "database; that of --url if it is left out")
	flags.StringArrayVar(&f.schemas, "schema", nil, "schema to look at; may be repeated; those of users if it is left out")
	if withRoles {
		addGatewayFlag(cmd, &f.gateway)
		flags.StringArrayVar(&f.roles, "role", nil, "ROLE=IDENTITY: the role of one of the people that an identity with name_from covers; may be repeated")
	} else {
		flags.StringVar(&f.gateway, "gateway", "", "gateway of the policy whose upstream is meant")
	}
}

// load reads the policy, for its only gateway if none is named.
func (f *upstreamFlags) load(cmd *cobra.Command, paths []string) (*compile.Program, error) {
	patterns, err := policyPatterns(paths)
	if err != nil {
		return nil, err
	}
	if file, _ := source.ParseFS(hostFS{}, patterns...); f.gateway == "" && len(file.Policy.Gateways) == 1 {
		f.gateway = file.Policy.Gateways[0].Name
	}
	_, program, err := mustLoadPolicy(cmd, paths, f.gateway)
	if err == nil && program.Gateway() == nil {
		err = errors.New("say the policy's gateway by --gateway")
	}
	return program, err
}

// connect opens the database.
func (f *upstreamFlags) connect(ctx context.Context, gateway *policylang.Gateway) (*pgconn.PgConn, error) {
	if f.url == "" {
		if gateway == nil || f.database == "" {
			return nil, errors.New("say the database by --url, or by a policy with a gateway and --database")
		}
		means, err := meansIn(f.data)
		if err != nil {
			return nil, err
		}
		if means.Authority == nil && gateway.Upstream.LoginBy() == policylang.LoginCertificate {
			return nil, errors.New("the policy has the gateway log in by certificate: give --data, the gateway's directory with the authority for it, or connect as somebody else by --url")
		}
		conn, err := upstream.Connect(ctx, &gateway.Upstream, upstream.Login{Role: gateway.Upstream.CatalogRole, Database: f.database, Means: means})
		var pg *pgconn.PgError
		if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "28") { // invalid_authorization_specification
			err = fmt.Errorf("%w; as long as the database is not prepared, connect as its administrator by --url", err)
		}
		return conn, err
	}
	url := f.url
	if strings.HasPrefix(url, "env:") || strings.HasPrefix(url, "file:") {
		var err error
		if url, err = readReference(url); err != nil {
			return nil, err
		}
	}
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, errors.New("--url is not a URL as libpq has it") // the error would repeat the password
	}
	if f.database != "" {
		cfg.Database = f.database
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	f.database = cfg.Database
	return conn, nil
}

// options works out what a policy wants of a database. The connection may be
// nil.
func (f *upstreamFlags) options(ctx context.Context, cmd *cobra.Command, program *compile.Program, conn *pgconn.PgConn) (*prepare.Options, error) {
	gateway := program.Gateway()
	o := &prepare.Options{CatalogRole: gateway.Upstream.CatalogRole, Database: f.database, Schemas: f.schemas, Grants: prepare.GrantNone}
	subjects, left, err := subjectsOf(program.Policy(), f.roles)
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "the identity %s covers many people: name their roles by --role ROLE=%s\n", name, name)
	}
	for _, s := range subjects {
		session := &policylang.Session{Gateway: gateway.Name, Database: f.database, Role: s.DatabaseRole}
		masks := program.Evaluator(s, session).Masks(time.Now())
		i := slices.IndexFunc(o.Roles, func(r prepare.Role) bool { return r.Name == s.DatabaseRole })
		if i < 0 {
			o.Roles = append(o.Roles, prepare.Role{Name: s.DatabaseRole, Masks: masks})
			continue
		}
		// Two identities with one role: the database cannot tell them apart.
		all := slices.Concat(o.Roles[i].Masks.Masks, masks.Masks)
		slices.SortFunc(all, func(a, b policylang.Mask) int { return strings.Compare(a.Policy, b.Policy) })
		o.Roles[i].Masks = policylang.NewMaskSet(slices.CompactFunc(all, func(a, b policylang.Mask) bool { return a.Policy == b.Policy }))
	}
	for _, m := range program.Policy().MaskingPolicies {
		o.Policies = append(o.Policies, policylang.Mask{
			Policy: m.Name, Columns: m.Columns, Detect: m.Detect, Transform: policylang.Transform{Kind: m.Transform}, Observe: m.Mode == policylang.ModeObserve,
		})
	}
	if conn != nil {
		if o.Catalog, err = catalog.Load(ctx, conn); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// subjectsOf returns who the policy's identities are, as far as it says, and
// the names of those that cover people whom it does not name.
func subjectsOf(p *policylang.Policy, roles []string) (subjects []*policylang.Subject, left []string, err error) {
	named := map[string][]string{}
	for _, r := range roles {
		role, identity, ok := strings.Cut(r, "=")
		if !ok || role == "" {
			return nil, nil, fmt.Errorf("--role %q is not ROLE=IDENTITY", r)
		}
		named[identity] = append(named[identity], role)
	}
	for i := range p.Identities {
		id := &p.Identities[i]
		subject := policylang.Subject{
			Name: id.Name, Identity: id.Name, Kind: id.Kind, Groups: id.Groups, DatabaseRole: id.DatabaseRole, AuthMethod: "token",
		}
		people := named[id.Name]
		delete(named, id.Name)
		switch {
		case id.NameFrom == "" || id.DatabaseRole != "":
			if subject.DatabaseRole == "" {
				subject.DatabaseRole = id.Name
			}
			subjects = append(subjects, &subject)
		case len(people) == 0:
			left = append(left, id.Name)
		}
		for _, role := range people {
			one := subject
			one.Name, one.DatabaseRole = role, role
			subjects = append(subjects, &one)
		}
	}
	for identity := range named {
		return nil, nil, fmt.Errorf("--role names the identity %q, which the policy has not", identity)
	}
	return subjects, left, nil
}

func upstreamPrepareCommand() *cobra.Command {
	var f upstreamFlags
	var apply, backstop, sessionTable bool
	var address, method, grants string
	cmd := &cobra.Command{
		Use:   "prepare [PATH...]",
		Short: "Print, or run, the SQL that a database needs for a gateway",
		Long: `Print, or run, the SQL that a database needs for a gateway, with the lines of
pg_hba.conf and pg_ident.conf: a role for the catalog's reader, one for each
identity of the policy at PATH, and what they may do. It can be run any number of
times. Without --url and --database only what needs no look at the database is
printed.

With --backstop no role may read a column that is masked for it, and views that
show a constant in its place stand first in the role's search_path.`,
		Example: `  postern upstream prepare policies/
  postern upstream prepare policies/ --url env:ADMIN_URL --grant read --backstop
  postern upstream prepare policies/ --url env:ADMIN_URL --apply`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			program, err := f.load(cmd, args)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			var conn *pgconn.PgConn
			if f.url != "" || apply || backstop || grants != string(prepare.GrantNone) {
				if conn, err = f.connect(ctx, program.Gateway()); err != nil {
					return err
				}
				defer conn.Close(context.WithoutCancel(ctx))
			}
			if f.database == "" {
				f.database = "postgres"
			}
			o, err := f.options(ctx, cmd, program, conn)
			if err != nil {
				return err
			}
			target := &program.Gateway().Upstream
			method = firstOf(method, methodOf(target))
			o.Backstop, o.SessionTable, o.Address, o.Method, o.Grants = backstop, sessionTable || target.SessionTable, address, method, prepare.Grants(grants)
			if !slices.Contains([]prepare.Grants{prepare.GrantNone, prepare.GrantRead, prepare.GrantWrite}, o.Grants) || method != "cert" && method != "scram-sha-256" {
				return errors.New("--grant is none, read or write, and --login cert or scram-sha-256")
			}
			script, err := prepare.New(*o)
			if err != nil {
				return err
			}
			if apply {
				if _, err := conn.Exec(ctx, script.SQL()).ReadAll(); err != nil {
					return fmt.Errorf("prepare the database: %w", err)
				}
			}
			data := map[string]any{"sql": script.SQL(), "pg_hba": script.HBA, "pg_ident": script.Ident, "notes": script.Notes, "applied": apply}
			return out.show(data, func() error { return out.print(script.String()) })
		},
	}
	f.add(cmd, true)
	flags := cmd.Flags()
	flags.BoolVar(&apply, "apply", false, "run the SQL too")
	flags.BoolVar(&backstop, "backstop", false, "take from roles what is masked for them, and make masked views")
	flags.BoolVar(&sessionTable, "session-table", false, "make postern.identity(), for servers whose pg_hba.conf cannot be changed; made too if the policy has session_table")
	flags.StringVar(&address, "gateway-address", "", "address of the gateway, as pg_hba.conf has it: 10.0.0.5/32")
	flags.StringVar(&method, "login", "", "how roles log in, as pg_hba.conf has it: cert or scram-sha-256; as the policy has it unless given")
	flags.StringVar(&grants, "grant", "none", "what identities' roles may do with tables: none, read or write")
	return cmd
}

// methodOf is how a policy's roles log in, as pg_hba.conf has it.
func methodOf(target *policylang.Upstream) string {
	if target.LoginBy() == policylang.LoginCertificate {
		return "cert"
	}
	return "scram-sha-256"
}

func upstreamCheckCommand() *cobra.Command {
	var f upstreamFlags
	var remember string
	cmd := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Report what a database lacks for a gateway, and who enforces each masking policy",
		Long: `Report what a database lacks for a gateway or has unsafe, and for each masking
policy of the policy at PATH whether the database itself enforces it or the
gateway alone, and why. It reads catalogs, and no table.

With --remember FILE it notes which columns policies name, and reports at the next
time those that were renamed since.

The exit status is 0 if nothing is missing or unsafe.`,
		Example: `  postern upstream check policies/ --url env:ADMIN_URL
  postern upstream check policies/ --gateway orders --database app -o json`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			program, err := f.load(cmd, args)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			conn, err := f.connect(ctx, program.Gateway())
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			o, err := f.options(ctx, cmd, program, conn)
			if err != nil {
				return err
			}
			target := &program.Gateway().Upstream
			o.SessionTable, o.Method = target.SessionTable, methodOf(target)
			earlier, err := readBindings(remember)
			if err != nil {
				return err
			}
			report, err := prepare.Check(ctx, conn, *o, earlier)
			if err != nil {
				return err
			}
			if err := writeBindings(remember, earlier, report.Bindings); err != nil {
				return err
			}
			if err := out.show(report, func() error { return printReport(out, report) }); err != nil {
				return err
			}
			if !report.Clean() {
				return errors.New("the database is not as the gateway needs it")
			}
			return nil
		},
	}
	f.add(cmd, true)
	cmd.Flags().StringVar(&remember, "remember", "", "file in which to keep which columns policies name")
	return cmd
}

func printReport(out *output, r *prepare.Report) error {
	for _, f := range r.Findings {
		s := styleYellow
		if f.Severity != prepare.Warning {
			s = styleRed
		}
		if err := out.printf("%s %s: %s\n", out.paint(s, string(f.Severity)+":"), printable(f.Subject), printable(f.Message)); err != nil {
			return err
		}
		if f.Fix != "" {
			if err := out.printf("    %s\n", printable(f.Fix)); err != nil {
				return err
			}
		}
	}
	for _, p := range r.Policies {
		if err := out.printf("%s: %s (%s)\n", out.paint(styleBold, p.Policy), p.Enforcement, plural(len(p.Columns), "column")); err != nil {
			return err
		}
		for _, m := range p.Missing {
			if err := out.printf("    %s\n", printable(m)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBindings reads which columns policies named before.
func readBindings(name string) ([]prepare.Binding, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []prepare.Binding
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was remembered: %w", err)
	}
	return out, nil
}

// writeBindings keeps which columns policies name. What an earlier check
// remembered stays, so that a renamed column is reported until it is named
// again.
func writeBindings(name string, earlier, now []prepare.Binding) error {
	if name == "" {
		return nil
	}
	for _, b := range earlier {
		if !slices.ContainsFunc(now, func(n prepare.Binding) bool {
			return n.Policy == b.Policy && n.Relation == b.Relation && n.Column == b.Column
		}) {
			now = append(now, b)
		}
	}
	data, err := json.MarshalIndent(now, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember which columns policies name: %w", err)
	}
	return nil
}

func upstreamDiscoverCommand() *cobra.Command {
	var f upstreamFlags
	var options discover.Options
	cmd := &cobra.Command{
		Use:   "discover [PATH...]",
		Short: "Look for columns that should be masked, and propose masking policies",
		Long: `Look for columns that should be masked in a sample of each table's rows, and
propose masking policies as a policy file. It looks for e-mail addresses, cards,
social security numbers, IBANs and telephone numbers; names of people look like
any other words. It prints names and counts, and no value.

It needs a role that may read the tables, by --url.`,
		Example: `  postern upstream discover --url env:ADMIN_URL > found.postern.hcl
  postern policy check found.postern.hcl`,
		ValidArgsFunction: completePolicyPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			var gateway *policylang.Gateway
			if len(args) > 0 {
				program, err := f.load(cmd, args)
				if err != nil {
					return err
				}
				gateway = program.Gateway()
			}
			conn, err := f.connect(cmd.Context(), gateway)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(cmd.Context()))
			options.Schemas = f.schemas
			found, err := discover.Sample(cmd.Context(), conn, options)
			if err != nil {
				return err
			}
			return out.show(found, func() error { return out.print(proposals(found)) })
		},
	}
	f.add(cmd, false)
	cmd.Flags().IntVar(&options.Rows, "rows", 1000, "rows to read of each table")
	cmd.Flags().IntVar(&options.Tables, "tables", 2000, "tables to read")
	return cmd
}

// proposals is a policy file with what was found, and the counts in comments.
func proposals(found *discover.Result) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Proposed from a sample of %s. Read it before you use it.\n", plural(found.Tables, "table"))
	for i := range found.Columns {
		c := &found.Columns[i]
		fmt.Fprintf(&b, "#   %s: %d of %d values hold %s (%s)\n", printable(c.Name()), c.Matched, c.Sampled, kindTitle(c.Kind), c.Confidence)
	}
	for _, s := range found.Skipped {
		fmt.Fprintf(&b, "# Not read: %s\n", printable(s))
	}
	if policies := discover.Propose(found.Columns); len(policies) > 0 {
		b.WriteByte('\n')
		b.Write(source.Write(policylang.Policy{MaskingPolicies: policies}))
	}
	return b.String()
}

func kindTitle(kind string) string {
	return map[string]string{"email": "an e-mail address", "card": "a card number", "ssn": "an SSN", "iban": "an IBAN", "phone": "a telephone number"}[kind]
}
