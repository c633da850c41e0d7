package storytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The old policy is about t1 and the new one about t2, and they share no rule,
// so that a policy between the two shows itself:
//
//	statement            old      new      half of each
//	SELECT t1            allowed  denied
//	SELECT t2            denied   allowed
//	SELECT t1, t2        denied   denied   allowed, while neither denial stands
//	SELECT t3            allowed  allowed  denied, while neither permission stands
//
// And what was new once is never old again while one change is made.
const (
	probeOld   = "SELECT 1 FROM t1"
	probeNew   = "SELECT 1 FROM t2"
	probeBoth  = "SELECT 1 FROM t1, t2"
	probeThird = "SELECT 1 FROM t3"
)

// traffic asks the same questions again and again until it is stopped.
type traffic struct {
	stop    context.CancelFunc
	done    sync.WaitGroup
	answers atomic.Int64

	mu       sync.Mutex // guards all below
	problems []string
	switches int  // how often clients saw the policy change
	enforces byte // 'o' for old, 'n' for new
}

// drive starts clients that ask through the door.
func (d *door) drive(t *testing.T) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	tr := &traffic{stop: stop}
	for range 3 {
		conn := d.session(t, "ana", "u-17")
		tr.done.Go(func() { tr.ask(ctx, conn) })
	}
	return tr
}

func (tr *traffic) ask(ctx context.Context, conn *pgx.Conn) {
	var policy byte
	for ctx.Err() == nil {
		for _, probe := range []string{probeOld, probeNew, probeBoth, probeThird} {
			allowed, err := tr.probe(conn, probe)
			if err != nil {
				tr.problem("%s: %v", probe, err)
				return
			}
			seen := byte(0)
			switch {
			case probe == probeBoth && allowed:
				tr.problem("both tables were let through at once: half of a policy was enforced")
			case probe == probeThird && !allowed:
				tr.problem("what old and new allow was denied: half of a policy was enforced")
			case probe == probeOld && allowed, probe == probeNew && !allowed:
				seen = 'o'
			case probe == probeOld || probe == probeNew:
				seen = 'n'
			}
			if seen != 0 && seen != policy {
				tr.changed(policy, seen)
				policy = seen
			}
			tr.answers.Add(1)
		}
	}
}

// probe says whether the statement is allowed. It is not cut short: a statement
// that is cancelled was not decided.
func (tr *traffic) probe(conn *pgx.Conn, sql string) (bool, error) {
	_, err := conn.Exec(context.Background(), sql)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" && refused.Severity == "ERROR" {
		return false, nil
	}
	return err == nil, err
}

func (tr *traffic) problem(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

func (tr *traffic) changed(from, to byte) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if from != 0 {
		tr.switches++
	}
	tr.enforces = to
}

// settle waits until every client has asked everything again, so that what is
// seen is what is enforced now.
func (tr *traffic) settle(t *testing.T) {
	t.Helper()
	target := tr.answers.Load() + 3*2*4
	for deadline := time.Now().Add(60 * time.Second); tr.answers.Load() < target; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the traffic has stopped")
		}
	}
}

// end stops the clients and says what they saw: which policy last, and how many
// changes.
func (tr *traffic) end(t *testing.T) (enforces string, switches int) {
	t.Helper()
	tr.settle(t)
	tr.stop()
	tr.done.Wait()
	for _, p := range tr.problems {
		t.Error(p)
	}
	return map[byte]string{'o': "old", 'n': "new"}[tr.enforces], tr.switches
}

// TestNeverBetween makes everything go wrong that can between a plan and a
// policy that is enforced, while clients ask. Each decision is the old policy's
// or the new one's, and each failure says what to do.
func TestNeverBetween(t *testing.T) {
	t.Parallel()
	th := newTheatre(t)
	for name, fault := range map[string]func(*testing.T, *swap){
		"a whole change":            wholeChange,
		"a failed sibling":          failedSibling,
		"a target":                  targetedApply,
		"a stale plan":              stalePlan,
		"two publishers":            twoPublishers,
		"an apply that is killed":   killedApply,
		"a control plane that dies": deadControlPlane,
		"a death while publishing":  deathWhilePublishing,
		"half of a policy":          halfPolicy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault(t, newSwap(t, th))
		})
	}
}

