package condition

import (
	"strings"

	"github.com/google/cel-go/cel"
)

func typesWords(ts []string) string {
	if len(ts) == 0 {
		return "nothing"
	}
	words := make([]string, len(ts))
	for i, t := range ts {
		words[i] = typeWords(t)
	}
	return andList(words)
}

// typeInWords names a type as in "a list of strings".
func typeInWords(t *cel.Type) string { return typeWords(cel.FormatCELType(t)) }

// typeWords names a type that CEL wrote.
func typeWords(t string) string {
	switch t {
	case "string":
		return "a string"
	case "int", "uint":
		return "an integer"
	case "double":
		return "a number"
	case "bool":
		return "a boolean"
	case "bytes":
		return "bytes"
	case "dyn":
		return "a claim"
	case "timestamp", "google.protobuf.Timestamp":
		return "a moment"
	case "duration", "google.protobuf.Duration":
		return "a duration"
	case "null", "null_type":
		return "null"
	case identityTypeName:
		return "the identity"
	case sessionTypeName:
		return "the session"
	case statementTypeName:
		return "the statement"
	case relationTypeName:
		return "a relation"
	}
	if of, ok := strings.CutPrefix(t, "list("); ok {
		return "a list of " + plural(typeWords(strings.TrimSuffix(of, ")")))
	}
	if strings.HasPrefix(t, "map(") {
		return "a map"
	}
	return t
}

func plural(words string) string {
	for _, article := range []string{"a ", "an "} {
		if of, ok := strings.CutPrefix(words, article); ok {
			head, tail, more := strings.Cut(of, " ")
			if more {
				return head + "s " + tail
			}
			return of + "s"
		}
	}
	return words
}

func andList(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
