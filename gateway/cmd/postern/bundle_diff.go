package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/policylang/reference"
)

func bundleDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what changes from one policy to another",
		Long: `Show what changes from one policy to another: which objects come, go and change,
and which way each change leans. OLD and NEW are bundles, or policy files, or
directories with policy files. No signature is verified.`,
		Example: `  postern bundle diff live.bundle policies/`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			before, err := readPolicy(cmd, args[0])
			if err != nil {
				return err
			}
			after, err := readPolicy(cmd, args[1])
			if err != nil {
				return err
			}
			return showDiff(out, before, after)
		},
	}
}

// readPolicy reads the policy of a bundle, or of policy files.
func readPolicy(cmd *cobra.Command, name string) (*policylang.Policy, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if info.IsDir() || strings.HasSuffix(name, ".hcl") {
		_, program, err := mustLoadPolicy(cmd, []string{name}, "")
		if err != nil {
			return nil, err
		}
		return program.Policy(), nil
	}
	data, err := readEnvelope(name)
	if err != nil {
		return nil, err
	}
	u, err := bundle.InspectUnverified(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if u.Type != bundle.TypeBundle {
		return nil, fmt.Errorf("read %s: it is a release, not a bundle", name)
	}
	return &u.Policy, nil
}

// objectChange is what happens to one object, as JSON has it.
type objectChange struct {
	Change     string            `json:"change"` // "add", "remove" or "change"
	Kind       string            `json:"kind"`
	Name       string            `json:"name"`
	Leaning    leaning           `json:"leaning"`
	Attributes []attributeChange `json:"attributes,omitempty"`
}

type attributeChange struct {
	Name string `json:"name"`
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// diffData is the result of `postern bundle diff` as JSON has it.
type diffData struct {
	Old     string         `json:"old"` // digests
	New     string         `json:"new"`
	Changes []objectChange `json:"changes"`
}

func showDiff(out *output, before, after *policylang.Policy) error {
	oldDigest, errOld := before.Digest()
	newDigest, errNew := after.Digest()
	if err := errors.Join(errOld, errNew); err != nil {
		return err
	}
	changes, err := diffPolicies(before, after)
	if err != nil {
		return err
	}
	return out.show(diffData{oldDigest, newDigest, changes}, func() error {
		if len(changes) == 0 {
			return out.printf("%s\n", out.paint(styleFaint, "nothing changes"))
		}
		for _, c := range changes {
			if err := out.print(changeText(out, c)); err != nil {
				return err
			}
		}
		return nil
	})
}

func changeText(out *output, c objectChange) string {
	var b strings.Builder
	sign := map[string]cell{"add": {"+", styleGreen}, "remove": {"-", styleRed}, "change": {"~", styleYellow}}[c.Change]
	fmt.Fprintf(&b, "%s %s %s  %s\n", out.paint(sign.style, sign.text), c.Kind, out.paint(styleBold, printable(fmt.Sprintf("%q", c.Name))), out.paint(styleFaint, c.Leaning.inWords()))
	for _, a := range c.Attributes {
		switch c.Change {
		case "add":
			fmt.Fprintf(&b, "    %s = %s\n", a.Name, diffValue(a.New))
		case "remove":
			fmt.Fprintf(&b, "    %s = %s\n", a.Name, diffValue(a.Old))
		default:
			b.WriteString(valueChange(out, a))
		}
	}
	return b.String()
}

// valueChange shows two values of an attribute, on lines of their own if either
// has several.
func valueChange(out *output, a attributeChange) string {
	before, after := diffLines(a.Old), diffLines(a.New)
	if len(before) == 1 && len(after) == 1 {
		return fmt.Sprintf("    %s: %s -> %s\n", a.Name, out.paint(styleRed, diffValue(a.Old)), out.paint(styleGreen, diffValue(a.New)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "    %s:\n", a.Name)
	for _, line := range before {
		fmt.Fprintf(&b, "      %s\n", out.paint(styleRed, "- "+line))
	}
	for _, line := range after {
		fmt.Fprintf(&b, "      %s\n", out.paint(styleGreen, "+ "+line))
	}
	return b.String()
}

// diffLines is the lines of a text, or the one of another value.
func diffLines(v any) []string {
	text, ok := v.(string)
	if !ok {
		return []string{diffValue(v)}
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		lines = append(lines, printable(line))
	}
	return lines
}

func diffValue(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "?"
	}
	return printable(strings.TrimSuffix(buf.String(), "\n"))
}

// diffPolicies compares two policies object by object, in canonical order.
func diffPolicies(before, after *policylang.Policy) ([]objectChange, error) {
	changes := []objectChange{}
	sortedBefore, sortedAfter := before.Sorted(), after.Sorted()
	was, is := byKey(&sortedBefore), byKey(&sortedAfter)
	for _, key := range allKeys(&sortedBefore, &sortedAfter) {
		c := objectChange{Kind: string(key.kind), Name: key.name}
		o, old := was[key]
		n, now := is[key]
		var err error
		switch {
		case !old:
			c.Change, c.Leaning = "add", addLeaning(n)
			c.Attributes, err = attributeChanges(blank(n), n)
		case !now:
			c.Change, c.Leaning = "remove", addLeaning(o).mirrored()
			c.Attributes, err = attributeChanges(o, blank(o))
		default:
			c.Change, c.Leaning = "change", changeLeaning(o, n)
			c.Attributes, err = attributeChanges(o, n)
			if err == nil && len(c.Attributes) == 0 {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

type objectName struct {
	kind policylang.Kind
	name string
}

func byKey(p *policylang.Policy) map[objectName]policylang.Object {
	out := map[objectName]policylang.Object{}
	for _, o := range p.Objects() {
		out[objectName{o.ObjectKind(), o.ObjectName()}] = o
	}
	return out
}

// allKeys lists the objects of either policy in canonical order.
func allKeys(before, after *policylang.Policy) []objectName {
	var both policylang.Policy
	seen := map[objectName]bool{}
	for _, o := range append(before.Objects(), after.Objects()...) {
		if key := (objectName{o.ObjectKind(), o.ObjectName()}); !seen[key] {
			seen[key] = true
			both.Add(o)
		}
	}
	sorted := both.Sorted()
	keys := make([]objectName, 0, len(seen))
	for _, o := range sorted.Objects() {
		keys = append(keys, objectName{o.ObjectKind(), o.ObjectName()})
	}
	return keys
}

// blank returns an object of the same kind with nothing but defaults.
func blank(o policylang.Object) policylang.Object {
	fresh, ok := reflect.New(reflect.TypeOf(o).Elem()).Interface().(policylang.Object)
	if !ok {
		return o
	}
	var p policylang.Policy
	p.Add(fresh)
	sorted := p.Sorted()
	return sorted.Objects()[0]
}

// attributeChanges compares the definitions of two objects of one kind.
func attributeChanges(before, after policylang.Object) ([]attributeChange, error) {
	was, err := attributes(before)
	if err != nil {
		return nil, err
	}
	is, err := attributes(after)
	if err != nil {
		return nil, err
	}
	var changes []attributeChange
	for _, a := range reference.Attributes(before.ObjectKind()) {
		name, _, _ := strings.Cut(a.Name, ".")
		if len(changes) > 0 && changes[len(changes)-1].Name == name {
			continue
		}
		if !reflect.DeepEqual(was[name], is[name]) {
			changes = append(changes, attributeChange{name, was[name], is[name]})
		}
	}
	return changes, nil
}

func attributes(o policylang.Object) (map[string]any, error) {
	data, err := policylang.Definition(o)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	return out, nil
}