// swap is a gateway with the old policy, and the state that put it there.
type swap struct {
	*state
	door *door
}

func newSwap(t *testing.T, th *theatre) *swap {
	t.Helper()
	s := th.stage(t)
	w := &swap{door: s.gateway(t, "swap"), state: s.publisher(t)}
	w.must(t, "apply")
	return w
}

// publisher is a state of the policy that is swapped.
func (s *stage) publisher(t *testing.T, vars ...string) *state {
	t.Helper()
	return s.stateOf(t, filepath.Join("testdata", "swap"), append(s.upstreamVars(), vars...)...)
}

const toNew = "-var=version_of=new"

// wantEnd checks which policy is enforced at last, and that every client saw as
// many changes.
func (tr *traffic) wantEnd(t *testing.T, policy string, changes int) {
	t.Helper()
	if got, switches := tr.end(t); got != policy || switches != 3*changes {
		t.Errorf("the clients saw %s at last, and %d changes; want %s, and %d by each of 3", got, switches, policy, changes)
	}
}

func wholeChange(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	w.must(t, "apply", toNew)
	tr.wantEnd(t, "new", 1)
}

// One draft fails while the others are written: nothing is released.
func failedSibling(t *testing.T, w *swap) {
	other := &state{stage: w.stage, dir: t.TempDir()}
	writeFile(t, filepath.Join(other.dir, "main.tf"), `
terraform {
  required_providers { postern = { source = "posternhq/postern" } }
}
resource "postern_query_rule" "taken" {
  name   = "taken"
  effect = "deny"
  when   = "false"
}`)
	other.must(t, "apply")

	tr := w.door.drive(t)
	w.fails(t, []string{"apply", toNew, "-var=sibling=taken"}, `The query rule "taken" exists already`, "Choose another name, or take it over with: terraform import")
	if drafts := w.plane.text(); !strings.Contains(drafts, "target=query_rule.new_allows") {
		t.Error("no other draft was written: this tests nothing")
	}
	tr.wantEnd(t, "old", 0)
	tr = w.door.drive(t)
	w.must(t, "apply", toNew)
	tr.wantEnd(t, "new", 1)
}

// -target writes some drafts, which nobody reads. Targeting the release takes
// all that it is made of with it.
func targetedApply(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	wantText(t, w.must(t, "apply", toNew, "-target=postern_query_rule.this"), "Resource targeting is in effect")
	tr.wantEnd(t, "old", 0)
	tr = w.door.drive(t)
	w.must(t, "apply", toNew, "-target=postern_release.this")
	tr.wantEnd(t, "new", 1)
}

// A saved plan is refused once it is stale: by Terraform if its own state moved
// on, and by the provider if somebody else released.
func stalePlan(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	w.must(t, "plan", toNew, "-out=early.tfplan")
	w.must(t, "apply", "-var=sibling=elder")
	w.fails(t, []string{"apply", "early.tfplan"}, "Saved plan is stale")

	w.must(t, "plan", toNew, "-out=late.tfplan")
	live := w.must(t, "output", "-raw", "bundle")
	other := w.publisher(t, "version_of=other", "adopts=true", "supersedes="+live)
	other.must(t, "apply")
	w.fails(t, []string{"apply", "late.tfplan"}, `Another release came between the plan and the apply on gateway "swap"`, "Nothing was released. Plan again")
	tr.wantEnd(t, "new", 1) // the other publisher's, which is about t2 as well
	w.enforces(t, other.must(t, "output", "-raw", "bundle"))
}

// enforces checks what is live.
func (s *stage) enforces(t *testing.T, bundle string) {
	t.Helper()
	history := strings.Split(s.postern(t, "release", "list", "swap", "--control", s.control), "\n")
	if !strings.Contains(history[0], bundle) {
		t.Errorf("live is not %s:\n%s", bundle, strings.Join(history, "\n"))
	}
}

