package bypasstest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/testacc/bypass"
)

// newCluster starts a server on which every attack of the corpus can work.
func newCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	return pgtest.New(t, pgtest.Options{Settings: map[string]string{
		"wal_level": "logical", "max_replication_slots": "5", "max_prepared_transactions": "5", "max_wal_senders": "5",
	}})
}

// newRunner returns a runner whose target is the server itself.
func newRunner(t *testing.T, cluster *pgtest.Cluster) *bypass.Runner {
	t.Helper()
	server := bypass.Endpoint{Address: net.JoinHostPort(cluster.Host, strconv.Itoa(cluster.Port))}
	return &bypass.Runner{Server: server, Target: server, Directory: filepath.Dir(cluster.LogFile())}
}

// TestStraight is the poison control: without a gateway each attack succeeds.
func TestStraight(t *testing.T) {
	r := newRunner(t, newCluster(t))
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	cases, err := bypass.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	tally := bypass.Tally{}
	r.Use = nil
	err = r.RunAll(t.Context(), cases, 2, func(res bypass.Result) {
		tally.Add(res)
		c := res.Case
		want := map[bypass.Goal]bypass.Outcome{
			bypass.Reveal: bypass.Revealed, bypass.Execute: bypass.Executed,
			bypass.Allow: bypass.Served, bypass.Serve: bypass.Revealed, bypass.Control: bypass.Alive,
		}[c.Goal]
		if res.Outcome != want && !c.Unproven && res.Outcome != bypass.Skipped {
			t.Errorf("%s: %s, want %s: %s\n\t%s", c.ID(), res.Outcome, want, res.Detail, strings.Join(res.Transcript, "\n\t"))
		}
		if os.Getenv("V") != "" {
			fmt.Println(c.ID(), res.Outcome, res.Took, res.Detail)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	_ = tally.WriteTable(&b)
	t.Log("\n" + b.String())
}
