package prepare

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// certificates looks for what the server needs to know a role by its
// certificate, if that is how roles log in.
func (c *checker) certificates(ctx context.Context) error {
	if c.o.Method != "cert" {
		return nil
	}
	rows, err := c.rows(ctx, "SELECT current_setting('ssl')")
	if err != nil {
		return err
	}
	if rows[0][0] != "on" {
		c.report.find(Missing, "postgresql.conf", "set ssl = on, with a certificate for the server", "the server does not speak TLS, and so sees no certificates")
	}
	if rows, err = c.rows(ctx, "SELECT current_setting('ssl_ca_file')"); err != nil {
		return err
	}
	if rows[0][0] == "" {
		c.report.find(Missing, "postgresql.conf", "set ssl_ca_file to a copy of the gateway's DATA/upstream-ca.pem", "the server asks for no certificates")
	}
	rows, err = c.rows(ctx, fmt.Sprintf(`SELECT 1 FROM pg_catalog.pg_hba_file_rules
		WHERE type = 'hostssl' AND auth_method = 'cert' AND user_name && ARRAY[%s] AND array_to_string(options, ' ') LIKE '%%map=postern%%'`, literal("+"+Clients)))
	switch {
	case isDenied(err):
		return nil // said already
	case err != nil:
		return err
	case len(rows) == 0:
		c.report.find(Missing, "pg_hba.conf", "put the lines of postern upstream prepare before all others", "no line lets clients' roles in by certificate")
	}
	return c.identMap(ctx)
}

// identSystem and identRole are the one line of the map by which a certificate
// is good for the role that it names, and for no other.
const (
	identSystem = `/^(.*)$`
	identRole   = `\1`
)

// identMap looks at the map in pg_ident.conf, which servers before PostgreSQL 15
// do not show.
func (c *checker) identMap(ctx context.Context) error {
	rows, err := c.rows(ctx, "SELECT 1 WHERE pg_catalog.to_regclass('pg_catalog.pg_ident_file_mappings') IS NOT NULL")
	if err != nil || len(rows) == 0 {
		return err
	}
	rows, err = c.rows(ctx, "SELECT sys_name, pg_username FROM pg_catalog.pg_ident_file_mappings WHERE map_name = 'postern'")
	switch {
	case isDenied(err):
		return nil // said already
	case err != nil:
		return err
	case len(rows) == 0:
		c.report.find(Missing, "pg_ident.conf", "add the line of postern upstream prepare", "the map postern, by which a certificate is known to be of a role, is not there")
	}
	for _, row := range rows {
		if row[0] != identSystem || row[1] != identRole {
			c.report.find(Unsafe, "pg_ident.conf", "remove it", "the map postern lets the certificate of %q in as %q", row[0], row[1])
		}
	}
	return nil
}

// sessionTable looks for postern.identity(), if the gateway is to fill it.
func (c *checker) sessionTable(ctx context.Context) error {
	if !c.o.SessionTable {
		return nil
	}
	const fix = "run: postern upstream prepare --session-table --apply"
	rows, err := c.rows(ctx, "SELECT to_regclass('postern.session') IS NOT NULL, to_regprocedure('postern.identity()') IS NOT NULL")
	if err != nil {
		return err
	}
	if rows[0][0] != "t" || rows[0][1] != "t" {
		c.report.find(Missing, "postern.session", fix, "the database has no postern.session and postern.identity(), so that no session can start")
		return nil
	}
	role := literal(c.o.CatalogRole)
	rows, err = c.rows(ctx, fmt.Sprintf(`SELECT pg_catalog.has_schema_privilege(%[1]s, 'postern', 'USAGE') AND pg_catalog.has_table_privilege(%[1]s, 'postern.session', 'SELECT')
		AND pg_catalog.has_table_privilege(%[1]s, 'postern.session', 'INSERT') AND pg_catalog.has_table_privilege(%[1]s, 'postern.session', 'DELETE'),
		(SELECT prosecdef FROM pg_catalog.pg_proc WHERE oid = 'postern.identity()'::regprocedure)`, role))
	if err != nil {
		return err
	}
	if rows[0][0] != "t" {
		c.report.find(Missing, "role "+c.o.CatalogRole, fix, "the role may not write postern.session, so that no session can start")
	}
	if rows[0][1] != "t" {
		c.report.find(Missing, "postern.identity()", fix, "the function is not SECURITY DEFINER, and so finds nobody")
	}
	for _, r := range roleNames(c.o.Roles) {
		if !c.known[r] {
			continue
		}
		rows, err = c.rows(ctx, fmt.Sprintf("SELECT pg_catalog.has_table_privilege(%[1]s, 'postern.session', 'INSERT, UPDATE, DELETE')", literal(r)))
		if err != nil {
			return err
		}
		if rows[0][0] == "t" {
			c.report.find(Unsafe, "role "+r, fmt.Sprintf("REVOKE ALL ON postern.session FROM PUBLIC, %s", ident(r)), "the role may write postern.session, and so pass for anybody")
		}
	}
	return nil
}

// isDenied reports whether the role that checks may not read something.
func isDenied(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501"
}
