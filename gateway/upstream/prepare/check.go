package prepare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Querier runs SQL by the simple query protocol, as *pgconn.PgConn does.
type Querier interface {
	Exec(ctx context.Context, sql string) *pgconn.MultiResultReader
}

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Unsafe  Severity = "unsafe"  // something lets somebody out of their place
	Missing Severity = "missing" // the gateway cannot work
	Warning Severity = "warning"
)

// Finding is something that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // a role, a policy, pg_hba.conf
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"`
}

// Enforcement says who keeps a masking policy.
type Enforcement string

// The enforcements.
const (
	ByDatabase Enforcement = "database-enforced" // no role for whom it masks may read its columns
	ByGateway  Enforcement = "gateway-enforced"
	ByNobody   Enforcement = "not enforced" // it only observes, names no column that exists, or masks for none of the roles
)

// PolicyStatus is how one masking policy is kept.
type PolicyStatus struct {
	Policy      string      `json:"policy"`
	Enforcement Enforcement `json:"enforcement"`
	Columns     []string    `json:"columns"`           // that it protects, with what follows from it
	Missing     []string    `json:"missing,omitempty"` // why the database does not keep it
}

// Binding is a column that a policy named at some time.
type Binding struct {
	Policy   string `json:"policy"`
	Relation uint32 `json:"relation"`
	Column   int16  `json:"column"`
	Name     string `json:"name"`
}

// Report is what Check found.
type Report struct {
	Findings []Finding      `json:"findings"`
	Policies []PolicyStatus `json:"policies"`
	Bindings []Binding      `json:"-"` // to be given to the next Check
}

// Clean reports whether nothing is missing or unsafe.
func (r *Report) Clean() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Warning })
}

func (r *Report) find(s Severity, subject, fix, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Severity: s, Subject: subject, Message: fmt.Sprintf(format, args...), Fix: fix})
}

// Check looks at the database that conn is connected to. earlier are the
// bindings of an earlier report, or nil.
func Check(ctx context.Context, conn Querier, o Options, earlier []Binding) (*Report, error) {
	c := checker{conn: conn, o: &o, report: &Report{}}
	err := errors.Join(c.roles(ctx), c.logins(ctx), c.certificates(ctx), c.sessionTable(ctx))
	if err != nil {
		return nil, fmt.Errorf("check the database: %w", err)
	}
	if err := c.policies(ctx); err != nil {
		return nil, fmt.Errorf("check the database: %w", err)
	}
	c.drift(earlier)
	return c.report, nil
}

type checker struct {
	conn   Querier
	o      *Options
	report *Report
	known  map[string]bool // roles that exist
}

// rows runs SQL and returns its rows as texts; NULL is empty.
func (c *checker) rows(ctx context.Context, sql string) ([][]string, error) {
	results, err := c.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			texts := make([]string, len(row))
			for i, v := range row {
				texts[i] = string(v)
			}
			out = append(out, texts)
		}
	}
	return out, nil
}

// powers are predefined roles that see past privileges on tables.
var powers = []string{
	"pg_read_all_data", "pg_write_all_data", "pg_read_server_files", "pg_write_server_files", "pg_execute_server_program",
	"pg_maintain", "pg_signal_backend",
}

