package gateway_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway"
	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
)

// TestDetectors wants values to be masked in columns that nobody labelled, in
// text and in binary, and a report of them.
func TestDetectors(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", `CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN; CREATE ROLE bea LOGIN;
		CREATE TABLE notes (id int, body text, extra jsonb, secret text);
		INSERT INTO notes VALUES (1, 'call bob@example.org', '{"card": 4111111111111111}', 'x'), (2, 'nothing', '{"a": 1}', 'y');
		GRANT SELECT ON notes TO PUBLIC`)
	g := gatewaytest.New(t)
	policy := &policylang.Policy{
		Gateways:   []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)},
		Identities: []policylang.Identity{gatewaytest.Person("ana"), gatewaytest.Person("bea", "dba")},
		QueryRules: []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{{
			Name: "stray", Detect: []string{"email", "card"}, Transform: policylang.TransformRedact, Unless: `identity.in_group("dba")`,
		}},
	}
	want := map[string]string{
		"bea": `1 call bob@example.org {"card": 4111111111111111};2 nothing {"a": 1}`,
		"ana": `1 call REDACTED ;2 nothing {"a": 1}`,
	}
	// With a column that is masked there is an analysis, without one there is
	// none.
	for _, columns := range [][]string{nil, {"public.notes.secret"}} {
		policy.MaskingPolicies[0].Columns = columns
		g.Enforce(t, policy)
		for who, want := range want {
			conn, err := pgx.Connect(t.Context(), g.URL("postgres", who))
			if err != nil {
				t.Fatal(err)
			}
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
				rows, err := conn.Query(t.Context(), "SELECT id::text || ' ', body || ' ', extra FROM notes ORDER BY id", mode)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for rows.Next() {
					var id, body string
					var extra *string
					if err := rows.Scan(&id, &body, &extra); err != nil {
						t.Fatal(err)
					}
					if extra == nil {
						extra = new(string)
					}
					got = append(got, id+body+*extra)
				}
				if err := rows.Err(); err != nil || strings.Join(got, ";") != want {
					t.Errorf("%s: got %q, %v, want %q", who, got, err, want)
				}
			}
			if _, err := conn.PgConn().Exec(t.Context(), "COPY notes (body) TO STDOUT").ReadAll(); (err != nil) != (who == "ana") {
				t.Errorf("%s: copy: %v", who, err)
			}
			_ = conn.Close(t.Context())
		}
	}
	got := g.Server.Detections()
	if diff := cmp.Diff([]gateway.Detection{
		{Database: "postgres", Column: "?column?", Kind: "email", Count: 4},
		{Database: "postgres", Table: "public.notes", Column: "extra", Kind: "card", Count: 4},
	}, got); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}
