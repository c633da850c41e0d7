// Package compile turns a policy into a program that decides.
//
//	program, problems := compile.Compile(policy, "orders")
//	subject, err := program.Identify(claims, now)          // once per login
//	evaluator := program.Evaluator(subject, session)       // once per session
//	decision := evaluator.Decide(facts, now)               // for each execution
//	masks := evaluator.Masks(now)
//
// The order of a policy's objects never matters. A statement is denied if a
// deny rule matches, else held if a hold rule matches, else allowed if an allow
// rule matches, else the gateway's default_effect applies. So a hold rule lets
// its approvers pass even what no rule allows. Limits of matching rules combine
// to the strictest.
//
// A condition that is uncertain, since it failed or since the facts of the
// statement do not say (see package condition), counts as a match for deny,
// hold, limit and masks and as none for allow and unless. Hence: adding a deny,
// hold or limit never widens what is possible without an approval, removing an
// allow never does, and an uncertain condition never does. A statement that an
// agent runs for a person is decided once as each, and the stricter decision
// wins.
//
// # Speed
//
// Compile takes conditions apart. What a session fixes is evaluated once for
// each session; sessions for which it comes out alike are of one class and
// share what follows. Of a class, the rules that can still match are indexed by
// what they need of a statement, so that a new statement meets few of them. A
// decision is kept with its facts: the same facts are decided by one look-up
// until a condition that mentions now says otherwise.
//
// Everything here is a pure function of its arguments; a Program and an
// Evaluator are safe for concurrent use.
package compile

import (
	"fmt"
	"runtime"

	"github.com/posternhq/postern/policylang"
)

// Program is a compiled policy. It is immutable.
type Program struct {
	policy     policylang.Policy // sorted
	digest     string
	gateway    *policylang.Gateway // nil if none was chosen
	fallback   policylang.Effect   // the gateway's default_effect
	rules      []rule              // sorted by name
	masks      []mask              // sorted by name
	identities *directory
	session    sessionAtoms
	index      ruleIndex // of the rules that few share a key with
	strict     []int32   // the rules that do not grant
	classes    classCache
	caches     cacheBudget
	inputs     inputPool
	maskSets   maskSetCache
	always     policylang.Decision // about what is always admitted
}

// Compile compiles a policy for one of its gateways. It returns everything that
// is wrong with the policy at once; the program is nil if any of it is an
// error. With an empty gateway the whole policy is checked, and the program
// decides as a gateway that denies by default.
func Compile(p policylang.Policy, gateway string) (*Program, []policylang.Problem) {
	return compileOn(p, gateway, "", runtime.GOMAXPROCS(0), func() {})
}

// Aside is [Compile] on one processor, for who has something more urgent to do
// than to wait for it: between pieces of work of some ten microseconds it calls
// yield, which may sleep. The digest is the policy's, which its bundle has told.
func Aside(p policylang.Policy, gateway, digest string, yield func()) (*Program, []policylang.Problem) {
	return compileOn(p, gateway, digest, 1, yield)
}

func compileOn(p policylang.Policy, gateway, digest string, workers int, yield func()) (*Program, []policylang.Problem) {
	problems := p.ValidateAside(yield)
	b := builder{policy: p.Sorted(), workers: workers, yield: yield}
	b.compileConditions()
	problems = append(problems, b.problems...)
	if gateway != "" {
		if _, ok := b.policy.Gateway(gateway); !ok {
			problems = append(problems, unknownGateway(&b.policy, gateway))
		}
	}
	if policylang.HasErrors(problems) {
		return nil, problems
	}
	problems = append(problems, b.identityOverlaps()...)
	if policylang.HasErrors(problems) {
		return nil, problems
	}
	problems = append(problems, b.ineffective()...)
	program, err := b.program(gateway, digest)
	if err != nil {
		return nil, append(problems, policylang.Problem{Summary: err.Error()})
	}
	return program, problems
}

func unknownGateway(p *policylang.Policy, name string) policylang.Problem {
	var names []string
	for i := range p.Gateways {
		names = append(names, p.Gateways[i].Name)
	}
	return policylang.Problem{
		Path:       policylang.Path{Kind: policylang.KindGateway, Name: name},
		Summary:    fmt.Sprintf("there is no gateway %q in the policy", name),
		Advice:     "Declare the gateway, or compile for one that is declared.",
		Suggestion: policylang.Suggest(name, names),
	}
}

// Digest returns the digest of the policy's canonical encoding.
func (p *Program) Digest() string { return p.digest }

// Policy returns the policy in canonical form. It must not be changed.
func (p *Program) Policy() *policylang.Policy { return &p.policy }

// Gateway returns the gateway that the program was compiled for, nil if none.
// It must not be changed.
func (p *Program) Gateway() *policylang.Gateway { return p.gateway }

// Decide decides a single request. Sessions use an [Evaluator].
func (p *Program) Decide(r policylang.Request) *policylang.Decision {
	return p.Evaluator(r.Subject, r.Session).Decide(r.Facts, r.Now)
}

func (b *builder) program(gateway, digest string) (*Program, error) {
	if digest == "" {
		var err error
		if digest, err = b.policy.Digest(); err != nil {
			return nil, fmt.Errorf("digest policy: %w", err)
		}
	}
	p := &Program{policy: b.policy, digest: digest, fallback: policylang.EffectDeny, always: policylang.Decision{Effect: policylang.EffectAllow}}
	if g, ok := p.policy.Gateway(gateway); ok {
		p.gateway, p.fallback = g, g.DefaultEffect
	}
	rules, frequency, err := b.rules()
	if err != nil {
		return nil, err
	}
	p.rules = rules
	p.indexRules(frequency, b.yield)
	p.masks = b.masks()
	p.identities = b.directory()
	p.session = newSessionAtoms(p.rules, p.masks, b.yield)
	return p, nil
}
