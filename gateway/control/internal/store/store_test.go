package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/leaktest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var at = time.Date(2026, 3, 1, 9, 0, 0, 123456000, time.UTC)

// place is where a store is. Opening it twice opens two replicas of one store.
type place struct {
	name string
	open func(t *testing.T) *Store
}

// places returns a fresh store of each sort. The suite runs on all of them.
func places(t *testing.T) []place {
	t.Helper()
	sqlite, inDir := filepath.Join(t.TempDir(), "a b%20#?.db"), Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "control.db"), BundleDir: t.TempDir()}
	cluster := pgtest.New(t)
	return []place{
		{"sqlite", opener(Config{URL: sqlite})},
		{"sqlite with a directory", opener(inDir)},
		{"postgresql", opener(Config{URL: cluster.URL("postgres", "postgres")})},
	}
}

func opener(c Config) func(t *testing.T) *Store {
	return func(t *testing.T) *Store {
		t.Helper()
		s, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
}

// TestStore is the suite: each part on each sort of store, in an order that
// leaves it useful to the next.
func TestStore(t *testing.T) {
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			s, replica := p.open(t), p.open(t)
			for _, part := range []struct {
				name string
				run  func(t *testing.T, s, replica *Store)
			}{
				{"objects", testObjects},
				{"concurrent editors", testEditors},
				{"bundles", testBundles},
				{"releases", testReleases},
				{"concurrent publishers", testPublishers},
				{"approvals", testApprovals},
				{"grants", testGrants},
				{"concurrent voters", testVoters},
				{"instances", testInstances},
				{"a fleet reports", testReports},
				{"what was seen", testSeen},
				{"tokens", testTokens},
				{"sessions", testSessions},
				{"once", testOnce},
				{"waiting", testWaiting},
				{"undoing", testUndoing},
				{"opening again", func(t *testing.T, _, _ *Store) { p.open(t) }},
			} {
				t.Run(part.name, func(t *testing.T) { part.run(t, s, replica) })
			}
		})
	}
}

func nothing() error { return nil }

func noApproval(api.Approval) error { return nil }

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func object(name, when string) api.Object {
	definition := []byte(fmt.Sprintf(`{"when":%q}`, when))
	return api.Object{
		Kind: policylang.KindIdentity, Name: name, Definition: definition, Digest: policylang.DigestBytes(definition),
		UpdatedAt: at, UpdatedBy: "author",
	}
}

func testObjects(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	o := object("Ünïcode 'ana'; --", "true")
	_, err := s.Object(ctx, o.Kind, o.Name)
	is(t, err, ErrNotFound)
	o.Rev, err = s.CreateObject(ctx, o, nothing)
	is(t, err, nil)
	_, err = replica.CreateObject(ctx, o, nothing)
	is(t, err, ErrExists)
	got, err := replica.Object(ctx, o.Kind, o.Name)
	is(t, err, nil)
	if fmt.Sprint(got) != fmt.Sprint(o) {
		t.Errorf("read %v, want %v", got, o)
	}
	next := object(o.Name, "false")
	next.Rev = o.Rev
	rev, err := replica.UpdateObject(ctx, next, nothing)
	is(t, err, nil)
	if rev <= o.Rev {
		t.Errorf("revision %d after %d", rev, o.Rev)
	}
	_, err = s.UpdateObject(ctx, next, nothing)
	is(t, err, ErrChanged)
	is(t, s.DeleteObject(ctx, o.Kind, o.Name, o.Rev, nothing), ErrChanged)
	is(t, s.DeleteObject(ctx, o.Kind, o.Name, rev, nothing), nil)
	is(t, s.DeleteObject(ctx, o.Kind, o.Name, 0, nothing), ErrNotFound)
	_, err = s.UpdateObject(ctx, next, nothing)
	is(t, err, ErrNotFound)
}

// testEditors increments one object from many goroutines on two replicas, each
// trying again when another was first: no increment may be lost.
func testEditors(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	_, err := s.CreateObject(ctx, object("counter", "0"), nothing)
	is(t, err, nil)
	const editors, edits = 4, 10
	var wg sync.WaitGroup
	for i := range editors {
		on := []*Store{s, replica}[i%2]
		wg.Go(func() {
			for range edits {
				increment(ctx, t, on)
			}
		})
	}
	wg.Wait()
	o, err := s.Object(ctx, policylang.KindIdentity, "counter")
	is(t, err, nil)
	if want := fmt.Sprintf(`{"when":"%d"}`, editors*edits); string(o.Definition) != want {
		t.Errorf("counted %s, want %s", o.Definition, want)
	}
}

