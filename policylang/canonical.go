package policylang

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// canonicalVersion is the version of the canonical encoding. It is the first
// member of every canonical policy.
const canonicalVersion = 1

// Canonical returns the canonical encoding of p, the bytes that are signed and
// digested: one JSON object without insignificant space, UTF-8 and without
// HTML escapes; a "version" of 1; then a member for each kind holding the
// objects keyed by name, keys sorted; each object with every attribute present,
// defaults explicit, sets sorted. It holds no time, no tool version and no
// secret. Two policies that mean the same have the same encoding. An error
// names a duplicate object, or text that is not UTF-8 and so has no encoding.
func (p *Policy) Canonical() ([]byte, error) {
	s := p.Sorted()
	var out bytes.Buffer
	if err := s.encode(&out, func() {}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// encode writes the canonical encoding of a policy that is sorted, object by
// object.
func (p *Policy) encode(to io.Writer, yield func()) error {
	if err := encodable(p.Objects(), yield); err != nil {
		return err
	}
	e := newEncoder()
	fmt.Fprintf(&e.out, `{"version":%d`, canonicalVersion)
	return cmp.Or(
		encodeObjects(e, to, yield, KindApprovalGroup, p.ApprovalGroups),
		encodeObjects(e, to, yield, KindGateway, p.Gateways),
		encodeObjects(e, to, yield, KindIdentity, p.Identities),
		encodeObjects(e, to, yield, KindMaskingPolicy, p.MaskingPolicies),
		encodeObjects(e, to, yield, KindQueryRule, p.QueryRules),
		e.flush(to, "}"),
	)
}

// encodeObjects writes the member of a kind, whose objects are sorted by name.
func encodeObjects[T any, P interface {
	*T
	Object
}](e *encoder, to io.Writer, yield func(), kind Kind, objects []T) error {
	e.out.WriteString(`,"` + string(kind) + `":{`)
	for i := range objects {
		yield()
		o := P(&objects[i])
		if i > 0 {
			e.out.WriteByte(',')
			if P(&objects[i-1]).ObjectName() == o.ObjectName() {
				return fmt.Errorf("two objects are named %s %q", kind, o.ObjectName())
			}
		}
		if err := e.value(o.ObjectName()); err != nil {
			return err
		}
		e.out.WriteByte(':')
		if err := cmp.Or(e.value(o), e.flush(to, "")); err != nil {
			return err
		}
	}
	return e.flush(to, "}")
}

// encoder writes JSON values without space and HTML escapes.
type encoder struct {
	out  bytes.Buffer
	json *json.Encoder
}

func newEncoder() *encoder {
	e := &encoder{}
	e.json = json.NewEncoder(&e.out)
	e.json.SetEscapeHTML(false)
	return e
}

func (e *encoder) value(v any) error {
	if err := e.json.Encode(v); err != nil {
		return fmt.Errorf("encode policy: %w", err)
	}
	e.out.Truncate(e.out.Len() - len("\n"))
	return nil
}

// flush passes on what was written, and end.
func (e *encoder) flush(to io.Writer, end string) error {
	e.out.WriteString(end)
	_, err := e.out.WriteTo(to)
	return err //nolint:wrapcheck // our own writers'
}

// ParseCanonical is the inverse of [Policy.Canonical]. It accepts nothing but
// canonical bytes: re-encoding the result gives data again.
func ParseCanonical(data []byte) (Policy, error) {
	return ParseCanonicalAside(data, func() {})
}

// ParseCanonicalAside is [ParseCanonical] for who has something more urgent to
// do, as a gateway has that loads megabytes: it calls yield between objects.
func ParseCanonicalAside(data []byte, yield func()) (Policy, error) {
	p, err := decodeCanonical(data, yield)
	if err != nil {
		// The version first: a newer one may have attributes that this one lacks.
		if v := versionOf(data); v != canonicalVersion {
			return Policy{}, fmt.Errorf("read canonical policy: version %d is not supported, want %d: what made it and this program are of different versions of Postern", v, canonicalVersion)
		}
		return Policy{}, fmt.Errorf("read canonical policy: %w; a newer version of Postern may have made it", err)
	}
	p = p.Sorted()
	again := expected(data)
	if err = p.encode(&again, yield); err == nil && len(again) > 0 {
		err = errNotCanonical
	}
	if err != nil {
		return Policy{}, fmt.Errorf("read canonical policy: %w", err)
	}
	return p, nil
}

// expected takes the bytes that it still expects, and no others.
type expected []byte

var errNotCanonical = errors.New("the encoding is not canonical")

// Write implements io.Writer.
func (e *expected) Write(data []byte) (int, error) {
	rest, ok := bytes.CutPrefix(*e, data)
	if !ok {
		return 0, errNotCanonical
	}
	*e = rest
	return len(data), nil
}

// decodeCanonical reads the members of an encoding, in any order.
func decodeCanonical(data []byte, yield func()) (Policy, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p Policy
	version := 0
	err := eachMember(dec, func(name string) error {
		if name == "version" {
			return dec.Decode(&version)
		}
		return decodeObjects(dec, yield, Kind(name), &p)
	})
	switch {
	case errors.Is(err, io.EOF):
		return Policy{}, io.ErrUnexpectedEOF
	case err == nil && version != canonicalVersion:
		return Policy{}, fmt.Errorf("version %d", version)
	}
	return p, err
}

func decodeObjects(dec *json.Decoder, yield func(), kind Kind, into *Policy) error {
	if _, err := newObject(kind, ""); err != nil {
		return err
	}
	return eachMember(dec, func(name string) error {
		yield()
		o, err := newObject(kind, name)
		if err != nil {
			return err
		}
		if err := dec.Decode(o); err != nil {
			return fmt.Errorf("%s %q: %w", kind, name, err)
		}
		into.Add(o)
		return nil
	})
}

// eachMember calls f with the name of each member of an object, to read its value.
func eachMember(dec *json.Decoder, f func(name string) error) error {
	switch start, err := dec.Token(); {
	case err != nil:
		return err
	case start != json.Delim('{'):
		return fmt.Errorf("it has %v where an object is wanted", start)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := name.(string) // an object's keys are strings
		if err := f(key); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
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
