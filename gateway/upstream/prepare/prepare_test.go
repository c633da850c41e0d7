package prepare_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang"
)

func options(roles ...string) prepare.Options {
	o := prepare.Options{CatalogRole: "postern", Database: "postgres", Grants: prepare.GrantNone, Method: "scram-sha-256"}
	for _, r := range roles {
		o.Roles = append(o.Roles, prepare.Role{Name: r, Masks: &policylang.MaskSet{}})
	}
	return o
}

// TestNames wants roles of any name to be made, twice over, and nothing else.
func TestNames(t *testing.T) {
	cluster := pgtest.New(t)
	names := []string{`o'hara`, `say "hi"`, `back\slash`, `a; DROP ROLE postern`, `Ümläut`}
	script, err := prepare.New(options(names...))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cluster.MustExec(t, "postgres", script.SQL())
	}
	conn, err := pgx.Connect(t.Context(), cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var got int
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = ANY ($1) AND rolcanlogin AND pg_has_role(oid, 'postern_clients', 'MEMBER')", names).Scan(&got)
	if err != nil || got != len(names) {
		t.Errorf("%d of %d roles are there, %v", got, len(names), err)
	}
}

// TestSuperuser wants a superuser not to be touched.
func TestSuperuser(t *testing.T) {
	cluster := pgtest.New(t)
	script, err := prepare.New(options("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Exec(t.Context(), "postgres", script.SQL()); err == nil || !strings.Contains(err.Error(), "is a superuser") {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]prepare.Options{
		"an empty name":             options(""),
		"a name with NUL":           options("a\x00"),
		"a name that ends the text": options("a$postern$"),
		"grants without a catalog":  {CatalogRole: "postern", Database: "postgres", Grants: prepare.GrantRead},
	} {
		if s, err := prepare.New(o); err == nil || s != nil {
			t.Errorf("%s: %v", name, s)
		}
	}
}
