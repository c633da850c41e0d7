package upstream

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// credentials are upstream passwords: lines of libpq's password file
// (hostname:port:database:username:password, * for any, \ escapes) or one
// password for every role.
type credentials struct {
	single string
	lines  [][5]string
}

// readCredentials resolves a reference: "env:NAME" or "file:/path". An empty
// reference means no password. Errors never hold what was read.
func readCredentials(reference string) (credentials, error) {
	scheme, rest, _ := strings.Cut(reference, ":")
	switch scheme {
	case "":
		return credentials{}, nil
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return credentials{}, fmt.Errorf("read upstream credentials: the environment has no %s", rest)
		}
		return parseCredentials(value), nil
	case "file":
		data, err := os.ReadFile(rest)
		if err != nil {
			return credentials{}, fmt.Errorf("read upstream credentials: %w", err)
		}
		return parseCredentials(string(data)), nil
	}
	return credentials{}, errors.New("read upstream credentials: the reference starts with neither env: nor file: as it must")
}

func parseCredentials(text string) credentials {
	var c credentials
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if fields, ok := splitPassLine(line); ok {
			c.lines = append(c.lines, fields)
		}
	}
	if len(c.lines) == 0 {
		c.single = strings.TrimRight(text, "\r\n")
	}
	return c
}

// splitPassLine splits at colons that no backslash escapes.
func splitPassLine(line string) (fields [5]string, ok bool) {
	var part strings.Builder
	n := 0
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			part.WriteByte(line[i])
		case line[i] == ':' && n < 4:
			fields[n] = part.String()
			part.Reset()
			n++
		default:
			part.WriteByte(line[i])
		}
	}
	fields[n] = part.String()
	return fields, n == 4
}

// password returns the first line's that matches, as libpq does.
func (c credentials) password(host string, port int, database, role string) string {
	want := [4]string{host, strconv.Itoa(port), database, role}
	for _, line := range c.lines {
		matches := true
		for i, w := range want {
			matches = matches && (line[i] == "*" || line[i] == w)
		}
		if matches {
			return line[4]
		}
	}
	return c.single
}
