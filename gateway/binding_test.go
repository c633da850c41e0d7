package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/approve"
)

// TestApprovalBindsNames replaces what a held statement's names stand for,
// under the same names, between the question and the approval.
func TestApprovalBindsNames(t *testing.T) {
	for name, swap := range map[string]string{
		"table":   "ALTER TABLE basket RENAME TO basket_old; CREATE TABLE basket (id int); GRANT ALL ON basket TO ana",
		"trigger": "CREATE OR REPLACE FUNCTION on_basket() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN DELETE FROM carts; RETURN OLD; END$$",
		"rule":    "CREATE RULE also AS ON DELETE TO basket DO ALSO DELETE FROM carts",
	} {
		t.Run(name, func(t *testing.T) {
			defer shared.cluster.MustExec(t, "postgres", "DROP TABLE IF EXISTS basket, basket_old CASCADE; DROP FUNCTION on_basket()")
			shared.cluster.MustExec(t, "postgres", `
				CREATE TABLE basket (id int); INSERT INTO basket VALUES (1); GRANT ALL ON basket TO ana;
				CREATE FUNCTION on_basket() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
				CREATE TRIGGER t BEFORE DELETE ON basket FOR EACH ROW EXECUTE FUNCTION on_basket()`)
			p := testPolicy()
			p.MaskingPolicies = nil
			b := newBench(t, p)
			conn := b.connect("ana", simple)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			// hold runs the statement, and swaps while it is held.
			hold := func(swap string) (*approve.Request, error) {
				done := make(chan error, 1)
				go func() { _, err := conn.Exec(ctx, "DELETE FROM basket"); done <- err }()
				select {
				case r := <-b.broker.created:
					if swap != "" {
						shared.cluster.MustExec(t, "postgres", swap)
					}
					b.broker.outcomes <- approve.Outcome{ID: "ap_1", Status: approve.Approved, Approvers: []string{"ben"}}
					return r, <-done
				case err := <-done:
					t.Fatalf("the statement was not held: %v", err)
					return nil, nil
				}
			}
			first, err := hold(swap)
			wantError(t, err, "42501", "names stand for changed")
			second, err := hold("")
			if err != nil {
				t.Error(err)
			}
			if first.Binding() == second.Binding() {
				t.Errorf("both requests bind %q", first.Resolved)
			}
		})
	}
}
