package policylang

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxNameLength bounds the names of objects, in bytes.
const maxNameLength = 128

// maxIdentifierLength is the length at which PostgreSQL cuts names, in bytes
// (NAMEDATALEN - 1).
const maxIdentifierLength = 63

// Validate reports everything that is wrong with the policy's structure: names,
// enumerations, numbers, durations, globs, addresses, references between
// objects, attributes that are missing and attributes that have no meaning
// where they stand. It does not read conditions. Paths with an index, such as
// columns[1], count in the order of p's own slices. No problem ever quotes a
// gateway's credentials.
func (p *Policy) Validate() []Problem { return p.ValidateAside(func() {}) }

// ValidateAside is [Policy.Validate] for who has something more urgent to do: it
// calls yield between objects.
func (p *Policy) ValidateAside(yield func()) []Problem {
	var problems []Problem
	objects := p.Objects()
	seen := make(map[objectKey]bool, len(objects))
	for _, o := range objects {
		yield()
		c := checker{problems: &problems, kind: o.ObjectKind(), name: o.ObjectName()}
		c.object(o, seen)
		switch o := o.(type) {
		case *Gateway:
			c.gateway(o)
		case *Identity:
			c.identity(o)
		case *QueryRule:
			c.queryRule(o, p)
		case *MaskingPolicy:
			c.maskingPolicy(o)
		case *ApprovalGroup:
			c.approvalGroup(o, p)
		}
	}
	return problems
}

type objectKey struct {
	kind Kind
	name string
}

// checker collects the problems of one object.
type checker struct {
	problems *[]Problem
	kind     Kind
	name     string
}

// reference checks that a name, if there is one, is among names.
func (c checker) reference(attr, what, name string, names []string) {
	if name != "" && !slices.Contains(names, name) {
		c.report(SeverityError, attr, fmt.Sprintf("no %s is named %q", what, name), "", Suggest(name, names))
	}
}

func objectNames[T any, P interface {
	*T
	Object
}](objects []T) []string {
	names := make([]string, len(objects))
	for i := range objects {
		names[i] = P(&objects[i]).ObjectName()
	}
	return names
}

func (c checker) add(attr, summary, advice string) {
	c.report(SeverityError, attr, summary, advice, "")
}

func (c checker) warn(attr, summary, advice string) {
	c.report(SeverityWarning, attr, summary, advice, "")
}

func (c checker) report(severity Severity, attr, summary, advice, suggestion string) {
	*c.problems = append(*c.problems, Problem{
		Severity:   severity,
		Path:       Path{Kind: c.kind, Name: c.name, Attr: attr},
		Summary:    summary,
		Advice:     advice,
		Suggestion: suggestion,
	})
}

// object checks what every kind of object has in common.
func (c checker) object(o Object, seen map[objectKey]bool) {
	switch {
	case c.name == "":
		c.add("", fmt.Sprintf("the %s has no name", label(c.kind)), "Give each object a name that is unique among its kind.")
	case !validName(c.name):
		c.add("", fmt.Sprintf("%q cannot be a name", c.name), nameAdvice)
	}
	key := objectKey{c.kind, c.name}
	if seen[key] && c.name != "" {
		c.add("", fmt.Sprintf("two objects are named %s %q", c.kind, c.name), "Rename or remove one of them.")
	}
	seen[key] = true
	c.texts(reflect.ValueOf(o).Elem(), "")
}

const nameAdvice = "A name starts with a letter or a digit, goes on with letters, digits, underscores, hyphens and dots, and has at most 128 of them."

func validName(name string) bool {
	if name == "" || len(name) > maxNameLength {
		return false
	}
	for i := range len(name) {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case i > 0 && (b == '_' || b == '-' || b == '.'):
		default:
			return false
		}
	}
	return true
}

// texts checks every string in v, which is a struct that the canonical encoding
// writes: what is not UTF-8 has no encoding, and PostgreSQL has no NUL.
func (c checker) texts(v reflect.Value, prefix string) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		c.text(v.Field(i), prefix+name)
	}
}

func (c checker) text(v reflect.Value, attr string) {
	switch v.Kind() { //nolint:exhaustive // the other kinds hold no text
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			c.add(attr, attr+" is not valid UTF-8 text", "Remove the bytes that are not UTF-8, and NUL characters.")
		}
	case reflect.Slice:
		for i := range v.Len() {
			element := v.Index(i)
			if issuer, ok := element.Interface().(Issuer); ok {
				c.texts(element, attr+"."+issuer.Name+".")
				continue
			}
			c.text(element, attr+"["+strconv.Itoa(i)+"]")
		}
	case reflect.Struct:
		c.texts(v, attr+".")
	}
}

// required reports an attribute that is blank.
func (c checker) required(attr, value, advice string) bool {
	if strings.TrimSpace(value) == "" {
		c.add(attr, attr+" is missing", advice)
		return false
	}
	return true
}

// unused reports an attribute that is set where it has no meaning.
func (c checker) unused(set bool, attr, where, advice string) {
	if set {
		c.add(attr, attr+" has no meaning "+where, advice)
	}
}

// set checks a list whose order carries no meaning: no blank and no repeated
// elements.
func (c checker) set(attr string, values []string) {
	for i, v := range values {
		element := attr + "[" + strconv.Itoa(i) + "]"
		switch {
		case strings.TrimSpace(v) == "":
			c.add(element, element+" is blank", "Remove it.")
		case slices.Contains(values[:i], v):
			c.warn(element, fmt.Sprintf("%q stands in %s twice", v, attr), "Remove one of them.")
		}
	}
}

// duration checks a Go duration that must be positive and at most longest.
func (c checker) duration(attr, value string, longest time.Duration) {
	if value == "" {
		return
	}
	const advice = `Write a number with a unit, such as "30s", "15m" or "1h30m".`
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		c.add(attr, fmt.Sprintf("%s %q is not a duration", attr, value), advice)
	case d <= 0:
		c.add(attr, fmt.Sprintf("%s %q is not more than zero", attr, value), advice)
	case d > longest:
		c.add(attr, fmt.Sprintf("%s %q is too long", attr, value), fmt.Sprintf("At most %s are possible.", hours(longest)))
	}
}

func hours(d time.Duration) string { return strconv.Itoa(int(d/time.Hour)) + " hours" }

// identifier checks a name that PostgreSQL must take whole.
func (c checker) identifier(attr, value string) {
	if len(value) > maxIdentifierLength {
		c.add(attr, fmt.Sprintf("%s is %d bytes long", attr, len(value)), "PostgreSQL cuts names at 63 bytes.")
	}
}

// enumeration checks a value that is one of allowed; an empty value is the
// default.
func enumeration[T ~string](c checker, attr string, value T, allowed ...T) bool {
	if value == "" || slices.Contains(allowed, value) {
		return true
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	c.report(SeverityError, attr, fmt.Sprintf("%s cannot be %q", attr, string(value)), "It is "+oneOf(names)+".", Suggest(string(value), names))
	return false
}

// oneOf lists names as in `"a", "b" or "c"`.
func oneOf(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// label is a kind as prose has it.
func label(k Kind) string { return strings.ReplaceAll(string(k), "_", " ") }
