package policylang

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// canonicalVersion is the version of the canonical encoding. It is the first
// member of every canonical policy.
const canonicalVersion = 1

// canonicalPolicy is the canonical encoding's shape: encoding/json writes maps
// with sorted keys and struct fields in declaration order.
type canonicalPolicy struct {
	Version         int                      `json:"version"`
	ApprovalGroups  map[string]ApprovalGroup `json:"approval_group"`
	Gateways        map[string]Gateway       `json:"gateway"`
	Identities      map[string]Identity      `json:"identity"`
	MaskingPolicies map[string]MaskingPolicy `json:"masking_policy"`
	QueryRules      map[string]QueryRule     `json:"query_rule"`
}

// Canonical returns the canonical encoding of p, the bytes that are signed and
// digested: one JSON object without insignificant space, UTF-8 and without
// HTML escapes; a "version" of 1; then a member for each kind holding the
// objects keyed by name, keys sorted; each object with every attribute present,
// defaults explicit, sets sorted. It holds no time, no tool version and no
// secret. Two policies that mean the same have the same encoding. An error
// names a duplicate object, or text that is not UTF-8 and so has no encoding.
func (p *Policy) Canonical() ([]byte, error) {
	s := p.Sorted()
	if err := encodable(s.Objects()); err != nil {
		return nil, err
	}
	c := canonicalPolicy{Version: canonicalVersion}
	err := errors.Join(
		keyed(&c.ApprovalGroups, s.ApprovalGroups),
		keyed(&c.Gateways, s.Gateways),
		keyed(&c.Identities, s.Identities),
		keyed(&c.MaskingPolicies, s.MaskingPolicies),
		keyed(&c.QueryRules, s.QueryRules),
	)
	if err != nil {
		return nil, err
	}
	return compactJSON(c)
}

// ParseCanonical is the inverse of [Policy.Canonical]. It accepts nothing but
// canonical bytes: re-encoding the result gives data again.
func ParseCanonical(data []byte) (Policy, error) {
	var c canonicalPolicy
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&c)
	// The version first: a newer one may have attributes that this one lacks.
	if v := versionOf(data); v != canonicalVersion {
		return Policy{}, fmt.Errorf("read canonical policy: version %d is not supported, want %d: what made it and this program are of different versions of Postern", v, canonicalVersion)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("read canonical policy: %w; a newer version of Postern may have made it", err)
	}
	p := Policy{
		ApprovalGroups:  unkeyed(c.ApprovalGroups, func(o *ApprovalGroup, n string) { o.Name = n }),
		Gateways:        unkeyed(c.Gateways, func(o *Gateway, n string) { o.Name = n }),
		Identities:      unkeyed(c.Identities, func(o *Identity, n string) { o.Name = n }),
		MaskingPolicies: unkeyed(c.MaskingPolicies, func(o *MaskingPolicy, n string) { o.Name = n }),
		QueryRules:      unkeyed(c.QueryRules, func(o *QueryRule, n string) { o.Name = n }),
	}
	p = p.Sorted()
	again, err := p.Canonical()
	if err != nil {
		return Policy{}, fmt.Errorf("read canonical policy: %w", err)
	}
	if !bytes.Equal(again, data) {
		return Policy{}, errors.New("read canonical policy: the encoding is not canonical")
	}
	return p, nil
}

// versionOf is the version that an encoding says it has, and this program's if
// it is not JSON.
func versionOf(data []byte) int {
	var head struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(data, &head) != nil {
		return canonicalVersion
	}
	return head.Version
}

// Digest returns "sha256:" and the hexadecimal SHA-256 of the canonical
// encoding. It is the same in plan, apply and gateway.
func (p *Policy) Digest() (string, error) {
	data, err := p.Canonical()
	if err != nil {
		return "", err
	}
	return DigestBytes(data), nil
}

// DigestBytes returns "sha256:" and the hexadecimal SHA-256 of data.
func DigestBytes(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

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
	if err := encodable(objects); err != nil {
		return nil, err
	}
	return compactJSON(objects[0])
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
func encodable(objects []Object) error {
	var problems []Problem
	for _, o := range objects {
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

func keyed[T any, P interface {
	*T
	Object
}](into *map[string]T, objects []T) error {
	*into = make(map[string]T, len(objects))
	var errs []error
	for i := range objects {
		o := P(&objects[i])
		if _, dup := (*into)[o.ObjectName()]; dup {
			errs = append(errs, fmt.Errorf("two objects are named %s %q", o.ObjectKind(), o.ObjectName()))
		}
		(*into)[o.ObjectName()] = objects[i]
	}
	return errors.Join(errs...)
}

func unkeyed[T any](objects map[string]T, setName func(*T, string)) []T {
	out := make([]T, 0, len(objects))
	for name, o := range objects {
		setName(&o, name)
		out = append(out, o)
	}
	return out
}

func compactJSON(v any) ([]byte, error) {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return []byte(strings.TrimSuffix(buf.String(), "\n")), nil
}