func (c *checker) roles(ctx context.Context) error {
	rows, err := c.rows(ctx, `SELECT rolname, rolcanlogin, concat_ws(' ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
		CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END)
		FROM pg_catalog.pg_roles`)
	if err != nil {
		return err
	}
	c.known = map[string]bool{}
	attributes := map[string][]string{}
	for _, r := range rows {
		c.known[r[0]] = true
		attributes[r[0]] = r
	}
	const prepare = "run: postern upstream prepare --apply"
	for _, name := range append([]string{c.o.CatalogRole}, roleNames(c.o.Roles)...) {
		r, ok := attributes[name]
		if !ok {
			c.report.find(Missing, "role "+name, prepare, "the role does not exist")
			continue
		}
		if r[1] != "t" {
			c.report.find(Missing, "role "+name, prepare, "the role may not log in")
		}
		if r[2] != "" {
			c.report.find(Unsafe, "role "+name, prepare, "the role is %s, and so not bound by grants", r[2])
		}
		if err := c.memberships(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) memberships(ctx context.Context, role string) error {
	rows, err := c.rows(ctx, fmt.Sprintf(`SELECT m.rolname, m.rolsuper FROM pg_catalog.pg_roles m
		WHERE m.rolname <> %s AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = %s)
		AND pg_catalog.pg_has_role(%s, m.oid, 'MEMBER') ORDER BY 1`, literal(role), literal(role), literal(role)))
	if err != nil {
		return err
	}
	member := false
	for _, r := range rows {
		switch {
		case r[0] == Clients:
			member = true
		case r[1] == "t", slices.Contains(powers, r[0]):
			c.report.find(Unsafe, "role "+role, fmt.Sprintf("REVOKE %s FROM %s", ident(r[0]), ident(role)), "the role is a member of %s, and so not bound by grants on tables", r[0])
		default:
			c.report.find(Warning, "role "+role, "", "the role is a member of %s and may do what that may", r[0])
		}
	}
	if !member && role != c.o.CatalogRole {
		c.report.find(Missing, "role "+role, "run: postern upstream prepare --apply", "the role is no member of %s, by which pg_hba.conf knows whom to let in from the gateway alone", Clients)
	}
	return nil
}

// logins looks for ways around the gateway in pg_hba.conf.
func (c *checker) logins(ctx context.Context) error {
	rows, err := c.rows(ctx, `SELECT line_number, type, array_to_string(user_name, ','), coalesce(address, ''), coalesce(auth_method, ''), coalesce(error, '')
		FROM pg_catalog.pg_hba_file_rules ORDER BY line_number`)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" {
		c.report.find(Warning, "pg_hba.conf", "check as a superuser", "pg_hba.conf may not be read by this role, and was not checked")
		return nil
	}
	if err != nil {
		return err
	}
	rejected := map[string]bool{}
	for _, r := range rows {
		users := strings.Split(r[2], ",")
		ours := slices.Contains(users, "+"+Clients)
		for _, role := range c.o.Roles {
			ours = ours || slices.Contains(users, role.Name)
		}
		if !ours && !slices.Contains(users, "all") {
			continue
		}
		local := "remote"
		if r[1] == "local" {
			local = "local"
		}
		switch method := r[4]; {
		case r[5] != "":
			c.report.find(Warning, "pg_hba.conf", "", "line %s cannot be read by the server", r[0])
		case method == "reject" && (r[3] == "" || r[3] == "all"):
			rejected[local] = true
		case rejected[local]:
		case method == "trust":
			c.report.find(Unsafe, "pg_hba.conf", "put the lines of postern upstream prepare before it", "line %s lets clients' roles in without any proof (trust)", r[0])
		case method == "password" || method == "md5":
			c.report.find(Unsafe, "pg_hba.conf", "use scram-sha-256 or cert", "line %s lets clients' roles in with a method that gives their passwords away (%s)", r[0], method)
		case !ours:
			c.report.find(Warning, "pg_hba.conf", "put the lines of postern upstream prepare before it", "line %s lets clients' roles in from %s, around the gateway", r[0], strings.TrimSpace(r[1]+" "+r[3]))
		}
	}
	return nil
}

// policies finds out who keeps each masking policy.
func (c *checker) policies(ctx context.Context) error {
	readable := map[string]map[pgcatalog.ColumnID]string{}
	functions := map[string][]string{}
	for i := range c.o.Roles {
		r := &c.o.Roles[i]
		if !c.known[r.Name] {
			continue
		}
		columns, err := c.readable(ctx, r)
		if err != nil {
			return err
		}
		readable[r.Name] = columns
		if functions[r.Name], err = c.definers(ctx, r.Name); err != nil {
			return err
		}
	}
	for i := range c.o.Policies {
		m := &c.o.Policies[i]
		c.report.Policies = append(c.report.Policies, c.policy(m, readable, functions))
	}
	return nil
}

func (c *checker) policy(m *policylang.Mask, readable map[string]map[pgcatalog.ColumnID]string, functions map[string][]string) PolicyStatus {
	s := PolicyStatus{Policy: m.Policy, Enforcement: ByDatabase, Columns: []string{}}
	enforced := *m
	enforced.Observe = false
	p := lineage.Protect(c.o.Catalog, policylang.NewMaskSet([]policylang.Mask{enforced}))
	for _, id := range p.Columns() {
		name := c.o.Catalog.ColumnName(id)
		s.Columns = append(s.Columns, name)
		c.report.Bindings = append(c.report.Bindings, Binding{m.Policy, id.Relation, id.Column, name})
	}
	switch {
	case len(s.Columns) == 0 && len(m.Columns) > 0:
		c.report.find(Warning, "masking policy "+m.Policy, "mend its columns, unless they are still to come",
			"the policy names no column of %s that exists; it protects the names should they appear", c.o.Database)
		s.Enforcement = ByNobody
	case m.Observe:
		s.Enforcement = ByNobody
	case len(m.Detect) > 0:
		s.Missing = append(s.Missing, "what it detects in texts, the gateway alone masks")
	}
	subjects := 0
	for i := range c.o.Roles {
		r := &c.o.Roles[i]
		if !slices.ContainsFunc(r.Masks.Masks, func(o policylang.Mask) bool { return o.Policy == m.Policy }) {
			continue
		}
		subjects++
		ours := maps.Clone(readable[r.Name])
		maps.DeleteFunc(ours, func(id pgcatalog.ColumnID, _ string) bool {
			_, masked := p.Transform(id.Relation, id.Column)
			return !masked
		})
		for _, columns := range c.columnLists(ours) {
			s.Missing = append(s.Missing, r.Name+" may read "+columns)
		}
		for _, f := range functions[r.Name] {
			s.Missing = append(s.Missing, fmt.Sprintf("%s may call %s", r.Name, f))
		}
	}
	switch {
	case s.Enforcement == ByNobody:
	case subjects == 0:
		s.Enforcement = ByNobody
	case len(s.Missing) > 0:
		s.Enforcement = ByGateway
	}
	return s
}

// columnLists names columns, those of one relation that are read the same way
// together. All of them are in the catalog.
func (c *checker) columnLists(how map[pgcatalog.ColumnID]string) []string {
	type group struct {
		relation uint32
		how      string
	}
	var groups []group
	names := map[group][]string{}
	for _, id := range sorted(how) {
		g := group{id.Relation, how[id]}
		r := c.o.Catalog.Relation(id.Relation)
		name := r.Column(id.Column).Name
		if names[g] == nil {
			groups = append(groups, g)
			name = r.Schema + "." + r.Name + "." + name // it stands for the others, too
		}
		names[g] = append(names[g], name)
	}
	var out []string
	for _, g := range groups {
		out = append(out, strings.Join(names[g], ", ")+g.how)
	}
	return out
}

func sorted(columns map[pgcatalog.ColumnID]string) []pgcatalog.ColumnID {
	var out []pgcatalog.ColumnID
	for id := range columns {
		out = append(out, id)
	}
	slices.SortFunc(out, pgcatalog.ColumnID.Compare)
	return out
}

// readable returns the columns masked for a role that it can read, itself or by
// becoming another, and by which role.
func (c *checker) readable(ctx context.Context, r *Role) (map[pgcatalog.ColumnID]string, error) {
	p := lineage.Protect(c.o.Catalog, r.Masks)
	var masked []string
	for rel := range c.o.Catalog.Relations() {
		if pgcatalog.IsSystemSchema(rel.Schema) || rel.Kind == pgcatalog.RelationComposite {
			continue
		}
		for i := range rel.Columns {
			n := rel.Columns[i].Number
			if _, ok := p.Transform(rel.OID, n); ok && !strings.HasPrefix(rel.Schema, viewsPrefix) {
				masked = append(masked, fmt.Sprintf("(%d,%d)", rel.OID, n))
			}
		}
	}
	if len(masked) == 0 {
		return nil, nil
	}
	slices.Sort(masked)
	rows, err := c.rows(ctx, fmt.Sprintf(`SELECT v.rel, v.col, min(m.rolname) FILTER (WHERE m.rolname <> %[1]s), bool_or(m.rolname = %[1]s)
		FROM (VALUES %[2]s) v(rel, col), pg_catalog.pg_roles m
		WHERE pg_catalog.pg_has_role(%[1]s, m.oid, 'MEMBER') AND pg_catalog.has_column_privilege(m.oid, v.rel::oid, v.col::int2, 'SELECT')
		GROUP BY 1, 2`, literal(r.Name), strings.Join(masked, ", ")))
	if err != nil {
		return nil, err
	}
	out := map[pgcatalog.ColumnID]string{}
	for _, row := range rows {
		oid, err1 := strconv.ParseUint(row[0], 10, 32)
		n, err2 := strconv.ParseInt(row[1], 10, 16)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		how := ""
		if row[3] != "t" {
			how = " as " + row[2]
		}
		out[pgcatalog.ColumnID{Relation: uint32(oid), Column: int16(n)}] = how
	}
	return out, nil
}

// definers lists the functions that a role may call and that run as somebody
// else, except our own.
func (c *checker) definers(ctx context.Context, role string) ([]string, error) {
	rows, err := c.rows(ctx, fmt.Sprintf(`SELECT p.oid::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(p.proowner)
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'postern')
		AND pg_catalog.has_schema_privilege(%[1]s, n.oid, 'USAGE') AND pg_catalog.has_function_privilege(%[1]s, p.oid, 'EXECUTE')
		ORDER BY 1`, literal(role)))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s, which runs as its owner %s", r[0], r[1]))
	}
	return out, nil
}

// drift compares what policies name now with what they named before.
func (c *checker) drift(earlier []Binding) {
	for _, b := range earlier {
		if slices.ContainsFunc(c.report.Bindings, func(now Binding) bool {
			return now.Policy == b.Policy && now.Relation == b.Relation && now.Column == b.Column
		}) || !slices.ContainsFunc(c.o.Policies, func(m policylang.Mask) bool { return m.Policy == b.Policy }) {
			continue
		}
		now := c.o.Catalog.ColumnName(pgcatalog.ColumnID{Relation: b.Relation, Column: b.Column})
		if now == "" {
			c.report.find(Warning, "masking policy "+b.Policy, "", "%s was dropped", b.Name)
			continue
		}
		c.report.find(Unsafe, "masking policy "+b.Policy, "name it in the policy", "%s is %s now, which the policy does not name", b.Name, now)
	}
}
