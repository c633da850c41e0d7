// Package upstream dials the PostgreSQL server behind a gateway, logs in to it
// and cancels what it is doing.
//
// [Dial] gives a connection that pgconn has authenticated and then handed over
// whole: its bytes are the caller's. TLS is verified in full unless the policy
// says otherwise, and there is never a fallback to plaintext.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/netloop"
	"github.com/posternhq/postern/policylang"
)

// Login says as whom, and into what, a connection is made.
type Login struct {
	Role       string
	Database   string
	Parameters map[string]string // startup parameters; see PassedOn
	Session    string            // the client's, for the certificate; may be empty
	Means      Means
}

// Conn is an authenticated connection, idle and outside a transaction.
type Conn struct {
	net.Conn
	Target     *policylang.Upstream // the upstream, with the server of the connection as its only one
	Server     string               // that server's host:port
	Parameters map[string]string    // what the server reported by ParameterStatus
	SearchPath []string             // current_schemas(true) at login

	cancelAddr string
	cancelTLS  *tls.Config
	pid        uint32
	secret     []byte
	started    string // when the server's process began, as it writes it

	lease   *leaseKeeper // of a credential that was made for this connection; nil if none was
	closing sync.Once
}

// Close closes the connection and gives back what was made for it.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.closing.Do(c.lease.release)
	return err
}

// NetConn returns the connection underneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// dialTimeout bounds a login, from name resolution to ReadyForQuery, with all
// servers that are asked.
const dialTimeout = 10 * time.Second

// passedOn is the allow-list of startup parameters.
var passedOn = []string{
	"application_name", "client_encoding", "datestyle", "intervalstyle", "timezone", "extra_float_digits",
	"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"search_path", "geqo", "client_min_messages", "bytea_output", "default_transaction_isolation",
	"default_transaction_read_only", "default_transaction_deferrable",
}

// readAs is how the server must read text, since the gateway reads it so,
// whatever the database or the role has as its default. With
// standard_conforming_strings off, a backslash would hide the end of a constant.
var readAs = map[string]string{"client_encoding": "UTF8", "standard_conforming_strings": "on"}

// PassedOn reports whether a client's startup parameter may go upstream.
func PassedOn(name string) bool { return slices.Contains(passedOn, name) }

// Dial connects and logs in. The error names the upstream and the cause, and
// holds no secret.
func Dial(ctx context.Context, target *policylang.Upstream, login Login) (*Conn, error) {
	made, err := connect(ctx, target, login)
	if err != nil {
		return nil, err
	}
	lease := keep(login.Means.Vault, made.credential.lease)
	c, err := hijack(ctx, made.PgConn, target.SessionTable)
	if err != nil {
		lease.release()
		return nil, err
	}
	c.lease, c.Target, c.Server = lease, made.target, made.target.Servers()[0].String()
	return c, nil
}

// Connect is Dial for the gateway's own queries: it gives pgconn's connection. A
// credential that Vault made for it is not renewed, and ends by itself.
func Connect(ctx context.Context, target *policylang.Upstream, login Login) (*pgconn.PgConn, error) {
	made, err := connect(ctx, target, login)
	if err != nil {
		return nil, err
	}
	return made.PgConn, nil
}

func connect(ctx context.Context, target *policylang.Upstream, login Login) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secret, err := readCredential(ctx, target, &login)
	if err != nil {
		return nil, err
	}
	return findServer(ctx, target, login, secret)
}

// connectServer logs in to the target's only server; see firstServer for the
// others.
func connectServer(ctx context.Context, target *policylang.Upstream, login Login, secret credential, validate pgconn.ValidateConnectFunc) (*pgconn.PgConn, error) {
	cfg, err := config(target, login, secret)
	if err != nil {
		return nil, err
	}
	cfg.ValidateConnect = validate
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		err = withoutConfig(err)
		return nil, fmt.Errorf("connect to upstream %s:%d as %q: %w%s", target.Host, target.Port, secret.user, err, advice(target, err))
	}
	return conn, nil
}

// withoutConfig strips pgconn's wrapper, which repeats the configuration.
func withoutConfig(err error) error {
	var c *pgconn.ConnectError
	if errors.As(err, &c) {
		if inner := c.Unwrap(); inner != nil {
			return inner
		}
	}
	return err
}

// baseConfig is pgconn's configuration with every key set, so that nothing of the
// gateway's own environment (PGPASSWORD, ~/.pgpass, services) enters it. pgconn
// looks for all that whenever it makes one.
var baseConfig = sync.OnceValues(func() (*pgconn.Config, error) {
	u := url.URL{Scheme: "postgres", Host: "localhost:5432"}
	u.RawQuery = url.Values{
		"sslmode": {"disable"}, "passfile": {os.DevNull}, "target_session_attrs": {"any"},
		"user": {"nobody"}, "dbname": {"none"}, "connect_timeout": {"0"},
		"sslcert": {""}, "sslkey": {""}, "sslrootcert": {""},
	}.Encode()
	return pgconn.ParseConfig(u.String())
})

