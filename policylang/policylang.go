// Package policylang is the vocabulary of Postern's policy language: the
// objects a policy is made of, who asks (Subject), what a statement does
// (Facts), what the database looks like (Catalog), what is asked (Request) and
// what is answered (Decision). It depends on the standard library alone and
// does no I/O.
//
// Two front doors produce a [Policy]: policy files (package source) and
// Terraform. Both use the same names, which are also the names of the
// canonical JSON encoding, see [Policy.Canonical]. What is wrong with a policy
// is reported as a list of [Problem], all at once, each with a [Path] into the
// model that the front door turns into its own position.
//
// The steps that work on this vocabulary live in sub-packages: source reads
// and writes policy files, condition type-checks and evaluates CEL, statement
// turns SQL into Facts, lineage follows columns, compile turns a Policy into a
// Program that decides, bundle seals it.
package policylang