// Two publishers apply at once what both have planned: one of them wins, whole.
func twoPublishers(t *testing.T, w *swap) {
	other := w.publisher(t, "version_of=other", "adopts=true", "supersedes="+w.must(t, "output", "-raw", "bundle"))
	w.must(t, "plan", toNew, "-out=both.tfplan")
	other.must(t, "plan", "-out=both.tfplan")
	tr := w.door.drive(t)
	var outs [2]string
	var errs [2]error
	together(
		func() { outs[0], errs[0] = w.terraform(t, "apply", "both.tfplan") },
		func() { outs[1], errs[1] = other.terraform(t, "apply", "both.tfplan") },
	)
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("one of two must win:\n%v\n%s\n%v\n%s", errs[0], outs[0], errs[1], outs[1])
	}
	winner, loser := w.state, outs[1]
	if errs[0] != nil {
		winner, loser = other, outs[0]
	}
	if !strings.Contains(loser, "Another release came between the plan and the apply") && !strings.Contains(loser, "has a live policy already") {
		t.Errorf("the loser was told:\n%s", loser)
	}
	tr.wantEnd(t, "new", 1) // both are about t2
	w.enforces(t, winner.must(t, "output", "-raw", "bundle"))
}

// startApply starts an apply to the new policy in a process group of its own,
// and returns when the control plane has logged the text.
func (w *swap) startApply(t *testing.T, until string) (cmd *exec.Cmd, out *strings.Builder) {
	t.Helper()
	args := []string{"apply", "-auto-approve", "-input=false", "-no-color", toNew}
	for _, v := range w.vars {
		args = append(args, "-var", v)
	}
	cmd, out = exec.CommandContext(t.Context(), "terraform", args...), &strings.Builder{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.environment(), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	eventually(t, "the control plane logs "+until, func() bool { return strings.Contains(w.plane.text(), until) })
	return cmd, out
}

// Terraform and the provider are killed in the middle of an apply. The next
// one starts from the state before, as a remote backend has it (a local file may
// be cut short), and takes over what that does not remember.
func killedApply(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	file := filepath.Join(w.dir, "terraform.tfstate")
	before, err := os.ReadFile(file)
	must(t, err)
	cmd, _ := w.startApply(t, "target=query_rule.new_")
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	writeFile(t, file, string(before))
	wantText(t, w.must(t, "apply", toNew), "existed already")
	tr.wantEnd(t, "new", 1)
}

// The control plane dies in the middle of an apply. Gateways go on, apply says
// what happened, and the next one brings it to its end.
func deadControlPlane(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	cmd, out := w.startApply(t, "target=query_rule.new_")
	w.plane.end(syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Fatalf("the apply succeeded without a control plane:\n%s", out)
	}
	wantText(t, out.String(), "each the control plane") // reach, or Reach
	tr.settle(t)
	w.startControl(t)
	w.must(t, "apply", toNew)
	tr.wantEnd(t, "new", 1)
}

// The control plane dies while it publishes: nobody was told whether it did. It
// did or it did not, whole, and apply finds out.
func deathWhilePublishing(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	cmd, _ := w.startApply(t, `target="swap revision 2"`)
	w.plane.end(syscall.SIGKILL)
	w.startControl(t)
	_ = cmd.Wait() // it may have found out by itself
	w.must(t, "apply", toNew)
	tr.wantEnd(t, "new", 1)
}

// What the other tests look for is seen if it is there: a policy that is half
// of each.
func halfPolicy(t *testing.T, w *swap) {
	tr := w.door.drive(t)
	w.must(t, "apply", "-var=version_of=half")
	tr.settle(t)
	tr.stop()
	tr.done.Wait()
	seen := strings.Join(tr.problems, "\n")
	for _, want := range []string{"both tables were let through at once", "what old and new allow was denied"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the clients did not see that %s:\n%s", want, seen)
		}
	}
}
