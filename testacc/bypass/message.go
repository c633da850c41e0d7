package bypass

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// message is a client's message as a case writes it. What it says is expanded
// when it is sent.
type message struct {
	verb    string
	name    string            // of the statement or portal
	options map[string]string // key=value
	args    []string
	text    string // SQL, hexadecimal bytes or a function's signature
}

// parseMessage reads a line of a send step.
func parseMessage(line string) (message, error) {
	verb, rest, _ := strings.Cut(line, " ")
	m := message{verb: verb, options: map[string]string{}}
	switch verb {
	case "query", "queryhex":
		m.text = unquote(rest)
		return m, nil
	case "parse:", "parse":
		return parseParse(line)
	case "call":
		m.text, rest, _ = strings.Cut(rest, " ")
	}
	tokens, err := words(rest)
	if err != nil {
		return m, err
	}
	switch verb {
	case "describe", "close":
		if len(tokens) == 0 || (tokens[0] != "statement" && tokens[0] != "portal") {
			return m, fmt.Errorf("%s what?", verb)
		}
		m.text = tokens[0]
		m.name = strings.Join(tokens[1:], " ")
	case "execute":
		for _, t := range tokens {
			if max, ok := strings.CutPrefix(t, "max="); ok {
				m.options["max"] = max
				continue
			}
			m.name = t
		}
	case "bind", "call":
		return m, m.parseArguments(tokens, rest)
	case "sync", "flush", "copyfail":
	default:
		return m, fmt.Errorf("unknown message %q", verb)
	}
	return m, nil
}

// parseParse reads "parse NAME(OID,OID): SQL".
func parseParse(line string) (message, error) {
	m := message{verb: "parse", options: map[string]string{}}
	head, sql, ok := strings.Cut(line, ":")
	if !ok {
		return m, fmt.Errorf("%q has no colon", line)
	}
	m.name = strings.TrimSpace(strings.TrimPrefix(head, "parse"))
	if name, types, ok := strings.Cut(m.name, "("); ok {
		m.name, m.options["types"] = name, strings.TrimSuffix(types, ")")
	}
	m.text = unquote(strings.TrimPrefix(sql, " "))
	return m, nil
}

// parseArguments tells options from arguments, which are the quoted words.
func (m *message) parseArguments(tokens []string, rest string) error {
	for _, t := range tokens {
		key, value, ok := strings.Cut(t, "=")
		switch {
		case ok && (key == "portal" || key == "statement" || key == "results" || key == "result"):
			m.options[key] = value
		case strings.Contains(rest, strconv.Quote(t)):
			m.args = append(m.args, t)
		default:
			return fmt.Errorf("%s: %q is neither an option nor quoted", m.verb, t)
		}
	}
	return nil
}

// answered reports whether a ReadyForQuery answers the message.
func (m *message) answered() bool {
	switch m.verb {
	case "sync", "query", "queryhex", "call":
		return true
	}
	return false
}

// functionOID says which function a signature means, or which type a name does
// that follows "type ".
type functionOID func(signature string) (uint32, error)

// typeOIDs reads OIDs and names of types.
func typeOIDs(list string, oid functionOID) ([]int, error) {
	var out []int
	for f := range strings.SplitSeq(list, ",") {
		if f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			named, err := oid("type " + f)
			if err != nil {
				return nil, err
			}
			n = int(named)
		}
		out = append(out, n)
	}
	return out, nil
}

// append writes the message. Text has gone through fill, which expands it.
func (m *message) append(dst []byte, fill func(string) string, oid functionOID) ([]byte, error) {
	name := fill(m.name)
	switch m.verb {
	case "query":
		return appendQuery(dst, fill(m.text)), nil
	case "queryhex":
		sql, err := hex.DecodeString(m.text)
		if err != nil {
			return nil, err
		}
		return appendQuery(dst, string(sql)), nil
	case "parse":
		types, err := typeOIDs(m.options["types"], oid)
		if err != nil {
			return nil, err
		}
		body := appendStrings(nil, name, fill(m.text))
		body = binary.BigEndian.AppendUint16(body, uint16(len(types)))
		for _, t := range types {
			body = binary.BigEndian.AppendUint32(body, uint32(t))
		}
		return appendMessage(dst, 'P', body), nil
	case "bind":
		results, err := numbers(m.options["results"])
		if err != nil {
			return nil, err
		}
		body := appendStrings(nil, fill(m.options["portal"]), fill(m.options["statement"]))
		body = binary.BigEndian.AppendUint16(body, 0) // parameters as text
		body = appendValues(body, m.args, fill)
		body = binary.BigEndian.AppendUint16(body, uint16(len(results)))
		for _, r := range results {
			body = binary.BigEndian.AppendUint16(body, uint16(r))
		}
		return appendMessage(dst, 'B', body), nil
	case "describe", "close":
		kind := map[string]byte{"describe": 'D', "close": 'C'}[m.verb]
		what := map[string]byte{"statement": 'S', "portal": 'P'}[m.text]
		return appendMessage(dst, kind, appendStrings([]byte{what}, name)), nil
	case "execute":
		limit, err := numbers(m.options["max"])
		if err != nil {
			return nil, err
		}
		limit = append(limit, 0)
		return appendMessage(dst, 'E', binary.BigEndian.AppendUint32(appendStrings(nil, name), uint32(limit[0]))), nil
	case "call":
		function, err := oid(m.text)
		if err != nil {
			return nil, err
		}
		format, err := numbers(m.options["result"])
		if err != nil {
			return nil, err
		}
		format = append(format, 0)
		body := binary.BigEndian.AppendUint32(nil, function)
		body = binary.BigEndian.AppendUint16(body, 0) // arguments as text
		body = appendValues(body, m.args, fill)
		return appendMessage(dst, 'F', binary.BigEndian.AppendUint16(body, uint16(format[0]))), nil
	case "copyfail":
		return appendMessage(dst, 'f', appendStrings(nil, "given up")), nil
	case "flush":
		return appendMessage(dst, 'H', nil), nil
	case "sync":
		return appendMessage(dst, 'S', nil), nil
	}
	return nil, fmt.Errorf("unknown message %q", m.verb)
}

func numbers(list string) ([]int, error) {
	var out []int
	for f := range strings.SplitSeq(list, ",") {
		if f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func appendMessage(dst []byte, kind byte, body []byte) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(body)))
	return append(dst, body...)
}

func appendQuery(dst []byte, sql string) []byte {
	return appendMessage(dst, 'Q', appendStrings(nil, sql))
}

func appendStrings(dst []byte, values ...string) []byte {
	for _, v := range values {
		dst = append(append(dst, v...), 0)
	}
	return dst
}

func appendValues(dst []byte, values []string, fill func(string) string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(values)))
	for _, v := range values {
		v = fill(v)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
		dst = append(dst, v...)
	}
	return dst
}
