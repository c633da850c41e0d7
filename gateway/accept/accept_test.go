package accept

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

func packet(code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

const version30 = 3 << 16

func startupBody(pairs ...string) string { return strings.Join(pairs, "\x00") + "\x00\x00" }

func TestParseStartup(t *testing.T) {
	tests := []struct {
		name    string
		version uint32
		body    string
		want    Startup
		refused refusal.Code
	}{
		{
			name: "plain", version: version30, body: startupBody("user", "ana", "database", "shop", "Application_Name", "psql"),
			want: Startup{User: "ana", Database: "shop", Parameters: map[string]string{"application_name": "psql"}},
		},
		{
			name: "database defaults to the user", version: version30, body: startupBody("user", "ana"),
			want: Startup{User: "ana", Database: "ana", Parameters: map[string]string{}},
		},
		{
			name: "minor 2", version: version30 | 2, body: startupBody("user", "ana"),
			want: Startup{User: "ana", Database: "ana", Minor: 2, Parameters: map[string]string{}},
		},
		{
			name: "a higher minor is negotiated", version: version30 | 9, body: startupBody("user", "ana", "_pq_.x", "1"),
			want: Startup{User: "ana", Database: "ana", Minor: 2, Parameters: map[string]string{}, negotiate: true, unknownOptions: []string{"_pq_.x"}},
		},
		{
			name: "options are kept apart", version: version30, body: startupBody("user", "ana", "options", "-c role=x"),
			want: Startup{User: "ana", Database: "ana", Options: "-c role=x", Parameters: map[string]string{}},
		},
		{name: "no user", version: version30, body: startupBody("database", "shop"), refused: refusal.StartupParameter},
		{name: "duplicate", version: version30, body: startupBody("user", "ana", "USER", "eve"), refused: refusal.StartupParameter},
		{name: "protocol 2", version: 2 << 16, body: "", refused: refusal.Protocol},
		{name: "no end", version: version30, body: "user\x00ana", refused: refusal.StartupParameter},
		{name: "bytes behind the end", version: version30, body: startupBody("user", "ana") + "x", refused: refusal.StartupParameter},
		{name: "not UTF-8", version: version30, body: startupBody("user", "\xff"), refused: refusal.StartupParameter},
		{name: "empty", version: version30, body: "", refused: refusal.StartupParameter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseStartup(tt.version, []byte(tt.body))
			var r *refusal.Refusal
			if errors.As(err, &r) {
				if r.Code != tt.refused {
					t.Fatalf("refused as %q, want %q", r.Code, tt.refused)
				}
				return
			}
			if tt.refused != "" {
				t.Fatalf("not refused: %+v", got)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Startup{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseStartup(f *testing.F) {
	f.Add(uint32(version30), []byte(startupBody("user", "ana", "database", "shop")))
	f.Add(uint32(version30|3), []byte(startupBody("user", "ana", "_pq_.a", "")))
	f.Fuzz(func(t *testing.T, version uint32, body []byte) {
		s, err := ParseStartup(version, body)
		if err != nil {
			if s.User != "" || s.Parameters != nil {
				t.Error("an error with a result")
			}
			return
		}
		// Every byte is accounted for: the strings kept are those sent.
		sent := bytes.Split(bytes.TrimSuffix(body, []byte{0}), []byte{0})
		kept := len(s.Parameters) + len(s.unknownOptions) + 1
		if got := len(sent) / 2; got < kept {
			t.Errorf("%d parameters kept of %d sent", kept, got)
		}
		for _, forbidden := range []string{"options", "replication", "user", "database"} {
			if _, ok := s.Parameters[forbidden]; ok {
				t.Errorf("%q is among the parameters", forbidden)
			}
		}
	})
}

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{ALPN}, MinVersion: tls.VersionTLS12,
	}
}

// dialled returns both ends of a TCP connection.
func dialled(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

func TestHandshake(t *testing.T) {
	startup := packet(version30, startupBody("user", "ana"))
	serverTLS := testTLS(t)
	insecure := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}} // the certificate is not what is tested
	ask := func(t *testing.T, c net.Conn, request []byte, want byte) {
		t.Helper()
		var b [1]byte
		if _, err := c.Write(request); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != want {
			t.Errorf("answer %q, %v, want %q", b[0], err, want)
		}
	}
	tests := []struct {
		name    string
		cfg     Config
		client  func(t *testing.T, c net.Conn)
		user    string
		tls     bool
		cancel  bool
		refused refusal.Code
		err     string
	}{
		{name: "TLS by request", cfg: Config{TLS: serverTLS}, user: "ana", tls: true, client: func(t *testing.T, c net.Conn) {
			ask(t, c, packet(codeSSL, ""), 'S')
			_, _ = tls.Client(c, insecure).Write(startup)
		}},
		{name: "direct TLS", cfg: Config{TLS: serverTLS}, user: "ana", tls: true, client: func(_ *testing.T, c net.Conn) {
			_, _ = tls.Client(c, insecure).Write(startup)
		}},
		{name: "direct TLS without ALPN", cfg: Config{TLS: serverTLS}, err: "without ALPN", client: func(_ *testing.T, c net.Conn) {
			_, _ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Write(startup)
		}},
		{name: "GSSAPI is declined, then TLS", cfg: Config{TLS: serverTLS}, user: "ana", tls: true, client: func(t *testing.T, c net.Conn) {
			ask(t, c, packet(codeGSS, ""), 'N')
			ask(t, c, packet(codeSSL, ""), 'S')
			_, _ = tls.Client(c, insecure).Write(startup)
		}},
		{name: "plaintext is refused", cfg: Config{TLS: serverTLS}, refused: refusal.TLSRequired, client: func(_ *testing.T, c net.Conn) {
			_, _ = c.Write(startup)
		}},
		{name: "plaintext where allowed", cfg: Config{AllowPlaintext: true}, user: "ana", client: func(t *testing.T, c net.Conn) {
			ask(t, c, packet(codeSSL, ""), 'N')
			_, _ = c.Write(startup)
		}},
		{name: "the zero Config refuses", refused: refusal.TLSRequired, client: func(_ *testing.T, c net.Conn) { _, _ = c.Write(startup) }},
		{name: "bytes behind an SSLRequest", cfg: Config{TLS: serverTLS, AllowPlaintext: true}, err: "injection", client: func(_ *testing.T, c net.Conn) {
			_, _ = c.Write(append(packet(codeSSL, ""), startup...))
		}},
		{name: "cancel", cancel: true, client: func(_ *testing.T, c net.Conn) { _, _ = c.Write(packet(codeCancel, "\x00\x00\x00\x07abcd")) }},
		{name: "a short cancel", err: "cancel request has", client: func(_ *testing.T, c net.Conn) { _, _ = c.Write(packet(codeCancel, "abc")) }},
		{name: "too long", refused: refusal.Protocol, client: func(_ *testing.T, c net.Conn) {
			_, _ = c.Write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0})
		}},
		{name: "an HTTP request", refused: refusal.Protocol, client: func(_ *testing.T, c net.Conn) { _, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }},
		{name: "a probe", err: ErrProbe.Error(), client: func(_ *testing.T, c net.Conn) { _ = c.Close() }},
		{name: "cut short", err: "startup packet", client: func(_ *testing.T, c net.Conn) { _, _ = c.Write(startup[:6]); _ = c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := dialled(t)
			done := make(chan struct{})
			go func() { defer close(done); tt.client(t, client) }()
			if strings.Contains(tt.name, "behind an SSLRequest") {
				<-done
			}
			got, cancel, err := Handshake(server, tt.cfg)
			defer func() { _ = server.Close(); <-done }()
			var r *refusal.Refusal
			switch {
			case tt.refused != "":
				if !errors.As(err, &r) || r.Code != tt.refused {
					t.Fatalf("error %v, want a refusal as %q", err, tt.refused)
				}
				_ = server.Close()
				if answer, _ := io.ReadAll(client); len(answer) == 0 || answer[0] != 'E' {
					t.Errorf("the client was told %q, want an ErrorResponse", answer)
				}
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
			case err != nil:
				t.Fatal(err)
			case tt.cancel:
				if cancel == nil || cancel.PID != 7 || string(cancel.Key) != "abcd" {
					t.Errorf("cancel = %+v", cancel)
				}
			default:
				if got.Startup.User != tt.user || (got.TLS != nil) != tt.tls {
					t.Errorf("user %q, TLS %v", got.Startup.User, got.TLS != nil)
				}
			}
		})
	}
}

func TestNegotiateVersion(t *testing.T) {
	got := negotiateVersion{minor: 2, options: []string{"_pq_.x"}}.append(nil)
	want := append([]byte{'v', 0, 0, 0, 19, 0, 3, 0, 2, 0, 0, 0, 1}, "_pq_.x\x00"...)
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