// config is how pgconn is to log in.
func config(target *policylang.Upstream, login Login, secret credential) (*pgconn.Config, error) {
	tlsConfig, err := tlsConfig(target)
	if err != nil {
		return nil, err
	}
	if target.LoginBy() == policylang.LoginCertificate {
		if err := login.Means.certify(tlsConfig, &login); err != nil {
			return nil, err
		}
	}
	base, err := baseConfig()
	if err != nil {
		return nil, fmt.Errorf("configure upstream %s:%d: %w", target.Host, target.Port, err)
	}
	cfg := base.Copy()
	cfg.Host, cfg.Port, cfg.User, cfg.Database = target.Host, uint16(target.Port), secret.user, login.Database
	cfg.TLSConfig = tlsConfig
	cfg.Fallbacks = nil
	cfg.Password = secret.passwords.password(target.Host, target.Port, login.Database, login.Role)
	cfg.RequireAuth, cfg.ChannelBinding = requirements(target, cfg.Password != "", tlsConfig != nil)
	cfg.RuntimeParams = maps.Clone(readAs)
	for name, value := range login.Parameters {
		if PassedOn(name) && name != "client_encoding" {
			cfg.RuntimeParams[name] = value
		}
	}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, &dialError{err}
		}
		return netloop.Wrap(conn), nil
	}
	cfg.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return cfg, nil
}

func tlsConfig(target *policylang.Upstream) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: target.Host, MinVersion: tls.VersionTLS12}
	if target.CA != "" {
		pem, err := os.ReadFile(target.CA)
		if err != nil {
			return nil, fmt.Errorf("read the upstream's CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the upstream's CA: %q holds no PEM certificate", target.CA)
		}
	}
	switch target.TLS {
	case "disable":
		return nil, nil
	case "require":
		cfg.InsecureSkipVerify = true // the policy asks for encryption without verification
	case "verify-ca":
		cfg.InsecureSkipVerify = true // replaced by the verification below
		cfg.VerifyPeerCertificate = verifyChain(cfg.RootCAs)
	case "verify-full":
	default:
		return nil, fmt.Errorf("unknown upstream TLS mode %q", target.TLS)
	}
	return cfg, nil
}

// verifyChain verifies the server's certificate against roots, but not its
// name: libpq's verify-ca.
func verifyChain(roots *x509.CertPool) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errors.New("the upstream sent no certificate")
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		var leaf *x509.Certificate
		for i, der := range raw {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("read the upstream's certificate: %w", err)
			}
			if i == 0 {
				leaf = cert
			} else {
				opts.Intermediates.AddCert(cert)
			}
		}
		_, err := leaf.Verify(opts)
		return err
	}
}

// searchPathSQL names the schemas that unqualified names are looked up in.
const searchPathSQL = "SELECT unnest(pg_catalog.current_schemas(true))"

// ask finds out, in one go, the search path and, if that is wanted, when the
// server's process of a connection began.
func ask(ctx context.Context, conn *pgconn.PgConn, wantStarted bool) (path []string, started string, err error) {
	sql, want := searchPathSQL, 1
	if wantStarted {
		sql, want = sql+"; "+startedSQL, 2
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) != want {
		return nil, "", fmt.Errorf("read the search path: %w", err)
	}
	for _, row := range results[0].Rows {
		path = append(path, string(row[0]))
	}
	if wantStarted {
		if len(results[1].Rows) != 1 {
			return nil, "", errors.New("ask when the connection began: no answer")
		}
		started = string(results[1].Rows[0][0])
	}
	return path, started, nil
}

// hijack takes the connection out of pgconn's hands.
func hijack(ctx context.Context, conn *pgconn.PgConn, wantStarted bool) (*Conn, error) {
	path, started, err := ask(ctx, conn, wantStarted)
	if err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("settle the upstream connection: %w", err), conn.Close(context.WithoutCancel(ctx)))
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the upstream connection: %w", err)
	}
	for name, want := range readAs {
		if got := h.ParameterStatuses[name]; got != want {
			return nil, errors.Join(fmt.Errorf("the server reads text with %s = %q, where the gateway reads it with %q", name, got, want), h.Conn.Close())
		}
	}
	if h.Frontend.ReadBufferLen() != 0 || h.TxStatus != 'I' {
		return nil, errors.Join(errors.New("take over the upstream connection: it is not idle"), h.Conn.Close())
	}
	return &Conn{
		Conn: h.Conn, Parameters: h.ParameterStatuses, SearchPath: path,
		cancelAddr: h.Conn.RemoteAddr().String(), cancelTLS: withoutCertificate(h.TLSConfig), pid: h.PID, secret: h.SecretKey,
		started: started,
	}, nil
}
