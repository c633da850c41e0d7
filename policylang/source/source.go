// Package source reads and writes policy files.
//
// A policy file (*.postern.hcl) is HCL's native syntax with plain values only:
// no variables, functions or interpolation. Its blocks are the objects of the
// model, gateway, identity, query_rule, masking_policy and approval_group, each
// with its name as the one label, and the attributes of a block are the fields
// of the object under the names of the canonical encoding. A gateway has one
// upstream block and an issuer block for each issuer. Besides, a file may hold
// test blocks, see [policylang.Test].
//
//	gateway "orders" {
//	  upstream {
//	    host = "orders-db.internal"
//	  }
//	  issuer "corp" {
//	    url      = "https://login.example.com"
//	    audience = "postern"
//	  }
//	}
//
//	query_rule "engineers_read" {
//	  when   = "'engineering' in identity.groups && statement.read_only"
//	  effect = "allow"
//	}
//
// Most callers read with [ParseFS], compile the policy, and let [File.Locate]
// put the compiler's problems into the files:
//
//	file, problems := source.ParseFS(os.DirFS(dir))
//	program, more := compile.Compile(file.Policy, "orders")
//	problems = append(problems, file.Locate(more)...)
//
// Reading is strict and finds every problem at once. Bytes are taken as UTF-8;
// a byte order mark is dropped and CRLF is read as LF, so that a policy means
// the same wherever it was checked out. The package does no I/O and its
// functions are safe for concurrent use.
package source

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/posternhq/postern/policylang"
)

// DefaultPattern matches policy files.
const DefaultPattern = "*.postern.hcl"

// maxSize bounds a policy file, in bytes.
const maxSize = 4 << 20

// File is what one or several policy files say. It is immutable.
type File struct {
	Policy policylang.Policy
	Tests  []policylang.Test

	texts    map[string]*text            // by file name
	places   map[placeKey]place          // where each object and attribute stands
	broken   map[placeKey]bool           // attributes that could not be read; their problem is told
	reported map[policylang.Problem]bool // problems of the model that were told, without positions
	partial  bool                        // something was lost to a syntax error
}

// Parse reads one policy file. The problems are those of the text and of the
// policy's structure, see [policylang.Policy.Validate], in the order of the
// file. The File is never nil and holds what could be read.
func Parse(filename string, src []byte) (*File, []policylang.Problem) {
	r := newReader()
	r.read(filename, src)
	return r.finish()
}

// ParseFS reads the policy files of fsys that match the patterns, as
// [fs.Glob] does, or [DefaultPattern] if there are none, as one policy.
func ParseFS(fsys fs.FS, patterns ...string) (*File, []policylang.Problem) {
	if len(patterns) == 0 {
		patterns = []string{DefaultPattern}
	}
	r := newReader()
	for _, name := range r.glob(fsys, patterns) {
		src, err := readBounded(fsys, name)
		if err != nil {
			r.add(policylang.Problem{File: name, Summary: "cannot read the file: " + cause(err)})
			continue
		}
		r.read(name, src)
	}
	return r.finish()
}

// readBounded reads a file, or so much of it that it is known to be too large.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	src, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	return src, errors.Join(err, f.Close())
}

// reader collects what the files say.
type reader struct {
	file     *File
	problems []policylang.Problem
}

func newReader() *reader {
	return &reader{file: &File{
		texts:    map[string]*text{},
		places:   map[placeKey]place{},
		broken:   map[placeKey]bool{},
		reported: map[policylang.Problem]bool{},
	}}
}

func (r *reader) add(p policylang.Problem) { r.problems = append(r.problems, p) }

// glob returns the names that match, sorted and distinct.
func (r *reader) glob(fsys fs.FS, patterns []string) []string {
	var names []string
	for _, pattern := range patterns {
		found, err := fs.Glob(fsys, pattern)
		switch {
		case err != nil:
			r.add(policylang.Problem{File: pattern, Summary: "the pattern is malformed"})
		case len(found) == 0:
			r.add(policylang.Problem{File: pattern, Summary: "no policy file is there", Advice: "Policy files are named *.postern.hcl."})
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// finish checks the model as a whole.
func (r *reader) finish() (*File, []policylang.Problem) {
	f := r.file
	model := f.Policy.Validate()
	for _, t := range f.Tests {
		model = append(model, t.Validate(&f.Policy)...)
	}
	r.problems = append(r.problems, f.Locate(model)...)
	for _, p := range model {
		f.reported[unplaced(p)] = true
	}
	Sort(r.problems)
	return f, r.problems
}

// Sort orders problems as a reader of the files meets them.
func Sort(problems []policylang.Problem) {
	slices.SortStableFunc(problems, func(a, b policylang.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

// cause is what went wrong, without the path that the caller tells anyway.
func cause(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

func tooLarge(filename string) policylang.Problem {
	return policylang.Problem{
		File:    filename,
		Summary: fmt.Sprintf("the file is larger than %d MiB", maxSize>>20),
		Advice:  "Split the policy into several files.",
	}
}
