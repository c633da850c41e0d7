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
	env := environments()[kind]
	ast, problems := c.checked(env, expr)
	if ast == nil {
		return nil, problems
	}
	b := &builder{env: env, ast: ast, source: expr}
	condition, err := b.condition()
	if err != nil {
		return nil, append(problems, unplannable(expr))
	}
	return condition, problems
}

// CompileExpression compiles an expression of [KindNameFrom] or
// [KindGroupsFrom]. With any problem that is an error the expression is nil.
func (c *Compiler) CompileExpression(kind Kind, expr string) (*Expression, []policylang.Problem) {
	env := environments()[kind]
	ast, problems := c.checked(env, expr)
	if ast == nil {
		return nil, problems
	}
	program, err := env.plan(ast)
	if err != nil {
		return nil, append(problems, unplannable(expr))
	}
	return &Expression{program: program, source: expr}, problems
}

// checked parses and checks an expression. With any error the AST is nil.
func (c *Compiler) checked(env *environment, expr string) (*celast.AST, []policylang.Problem) {
	if p, bad := outOfBounds(expr); bad {
		return nil, []policylang.Problem{p}
	}
	ast, problems := c.parsed(env, expr)
	if ast == nil {
		return nil, problems
	}
	problems = inspect(env, expr, ast)
	if policylang.HasErrors(problems) {
		return nil, problems
	}
	return ast, problems
}

// parsed parses and type-checks an expression, or fills a template with its
// strings.
func (c *Compiler) parsed(env *environment, expr string) (*celast.AST, []policylang.Problem) {
	key, strs := templateKey{kind: env.kind}, []token(nil)
	if key.skeleton, strs = skeletonOf(expr); strs != nil {
		if t := c.template(key); t != nil {
			return t.fill(strs), nil
		}
	}
	checked, issues := env.cel.Compile(expr)
	if issues.Err() != nil {
		return nil, translate(env, expr, issues.Errors())
	}
	ast := checked.NativeRep()
	if t := newTemplate(ast, slices.Clone(strs)); t != nil {
		c.keep(key, t)
	}
	return ast, nil
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
