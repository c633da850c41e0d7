package control

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/posternhq/postern/gateway/internal/api"
)

// TestMain checks the API's description when all other tests have shown what
// the handlers answer. A run of some tests only is not complete, so that it
// does not tell statuses that are described but never seen.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		for _, problem := range undescribed() {
			fmt.Fprintln(os.Stderr, "docs/api.yaml:", problem)
			code = 1
		}
	}
	os.Exit(code)
}

// description is the part of docs/api.yaml that is checked.
type description struct {
	Paths      map[string]pathItem `yaml:"paths"`
	Components struct {
		Schemas map[string]struct {
			Required   []string       `yaml:"required"`
			Properties map[string]any `yaml:"properties"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

type pathItem struct {
	Parameters []any                `yaml:"parameters"`
	Operations map[string]operation `yaml:",inline"` // by method
}

type operation struct {
	OperationID string         `yaml:"operationId"`
	Roles       []string       `yaml:"x-postern-roles"`
	Scoped      bool           `yaml:"x-postern-scoped"`
	RequestBody any            `yaml:"requestBody"`
	Responses   map[string]any `yaml:"responses"`
}

func readDescription() (description, map[string]operation, error) {
	var d description
	data, err := os.ReadFile("../../docs/api.yaml")
	if err == nil {
		err = yaml.Unmarshal(data, &d)
	}
	operations := make(map[string]operation)
	for path, item := range d.Paths {
		for method, o := range item.Operations {
			operations[strings.ToUpper(method)+" "+path] = o
		}
	}
	return d, operations, err
}

// undescribed compares the statuses that were seen with those described.
func undescribed() []string {
	_, operations, err := readDescription()
	if err != nil {
		return []string{err.Error()}
	}
	answers.Lock()
	defer answers.Unlock()
	var problems []string
	complete := answers.statuses["GET /healthz"][http.StatusOK] && len(answers.statuses) > len(operations)
	for pattern, o := range operations {
		for status := range answers.statuses[pattern] {
			common := status == http.StatusUnauthorized || status == http.StatusTooManyRequests || status >= 500
			if _, ok := o.Responses[strconv.Itoa(status)]; !ok && !common {
				problems = append(problems, fmt.Sprintf("%s answers %d, which is not described", pattern, status))
			}
		}
		for status := range o.Responses {
			if n, err := strconv.Atoi(status); err == nil && complete && !answers.statuses[pattern][n] {
				problems = append(problems, fmt.Sprintf("%s is said to answer %s, which no test has seen", pattern, status))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

func TestOperationsAreDescribed(t *testing.T) {
	_, operations, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	// What the handler looks at more closely than the route.
	closer := map[string][]string{
		"GET /v1/bundles/{digest}":  {"viewer", "author", "auditor", "admin", "gateway"},
		"DELETE /v1/approvals/{id}": {"gateway"},
	}
	ids := make(map[string]bool)
	for _, rt := range (&Server{}).routes() {
		o, ok := operations[rt.pattern]
		if !ok {
			t.Errorf("%s is not described", rt.pattern)
			continue
		}
		delete(operations, rt.pattern)
		want := rolesOf(rt)
		if roles, ok := closer[rt.pattern]; ok {
			want = roles
		}
		if !slices.Equal(o.Roles, want) {
			t.Errorf("%s is for %v, the description says %v", rt.pattern, want, o.Roles)
		}
		if o.Scoped != rt.scoped {
			t.Errorf("%s: the description and the route differ on whether a role for one gateway is enough", rt.pattern)
		}
		if (o.RequestBody != nil) != (rt.limit > 0) {
			t.Errorf("%s: the description and the route differ on whether there is a body", rt.pattern)
		}
		if ids[o.OperationID] || o.OperationID == "" {
			t.Errorf("%s has no operationId of its own", rt.pattern)
		}
		ids[o.OperationID] = true
	}
	for pattern := range operations {
		t.Errorf("%s is described, but there is no such route", pattern)
	}
}

// rolesOf says who may call a route as the description does.
func rolesOf(rt route) []string {
	out := []string{}
	if rt.anyone {
		return []string{"anyone"}
	}
	for _, r := range rt.roles {
		out = append(out, string(r))
	}
	if c := (&api.Caller{Roles: []api.Role{api.RoleAdmin}}); c.Has(rt.roles...) && !hasRole(rt.roles, api.RoleAdmin) {
		out = append(out, string(api.RoleAdmin))
	}
	if rt.gateway {
		out = append(out, "gateway:{gateway}")
	}
	return out
}

func TestSchemasAreDescribed(t *testing.T) {
	d, _, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	schemas := d.Components.Schemas
	for _, v := range []any{
		api.Approval{},
		api.ApprovalCreated{},
		api.ApprovalGroup{},
		api.ApprovalInput{},
		api.ApprovalList{},
		api.Bundle{},
		api.BundleList{},
		api.Caller{},
		api.Decision{},
		api.DecisionColumn{},
		api.DecisionDifference{},
		api.Decisions{},
		api.DecisionsInput{},
		api.Error{},
		api.ErrorBody{},
		api.Gateway{},
		api.GatewayList{},
		api.GrantInput{},
		api.Health{},
		api.Heartbeat{},
		api.Instance{},
		api.InstanceList{},
		api.Object{},
		api.ObjectInput{},
		api.ObjectList{},
		api.Param{},
		api.Release{},
		api.ReleaseCreated{},
		api.ReleaseList{},
		api.Requester{},
		api.Revocation{},
		api.Rollout{},
		api.RolloutInput{},
		api.RolloutList{},
		api.RolloutRelease{},
		api.RolloutReleaseInput{},
		api.RolloutStage{},
		api.RolloutStageInput{},
		api.RevocationInput{},
		api.RevocationList{},
		api.Token{},
		api.TokenCreated{},
		api.TokenInput{},
		api.EnrolmentInput{},
		api.Enrolment{},
		api.EnrolInput{},
		api.TokenList{},
		api.VersionInfo{},
		api.Vote{},
		api.VoteInput{},
	} {
		typ := reflect.TypeOf(v)
		schema, ok := schemas[typ.Name()]
		if !ok {
			t.Errorf("%s is not described", typ.Name())
			continue
		}
		delete(schemas, typ.Name())
		all, required := membersOf(typ)
		var described []string
		for name := range schema.Properties {
			described = append(described, name)
		}
		for _, list := range [][]string{all, required, described, schema.Required} {
			slices.Sort(list)
		}
		if !slices.Equal(all, described) {
			t.Errorf("%s has the members %v, the description says %v", typ.Name(), all, described)
		}
		if !slices.Equal(required, schema.Required) {
			t.Errorf("%s always has %v, the description says %v", typ.Name(), required, schema.Required)
		}
	}
	for _, scalar := range []string{"Digest", "Duration", "Role", "ApprovalStatus"} {
		delete(schemas, scalar)
	}
	for name := range schemas {
		t.Errorf("%s is described, but there is no such type", name)
	}
}

// membersOf lists a type's JSON members, and those that are always there.
func membersOf(typ reflect.Type) (all, required []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag := f.Tag.Get("json")
		if f.Anonymous && tag == "" {
			more, moreRequired := membersOf(f.Type)
			all, required = append(all, more...), append(required, moreRequired...)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "-" {
			continue
		}
		all = append(all, name)
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return all, required
}

// TestBodiesAreLimited sends each operation more than it takes.
func TestBodiesAreLimited(t *testing.T) {
	b := newBench(t)
	digest, _ := b.bundleOf("one")
	id := b.ask(asked("n1"))
	path := strings.NewReplacer("{kind}", "identity", "{name}", "ana", "{digest}", digest, "{gateway}", "gw", "{instance}", "i1", "{id}", id)
	for _, rt := range b.server.routes() {
		if rt.limit == 0 {
			continue
		}
		token := b.token(api.RoleAdmin)
		switch {
		case rt.gateway:
			token = b.token(api.GatewayRole("gw"))
		case rt.anyone:
			token = "oidc-ben"
		}
		large := `{"reason":"` + strings.Repeat("x", int(rt.limit))
		r := b.do(token, path.Replace(rt.pattern), large, "If-None-Match", "*")
		if r.status != http.StatusRequestEntityTooLarge || r.code() != api.CodeTooLarge {
			t.Errorf("%s: %d %s", rt.pattern, r.status, r.body)
		}
	}
}
