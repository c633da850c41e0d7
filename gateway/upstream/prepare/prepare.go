// Package prepare makes a database ready for a gateway, and finds out what of
// that is missing or unsafe.
//
//	script, err := prepare.New(options)  // what to run and to configure
//	report, err := prepare.Check(ctx, conn, options)
//
// A script can be run any number of times: it creates what is not there, and
// sets the rest as it must be. It never touches a superuser.
//
// # What a gateway needs
//
// A role for the catalog's reader, which needs no privilege on any table; a role
// for each identity, without attributes that let it out of its place; the group
// postern_clients, whose members pg_hba.conf lets in from the gateway alone.
//
// # The backstop
//
// With the backstop each role may read no column that is masked for it: the
// database then refuses what slips past the gateway, a connection around it
// included. Views in a schema that stands first in the role's search_path show
// the tables with a constant in place of these columns, so that SELECT * goes on
// working; they run with the privileges of who asks (security_invoker,
// PostgreSQL 15). What the gateway would have shown in part is then shown
// redacted. What a function does as its owner, no privilege prevents.
package prepare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Clients is the group role of all that log in through a gateway.
const Clients = "postern_clients"

// Grants says what identities' roles may do with tables.
type Grants string

// The grants.
const (
	GrantNone  Grants = "none"
	GrantRead  Grants = "read"
	GrantWrite Grants = "write"
)

// Role is an identity's role.
type Role struct {
	Name  string
	Masks *policylang.MaskSet // what is masked for it
}

// Options say what a database is prepared for.
type Options struct {
	CatalogRole string
	Roles       []Role
	Database    string
	Catalog     *pgcatalog.Catalog // of the database; needed for grants and the backstop
	Policies    []policylang.Mask  // all masking policies, whomever they are for; for Check

	Grants       Grants
	Schemas      []string // whose tables are granted; those of users if empty
	Backstop     bool
	SessionTable bool   // make postern.identity(), for servers whose login cannot tell people apart
	Address      string // of the gateway, as pg_hba.conf has it
	Method       string // how roles log in: "cert" or "scram-sha-256"
}

// Step is some SQL and what it is for.
type Step struct{ Why, SQL string }

// Script is what makes a database ready.
type Script struct {
	Steps []Step
	HBA   []string // first lines of pg_hba.conf
	Ident []string // lines of pg_ident.conf
	Notes []string // what somebody has to know or do besides
}

// SQL returns the steps as one text, which runs in a transaction.
func (s *Script) SQL() string {
	var b strings.Builder
	b.WriteString("BEGIN;\n")
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "\n-- %s\n%s\n", step.Why, step.SQL)
	}
	b.WriteString("\nCOMMIT;\n")
	return b.String()
}

// String returns everything, as a text that psql can run.
func (s *Script) String() string {
	var b strings.Builder
	b.WriteString(s.SQL())
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n-- %s\n", title)
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "--   %s\n", line)
		}
	}
	section("pg_hba.conf, before all other lines:", s.HBA)
	section("pg_ident.conf:", s.Ident)
	section("Notes:", s.Notes)
	return b.String()
}

func (s *Script) add(why, format string, args ...any) {
	s.Steps = append(s.Steps, Step{why, fmt.Sprintf(format, args...)})
}

func (s *Script) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// New returns what makes a database ready.
func New(o Options) (*Script, error) {
	s := &Script{}
	for _, name := range append(roleNames(o.Roles), o.CatalogRole, o.Database) {
		if name == "" || strings.Contains(name, tag) || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("prepare: %q cannot be the name of a role or database", name)
		}
	}
	if o.Catalog == nil && (o.Backstop || o.Grants != GrantNone) {
		return nil, errors.New("prepare: without the database's catalog nothing can be granted")
	}
	s.role(o.CatalogRole, "The role with which the gateway reads the catalog. It needs no privilege on any table.")
	s.add("The group of all that log in through the gateway.", "%s\nALTER ROLE %s NOLOGIN;", createRole(Clients), ident(Clients))
	slices.SortFunc(o.Roles, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range o.Roles {
		s.role(r.Name, fmt.Sprintf("The role of %s.", r.Name))
		s.add("It belongs to the group, and gains nothing by that.", "%s", s.member(&o, r.Name))
		s.add("It may connect.", "GRANT CONNECT ON DATABASE %s TO %s;", ident(o.Database), ident(r.Name))
	}
	for i := range o.Roles {
		s.grants(&o, &o.Roles[i])
	}
	if o.SessionTable {
		s.sessionTable(o.CatalogRole)
	}
	s.logins(&o)
	return s, nil
}

func roleNames(roles []Role) []string {
	var out []string
	for _, r := range roles {
		out = append(out, r.Name)
	}
	return out
}

// tag quotes bodies of DO.
const tag = "$postern$"

func createRole(name string) string {
	return fmt.Sprintf(`DO %s BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s AND rolsuper) THEN
    RAISE EXCEPTION 'role %% is a superuser: give the identity another database_role', %s;
  ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s) THEN
    CREATE ROLE %s;
  END IF;
END %s;`, tag, literal(name), literal(name), literal(name), ident(name), tag)
}