func increment(ctx context.Context, t *testing.T, s *Store) {
	for {
		o, err := s.Object(ctx, policylang.KindIdentity, "counter")
		if err != nil {
			t.Error(err)
			return
		}
		var n int
		if _, err := fmt.Sscanf(string(o.Definition), `{"when":"%d"}`, &n); err != nil {
			t.Error(err)
			return
		}
		next := object("counter", fmt.Sprint(n+1))
		next.Rev = o.Rev
		_, err = s.UpdateObject(ctx, next, nothing)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrChanged) {
			t.Error(err)
			return
		}
	}
}

func bundleOf(digest, key string) api.Bundle {
	return api.Bundle{Digest: digest, Size: 3, KeyID: key, CreatedAt: at, CreatedBy: "author"}
}

func testBundles(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	sealed := []byte("\x00sealed\xff by one key")
	created, err := s.PutBundle(ctx, bundleOf("d1", "k1"), sealed, nothing)
	is(t, err, nil)
	again, err := replica.PutBundle(ctx, bundleOf("d1", "k1"), sealed, nothing)
	is(t, err, nil)
	if !created || again {
		t.Errorf("created %v, again %v", created, again)
	}
	got, err := replica.Bundle(ctx, "d1")
	is(t, err, nil)
	if string(got) != string(sealed) {
		t.Errorf("read %q", got)
	}
	// The same policy by a newer key.
	created, err = s.PutBundle(ctx, bundleOf("d1", "k2"), []byte("sealed by another"), nothing)
	is(t, err, nil)
	got, err = replica.Bundle(ctx, "d1")
	is(t, err, nil)
	list, listErr := s.Bundles(ctx)
	is(t, listErr, nil)
	if created || string(got) != "sealed by another" || len(list) != 1 || list[0].KeyID != "k2" {
		t.Errorf("created %v, read %q, list %v", created, got, list)
	}
	_, err = s.Bundle(ctx, "d2")
	is(t, err, ErrNotFound)
	is(t, s.DeleteBundle(ctx, "d2", nothing), ErrNotFound)
	is(t, s.DeleteBundle(ctx, "d1", nothing), nil)
	_, err = s.Bundle(ctx, "d1")
	is(t, err, ErrNotFound)
	_, err = s.PutBundle(ctx, bundleOf("d1", "k1"), sealed, nothing)
	is(t, err, nil)
	_, err = s.PutBundle(ctx, bundleOf("d2", "k1"), []byte("two"), nothing)
	is(t, err, nil)
}

func releaseOf(gateway, digest, predecessor string, revision uint64) api.Release {
	return api.Release{
		Gateway: gateway, Bundle: digest, Predecessor: predecessor, Revision: revision, Time: at, Note: "why",
		KeyID: "k1", ReleasedBy: "author", ReleasedAt: at, Signed: []byte(gateway + digest + fmt.Sprint(revision)),
	}
}

