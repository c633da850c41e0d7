package accept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// maxStartup is PostgreSQL's MAX_STARTUP_PACKET_LENGTH, in bytes.
const maxStartup = 10000

// Startup is a parsed startup packet.
type Startup struct {
	User        string
	Database    string // User if the client named none, as in PostgreSQL
	Replication string
	Options     string            // the options parameter, never passed on
	Parameters  map[string]string // the others, by lower-case name
	Minor       int               // the protocol's minor version in force: 0 or 2

	negotiate      bool
	unknownOptions []string
}

// ParseStartup parses the body of a startup packet behind its version code.
// It accepts protocol 3; minor versions above 2 and _pq_ options are
// negotiated down. An error is a *refusal.Refusal.
func ParseStartup(version uint32, body []byte) (Startup, error) {
	major, minor := version>>16, version&0xffff
	if major != 3 {
		return Startup{}, refusal.New(refusal.Protocol, "protocol version %d.%d is not supported, 3.0 to 3.2 are", major, minor)
	}
	s := Startup{Parameters: map[string]string{}}
	switch {
	case minor > 2:
		s.Minor, s.negotiate = 2, true
	case minor == 2:
		s.Minor = 2
	}
	seen := map[string]bool{}
	for {
		name, rest, err := cutString(body)
		if err != nil {
			return Startup{}, malformed(err)
		}
		if name == "" {
			if len(rest) != 0 {
				return Startup{}, malformed(errors.New("bytes follow its end"))
			}
			break
		}
		value, rest, err := cutString(rest)
		if err != nil {
			return Startup{}, malformed(err)
		}
		body = rest
		key := strings.ToLower(name)
		if seen[key] {
			return Startup{}, refusal.New(refusal.StartupParameter, "the startup parameter %q is given twice", key)
		}
		seen[key] = true
		s.set(key, name, value)
	}
	if s.User == "" {
		return Startup{}, refusal.New(refusal.StartupParameter, "the startup packet names no user")
	}
	if s.Database == "" {
		s.Database = s.User
	}
	return s, nil
}

func (s *Startup) set(key, name, value string) {
	switch {
	case key == "user":
		s.User = value
	case key == "database":
		s.Database = value
	case key == "replication":
		s.Replication = value
	case key == "options":
		s.Options = value
	case strings.HasPrefix(key, "_pq_."):
		s.negotiate = true
		s.unknownOptions = append(s.unknownOptions, name)
	default:
		s.Parameters[key] = value
	}
}

func malformed(err error) error {
	return refusal.New(refusal.StartupParameter, "the startup packet is malformed: %v", err)
}

func cutString(b []byte) (s string, rest []byte, err error) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, errors.New("a string has no end")
	}
	if !utf8.Valid(b[:i]) {
		return "", nil, errors.New("a string is not UTF-8")
	}
	return string(b[:i]), b[i+1:], nil
}

// Cancel is a request to cancel what another connection is doing.
type Cancel struct {
	PID  uint32
	Key  []byte // 4 to 256 bytes; a secret
	Peer bool   // another gateway has passed it on
}

func parseCancel(body []byte) (*Cancel, error) {
	if len(body) < 8 || len(body) > 4+256 {
		return nil, fmt.Errorf("a cancel request has %d bytes", len(body))
	}
	return &Cancel{PID: binary.BigEndian.Uint32(body), Key: bytes.Clone(body[4:])}, nil
}
