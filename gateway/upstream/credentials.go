package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/posternhq/postern/gateway/upstream/vault"
	"github.com/posternhq/postern/policylang"
)

// credentials are upstream passwords: lines of libpq's password file
// (hostname:port:database:username:password, * for any, \ escapes) or one
// password for every role.
type credentials struct {
	single string
	lines  [][5]string
}

// credential is how one connection logs in.
type credential struct {
	user      string // the role, but for one that Vault has made in its place
	passwords credentials
	lease     vault.Lease
}

// readCredential resolves the policy's reference for a login: "env:NAME",
// "file:/path" or "vault:path". An empty reference means no password. Errors
// never hold what was read.
func readCredential(ctx context.Context, target *policylang.Upstream, login *Login) (credential, error) {
	scheme, rest, _ := strings.Cut(target.Credentials, ":")
	found := func(text string) (credential, error) {
		return credential{user: login.Role, passwords: parseCredentials(text)}, nil
	}
	switch scheme {
	case "":
		return credential{user: login.Role}, nil
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return credential{}, fmt.Errorf("read upstream credentials: the environment has no %s", rest)
		}
		return found(value)
	case "file":
		data, err := os.ReadFile(rest)
		if err != nil {
			return credential{}, fmt.Errorf("read upstream credentials: %w", err)
		}
		return found(string(data))
	case "vault":
		c, err := readVault(ctx, login.Means.Vault, rest, login.Role)
		if err != nil {
			return credential{}, fmt.Errorf("read upstream credentials: %w", err)
		}
		return c, nil
	}
	return credential{}, errors.New("read upstream credentials: the reference starts with none of env:, file: and vault: as it must")
}

// readVault reads a role's credential from Vault. In the path {role} stands for
// the role's name. The secret has a field "password", and "username" if it is of
// the database engine, or a field of the role's name with its password.
func readVault(ctx context.Context, client *vault.Client, path, role string) (credential, error) {
	if client == nil {
		return credential{}, errors.New("this gateway has no Vault: set VAULT_ADDR and a way to log in to it")
	}
	if strings.Contains(role, "/") && strings.Contains(path, "{role}") {
		return credential{}, errors.New("the role's name cannot be a part of a path in Vault")
	}
	secret, err := client.Read(ctx, strings.ReplaceAll(path, "{role}", role))
	if err != nil {
		return credential{}, err
	}
	c := credential{user: role, lease: secret.Lease, passwords: credentials{single: secret.Data[role]}}
	username := secret.Data["username"]
	switch {
	case c.passwords.single != "":
		return c, nil
	case secret.Data["password"] == "":
		return credential{}, fmt.Errorf("vault %s: the secret has neither a field password nor one of the role's name", path)
	case secret.Lease.ID != "" && username != "":
		c.user = username // made for this connection
	case username != "" && username != role:
		return credential{}, fmt.Errorf("vault %s: the secret is of another role than the identity's", path)
	}
	c.passwords.single = secret.Data["password"]
	return c, nil
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