func (s *Script) role(name, why string) {
	s.add(why, "%s\nALTER ROLE %s LOGIN NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;", createRole(name), ident(name))
}

// member makes a role one of the group's: from PostgreSQL 16 without the right
// to become it.
func (s *Script) member(o *Options, role string) string {
	if o.Catalog != nil && o.Catalog.ServerVersion >= 160000 {
		return fmt.Sprintf("GRANT %s TO %s WITH ADMIN FALSE, INHERIT FALSE, SET FALSE;", ident(Clients), ident(role))
	}
	return fmt.Sprintf("GRANT %s TO %s;", ident(Clients), ident(role))
}

// grants lets a role at the tables.
func (s *Script) grants(o *Options, r *Role) {
	if o.Grants == GrantNone && !o.Backstop {
		return
	}
	protection := lineage.Protect(o.Catalog, r.Masks)
	schemas := map[string]bool{}
	var lines, hidden []string
	views := map[string]string{}
	for _, rel := range relations(o) {
		if o.Grants != GrantNone && !schemas[rel.Schema] {
			schemas[rel.Schema] = true
			lines = append(lines, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", ident(rel.Schema), ident(r.Name)))
		}
		shown, masked := columns(protection, rel)
		if !o.Backstop || len(masked) == 0 {
			lines = append(lines, tableGrants(o, r, rel, "")...)
			continue
		}
		hidden = append(hidden, fmt.Sprintf("REVOKE SELECT ON %s FROM PUBLIC, %s;", qualified(rel), ident(r.Name)))
		if len(shown) > 0 {
			lines = append(lines, tableGrants(o, r, rel, " ("+identList(shown)+")")...)
		}
		if other, taken := views[rel.Name]; taken {
			s.note("%s has no masked view: one of %s is there already.", qualified(rel), other)
			continue
		}
		views[rel.Name] = qualified(rel)
	}
	if len(hidden) > 0 {
		s.add(fmt.Sprintf("What is masked for %s it may not read.", r.Name), "%s", strings.Join(hidden, "\n"))
	}
	if len(lines) > 0 {
		s.add(fmt.Sprintf("What %s may do.", r.Name), "%s", strings.Join(lines, "\n"))
	}
	if len(views) > 0 && o.Grants != GrantNone {
		s.views(o, r, protection)
	}
}

// relations lists what is granted, by name.
func relations(o *Options) []*pgcatalog.Relation {
	var out []*pgcatalog.Relation
	for r := range o.Catalog.Relations() {
		switch r.Kind {
		case pgcatalog.RelationTable, pgcatalog.RelationPartitioned, pgcatalog.RelationView, pgcatalog.RelationMaterializedView, pgcatalog.RelationForeign:
		default:
			continue
		}
		if pgcatalog.IsSystemSchema(r.Schema) || pgcatalog.IsTemporarySchema(r.Schema) || r.Schema == "postern" || strings.HasPrefix(r.Schema, viewsPrefix) ||
			len(o.Schemas) > 0 && !slices.Contains(o.Schemas, r.Schema) {
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *pgcatalog.Relation) int { return strings.Compare(qualified(a), qualified(b)) })
	return out
}

// columns parts a relation's columns into those that a role sees as they are
// and the others.
func columns(p *lineage.Protection, r *pgcatalog.Relation) (shown, masked []string) {
	for i := range r.Columns {
		c := &r.Columns[i]
		if _, ok := p.Transform(r.OID, c.Number); ok {
			masked = append(masked, c.Name)
		} else {
			shown = append(shown, c.Name)
		}
	}
	return shown, masked
}

func tableGrants(o *Options, r *Role, rel *pgcatalog.Relation, columns string) []string {
	var out []string
	if o.Grants == GrantRead || o.Grants == GrantWrite {
		out = append(out, fmt.Sprintf("GRANT SELECT%s ON %s TO %s;", columns, qualified(rel), ident(r.Name)))
	}
	if o.Grants == GrantWrite && rel.Kind != pgcatalog.RelationMaterializedView {
		out = append(out, fmt.Sprintf("GRANT INSERT, UPDATE, DELETE ON %s TO %s;", qualified(rel), ident(r.Name)))
	}
	return out
}

// viewsPrefix begins the names of schemas with masked views. Roles with the
// same masks share one.
const viewsPrefix = "postern_masked_"

// viewsSchema names the schema of a role's masked views: after the masks, by
// their digest.
func viewsSchema(r *Role) string {
	_, digest, _ := strings.Cut(r.Masks.Key, ":")
	return viewsPrefix + digest[:min(8, len(digest))]
}

func (s *Script) views(o *Options, r *Role, p *lineage.Protection) {
	const securityInvoker = 150000
	if o.Catalog.ServerVersion < securityInvoker {
		s.note("%s has no masked views: they need PostgreSQL 15. SELECT * of a table with masked columns fails for it.", r.Name)
		return
	}
	schema := viewsSchema(r)
	lines := []string{
		fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;", ident(schema)),
		fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", ident(schema), ident(r.Name)),
	}
	made := map[string]bool{}
	for _, rel := range relations(o) {
		if _, masked := columns(p, rel); len(masked) == 0 || made[rel.Name] {
			continue
		}
		made[rel.Name] = true
		name := ident(schema) + "." + ident(rel.Name)
		lines = append(lines,
			fmt.Sprintf("CREATE OR REPLACE VIEW %s WITH (security_invoker = true, security_barrier = true) AS\n  SELECT %s\n  FROM %s;",
				name, strings.Join(viewColumns(o.Catalog, p, rel), ", "), qualified(rel)),
			fmt.Sprintf("GRANT SELECT ON %s TO %s;", name, ident(r.Name)))
		if o.Grants == GrantWrite && (rel.Kind == pgcatalog.RelationTable || rel.Kind == pgcatalog.RelationPartitioned) {
			lines = append(lines, fmt.Sprintf("GRANT INSERT, UPDATE, DELETE ON %s TO %s;", name, ident(r.Name)))
		}
	}
	lines = append(lines, fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET search_path = %s, \"$user\", public;", ident(r.Name), ident(o.Database), ident(schema)))
	s.add(fmt.Sprintf("Tables as %s sees them by their bare names.", r.Name), "%s", strings.Join(lines, "\n"))
}

