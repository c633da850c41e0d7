package gateway_test

import (
	"testing"

	"github.com/posternhq/postern/policylang"
)

// TestUnseenNames runs prepared statements and cursors that the session has not
// made, which no analysis can speak for.
func TestUnseenNames(t *testing.T) {
	p := testPolicy()
	p.QueryRules = []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}}
	conn := newBench(t, p).connect("ana", simple)
	for sql, text := range map[string]string{
		"EXECUTE nothing(1)":   "has not prepared a statement of that name",
		"FETCH 1 FROM nothing": "has not declared a cursor of that name",
		"MOVE 1 IN nothing":    "has not declared a cursor of that name",
	} {
		_, err := conn.Exec(t.Context(), sql)
		wantError(t, err, "42501", text)
	}
	for _, sql := range []string{"PREPARE something AS SELECT name FROM customers", "BEGIN", "DECLARE c CURSOR FOR SELECT name FROM customers"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	mustServe(t, conn, "EXECUTE something", "Ida")
	mustServe(t, conn, "FETCH 1 FROM c", "Ida")
}
