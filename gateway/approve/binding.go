package approve

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"

	"github.com/posternhq/postern/policylang"
)

// bindingVersion starts what is digested.
const bindingVersion = "postern-approval-v1"

// The forms of a parameter's value.
const (
	formNull   = 0
	formText   = 1
	formBinary = 2
)

// Binding returns the digest of everything that an approval of r binds, as the
// package comment specifies it.
func (r *Request) Binding() string {
	d := digester{sha256.New()}
	_, _ = d.h.Write([]byte(bindingVersion)) // a hash never fails
	d.text(r.Gateway, r.Database, r.Role)
	d.subject(r.Subject)
	if r.Subject.Actor == nil {
		d.number(0)
	} else {
		d.number(1)
		d.subject(r.Subject.Actor)
	}
	d.text(r.SearchPath, r.Bundle, r.SQL)
	d.number(uint64(len(r.Params)))
	for _, p := range r.Params {
		d.param(p)
	}
	resolved := slices.Sorted(slices.Values(r.Resolved))
	d.number(uint64(len(resolved)))
	d.text(resolved...)
	return "sha256:" + hex.EncodeToString(d.h.Sum(nil))
}

type digester struct{ h hash.Hash }

func (d digester) number(n uint64) {
	_, _ = d.h.Write(binary.BigEndian.AppendUint64(nil, n))
}

func (d digester) bytes(b []byte) {
	d.number(uint64(len(b)))
	_, _ = d.h.Write(b)
}

func (d digester) text(texts ...string) {
	for _, t := range texts {
		d.bytes([]byte(t))
	}
}

func (d digester) subject(s *policylang.Subject) { d.text(s.Issuer, s.ID, s.Name) }

func (d digester) param(p Param) {
	d.number(uint64(p.Type))
	switch {
	case p.Value == nil:
		d.number(formNull)
	case p.Binary:
		d.number(formBinary)
	default:
		d.number(formText)
	}
	d.bytes(p.Value)
}
