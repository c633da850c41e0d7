package relay

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// deniedStatement is the name whose Parse stands in for a refused Bind or
// Execute. It never comes to exist.
const deniedStatement = reservedPrefix + "_denied"

// sqlstateStandIn is what PostgreSQL answers to a stand-in: undefined_column.
const sqlstateStandIn = "42703"

// newDenialID returns an identifier that joins a refusal, the upstream's log
// and the evidence.
func newDenialID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return "d_" + hex.EncodeToString(b[:])
}

// deniedSQL is a text that PostgreSQL rejects: it names a column and no
// relation.
func deniedSQL(id string) string { return fmt.Sprintf(`SELECT "postern: denied %s"`, id) }

// appendDeniedQuery appends the stand-in for a refused Query or FunctionCall.
func appendDeniedQuery(dst []byte, id string) []byte {
	return appendText(dst, 'Q', "", deniedSQL(id), false)
}

// appendDeniedParse appends the stand-in for a refused Parse of name, or for a
// refused Bind or Execute.
func appendDeniedParse(dst []byte, name, id string) []byte {
	return appendText(dst, 'P', name, deniedSQL(id), true)
}

// appendText appends a Query, or a Parse without parameter types.
func appendText(dst []byte, typ byte, name, sql string, parse bool) []byte {
	at := len(dst) + 1
	dst = append(dst, typ, 0, 0, 0, 0)
	if parse {
		dst = append(append(dst, name...), 0)
	}
	dst = append(append(dst, sql...), 0)
	if parse {
		dst = append(dst, 0, 0)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// withID returns a copy of r that names the denial in its detail.
func withID(r *refusal.Refusal, id string) *refusal.Refusal {
	c := *r
	if c.Detail == "" {
		c.Detail = "Decision " + id + "."
	}
	return &c
}

// appendNotice appends a NoticeResponse.
func appendNotice(dst []byte, message, hint string) []byte {
	msg := pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: message, Hint: hint}
	out, err := msg.Encode(dst)
	if err != nil { // only a message over 1 GiB cannot be encoded
		return dst
	}
	return out
}
