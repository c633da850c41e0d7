package policylang

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Digest returns "sha256:" and the hexadecimal SHA-256 of the canonical
// encoding. It is the same in plan, apply and gateway.
func (p *Policy) Digest() (string, error) {
	s, sum := p.Sorted(), sha256.New()
	if err := s.encode(sum, func() {}); err != nil {
		return "", err
	}
	return digestText(sum.Sum(nil)), nil
}

// DigestBytes returns "sha256:" and the hexadecimal SHA-256 of data.
func DigestBytes(data []byte) string {
	sum := sha256.Sum256(data)
	return digestText(sum[:])
}

func digestText(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// Definition returns the canonical encoding of one object: its attributes
// with defaults explicit, without its kind and name.
func Definition(o Object) ([]byte, error) {
	var p Policy
	p.Add(o)
	s := p.Sorted()
	objects := s.Objects()
	if len(objects) != 1 {
		return nil, fmt.Errorf("encode object: unknown type %T", o)
	}
	if err := encodable(objects, func() {}); err != nil {
		return nil, err
	}
	e := newEncoder()
	if err := e.value(objects[0]); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}

// ParseDefinition is the inverse of [Definition]. Attributes that are absent
// have their defaults; unknown attributes are an error.
func ParseDefinition(kind Kind, name string, data []byte) (Object, error) {
	o, err := newObject(kind, name)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(o); err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("read %s %q: more than one JSON value", kind, name)
	}
	var p Policy
	p.Add(o)
	s := p.Sorted()
	return s.Objects()[0], nil
}

func newObject(kind Kind, name string) (Object, error) {
	switch kind {
	case KindGateway:
		return &Gateway{Name: name}, nil
	case KindIdentity:
		return &Identity{Name: name}, nil
	case KindQueryRule:
		return &QueryRule{Name: name}, nil
	case KindMaskingPolicy:
		return &MaskingPolicy{Name: name}, nil
	case KindApprovalGroup:
		return &ApprovalGroup{Name: name}, nil
	}
	return nil, fmt.Errorf("unknown kind of object %q", kind)
}

// encodable returns an error if a text would not survive the encoding: JSON
// replaces what is not UTF-8, and two policies would share one digest.
func encodable(objects []Object, yield func()) error {
	var problems []Problem
	for _, o := range objects {
		yield()
		c := checker{problems: &problems, kind: o.ObjectKind(), name: o.ObjectName()}
		c.texts(reflect.ValueOf(o).Elem(), "")
		if !utf8.ValidString(o.ObjectName()) {
			c.add("", "the name is not valid UTF-8 text", "")
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("encode policy: %s: %s", problems[0].Path, problems[0].Summary)
	}
	return nil
}
