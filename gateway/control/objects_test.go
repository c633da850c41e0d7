package control

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

const anaBody = `{"definition":{"kind":"human","when":"token.sub == 'u-17'","groups":["b","a","a"]}}`

func TestObjects(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	const path = "/v1/objects/identity/ana"
	b.want(b.do(author, "GET "+path, nil), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(author, "PUT "+path, anaBody, "If-Match", `"1"`), http.StatusNotFound, api.CodeNotFound)

	created := b.want(b.do(author, "PUT "+path, anaBody, "If-None-Match", "*"), http.StatusCreated, "")
	o := into[api.Object](t, created)
	if !strings.Contains(string(o.Definition), `"groups":["a","b"]`) {
		t.Errorf("the definition is not canonical: %s", o.Definition)
	}
	if o.Digest != policylang.DigestBytes(o.Definition) || o.UpdatedBy != "author" || created.header.Get("ETag") != etag(strconv.FormatInt(o.Rev, 10)) {
		t.Errorf("created %+v with ETag %s", o, created.header.Get("ETag"))
	}
	b.want(b.do(author, "PUT "+path, anaBody, "If-None-Match", "*"), http.StatusConflict, api.CodeExists)

	updated := b.want(b.do(author, "PUT "+path, strings.ReplaceAll(anaBody, "human", "service"), "If-Match", created.header.Get("ETag")), http.StatusOK, "")
	if next := into[api.Object](t, updated); next.Rev <= o.Rev || next.Digest == o.Digest {
		t.Errorf("updated %+v after %+v", next, o)
	}
	b.want(b.do(author, "PUT "+path, anaBody, "If-Match", created.header.Get("ETag")), http.StatusPreconditionFailed, api.CodeChanged)
	if got := b.do(author, "GET "+path, nil); string(got.body) != string(updated.body) || got.header.Get("ETag") != updated.header.Get("ETag") {
		t.Errorf("read %s after %s", got.body, updated.body)
	}
	list := into[api.ObjectList](t, b.do(author, "GET /v1/objects/identity", nil))
	if len(list.Objects) != 1 || list.Objects[0].Name != "ana" {
		t.Errorf("list %+v", list)
	}

	b.want(b.do(author, "DELETE "+path, nil, "If-Match", created.header.Get("ETag")), http.StatusPreconditionFailed, api.CodeChanged)
	b.want(b.do(author, "DELETE "+path, nil, "If-Match", "x"), http.StatusBadRequest, api.CodeInvalid)
	b.want(b.do(author, "DELETE "+path, nil), http.StatusNoContent, "")
	b.want(b.do(author, "DELETE "+path, nil), http.StatusNotFound, api.CodeNotFound)
}

func TestObjectsRefuse(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	for _, tt := range []struct {
		name, target string
		body         string
		status       int
		code         string
	}{
		{"an unknown kind", "PUT /v1/objects/horse/x", anaBody, http.StatusNotFound, api.CodeNotFound},
		{"an unknown kind in a list", "GET /v1/objects/horse", "", http.StatusNotFound, api.CodeNotFound},
		{"an unknown attribute", "PUT /v1/objects/identity/x", `{"definition":{"wen":"true"}}`, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"a wrong type", "PUT /v1/objects/identity/x", `{"definition":{"when":1}}`, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"no definition", "PUT /v1/objects/identity/x", `{}`, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"a definition that is null", "PUT /v1/objects/identity/x", `{"definition":null}`, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"an unknown member", "PUT /v1/objects/identity/x", `{"definitions":{}}`, http.StatusBadRequest, api.CodeInvalid},
		{"no body", "PUT /v1/objects/identity/x", ``, http.StatusBadRequest, api.CodeInvalid},
		{"half a body", "PUT /v1/objects/identity/x", `{"definition":{`, http.StatusBadRequest, api.CodeInvalid},
		{"not JSON", "PUT /v1/objects/identity/x", `definition`, http.StatusBadRequest, api.CodeInvalid},
		{"two values", "PUT /v1/objects/identity/x", `{"definition":{}} {}`, http.StatusBadRequest, api.CodeInvalid},
		{"a wrong member", "PUT /v1/objects/identity/x", `"definition"`, http.StatusBadRequest, api.CodeInvalid},
		{"a control character in the name", "PUT /v1/objects/identity/a%00b", anaBody, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"a long name", "PUT /v1/objects/identity/" + strings.Repeat("x", 129), anaBody, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"a large body", "PUT /v1/objects/identity/x", `{"definition":{"when":"` + strings.Repeat("x", api.MaxBody) + `"}}`, http.StatusRequestEntityTooLarge, api.CodeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			b.want(b.do(author, tt.target, tt.body, "If-None-Match", "*"), tt.status, tt.code)
		})
	}
	b.t = t
	b.want(b.do(author, "PUT /v1/objects/identity/x", anaBody), http.StatusPreconditionRequired, api.CodePreconditionRequired)
	b.want(b.do(author, "PUT /v1/objects/identity/x", anaBody, "If-None-Match", `"1"`), http.StatusBadRequest, api.CodeInvalid)
	if list := into[api.ObjectList](t, b.do(author, "GET /v1/objects/identity", nil)); len(list.Objects) != 0 {
		t.Errorf("something was stored: %+v", list)
	}
}

