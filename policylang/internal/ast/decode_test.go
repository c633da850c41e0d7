package ast

import (
	"math"
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"github.com/pganalyze/pg_query_go/v5/parser"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decodeAll is what the parser's own Parse gives, by way of our decoder.
func decodeAll(wire string) (*pg_query.ParseResult, error) {
	raw, err := Statements(wire)
	if err != nil {
		return nil, err
	}
	out := &pg_query.ParseResult{}
	for _, r := range raw {
		node, err := Decode(r.Wire)
		if err != nil {
			return nil, err
		}
		out.Stmts = append(out.Stmts, &pg_query.RawStmt{Stmt: node, StmtLocation: int32(r.Location), StmtLen: int32(r.Length)})
	}
	return compared(out), nil
}

// compared leaves out what we do not read: the version, and whether a
// statement is missing or empty.
func compared(r *pg_query.ParseResult) *pg_query.ParseResult {
	r.Version = 0
	for _, s := range r.Stmts {
		if s.GetStmt().GetNode() == nil {
			s.Stmt = nil
		}
	}
	return r
}

// TestDecodeOfEveryNode fills every field of every message that a node can
// hold, and wants what proto.Unmarshal reads: run go generate if it fails.
func TestDecodeOfEveryNode(t *testing.T) {
	fields := (&Node{}).ProtoReflect().Descriptor().Oneofs().ByName("node").Fields()
	for i := range fields.Len() {
		for seed := range 3 {
			node := &Node{}
			m := node.ProtoReflect()
			value := m.NewField(fields.Get(i))
			populate(value.Message(), 3, &seed)
			m.Set(fields.Get(i), value)
			wire, err := proto.Marshal(node)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(string(wire))
			if err != nil || !proto.Equal(node, got) {
				t.Errorf("%s: error %v, or another tree", fields.Get(i).Message().Name(), err)
			}
		}
	}
}

// populate sets the fields of a message, and of those in it some levels down,
// to values that seed varies.
func populate(m protoreflect.Message, levels int, seed *int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.ContainingOneof() != nil { // one of its fields
			all := fd.ContainingOneof().Fields()
			if *seed++; all.Get(*seed%all.Len()) != fd {
				continue
			}
		}
		if fd.Kind() == protoreflect.MessageKind && levels == 0 {
			continue
		}
		if !fd.IsList() {
			m.Set(fd, sample(m.NewField(fd), fd, levels, seed))
			continue
		}
		list := m.Mutable(fd).List()
		for range 1 + *seed%3 {
			list.Append(sample(list.NewElement(), fd, levels, seed))
		}
	}
}

func sample(fresh protoreflect.Value, fd protoreflect.FieldDescriptor, levels int, seed *int) protoreflect.Value {
	*seed++
	n := []int64{0, 1, -1, 127, 128, math.MaxInt32, math.MinInt32}[*seed%7]
	switch fd.Kind() {
	case protoreflect.MessageKind:
		populate(fresh.Message(), levels-1, seed)
		return fresh
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"", "a", "ä€𝄞", strings.Repeat("long ", 40)}[*seed%4])
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(*seed%2 == 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(*seed % values.Len()).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n << 20)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) / 3)
	default:
		panic("no sample of " + fd.Kind().String())
	}
}

// TestDecodeDepth nests nodes around the protobuf library's limit.
func TestDecodeDepth(t *testing.T) {
	list := int(listNumber(t))
	for _, chains := range []int{1, 100, 4997, 4998, 4999, 5000} {
		var inner []byte
		for range chains { // a Node that holds a List that holds the Node
			inner = append(lengthAndTag(1, len(inner)), inner...)
			inner = append(lengthAndTag(list, len(inner)), inner...)
		}
		raw := append(lengthAndTag(1, len(inner)), inner...)
		wire := append(lengthAndTag(2, len(raw)), raw...)
		want := &pg_query.ParseResult{}
		wantErr := proto.Unmarshal(wire, want)
		got, err := decodeAll(string(wire))
		if (err != nil) != (wantErr != nil) {
			t.Errorf("%d lists: error %v, want %v", chains, err, wantErr)
		}
		if wantErr == nil && !proto.Equal(want, got) {
			t.Errorf("%d lists: another tree", chains)
		}
	}
}

func listNumber(t *testing.T) protoreflect.FieldNumber {
	t.Helper()
	return (&Node{}).ProtoReflect().Descriptor().Fields().ByName("list").Number()
}

func lengthAndTag(number, length int) []byte {
	return appendVarint(appendVarint(nil, uint64(number)<<3|wireBytes), uint64(length))
}

func appendVarint(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func TestDecodeOfWhatIsNoTree(t *testing.T) {
	for name, wire := range map[string]string{
		"ends in a tag":          "\x80",
		"ends in a length":       "\x0a",
		"longer than the text":   "\x0a\x05a",
		"unknown field":          "\xfa\xff\x01\x00",
		"another way of writing": "\x08\x00",
		"endless number":         strings.Repeat("\x80", 11),
		"number of 65 bits":      strings.Repeat("\x80", 9) + "\x02",
		"no UTF-8":               string(appendString(listString(t), "\xff")),
	} {
		if _, err := Decode(wire); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// listString is the number of String in Node.
func listString(t *testing.T) protoreflect.FieldNumber {
	t.Helper()
	return (&Node{}).ProtoReflect().Descriptor().Fields().ByName("string").Number()
}

// appendString is a Node with a String of that value.
func appendString(number protoreflect.FieldNumber, value string) []byte {
	field := append(lengthAndTag(1, len(value)), value...)
	return append(lengthAndTag(int(number), len(field)), field...)
}

// FuzzDecode compares our decoder with the protobuf library: on texts, where the
// two must agree, and on bytes, where ours may refuse what no tree has, such as
// a field twice.
func FuzzDecode(f *testing.F) {
	for _, sql := range []string{
		"select 1", "select a.b, count(*) from a join b using (c) where x = $1 and y in (1, 2.5, 'z') group by 1 limit 3",
		"with x as (insert into t values (1, default) returning *) select * from x", "create table t (a int primary key, b text default 'x')",
		"grant select on t to r; revoke all on u from s", "select (((1)))", "update t set (a, b) = (select 1, 2) where b'01' = x'ff'",
		"merge into t using u on a = b when matched then delete", "alter table t add column c int, drop column d cascade",
	} {
		f.Add(sql, []byte(nil))
		wire, err := parser.ParseToProtobuf(sql)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", wire)
	}
	f.Fuzz(func(t *testing.T, sql string, wire []byte) {
		if sql != "" {
			if len(sql) > 2000 || strings.ContainsRune(sql, 0) { // the parser has no guard here
				return
			}
			parsed, err := parser.ParseToProtobuf(sql)
			if err != nil {
				return
			}
			want, got := &pg_query.ParseResult{}, (*pg_query.ParseResult)(nil)
			wantErr := proto.Unmarshal(parsed, want)
			got, err = decodeAll(string(parsed))
			if (err != nil) != (wantErr != nil) || err == nil && !proto.Equal(compared(want), got) {
				t.Errorf("error %v, want %v, or another tree", err, wantErr)
			}
		}
		got, err := decodeAll(string(wire))
		if err != nil {
			return
		}
		want := &pg_query.ParseResult{}
		if err := proto.Unmarshal(wire, want); err != nil {
			t.Fatalf("the library refuses what we read: %v", err)
		}
		again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(want)
		if err == nil && string(again) == string(wire) && !proto.Equal(compared(want), got) {
			t.Error("another tree")
		}
	})
}