func testReleases(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	_, err := s.Live(ctx, "gw")
	is(t, err, ErrNotFound)
	_, _, err = s.Publish(ctx, releaseOf("gw", "d1", "", 7), "d2", nothing)
	is(t, err, ErrChanged)
	live, published, err := s.Publish(ctx, releaseOf("gw", "d1", "", 7), "", nothing)
	is(t, err, nil)
	if !published || fmt.Sprint(live) != fmt.Sprint(releaseOf("gw", "d1", "", 7)) {
		t.Errorf("published %v %v", published, live)
	}
	live, published, err = replica.Publish(ctx, releaseOf("gw", "d1", "", 7), "", nothing)
	is(t, err, nil)
	if published || live.Revision != 7 {
		t.Errorf("published again %v %v", published, live)
	}
	for name, r := range map[string]api.Release{
		"lower revision":    releaseOf("gw", "d2", "d1", 6),
		"same revision":     releaseOf("gw", "d2", "d1", 7),
		"other predecessor": releaseOf("gw", "d2", "d2", 8),
	} {
		if live, _, err = replica.Publish(ctx, r, "d1", nothing); !errors.Is(err, ErrChanged) || live.Revision != 7 {
			t.Errorf("%s: %v, live %v", name, err, live)
		}
	}
	_, _, err = s.Publish(ctx, releaseOf("gw", "d3", "d1", 8), "d1", nothing)
	is(t, err, ErrNotFound)
	_, _, err = s.Publish(ctx, releaseOf("gw", "d2", "d1", 7+MaxRevisionStep+1), "d1", nothing)
	is(t, err, ErrChanged)
	_, _, err = s.Publish(ctx, releaseOf("gw", "d2", "d1", 7+MaxRevisionStep), "d1", nothing)
	is(t, err, nil)
	live, err = replica.Live(ctx, "gw")
	is(t, err, nil)
	if live.Revision != 7+MaxRevisionStep || !live.Time.Equal(at) {
		t.Errorf("live %v", live)
	}
	history, err := s.Releases(ctx, "gw", 10)
	is(t, err, nil)
	if len(history) != 2 || history[0].Revision < history[1].Revision {
		t.Errorf("history %v", history)
	}
	if ok, err := s.Released(ctx, "gw", "d1"); !ok || err != nil {
		t.Errorf("d1 was released: %v, %v", ok, err)
	}
	if ok, err := s.Released(ctx, "other", "d1"); ok || err != nil {
		t.Errorf("d1 was released to another: %v, %v", ok, err)
	}
	is(t, s.DeleteBundle(ctx, "d1", nothing), ErrReferenced)
}

