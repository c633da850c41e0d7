package gateway_test

import (
	"context"
	"testing"
)

// TestPickedSetting sets a parameter as pg_dump does, which is only what it
// seems where the operator = is PostgreSQL's own.
func TestPickedSetting(t *testing.T) {
	policy := testPolicy()
	policy.MaskingPolicies = nil
	conn := newBench(t, policy).connect("ben")
	const pick = "SELECT set_config(name, '1s', false) FROM pg_settings WHERE name = 'statement_timeout'"
	set := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	set(pick)
	set("SET search_path TO public, pg_catalog")
	_, err := conn.Exec(t.Context(), pick)
	wantError(t, err, "42501", "may change any parameter")
	set("SET search_path TO ''")
	set(pick)
	_, err = conn.Exec(t.Context(), "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'log_statement'")
	wantError(t, err, "42501", "log_statement may not be changed")
}

// TestTextIsReadAsTheGatewayReadsIt has a role for which a backslash would hide
// the end of a constant: what follows it would be another statement to the server
// than to the gateway.
func TestTextIsReadAsTheGatewayReadsIt(t *testing.T) {
	ctx := context.Background()
	alter := func(how string) {
		t.Helper()
		if err := shared.cluster.Exec(ctx, "postgres", "ALTER ROLE ana "+how); err != nil {
			t.Fatal(err)
		}
	}
	alter("SET standard_conforming_strings = off")
	t.Cleanup(func() { alter("RESET standard_conforming_strings") })
	conn := newBench(t, testPolicy()).connect("ana", simple)
	for _, reset := range []string{"SELECT 1", "RESET ALL", "SET standard_conforming_strings TO DEFAULT", "DISCARD ALL"} {
		_, _ = conn.Exec(t.Context(), reset) // what is refused changes nothing either
		got, err := column(t.Context(), conn, `SELECT 'a\' || 'b'`)
		if err != nil || len(got) != 1 || got[0] != `a\b` {
			t.Errorf("after %s: %q, %v; want the backslash as it is", reset, got, err)
		}
	}
}
