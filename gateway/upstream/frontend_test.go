package upstream_test

import (
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// client speaks the protocol on a connection that is authenticated.
type client struct{ *pgproto3.Frontend }

func frontend(conn net.Conn) client { return client{pgproto3.NewFrontend(conn, conn)} }

// query returns the first value of the last result, or "ERROR" and its
// SQLSTATE.
func (c client) query(t *testing.T, sql string) (got string) {
	t.Helper()
	c.Send(&pgproto3.Query{String: sql})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			got = string(m.Values[0])
		case *pgproto3.ErrorResponse:
			got = "ERROR " + m.Code
		case *pgproto3.ReadyForQuery:
			return got
		}
	}
}