func testPublishers(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	_, _, err := s.Publish(ctx, releaseOf("busy", "d1", "", 1), "", nothing)
	is(t, err, nil)
	const publishers = 8
	results := make(chan error, publishers)
	var wg sync.WaitGroup
	for i := range publishers {
		on := []*Store{s, replica}[i%2]
		r := releaseOf("busy", "d2", "d1", uint64(2+i))
		wg.Go(func() {
			_, _, err := on.Publish(ctx, r, "d1", nothing)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrChanged):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d publishers won", won)
	}
}

func approvalOf(id, mode, binding string) api.Approval {
	return api.Approval{
		ID: id, Gateway: "gw", RequestedAt: at, ExpiresAt: at.Add(time.Minute),
		Held: api.Held{
			Mode: mode, Binding: binding, SQL: "delete from orders where note = '\u202e'",
			Params:    []api.Param{{Null: true}, {Binary: []byte{0, 255}}},
			Requester: api.Requester{Name: "ana"},
			Groups:    []api.ApprovalGroup{{Name: "dba", Members: []string{"ben", "chloe"}, Required: 2}},
		},
	}
}

func voter(name string) Voter { return Voter{Name: name, Subject: "oidc:" + name} }

func yes(name string) api.Vote {
	return api.Vote{Approver: name, Verdict: api.VerdictApprove, Reason: "ok"}
}

func testApprovals(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	stored, created, err := s.AddApproval(ctx, approvalOf("a1", api.ModeWait, "b1"), "n1", at, nothing)
	is(t, err, nil)
	if !created || stored.Status != api.StatusPending {
		t.Errorf("created %v %v", created, stored)
	}
	stored, created, err = replica.AddApproval(ctx, approvalOf("a2", api.ModeWait, "b1"), "n1", at, nothing)
	is(t, err, nil)
	if created || stored.ID != "a1" || stored.SQL != approvalOf("", "", "").SQL || len(stored.Params) != 2 || len(stored.Params[1].Binary) != 2 {
		t.Errorf("the same nonce: created %v %v", created, stored)
	}
	_, err = s.Vote(ctx, "lost", voter("ben"), yes("ben"), at, noApproval)
	is(t, err, ErrNotFound)
	a, err := s.Vote(ctx, "a1", voter("ben"), yes("ben"), at, noApproval)
	is(t, err, nil)
	if a.Status != api.StatusPending {
		t.Errorf("one of two: %v", a)
	}
	_, err = replica.Vote(ctx, "a1", Voter{Name: "benjamin", Subject: "oidc:ben"}, yes("benjamin"), at, noApproval)
	is(t, err, nil)
	_, err = replica.Vote(ctx, "a1", voter("ben"), api.Vote{Verdict: api.VerdictRefuse}, at, noApproval)
	is(t, err, ErrExists)
	later := at.Add(30 * time.Second)
	a, err = replica.Vote(ctx, "a1", voter("chloe"), yes("chloe"), later, noApproval)
	is(t, err, nil)
	if a.Status != api.StatusApproved || len(a.Votes) != 2 || !a.DecidedAt.Equal(later) {
		t.Errorf("two of two: %v", a)
	}
	a, err = s.Approval(ctx, "a1", at.Add(time.Hour))
	is(t, err, nil)
	if a.Status != api.StatusApproved || len(a.Votes) != 2 || a.Votes[0].Approver != "ben" {
		t.Errorf("read %v", a)
	}
	is(t, s.Withdraw(ctx, "gw", "a1", later, noApproval), ErrDecided)

	_, _, err = s.AddApproval(ctx, approvalOf("a3", api.ModeWait, "b1"), "n3", at, nothing)
	is(t, err, nil)
	is(t, s.Withdraw(ctx, "other", "a3", at, noApproval), ErrNotFound)
	is(t, s.Withdraw(ctx, "gw", "a3", at, noApproval), nil)
	is(t, replica.Withdraw(ctx, "gw", "a3", at, noApproval), nil)
	_, _, err = s.AddApproval(ctx, approvalOf("a4", api.ModeWait, "b1"), "n4", at.Add(time.Second), nothing)
	is(t, err, nil)
	_, err = s.Vote(ctx, "a4", voter("ben"), yes("ben"), at.Add(time.Minute), noApproval)
	is(t, err, ErrDecided)

	list, err := s.Approvals(ctx, 2, at.Add(time.Hour), func(a *api.Approval) bool { return a.Status != api.StatusWithdrawn })
	is(t, err, nil)
	if len(list) != 2 || list[0].Status != api.StatusApproved && list[0].Status != api.StatusExpired {
		t.Errorf("list %v", list)
	}
	is(t, s.ForgetApprovals(ctx, at.Add(time.Hour)), nil)
	_, err = s.Approval(ctx, "a1", at)
	is(t, err, ErrNotFound)
}

func testGrants(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	_, _, err := s.AddApproval(ctx, approvalOf("g1", api.ModeRetry, "b1"), "n1", at, nothing)
	is(t, err, nil)
	same, created, err := replica.AddApproval(ctx, approvalOf("g2", api.ModeRetry, "b1"), "n2", at, nothing)
	is(t, err, nil)
	if created || same.ID != "g1" {
		t.Errorf("a pending retry was asked for twice: %v", same)
	}
	_, err = s.Grant(ctx, "gw", "b1", "x", at, noApproval)
	is(t, err, ErrNotFound)
	for _, name := range []string{"ben", "chloe"} {
		_, err = s.Vote(ctx, "g1", voter(name), yes(name), at.Add(50*time.Second), noApproval)
		is(t, err, nil)
	}
	late := at.Add(100 * time.Second) // within a minute of the approval
	var mu sync.Mutex
	var winners []string
	var wg sync.WaitGroup
	for i := range 6 {
		on, nonce := []*Store{s, replica}[i%2], fmt.Sprint("nonce", i)
		wg.Go(func() {
			_, err := on.Grant(ctx, "gw", "b1", nonce, late, noApproval)
			if err == nil {
				mu.Lock()
				winners = append(winners, nonce)
				mu.Unlock()
			} else if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 {
		t.Fatalf("used by %v", winners)
	}
	a, err := replica.Grant(ctx, "gw", "b1", winners[0], late, noApproval)
	is(t, err, nil)
	if a.ID != "g1" || a.Status != api.StatusUsed || len(a.Votes) != 2 {
		t.Errorf("granted %v", a)
	}
	// A new request follows a used one.
	_, created, err = s.AddApproval(ctx, approvalOf("g3", api.ModeRetry, "b1"), "n3", at, nothing)
	is(t, err, nil)
	if !created {
		t.Error("a used approval was found again")
	}
	is(t, s.Withdraw(ctx, "gw", "g3", at, noApproval), nil)
}

func testVoters(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	a := approvalOf("v1", api.ModeWait, "b1")
	a.Groups[0].Required = 2
	a.Groups[0].Members = []string{"m0", "m1", "m2", "m3"}
	_, _, err := s.AddApproval(ctx, a, "v1", at, nothing)
	is(t, err, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		on, name := []*Store{s, replica}[i%2], fmt.Sprint("m", i/2)
		wg.Go(func() {
			if _, err := on.Vote(ctx, "v1", voter(name), yes(name), at, noApproval); err != nil && !errors.Is(err, ErrDecided) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a, err = s.Approval(ctx, "v1", at)
	is(t, err, nil)
	if a.Status != api.StatusApproved || len(a.Votes) != 2 {
		t.Errorf("voted %v", a)
	}
}

func testInstances(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	for i, name := range []string{"two", "one", "one"} {
		in := api.Instance{Instance: name, SeenAt: at, Heartbeat: api.Heartbeat{Revision: uint64(i), Bundle: "d1", StartedAt: at, Error: "e"}}
		is(t, s.Report(ctx, "gw", in), nil)
	}
	list, err := replica.Instances(ctx, "gw", at)
	is(t, err, nil)
	if len(list) != 2 || list[0].Instance != "one" || list[0].Revision != 2 || !list[0].SeenAt.Equal(at) {
		t.Errorf("list %v", list)
	}
	gateways, err := s.Gateways(ctx, at)
	is(t, err, nil)
	names := make([]string, len(gateways))
	for i, g := range gateways {
		names[i] = g.Name
		if g.Live == nil || (g.Name == "gw") != (g.Instances == 2) {
			t.Errorf("gateway %+v", g)
		}
	}
	if !slices.Equal(names, []string{"busy", "gw"}) {
		t.Errorf("gateways %v", names)
	}
	is(t, s.ForgetInstances(ctx, at.Add(time.Microsecond)), nil)
	list, err = s.Instances(ctx, "gw", time.Time{})
	is(t, err, nil)
	if len(list) != 0 {
		t.Errorf("kept %v", list)
	}
}

// testReports has a fleet report at once, with one report among them that no
// store can keep.
func testReports(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	const n = 200
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			in := api.Instance{Instance: fmt.Sprintf("i%03d", i), SeenAt: at, Heartbeat: api.Heartbeat{Revision: 7, StartedAt: at, Since: &at}}
			in.Statements, in.Waiting = uint64(i), 1
			if i == 17 {
				in.Error = "a\x00b" // PostgreSQL has no such text
			}
			on := s
			if i%2 == 1 {
				on = replica
			}
			errs[i] = on.Report(ctx, "fleet", in)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil && i != 17 {
			t.Errorf("report %d: %v", i, err)
		}
	}
	instances, err := replica.Instances(ctx, "fleet", at)
	is(t, err, nil)
	if len(instances) < n-1 || instances[5].Statements != 5 || instances[5].Since == nil || !instances[5].Since.Equal(at) {
		t.Errorf("%d instances are known, %+v", len(instances), instances[5])
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	is(t, s.Report(gone, "fleet", api.Instance{Instance: "gone", SeenAt: at}), context.Canceled)
}

// testSeen publishes at one replica: there it is seen at once, and at the other
// by whoever waits.
func testSeen(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	_, err := s.LiveSeen(ctx, "seen")
	is(t, err, ErrNotFound)
	_, err = replica.LiveSeen(ctx, "seen")
	is(t, err, ErrNotFound)
	for revision, sealed := range []string{"first", "second"} {
		digest := fmt.Sprintf("seen-%d", revision)
		_, err = s.PutBundle(ctx, bundleOf(digest, "k"), []byte(sealed), nothing)
		is(t, err, nil)
		r := releaseOf("seen", digest, "", uint64(revision+1))
		if revision > 0 {
			r.Predecessor = "seen-0"
		}
		_, _, err = s.Publish(ctx, r, r.Predecessor, nothing)
		is(t, err, nil)
		live, err := s.LiveSeen(ctx, "seen")
		if err != nil || live.Bundle != digest {
			t.Errorf("after its own publish: %+v, %v", live, err)
		}
		waiting, stop := context.WithTimeout(ctx, 20*time.Second)
		is(t, replica.Wait(waiting, func() (bool, error) {
			live, err := replica.LiveSeen(ctx, "seen")
			if errors.Is(err, ErrNotFound) {
				return false, nil
			}
			return live.Bundle == digest, err
		}), nil)
		if waiting.Err() != nil {
			t.Errorf("the other replica does not see %s", digest)
		}
		stop()
		for range 2 { // read, and remembered
			data, err := replica.Bundle(ctx, digest)
			if err != nil || string(data) != sealed {
				t.Errorf("bundle %q, %v", data, err)
			}
		}
	}
	// The same policy under another key takes the bundle's place, remembered or not.
	_, err = s.PutBundle(ctx, bundleOf("seen-1", "k2"), []byte("resealed"), nothing)
	is(t, err, nil)
	data, err := replica.Bundle(ctx, "seen-1")
	if err != nil || string(data) != "resealed" {
		t.Errorf("resealed bundle %q, %v", data, err)
	}
}

func testTokens(t *testing.T, s, replica *Store) {
	ctx := t.Context()
	expires := at.Add(time.Hour)
	brief := api.Token{ID: "t1", Name: "ci", Roles: []api.Role{api.RoleAuthor, "gateway:gw"}, CreatedAt: at, CreatedBy: "host", ExpiresAt: &expires}
	is(t, s.AddToken(ctx, brief, "h1", nothing), nil)
	is(t, s.AddToken(ctx, api.Token{ID: "t2", Name: "ben", Subject: "ben", CreatedAt: at.Add(1000)}, "h2", nothing), nil)
	got, hash, err := replica.TokenByHash(ctx, "h1", at)
	is(t, err, nil)
	if got.Name != "ci" || len(got.Roles) != 2 || hash != "h1" || !got.ExpiresAt.Equal(expires) || got.LastUsedAt != nil {
		t.Errorf("read %+v", got)
	}
	_, _, err = s.TokenByHash(ctx, "h1", expires)
	is(t, err, ErrNotFound)
	is(t, s.TouchToken(ctx, "t1", at), nil)
	list, err := s.Tokens(ctx)
	is(t, err, nil)
	if len(list) != 2 || list[0].ID != "t2" || list[0].Subject != "ben" || !list[1].LastUsedAt.Equal(at) {
		t.Errorf("list %v", list)
	}
	is(t, s.RevokeToken(ctx, "t1", at, nothing), nil)
	is(t, s.RevokeToken(ctx, "t1", at, nothing), ErrNotFound)
	_, _, err = replica.TokenByHash(ctx, "h1", at)
	is(t, err, ErrNotFound)
}

func testSessions(t *testing.T, s, replica *Store) {
	ctx, now := t.Context(), at
	here, there := s.Sessions(func() time.Time { return now }), replica.Sessions(func() time.Time { return now })
	is(t, here.Save(ctx, "id", []byte{0, 1}, at.Add(time.Hour)), nil)
	got, err := there.Load(ctx, "id")
	is(t, err, nil)
	if len(got) != 2 {
		t.Errorf("read %v", got)
	}
	now = at.Add(time.Hour)
	_, err = there.Load(ctx, "id")
	is(t, err, ErrNotFound)
	is(t, here.Save(ctx, "id", []byte("again"), now.Add(time.Hour)), nil)
	is(t, there.Delete(ctx, "id"), nil)
	_, err = here.Load(ctx, "id")
	is(t, err, ErrNotFound)
}

func testOnce(t *testing.T, s, replica *Store) {
	ctx, now := t.Context(), at
	here, there := s.Once(func() time.Time { return now }), replica.Once(func() time.Time { return now })
	is(t, here.Put(ctx, "a", "what", now.Add(time.Minute)), nil)
	is(t, there.Put(ctx, "a", "other", now.Add(time.Minute)), ErrExists)
	if got, err := there.Take(ctx, "a"); err != nil || got != "what" {
		t.Errorf("took %q, %v", got, err)
	}
	_, err := here.Take(ctx, "a")
	is(t, err, ErrNotFound)
	is(t, here.Put(ctx, "a", "again", now.Add(time.Minute)), nil)

	var took sync.WaitGroup
	var mu sync.Mutex
	winners := 0
	for _, o := range []*Once{here, there, here, there} {
		took.Go(func() {
			if _, err := o.Take(ctx, "a"); err == nil {
				mu.Lock()
				winners++
				mu.Unlock()
			}
		})
	}
	took.Wait()
	if winners != 1 {
		t.Errorf("%d took it, want one", winners)
	}
	is(t, here.Put(ctx, "b", "", now.Add(time.Minute)), nil)
	now = now.Add(time.Minute)
	_, err = here.Take(ctx, "b")
	is(t, err, ErrNotFound)
	is(t, here.Put(ctx, "b", "", now.Add(time.Minute)), nil)
}

func testWaiting(t *testing.T, s, replica *Store) {
	for name, writer := range map[string]*Store{"here": s, "on another replica": replica} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		looks := 0
		done := make(chan error, 1)
		first := make(chan struct{})
		go func() {
			done <- s.Wait(ctx, func() (bool, error) {
				if looks++; looks == 1 {
					close(first)
				}
				_, err := s.Object(ctx, policylang.KindIdentity, name)
				if errors.Is(err, ErrNotFound) {
					return false, nil
				}
				return true, err
			})
		}()
		<-first
		_, err := writer.CreateObject(ctx, object(name, "true"), nothing)
		is(t, err, nil)
		is(t, <-done, nil)
		if ctx.Err() != nil || looks > 5 {
			t.Errorf("%s: %v after %d looks", name, ctx.Err(), looks)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	is(t, s.Wait(ctx, func() (bool, error) { return false, nil }), nil)
	is(t, s.Wait(t.Context(), func() (bool, error) { return false, ErrChanged }), ErrChanged)
}

func testUndoing(t *testing.T, s, _ *Store) {
	ctx, stop := t.Context(), errors.New("cannot be recorded")
	fail := func() error { return stop }
	_, err := s.CreateObject(ctx, object("undone", "true"), fail)
	is(t, err, stop)
	_, err = s.Object(ctx, policylang.KindIdentity, "undone")
	is(t, err, ErrNotFound)
	_, err = s.PutBundle(ctx, bundleOf("undone", "k1"), []byte("undone"), fail)
	is(t, err, stop)
	_, err = s.Bundle(ctx, "undone")
	is(t, err, ErrNotFound)
	_, _, err = s.Publish(ctx, releaseOf("undone", "d1", "", 1), "", fail)
	is(t, err, stop)
	_, err = s.Live(ctx, "undone")
	is(t, err, ErrNotFound)
	is(t, s.AddToken(ctx, api.Token{ID: "undone", CreatedAt: at}, "undone", fail), stop)
	_, _, err = s.TokenByHash(ctx, "undone", at)
	is(t, err, ErrNotFound)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = s.CreateObject(ctx, object("cancelled", "true"), nothing); err == nil {
		t.Error("a cancelled write was done")
	}
}

func TestMigrations(t *testing.T) {
	cluster := pgtest.New(t)
	for _, c := range []Config{
		{URL: filepath.Join(t.TempDir(), "control.db")},
		{URL: cluster.URL("postgres", "postgres")},
	} {
		// Replicas that start together take turns.
		var wg sync.WaitGroup
		stores := make([]*Store, 4)
		for i := range stores {
			wg.Go(func() {
				var err error
				if stores[i], err = Open(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, s := range stores {
			if s == nil {
				continue
			}
			if _, err := s.w.ExecContext(t.Context(), "UPDATE schema_version SET version = 99"); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if s, err := Open(t.Context(), c); !errors.Is(err, ErrNewer) {
			t.Errorf("open a newer store: %v, %v", s, err)
		}
	}
}

// TestCrash kills PostgreSQL under writers: what was acknowledged is there
// afterwards, and the store works again by itself.
func TestCrash(t *testing.T) {
	cluster := pgtest.New(t)
	s := opener(Config{URL: cluster.URL("postgres", "postgres")})(t)
	var mu sync.Mutex
	var acknowledged []string
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("w%d-%d", w, i)
				if _, err := s.CreateObject(t.Context(), object(name, "true"), nothing); err == nil {
					mu.Lock()
					acknowledged = append(acknowledged, name)
					mu.Unlock()
				} else {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	written := func(least int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			n := len(acknowledged)
			mu.Unlock()
			if n >= least {
				return
			}
		}
		t.Errorf("fewer than %d writes were acknowledged", least)
	}
	written(20)
	cluster.Kill()
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a dead server answers")
	}
	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	before := len(acknowledged)
	mu.Unlock()
	written(before + 20)
	close(stop)
	wg.Wait()
	objects, err := s.Objects(t.Context(), policylang.KindIdentity)
	is(t, err, nil)
	have := make(map[string]bool, len(objects))
	for _, o := range objects {
		have[o.Name] = true
	}
	for _, name := range acknowledged {
		if !have[name] {
			t.Errorf("acknowledged %s is lost", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "sqlite:", "mysql://host/db"} {
		if _, err := Open(t.Context(), Config{URL: url}); err == nil {
			t.Errorf("%q was opened", url)
		}
	}
	_, err := Open(t.Context(), Config{URL: "postgres://user:hunter2@127.0.0.1:1/db?connect_timeout=1"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("no server: %v", err)
	}
}
