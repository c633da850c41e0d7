package control

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

func TestReleasesFollowEachOther(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	one, two := b.stored("one"), b.stored("two")
	unstored, _ := b.bundleOf("unstored")
	b.want(b.do(author, "GET /v1/gateways/gw/release", nil), http.StatusNotFound, api.CodeNotFound)
	first := b.publish(one)
	if first.Revision != 1 || first.ReleasedBy != "author" || first.KeyID != b.key.PublicKey().ID() {
		t.Errorf("live release %+v", first)
	}
	ifOne, ifTwo := []string{"If-Match", etag(one)}, []string{"If-Match", etag(two)}
	good := bundle.Release{Gateway: "gw", Bundle: two, Predecessor: one, Revision: 2}
	for _, tt := range []struct {
		name    string
		release bundle.Release
		headers []string
		status  int
		code    string
	}{
		{"without precondition", good, nil, http.StatusPreconditionRequired, api.CodePreconditionRequired},
		{"with two preconditions", good, []string{"If-Match", etag(one), "If-None-Match", "*"}, http.StatusBadRequest, api.CodeInvalid},
		{"with a list of tags", good, []string{"If-Match", `"a", "b"`}, http.StatusBadRequest, api.CodeInvalid},
		{"none is live", good, []string{"If-None-Match", "*"}, http.StatusPreconditionFailed, api.CodeChanged},
		{"another is live", good, ifTwo, http.StatusPreconditionFailed, api.CodeChanged},
		{"wrong predecessor", bundle.Release{Gateway: "gw", Bundle: two, Predecessor: two, Revision: 2}, ifOne, http.StatusPreconditionFailed, api.CodeChanged},
		{"no predecessor", bundle.Release{Gateway: "gw", Bundle: two, Revision: 2}, ifOne, http.StatusPreconditionFailed, api.CodeChanged},
		{"same revision", bundle.Release{Gateway: "gw", Bundle: two, Predecessor: one, Revision: 1}, ifOne, http.StatusPreconditionFailed, api.CodeChanged},
		{"another gateway", bundle.Release{Gateway: "other", Bundle: two, Predecessor: one, Revision: 2}, ifOne, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"bundle not stored", bundle.Release{Gateway: "gw", Bundle: unstored, Predecessor: one, Revision: 2}, ifOne, http.StatusUnprocessableEntity, api.CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			r := b.want(b.do(author, "POST /v1/gateways/gw/releases", b.release(tt.release), tt.headers...), tt.status, tt.code)
			if tt.status == http.StatusPreconditionFailed {
				if live := into[api.ErrorBody](t, r).Live; live == nil || live.Bundle != one {
					t.Errorf("412 says that live is %+v", live)
				}
			}
		})
	}
	b.t = t
	b.want(b.do(author, "POST /v1/gateways/gw/releases", "{}", ifOne...), http.StatusUnprocessableEntity, api.CodeInvalid)
	_, sealed := b.bundleOf("one")
	b.want(b.do(author, "POST /v1/gateways/gw/releases", sealed, ifOne...), http.StatusUnprocessableEntity, api.CodeInvalid)

	signed := b.release(good)
	b.want(b.do(author, "POST /v1/gateways/gw/releases", signed, ifOne...), http.StatusCreated, "")
	// A publisher that did not hear the answer may ask again.
	b.want(b.do(author, "POST /v1/gateways/gw/releases", signed, ifOne...), http.StatusOK, "")
	// Rolling back is a release like any other.
	back := b.publish(one)
	if back.Revision != 3 || back.Predecessor != two {
		t.Errorf("rolled back by %+v", back)
	}
	history := into[api.ReleaseList](t, b.do(author, "GET /v1/gateways/gw/releases?limit=2", nil)).Releases
	if len(history) != 2 || history[0].Revision != 3 || history[1].Revision != 2 {
		t.Errorf("history %+v", history)
	}
	b.want(b.do(author, "GET /v1/gateways/gw/releases?limit=0", nil), http.StatusUnprocessableEntity, api.CodeInvalid)
}

