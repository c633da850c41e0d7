package tfmodel

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/posternhq/postern/policylang"
)

// Top returns the name of the top-level Terraform attribute that an attribute of
// a problem's path belongs to: "upstream" of "upstream.host", "name" of the
// object itself.
//
// Diagnostics stand on that attribute, however deep the problem is: Terraform
// shows the line of a top-level attribute, and of anything deeper only the line
// on which the resource begins.
func Top(attribute string) string {
	if i := strings.IndexAny(attribute, ".["); i >= 0 {
		attribute = attribute[:i]
	}
	if attribute == "" {
		return "name"
	}
	return attributeName(attribute)
}

// Expression returns the text of the attribute if it is an expression, so that
// [Diagnostic] can show where in it the problem is.
func Expression(object policylang.Object, attribute string) string {
	switch o := object.(type) {
	case *policylang.Identity:
		switch attribute {
		case "when":
			return o.When
		case "name_from":
			return o.NameFrom
		case "groups_from":
			return o.GroupsFrom
		}
	case *policylang.QueryRule:
		if attribute == "when" {
			return o.When
		}
	case *policylang.MaskingPolicy:
		if attribute == "unless" {
			return o.Unless
		}
	}
	return ""
}

// Diagnostic shows a problem on the attribute. If it is within an expression,
// the detail has an excerpt of it with a caret.
func Diagnostic(at path.Path, p policylang.Problem, expression string) diag.Diagnostic {
	summary, detail := Message(p, expression)
	if p.Severity == policylang.SeverityWarning {
		return diag.NewAttributeWarningDiagnostic(at, summary, detail)
	}
	return diag.NewAttributeErrorDiagnostic(at, summary, detail)
}

// Message words a problem as a summary and a detail.
func Message(p policylang.Problem, expression string) (summary, detail string) {
	var parts []string
	if expression != "" {
		parts = append(parts, excerpt(expression, p.Path.Offset, p.Path.Length))
	}
	if p.Suggestion != "" {
		parts = append(parts, fmt.Sprintf("Did you mean %q?", p.Suggestion))
	}
	if p.Advice != "" {
		parts = append(parts, p.Advice)
	}
	if len(parts) == 0 {
		parts = append(parts, "In "+p.Path.String()+".")
	}
	return sentence(p.Summary, p.Path.Attr), strings.Join(parts, "\n\n")
}

// excerpt shows the line of the text that the bytes from offset are on, and
// carets below them. Terraform does not wrap indented lines.
func excerpt(text string, offset, length int) string {
	offset = min(max(offset, 0), len(text))
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	line := text[start:]
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	column := min(offset-start, len(line))
	length = min(max(length, 0), len(line)-column)
	const tab = "  "
	before := strings.ReplaceAll(line[:column], "\t", tab)
	marked := strings.ReplaceAll(line[column:column+length], "\t", tab)
	after := strings.ReplaceAll(line[column+length:], "\t", tab)
	return "    " + before + marked + after + "\n" +
		"    " + strings.Repeat(" ", utf8.RuneCountInString(before)) + strings.Repeat("^", max(1, utf8.RuneCountInString(marked)))
}

// sentence begins the summary with a capital, unless it begins with a name, and
// names the nested attribute that it is about.
func sentence(summary, attribute string) string {
	if strings.Contains(attribute, ".") && !strings.HasPrefix(summary, attribute) {
		return attribute + ": " + summary
	}
	word, _, _ := strings.Cut(summary, " ")
	names := []string{Top(attribute), "identity", "session", "statement", "token", "now"}
	if word == "" || word[0] < 'a' || word[0] > 'z' || slices.Contains(names, word) || strings.ContainsAny(word, "_.[") {
		return summary
	}
	return string(word[0]-'a'+'A') + summary[1:]
}
