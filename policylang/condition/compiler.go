package condition

import (
	"slices"
	"sync"

	celast "github.com/google/cel-go/common/ast"

	"github.com/posternhq/postern/policylang"
)

// Compiler compiles many expressions. Those that differ in the contents of
// strings alone, as the rules of a large policy do, are parsed and type-checked
// once. The zero Compiler is ready; it is safe for concurrent use.
type Compiler struct {
	mu        sync.RWMutex
	templates map[templateKey]*template
}

type templateKey struct {
	kind     Kind
	skeleton string
}

// Compile compiles a condition. With any problem that is an error the
// condition is nil.
func (c *Compiler) Compile(kind Kind, expr string) (*Condition, []policylang.Problem) {
	env, at := environments()[kind], newSpans(expr)
	if quick := c.quick(env, expr); quick != nil {
		return quick, nil
	}
	ast, problems := c.checked(env, at)
	if ast == nil {
		return nil, problems
	}
	b := &builder{env: env, ast: ast, spans: at}
	condition, err := b.condition()
	if err != nil {
		return nil, append(problems, unplannable(expr))
	}
	return condition, problems
}

// quick makes a condition that differs in strings alone from one before, nil if
// that is not so or if something may be wrong with it.
func (c *Compiler) quick(env *environment, expr string) *Condition {
	if _, bad := outOfBounds(expr); bad {
		return nil
	}
	skeleton, strs := skeletonOf(expr)
	if strs == nil {
		return nil
	}
	if t := c.template(templateKey{env.kind, skeleton}); t != nil {
		return t.condition(env, strs)
	}
	return nil
}

// CompileExpression compiles an expression of [KindNameFrom] or
// [KindGroupsFrom]. With any problem that is an error the expression is nil.
func (c *Compiler) CompileExpression(kind Kind, expr string) (*Expression, []policylang.Problem) {
	env := environments()[kind]
	ast, problems := c.checked(env, newSpans(expr))
	if ast == nil {
		return nil, problems
	}
	program, err := env.plan(ast)
	if err != nil {
		return nil, append(problems, unplannable(expr))
	}
	return &Expression{program: program, source: expr}, problems
}

// checked parses and checks an expression, or fills a template with its
// strings. With any error the AST is nil.
func (c *Compiler) checked(env *environment, at *spans) (*celast.AST, []policylang.Problem) {
	if p, bad := outOfBounds(at.expr); bad {
		return nil, []policylang.Problem{p}
	}
	key, strs := templateKey{kind: env.kind}, []token(nil)
	if key.skeleton, strs = skeletonOf(at.expr); strs != nil {
		if t := c.template(key); t != nil {
			i := &inspection{env: env, ast: t.fill(strs), spans: at, cheap: t.cheap(strs)}
			return i.result()
		}
	}
	checked, issues := env.cel.Compile(at.expr)
	if issues.Err() != nil {
		return nil, translate(env, at, issues.Errors())
	}
	i := &inspection{env: env, ast: checked.NativeRep(), spans: at}
	ast, problems := i.result()
	if ast != nil && strs != nil {
		if t := newTemplate(ast, slices.Clone(strs), i.estimate); t != nil {
			if env.kind.isCondition() {
				t.learn(env, at.expr)
			}
			c.keep(key, t)
		}
	}
	return ast, problems
}

func (c *Compiler) template(key templateKey) *template {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.templates[key]
}

func (c *Compiler) keep(key templateKey, t *template) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.templates == nil {
		c.templates = make(map[templateKey]*template)
	}
	c.templates[key] = t
}
