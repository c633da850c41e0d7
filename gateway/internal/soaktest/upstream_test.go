package soaktest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

// idleRole is the role whose sessions no real server holds.
const idleRole = "idle"

// realServer is the environment variable that makes the test's program an
// upstream before the server of that address.
const realServer = "SOAK_REAL_SERVER"

func TestMain(m *testing.M) {
	if address := os.Getenv(realServer); address != "" {
		os.Exit(upstreamProcess(address))
	}
	os.Exit(m.Run())
}

// upstreamProcess is an upstream until its standard input ends.
func upstreamProcess(address string) int {
	u, err := newUpstream(address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(u.listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	u.close()
	return 0
}

// startUpstream starts an upstream in a process of its own, whose descriptors
// and memory are not counted with the gateway's, and returns its address.
func startUpstream(t *testing.T, server string) *net.TCPAddr {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), realServer+"="+server)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("start the upstream: %v", err)
	}
	address, err := net.ResolveTCPAddr("tcp", strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// upstream stands before PostgreSQL: it answers the sessions of idleRole itself,
// since thousands of real backends would not fit the machine, and passes all
// others on, byte for byte.
type upstream struct {
	listener net.Listener
	real     string // address of PostgreSQL

	mu    sync.Mutex
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func newUpstream(realAddress string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{listener: l, real: realAddress, conns: map[net.Conn]bool{}}
	u.all.Go(u.acceptLoop)
	return u, nil
}

func (u *upstream) close() {
	_ = u.listener.Close()
	u.mu.Lock()
	for c := range u.conns {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.all.Wait()
}

func (u *upstream) track(c net.Conn, on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if on {
		u.conns[c] = true
	} else {
		delete(u.conns, c)
		_ = c.Close()
	}
}

func (u *upstream) acceptLoop() {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return
		}
		u.track(conn, true)
		u.all.Go(func() {
			defer u.track(conn, false)
			u.serve(conn)
		})
	}
}

func (u *upstream) serve(conn net.Conn) {
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	packet := make([]byte, binary.BigEndian.Uint32(length[:])-4)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return
	}
	var startup pgproto3.StartupMessage
	if startup.Decode(packet) == nil && startup.Parameters["user"] == idleRole {
		answer(conn)
		return
	}
	server, err := net.Dial("tcp", u.real)
	if err != nil {
		return
	}
	u.track(server, true)
	defer u.track(server, false)
	if _, err := server.Write(append(length[:], packet...)); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, server)
		_ = conn.Close() // what one side ends has ended
	})
	_, _ = io.Copy(server, conn)
	_ = server.Close()
	back.Wait()
}

// answer is a server that knows one row.
func answer(conn net.Conn) {
	write := func(msgs ...pgproto3.BackendMessage) error {
		var b []byte
		for _, m := range msgs {
			b, _ = m.Encode(b) // none is too large
		}
		_, err := conn.Write(b)
		return err
	}
	ready := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	parameter := func(name, value string) *pgproto3.ParameterStatus {
		return &pgproto3.ParameterStatus{Name: name, Value: value}
	}
	if write(&pgproto3.AuthenticationOk{}, parameter("server_version", "15.0"), parameter("client_encoding", "UTF8"),
		parameter("standard_conforming_strings", "on"), &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: 1}, ready) != nil {
		return
	}
	var header [5]byte
	for {
		if _, err := io.ReadFull(conn, header[:]); err != nil || header[0] == 'X' {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(header[1:]))-4); err != nil {
			return
		}
		var err error
		switch header[0] {
		case 'Q':
			err = write(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}},
				&pgproto3.DataRow{Values: [][]byte{[]byte("public")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, ready)
		case 'S':
			err = write(ready)
		}
		if err != nil {
			return
		}
	}
}
