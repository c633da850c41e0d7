package source

import (
	"reflect"
	"slices"
	"strings"
)

// field is a struct field that a file can set. Fields are named by their json
// tags, so that files, the canonical encoding and Terraform cannot disagree.
type field struct {
	name  string
	index int
	typ   reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "-" && t.Field(i).Name != "Name" {
			fields = append(fields, field{name, i, t.Field(i).Type})
		}
	}
	return fields
}

func fieldNamed(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

func fieldNames(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// isBlock reports whether the field is written as blocks.
func (f field) isBlock() bool { return f.typ.Kind() == reflect.Struct || f.labelled() }

// labelled reports whether the field is written as any number of blocks with
// names.
func (f field) labelled() bool {
	return f.typ.Kind() == reflect.Slice && f.typ.Elem().Kind() == reflect.Struct
}

// example shows how the field is written.
func (f field) example() string {
	switch {
	case f.labelled():
		return f.name + ` "name" { ... }`
	case f.isBlock():
		return f.name + " { ... }"
	}
	return f.name + " = " + exampleValue(f.typ)
}

func exampleValue(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // the model has no other kinds of field
	case reflect.Pointer:
		return exampleValue(t.Elem())
	case reflect.Int, reflect.Int64:
		return "1"
	case reflect.Bool:
		return "true"
	case reflect.Slice:
		return `["..."]`
	case reflect.Map:
		return "{ ... }"
	}
	return `"..."`
}

// wanted says in words what a value of the type is.
func wanted(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // the model has no other kinds of field
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of texts"
	case reflect.Map:
		return "a map"
	}
	return "text in quotes"
}