func TestOfTwoPublishersOneWins(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	one := b.stored("one")
	b.publish(one)
	const publishers = 8
	signed := make([][]byte, publishers)
	for i := range signed {
		digest := b.stored("candidate" + string(rune('a'+i)))
		signed[i] = b.release(bundle.Release{Gateway: "gw", Bundle: digest, Predecessor: one, Revision: 2})
	}
	var wg sync.WaitGroup
	statuses := make(chan int, publishers)
	for _, s := range signed {
		wg.Go(func() {
			statuses <- b.do(author, "POST /v1/gateways/gw/releases", s, "If-Match", etag(one)).status
		})
	}
	wg.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	if count[http.StatusCreated] != 1 || count[http.StatusPreconditionFailed] != publishers-1 {
		t.Errorf("answers by status: %v", count)
	}
}

func TestReleaseLongPoll(t *testing.T) {
	b := newBench(t)
	gateway := b.token(api.GatewayRole("gw"))
	one, two := b.stored("one"), b.stored("two")

	waiting := func(query string) <-chan reply {
		answered := make(chan reply, 1)
		go func() { answered <- b.do(gateway, "GET /v1/gateways/gw/release"+query, nil) }()
		return answered
	}
	first := waiting("?after=0&wait=30s")
	time.Sleep(50 * time.Millisecond)
	b.publish(one)
	if got := into[api.Release](t, <-first); got.Revision != 1 {
		t.Errorf("the first release is %+v", got)
	}
	b.want(b.do(gateway, "GET /v1/gateways/gw/release?after=1", nil), http.StatusNotModified, "")
	b.want(b.do(gateway, "GET /v1/gateways/gw/release?after=1&wait=20ms", nil), http.StatusNotModified, "")
	b.want(b.do(gateway, "GET /v1/gateways/gw/release?after=x", nil), http.StatusUnprocessableEntity, api.CodeInvalid)
	b.want(b.do(gateway, "GET /v1/gateways/gw/release?after=1&wait=soon", nil), http.StatusUnprocessableEntity, api.CodeInvalid)

	second := waiting("?after=1&wait=30s")
	time.Sleep(50 * time.Millisecond)
	published := time.Now()
	b.publish(two)
	got := <-second
	if live := into[api.Release](t, got); live.Revision != 2 || got.header.Get("ETag") != etag(two) {
		t.Errorf("the second release is %+v", live)
	}
	if took := time.Since(published); took > 200*time.Millisecond {
		t.Logf("a writer in the same process was noticed only after %s", took)
	}

	// A drain answers who waits.
	third := waiting("?after=2&wait=30s")
	time.Sleep(50 * time.Millisecond)
	b.server.Drain()
	if r := <-third; r.status != http.StatusNotModified {
		t.Errorf("drained: %d %s", r.status, r.body)
	}
}

func TestLongPollEndsWhenTheCallerLeaves(t *testing.T) {
	b := newBench(t)
	b.publish(b.stored("one"))
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.http.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.AfterFunc(50*time.Millisecond, cancel)
		b.server.Handler().ServeHTTP(w, r)
		close(done)
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.http.URL+"/v1/gateways/gw/release?after=1&wait=30s", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token(api.GatewayRole("gw")))
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("the request was answered")
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("the handler goes on waiting")
	}
}

func TestAnotherReplicaIsNoticed(t *testing.T) {
	dir := t.TempDir()
	here := newBench(t, func(c *Config) { c.Store = dir + "/control.db" })
	there := newBench(t, func(c *Config) { c.Store = dir + "/control.db" })
	there.key = here.key
	answered := make(chan reply, 1)
	go func() {
		answered <- here.do(here.token(api.GatewayRole("gw")), "GET /v1/gateways/gw/release?after=0&wait=30s", nil)
	}()
	time.Sleep(50 * time.Millisecond)
	there.publish(there.stored("one"))
	select {
	case r := <-answered:
		here.want(r, http.StatusOK, "")
	case <-time.After(30 * time.Second):
		t.Error("the change was not noticed")
	}
}
