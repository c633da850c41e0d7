package gateway

import (
	"net"
	"strconv"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/gateway/internal/tracing"
)

// trace makes the span of a statement that has ended or was refused, and
// returns the trace that its record names: the client's if it named one.
func (s *session) trace(r *evidence.Record, started time.Time) string {
	parent := tracing.ParentIn(r.SQL)
	if s.server.cfg.Tracer == nil && !parent.IsValid() {
		return ""
	}
	host, port, err := net.SplitHostPort(r.Server)
	if err != nil {
		host = r.Server
	}
	number, _ := strconv.Atoi(port) // 0 where there is none
	return s.server.cfg.Tracer.Statement(&tracing.Statement{
		Parent: parent, Start: started, End: r.Time, Server: host, Port: number,
		Database: r.Database, Command: r.Command, Shape: r.Shape, Gateway: r.Gateway, Session: r.Session, Number: int64(r.StmtNo),
		Bundle: r.Bundle, Effect: string(r.Effect), Rules: r.Rules, Outcome: string(r.Outcome), SQLState: r.SQLState, Rows: r.Rows,
	})
}
