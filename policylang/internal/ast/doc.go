// Package ast names the nodes of PostgreSQL's syntax tree, so that what walks a
// tree need not import the parser that made it. [Unwrap] takes a node out of its
// envelope, [Children] goes one level down, and everything else is an alias of
// the parser's type, under the name that PostgreSQL's own source gives it.
package ast

//go:generate go run ./internal/nodegen
