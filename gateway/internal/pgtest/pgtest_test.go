package pgtest_test

import (
	"testing"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

func TestClusterSurvivesARestart(t *testing.T) {
	c := pgtest.New(t)
	c.MustExec(t, "postgres", "create table kept(a int); checkpoint")
	c.Kill()
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	c.MustExec(t, "postgres", "insert into kept values (1)")
}
