//go:build linux && cgo

package ast

import (
	"bytes"
	"slices"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/posternhq/postern/policylang/internal/protopack"
)

// TestRepackOfEveryNode fills every field of every message that a node can
// hold, and wants from the writer that the parser is linked with what Go's
// protocol buffers write.
func TestRepackOfEveryNode(t *testing.T) {
	fields := (&Node{}).ProtoReflect().Descriptor().Oneofs().ByName("node").Fields()
	for i := range fields.Len() {
		for seed := range 3 {
			node := &Node{}
			m := node.ProtoReflect()
			value := m.NewField(fields.Get(i))
			populate(value.Message(), 3, &seed)
			m.Set(fields.Get(i), value)
			tree := &pg_query.ParseResult{Version: 160001, Stmts: []*pg_query.RawStmt{{Stmt: node, StmtLocation: 3, StmtLen: 1 << 20}, {}}}
			wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			if got := protopack.Repack(wire); !bytes.Equal(got, wire) {
				t.Errorf("%s: %d bytes, want %d, or others", fields.Get(i).Message().Name(), len(got), len(wire))
			}
		}
	}
}

// scalars are the types of which the writer knows a single value.
var scalars = []protoreflect.Kind{
	protoreflect.StringKind, protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Int64Kind,
	protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.DoubleKind,
}

// TestRepackTypes wants no type of a field that the writer does not know.
func TestRepackTypes(t *testing.T) {
	messages := pg_query.File_pg_query_proto.Messages()
	for i := range messages.Len() {
		fields := messages.Get(i).Fields()
		for n := range fields.Len() {
			f := fields.Get(n)
			known := f.Kind() == protoreflect.MessageKind ||
				f.Kind() == protoreflect.Uint64Kind && f.IsPacked() ||
				slices.Contains(scalars, f.Kind()) && !f.IsList()
			if !known || f.HasPresence() && f.Kind() != protoreflect.MessageKind {
				t.Errorf("%s is a %s, which protopack.c does not write", f.FullName(), f.Kind())
			}
		}
	}
}
