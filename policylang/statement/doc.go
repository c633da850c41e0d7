// Package statement reads SQL: it turns a text into statements, each with the
// facts that policy decides on. It is the only door to PostgreSQL's parser.
//
// [Parse] reads a text; a [Cache] does so quickly for texts seen before or
// that differ from them in constants alone.
//
//	tree, err := cache.Parse("delete from orders where id = 17")
//	tree.Statements[0].Facts.Command // "DELETE"
//
// # Promises
//
// Whatever the text, the answer comes in bounded time and memory: size,
// encoding, nesting and number of statements are checked before the parser
// sees a byte, because it is written in C and overflows its stack on deep
// trees (see [Limits]). An error is always an [*Error], and no constant of the
// text is in its message.
//
// Facts err to one side: what is not understood counts as [policylang.Facts]'
// most dangerous class and is opaque, never harmless. They are read from the
// text alone. A name that the text does not qualify has no schema, a function
// of pg_catalog is taken for itself though a user's overload may stand before
// it, and triggers, views, defaults and row security are not seen: a catalog
// settles those later. [policylang.Facts].Unknown lists what it has to look at.
//
// docs/language.md says what counts as what, under "How statements are read";
// testdata/facts has an example of each statement of the grammar, and
// [FunctionGroups] lists the functions that do more than compute.
//
// Everything in this package is safe for concurrent use; a [Tree] is immutable.
package statement
