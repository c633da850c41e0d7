package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
)

// wireType is how a field's value is written.
type wireType struct {
	number string // of the field
	code   string // as protobuf numbers it
}

// wireField reads what a struct's tag says, as in "varint,3,opt,name=x".
func wireField(f reflect.StructField) wireType {
	kind, rest, _ := strings.Cut(f.Tag.Get("protobuf"), ",")
	number, rest, _ := strings.Cut(rest, ",")
	if strings.Contains(rest, "packed") {
		kind = "bytes"
	}
	code, ok := map[string]string{"varint": "wireVarint", "fixed64": "wireFixed64", "bytes": "wireBytes"}[kind]
	if !ok {
		panic(fmt.Sprintf("%s is written as %q, which the decoder does not know", f.Name, kind))
	}
	return wireType{number, code}
}

// writeMember writes what decodes a node's message. Node, wrapper and message
// are one allocation.
func writeMember(b *bytes.Buffer, members []member) {
	b.WriteString("// member decodes the message of a node that is in the field of that number; nil\n// if there is no such field.\nfunc (d *decoder) member(number uint64) *Node {\nswitch number {\n")
	for _, m := range members {
		name := typeName(m.message)
		fmt.Fprintf(b, "case %s:\nx := new(struct {\nnode Node\nwrapper pg_query.%s\nmessage %s\n})\n", m.number, m.wrapper, name)
		fmt.Fprintf(b, "x.node.Node, x.wrapper.%s = &x.wrapper, &x.message\n%s(d, &x.message)\nreturn &x.node\n", m.field, decoderName(name))
	}
	b.WriteString("}\nreturn nil\n}\n\n")
}

func decoderName(message string) string { return "decode" + message }

// writeDecoders writes a function for each message, which reads its fields.
func writeDecoders(b *bytes.Buffer, messages []reflect.Type) {
	node := reflect.TypeFor[*pg_query.Node]()
	for _, t := range messages {
		if t == node {
			continue
		}
		name := typeName(t)
		fmt.Fprintf(b, "func %s(d *decoder, m *%s) {\nend := d.enter()\nfor d.more() {\nswitch tag := d.varint(); tag {\n", decoderName(name), name)
		for _, f := range exportedFields(t) {
			if f.Type.Kind() == reflect.Interface {
				writeOneof(b, t)
				continue
			}
			w := wireField(f)
			fmt.Fprintf(b, "case %s<<3 | %s:\n%s\n", w.number, w.code, assignment(f))
		}
		b.WriteString("default:\nd.fail()\n}\n}\nd.leave(end)\n}\n\n")
	}
}

// writeOneof writes the cases of A_Const's oneof, the only one beside Node's.
func writeOneof(b *bytes.Buffer, t reflect.Type) {
	if t != reflect.TypeFor[*pg_query.A_Const]() {
		panic(fmt.Sprintf("%s has a oneof, which the decoder does not know", t))
	}
	m := new(pg_query.A_Const).ProtoReflect()
	fields := m.Descriptor().Oneofs().Get(0).Fields()
	for i := range fields.Len() {
		constant := new(pg_query.A_Const)
		constant.ProtoReflect().Set(fields.Get(i), m.NewField(fields.Get(i)))
		wrapper := reflect.TypeOf(constant.GetVal()).Elem()
		inner, message := wrapper.Field(0), typeName(wrapper.Field(0).Type)
		fmt.Fprintf(b, "case %d<<3 | wireBytes:\nx := new(struct {\nwrapper pg_query.%s\nmessage %s\n})\n", fields.Get(i).Number(), wrapper.Name(), message)
		fmt.Fprintf(b, "m.Val, x.wrapper.%s = &x.wrapper, &x.message\n%s(d, &x.message)\n", inner.Name, decoderName(message))
	}
}

// assignment is what reads a field's value.
func assignment(f reflect.StructField) string {
	message := func(t reflect.Type) bool { return t.Implements(reflect.TypeFor[proto.Message]()) }
	switch t := f.Type; {
	case t == reflect.TypeFor[[]*pg_query.Node]():
		return fmt.Sprintf("m.%s = d.nodes(m.%s, tag)", f.Name, f.Name)
	case t == reflect.TypeFor[*pg_query.Node]():
		return fmt.Sprintf("m.%s = d.node()", f.Name)
	case t == reflect.TypeFor[[]uint64]():
		return fmt.Sprintf("m.%s = d.packed(m.%s)", f.Name, f.Name)
	case t.Kind() == reflect.Pointer && message(t):
		return fmt.Sprintf("m.%s = new(%s)\n%s(d, m.%s)", f.Name, typeName(t), decoderName(typeName(t)), f.Name)
	case t.Kind() == reflect.String:
		return fmt.Sprintf("m.%s = d.text()", f.Name)
	case t.Kind() == reflect.Bool:
		return fmt.Sprintf("m.%s = d.varint() != 0", f.Name)
	case t.Kind() == reflect.Float64:
		return fmt.Sprintf("m.%s = d.double()", f.Name)
	case t.Kind() == reflect.Uint64:
		return fmt.Sprintf("m.%s = d.varint()", f.Name)
	case t.PkgPath() != "":
		return fmt.Sprintf("m.%s = %s(int32(d.varint()))", f.Name, typeName(t))
	case t.Kind() == reflect.Int32, t.Kind() == reflect.Uint32, t.Kind() == reflect.Int64:
		return fmt.Sprintf("m.%s = %s(d.varint())", f.Name, t.Kind())
	}
	panic(fmt.Sprintf("%s has the type %s, which the decoder does not know", f.Name, f.Type))
}
