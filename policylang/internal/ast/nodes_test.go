package ast

import (
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestChildrenMissesNothing fills every message field of every node and counts
// what Children finds: run go generate if it fails.
func TestChildrenMissesNothing(t *testing.T) {
	fields := (&Node{}).ProtoReflect().Descriptor().Oneofs().ByName("node").Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Message().Name())
		node := &Node{}
		node.ProtoReflect().Set(fields.Get(i), node.ProtoReflect().NewField(fields.Get(i)))
		m, ok := Unwrap(node).(proto.Message)
		if !ok {
			t.Fatalf("%s is no message", name)
		}
		if name == "A_Const" { // a leaf
			continue
		}
		want := fill(m.ProtoReflect())
		got := 0
		Children(m, func(child any) {
			if child == nil {
				t.Errorf("%s: a nil child", name)
			}
			got++
		})
		if got != want {
			t.Errorf("%s: %d children, want %d", name, got, want)
		}
	}
}

// fill sets every message field and returns how many there are.
func fill(m protoreflect.Message) int {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Kind() != protoreflect.MessageKind {
			continue
		}
		value := m.NewField(fd)
		if fd.IsList() {
			value.List().Append(leaf(value.List().NewElement()))
		} else {
			value = leaf(value)
		}
		m.Set(fd, value)
	}
	n := 0
	for i := range fields.Len() {
		if fields.Get(i).Kind() == protoreflect.MessageKind && m.Has(fields.Get(i)) {
			n++
		}
	}
	return n
}

// leaf makes a Node hold a String, and leaves other messages empty.
func leaf(v protoreflect.Value) protoreflect.Value {
	if n, ok := v.Message().Interface().(*Node); ok {
		proto.Merge(n, &Node{Node: &pg_query.Node_String_{String_: &String{Sval: "x"}}})
	}
	return v
}

func TestUnwrapOfNothing(t *testing.T) {
	if Unwrap(nil) != nil || Unwrap(&Node{}) != nil || Unwrap(&Node{Node: &pg_query.Node_String_{}}) != nil {
		t.Error("something in nothing")
	}
	Children(nil, func(any) { t.Error("a child of nothing") })
}
