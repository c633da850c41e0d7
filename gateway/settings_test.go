package gateway_test

import (
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