func TestOfTwoEditorsOneWins(t *testing.T) {
	b := newBench(t)
	author := b.token(api.RoleAuthor)
	const path, editors = "/v1/objects/identity/ana", 8
	tag := b.want(b.do(author, "PUT "+path, anaBody, "If-None-Match", "*"), http.StatusCreated, "").header.Get("ETag")
	statuses := make(chan int, editors)
	var wg sync.WaitGroup
	for range editors {
		wg.Go(func() { statuses <- b.do(author, "PUT "+path, anaBody, "If-Match", tag).status })
	}
	wg.Wait()
	close(statuses)
	count := make(map[int]int)
	for status := range statuses {
		count[status]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusPreconditionFailed] != editors-1 {
		t.Errorf("answers by status: %v", count)
	}
}

func TestBundles(t *testing.T) {
	b := newBench(t, func(c *Config) { c.BundleDir = t.TempDir() })
	author, gateway := b.token(api.RoleAuthor), b.token(api.GatewayRole("gw"))
	digest, sealed := b.bundleOf("one")
	b.want(b.do(author, "GET /v1/bundles/"+digest, nil), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(author, "PUT /v1/bundles/"+digest, sealed), http.StatusCreated, "")
	b.want(b.do(author, "PUT /v1/bundles/"+digest, sealed), http.StatusOK, "")
	if got := b.want(b.do(author, "GET /v1/bundles/"+digest, nil), http.StatusOK, ""); string(got.body) != string(sealed) {
		t.Errorf("read %d bytes, want %d", len(got.body), len(sealed))
	}
	other, _ := b.bundleOf("other")
	for name, r := range map[string]reply{
		"another digest": b.do(author, "PUT /v1/bundles/"+other, sealed),
		"altered":        b.do(author, "PUT /v1/bundles/"+digest, strings.Replace(string(sealed), "a", "b", 1)),
		"truncated":      b.do(author, "PUT /v1/bundles/"+digest, sealed[:len(sealed)-1]),
		"a release":      b.do(author, "PUT /v1/bundles/"+digest, b.release(releaseOf("gw", digest))),
	} {
		if r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}

	// A gateway gets what was released to it.
	b.want(b.do(gateway, "GET /v1/bundles/"+digest, nil), http.StatusNotFound, api.CodeNotFound)
	b.publish(digest)
	b.want(b.do(gateway, "GET /v1/bundles/"+digest, nil), http.StatusOK, "")
	b.want(b.do(b.token(api.GatewayRole("other")), "GET /v1/bundles/"+digest, nil), http.StatusNotFound, api.CodeNotFound)
	b.want(b.do(b.token(api.RoleApprover), "GET /v1/bundles/"+digest, nil), http.StatusForbidden, api.CodeForbidden)

	b.want(b.do(author, "DELETE /v1/bundles/"+digest, nil), http.StatusConflict, api.CodeReferenced)
	unused := b.stored("unused")
	b.want(b.do(author, "DELETE /v1/bundles/"+unused, nil), http.StatusNoContent, "")
	b.want(b.do(author, "DELETE /v1/bundles/"+unused, nil), http.StatusNotFound, api.CodeNotFound)
	list := into[api.BundleList](t, b.do(author, "GET /v1/bundles", nil))
	if len(list.Bundles) != 1 || list.Bundles[0].Digest != digest || list.Bundles[0].Size != int64(len(sealed)) {
		t.Errorf("list %+v", list)
	}
}