// viewColumns are a table's columns with a constant of the right type in place
// of those that are masked.
func viewColumns(cat *pgcatalog.Catalog, p *lineage.Protection, r *pgcatalog.Relation) []string {
	var out []string
	for i := range r.Columns {
		c := &r.Columns[i]
		if _, masked := p.Transform(r.OID, c.Number); !masked {
			out = append(out, ident(c.Name))
			continue
		}
		value := "NULL"
		const text, varchar = 25, 1043
		if base := cat.BaseType(c.Type); base == c.Type && (base == text || base == varchar) {
			value = "'REDACTED'"
		}
		out = append(out, fmt.Sprintf("%s::%s AS %s", value, typeName(cat, c), ident(c.Name)))
	}
	return out
}

// typeName is a column's type without its modifier, which a constant may not
// fit.
func typeName(cat *pgcatalog.Catalog, c *pgcatalog.Column) string {
	t := cat.Type(c.Type)
	if t == nil {
		return "text"
	}
	return ident(t.Schema) + "." + ident(t.Name)
}

// sessionTable makes postern.identity(): who is behind a connection, told by the
// gateway over a connection of its own.
func (s *Script) sessionTable(catalogRole string) {
	s.add("Who is behind which connection: the gateway alone writes it, everybody may ask for their own.", `CREATE SCHEMA IF NOT EXISTS postern;
CREATE TABLE IF NOT EXISTS postern.session (
  pid integer NOT NULL,
  backend_start timestamptz NOT NULL,
  identity text NOT NULL,
  actor text NOT NULL DEFAULT '',
  session text NOT NULL DEFAULT '',
  PRIMARY KEY (pid, backend_start)
);
REVOKE ALL ON postern.session FROM PUBLIC;
GRANT USAGE ON SCHEMA postern TO PUBLIC;
GRANT SELECT, INSERT, DELETE ON postern.session TO %s;
CREATE OR REPLACE FUNCTION postern.identity() RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %s
  SELECT s.identity FROM postern.session s JOIN pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a
    ON a.pid = s.pid AND a.backend_start = s.backend_start
  %s;
REVOKE ALL ON FUNCTION postern.identity() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION postern.identity() TO PUBLIC;`, ident(catalogRole), tag, tag)
}

// logins says who is let in from where.
func (s *Script) logins(o *Options) {
	address := o.Address
	if address == "" {
		address = "GATEWAY/32"
	}
	if o.Method == "cert" {
		s.HBA = append(s.HBA, fmt.Sprintf("hostssl all +%s %s cert map=postern", Clients, address))
		s.Ident = append(s.Ident, "postern "+identSystem+" "+identRole)
		s.HBA = append(s.HBA, fmt.Sprintf("hostssl all %s %s cert map=postern", quoteHBA(o.CatalogRole), address))
		s.note(`ssl_ca_file in postgresql.conf holds the authority that the gateway signs with, DATA/upstream-ca.pem. A policy that names no credentials logs in so by itself.`)
	} else {
		s.HBA = append(s.HBA, fmt.Sprintf("hostssl all +%s %s scram-sha-256", Clients, address))
		s.HBA = append(s.HBA, fmt.Sprintf("hostssl all %s %s scram-sha-256", quoteHBA(o.CatalogRole), address))
		s.note("Set a password for each role with \\password, and give them to the gateway (upstream.credentials).")
	}
	s.HBA = append(s.HBA,
		fmt.Sprintf("host all +%s all reject", Clients), fmt.Sprintf("local all +%s reject", Clients))
}

// quoteHBA quotes a name that pg_hba.conf would read as a keyword or a group.
func quoteHBA(name string) string {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	return name
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func identList(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = ident(n)
	}
	return strings.Join(out, ", ")
}

func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

func qualified(r *pgcatalog.Relation) string { return ident(r.Schema) + "." + ident(r.Name) }
