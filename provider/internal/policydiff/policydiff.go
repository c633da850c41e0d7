// Package policydiff says which objects of a policy were added, removed and
// changed, attribute by attribute. It compares what the objects say, not what
// that means for anybody.
package policydiff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
)

// Action is what happened to an object.
type Action string

// The actions, as lines show them.
const (
	Added   Action = "+"
	Removed Action = "-"
	Changed Action = "~"
)

// Change is what happened to one object.
type Change struct {
	Action     Action
	Kind       policylang.Kind
	Name       string
	Attributes []Attribute // for Changed, sorted by name
}

// Attribute is one attribute of a changed object.
type Attribute struct {
	Name          string
	Before, After any // as encoding/json decodes them
}

// Compare lists what turns before into after, by kind and name.
func Compare(before, after policylang.Policy) ([]Change, error) {
	old, err := index(before)
	if err != nil {
		return nil, err
	}
	now, err := index(after)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(old)
	maps.Copy(all, now)
	var changes []Change
	for _, k := range slices.SortedFunc(maps.Keys(all), key.compare) {
		o, wasThere := old[k]
		n, isThere := now[k]
		c := Change{Kind: k.kind, Name: k.name}
		switch {
		case !wasThere:
			c.Action = Added
		case !isThere:
			c.Action = Removed
		default:
			c.Action, c.Attributes = Changed, compareMembers(o, n)
			if len(c.Attributes) == 0 {
				continue
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

type key struct {
	kind policylang.Kind
	name string
}

func (k key) compare(other key) int {
	if k.kind != other.kind {
		return strings.Compare(string(k.kind), string(other.kind))
	}
	return strings.Compare(k.name, other.name)
}

func index(p policylang.Policy) (map[key]map[string]any, error) {
	out := map[key]map[string]any{}
	for _, o := range p.Objects() {
		data, err := policylang.Definition(o)
		if err != nil {
			return nil, err
		}
		var members map[string]any
		if err := json.Unmarshal(data, &members); err != nil {
			return nil, fmt.Errorf("read %s %q: %w", o.ObjectKind(), o.ObjectName(), err)
		}
		out[key{o.ObjectKind(), o.ObjectName()}] = members
	}
	return out, nil
}

func compareMembers(before, after map[string]any) []Attribute {
	var out []Attribute
	for _, name := range slices.Sorted(maps.Keys(after)) {
		o, n := before[name], after[name]
		oldObject, isObject := o.(map[string]any)
		newObject, _ := n.(map[string]any)
		switch {
		case reflect.DeepEqual(o, n):
		case isObject:
			for _, inner := range compareMembers(oldObject, newObject) {
				inner.Name = name + "." + inner.Name
				out = append(out, inner)
			}
		default:
			out = append(out, Attribute{Name: name, Before: o, After: n})
		}
	}
	return out
}

// String words the change on one line.
func (c Change) String() string {
	line := fmt.Sprintf("%s %s.%s", c.Action, c.Kind, c.Name)
	parts := make([]string, len(c.Attributes))
	for i, a := range c.Attributes {
		parts[i] = a.String()
	}
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, "; ")
	}
	return line
}

// String words what became of the attribute: which elements a set gained and
// lost, or what the value was and is.
func (a Attribute) String() string {
	old, oldSet := a.Before.([]any)
	now, newSet := a.After.([]any)
	if !oldSet || !newSet {
		return fmt.Sprintf("%s %s -> %s", a.Name, show(a.Before), show(a.After))
	}
	parts := append(missing("+", now, old), missing("-", old, now)...)
	if len(parts) == 0 { // of a list; sets are sorted
		return fmt.Sprintf("%s in another order: %s", a.Name, show(a.After))
	}
	return a.Name + " " + strings.Join(parts, " ")
}

// missing shows the elements of one set that another lacks.
func missing(sign string, from, in []any) []string {
	var out []string
	for _, v := range from {
		if !slices.ContainsFunc(in, func(w any) bool { return reflect.DeepEqual(v, w) }) {
			out = append(out, sign+show(v))
		}
	}
	return out
}

// longest is how much of a value is shown, in characters.
const longest = 200

func show(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	text := []rune(strings.TrimSuffix(buf.String(), "\n"))
	if len(text) > longest {
		text = append(text[:longest:longest], '…')
	}
	return string(text)
}
