package compile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// TestProblems compiles the example policy with something changed.
func TestProblems(t *testing.T) {
	addRule := func(name string, effect policylang.Effect, when string) func(*policylang.Policy) {
		return func(p *policylang.Policy) {
			r := policylang.QueryRule{Name: name, Effect: effect, When: when}
			if effect == policylang.EffectHold {
				r.ApprovalGroup = "dba"
			}
			p.QueryRules = append(p.QueryRules, r)
		}
	}
	addIdentity := func(name, when string) func(*policylang.Policy) {
		return func(p *policylang.Policy) {
			p.Identities = append(p.Identities, policylang.Identity{Name: name, Kind: "human", When: when})
		}
	}
	for _, tt := range []struct {
		name    string
		change  func(*policylang.Policy)
		gateway string
		want    []string
	}{
		{name: "nothing is wrong", change: func(*policylang.Policy) {}, gateway: "orders"},
		{name: "no gateway is chosen", change: func(*policylang.Policy) {}},
		{
			name: "unknown gateway", change: func(*policylang.Policy) {}, gateway: "order",
			want: []string{`gateway.order: there is no gateway "order" in the policy; did you mean "orders"? (Declare the gateway, or compile for one that is declared)`},
		},
		{
			name: "problems of several objects at once",
			change: func(p *policylang.Policy) {
				p.QueryRules[0].When = "identity.nam == 'ana'"
				p.MaskingPolicies[0].Unless = "statement.read_only"
				p.Identities[3].NameFrom = "size(token)"
				p.Identities[3].GroupsFrom = "'a'"
			},
			want: []string{
				"identity.partners.name_from: the expression gives an integer, it must give a string",
				"identity.partners.groups_from: the expression gives a string, it must give a list of strings",
				`masking_policy.email.unless: "statement" cannot be mentioned here (The condition of a masking policy may mention identity, session and now)`,
				`query_rule.engineers.when: identity has no field "nam"; did you mean "name"? (It has name, kind, groups, claims, actor, delegated, auth_method and auth_time)`,
			},
		},
		{
			name: "two identities with equal conditions", change: addIdentity("anna", "token.sub == 'u-17' && token.iss == 'https://login.example.com'"),
			want: []string{`identity.ana.when: every token that identity "ana" matches is matched by identity "anna" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`},
		},
		{
			name: "an identity within another", change: addIdentity("zoe", "token.iss == 'https://partners.example.com' && token.sub == 'zoe'"),
			want: []string{`identity.zoe.when: every token that identity "zoe" matches is matched by identity "partners" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`},
		},
		{
			name: "an identity cut out of another",
			change: func(p *policylang.Policy) {
				addIdentity("zoe", "token.iss == 'https://partners.example.com' && token.sub == 'zoe'")(p)
				p.Identities[3].When += " && token.sub != 'zoe'"
			},
		},
		{
			name: "an identity within a list", change: addIdentity("team", "token.iss == 'https://login.example.com' && token.sub in ['u-1', 'u-17']"),
			want: []string{`identity.ana.when: every token that identity "ana" matches is matched by identity "team" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`},
		},
		{
			name: "an identity that matches everything", change: addIdentity("all", "true"),
			want: []string{
				`identity.ana.when: every token that identity "ana" matches is matched by identity "all" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`,
				`identity.ben.when: every token that identity "ben" matches is matched by identity "all" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`,
				`identity.bot.when: every token that identity "bot" matches is matched by identity "all" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`,
				`identity.partners.when: every token that identity "partners" matches is matched by identity "all" too (A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17')`,
			},
		},
		{
			name: "a rule that contradicts itself", change: addRule("never", policylang.EffectAllow, "statement.class == 'read' && statement.class == 'ddl'"),
			want: []string{"query_rule.never.when: warning: the rule never matches: parts of its condition exclude each other (Mend the condition or remove the rule)"},
		},
		{
			name: "a rule that is never true", change: addRule("never", policylang.EffectDeny, "session.tls && !session.tls"),
			want: []string{"query_rule.never.when: warning: the rule never matches: parts of its condition exclude each other (Mend the condition or remove the rule)"},
		},
		{
			name: "an allow that a deny overrules", change: addRule("read_secrets", policylang.EffectAllow, "identity.in_group('pii') && statement.reads('secret.*')"),
			want: []string{`query_rule.read_secrets.when: warning: the rule has no effect: rule "no_secrets" denies every statement that it matches (Narrow the other rule, or remove this one)`},
		},
		{
			name: "a hold that a deny overrules", change: addRule("ask", policylang.EffectHold, "statement.reads('secret.*')"),
			want: []string{`query_rule.ask.when: warning: the rule has no effect: rule "no_secrets" denies every statement that it matches (Narrow the other rule, or remove this one)`},
		},
		{
			name: "an allow that a hold overrules", change: addRule("wipe", policylang.EffectAllow, "'dba' in identity.groups && statement.writes && !statement.filtered"),
			want: []string{
				`query_rule.wipe.when: warning: the rule has no effect: rule "unfiltered_writes" holds every statement that it matches (Narrow the other rule, or remove this one)`,
				`query_rule.wipe.when: warning: identity.groups is never "dba" (No identity of the policy is in the group)`,
			},
		},
		{
			name: "names that nothing has", change: addRule("typos", policylang.EffectDeny, "identity.kind == 'humans' || session.gateway == 'order' && statement.class in ['read', 'writes']"),
			want: []string{
				`query_rule.typos.when: warning: identity.kind is never "humans"; did you mean "human"? (A kind is human, service or agent)`,
				`query_rule.typos.when: warning: session.gateway is never "order"; did you mean "orders"? (Only gateways of the policy evaluate it)`,
				`query_rule.typos.when: warning: statement.class is never "writes"; did you mean "write"? (A class is read, write, ddl, role, function or misc)`,
			},
		},
		{
			name:   "signs and commands that there are not",
			change: addRule("typos", policylang.EffectDeny, "'shared_tokens' in session.signs || statement.command in ['DROP TABEL', 'truncate', 'EXPUNGE'] || statement.commands.exists(c, c == 'drop index')"),
			want: []string{
				`query_rule.typos.when: warning: session.signs is never "shared_tokens"; did you mean "shared_token"? (A sign is shared_token, human_from_ci, human_as_job, service_as_person)`,
				`query_rule.typos.when: warning: statement.command is never "DROP TABEL"; did you mean "DROP TABLE"? (A command is PostgreSQL's tag in capitals, such as SELECT, TRUNCATE TABLE or DROP INDEX)`,
				`query_rule.typos.when: warning: statement.command is never "EXPUNGE" (A command is PostgreSQL's tag in capitals, such as SELECT, TRUNCATE TABLE or DROP INDEX)`,
				`query_rule.typos.when: warning: statement.command is never "truncate"; did you mean "TRUNCATE TABLE"? (A command is PostgreSQL's tag in capitals, such as SELECT, TRUNCATE TABLE or DROP INDEX)`,
				`query_rule.typos.when: warning: statement.commands is never "drop index"; did you mean "DROP INDEX"? (A command is PostgreSQL's tag in capitals, such as SELECT, TRUNCATE TABLE or DROP INDEX)`,
			},
		},
		{
			name: "a missing approval group",
			change: func(p *policylang.Policy) {
				p.QueryRules[5].ApprovalGroup = "dbas"
			},
			want: []string{`query_rule.unfiltered_writes.approval_group: no approval group is named "dbas"; did you mean "dba"?`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := examplePolicy()
			p.Identities[3].GroupsFrom = "" // so that all groups are known
			tt.change(&p)
			program, problems := compile.Compile(p, tt.gateway)
			var got []string
			for _, problem := range problems {
				got = append(got, problem.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if (program == nil) != policylang.HasErrors(problems) {
				t.Errorf("program %v with problems %v", program, problems)
			}
		})
	}
}

func TestGateway(t *testing.T) {
	p := examplePolicy()
	if g := mustCompile(t, p, "orders").Gateway(); g == nil || g.Name != "orders" || g.Upstream.Port != 5432 {
		t.Errorf("gateway is %+v", g)
	}
	if g := mustCompile(t, p, "").Gateway(); g != nil {
		t.Errorf("gateway is %+v though none was chosen", g)
	}
	digest, err := p.Digest()
	if got := mustCompile(t, p, "orders").Digest(); err != nil || got != digest || !strings.HasPrefix(got, "sha256:") {
		t.Errorf("digest %q, want %q (%v)", got, digest, err)
	}
}
