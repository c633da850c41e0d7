package accept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// response is a SASLInitialResponse; length -1 is none.
func response(mechanism string, length int32, data string) []byte {
	body := append([]byte(mechanism), 0)
	body = binary.BigEndian.AppendUint32(body, uint32(length))
	body = append(body, data...)
	return append(binary.BigEndian.AppendUint32([]byte{'p'}, uint32(4+len(body))), body...)
}

func TestSASL(t *testing.T) {
	tests := []struct {
		name    string
		sent    []byte
		initial string
		none    bool // no initial message, which is not an empty one
		refused string
	}{
		{name: "with a message", sent: response("B", 3, "abc"), initial: "abc"},
		{name: "with an empty message", sent: response("B", 0, "")},
		{name: "without a message", sent: response("A", -1, ""), none: true},
		{name: "a mechanism that was not offered", sent: response("C", -1, ""), refused: "not offered"},
		{name: "no mechanism", sent: response("", -1, ""), refused: "not offered"},
		{name: "longer than it says", sent: response("B", 2, "abc"), refused: "malformed"},
		{name: "shorter than it says", sent: response("B", 4, "abc"), refused: "malformed"},
		{name: "a message in spite of none", sent: response("B", -1, "abc"), refused: "malformed"},
		{name: "a password", sent: []byte("p\x00\x00\x00\x07ab\x00"), refused: "malformed"},
		{name: "another message", sent: []byte("Q\x00\x00\x00\x05\x00"), refused: "was expected"},
		{name: "too long", sent: []byte("p\x00\x02\x00\x00"), refused: "was expected"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := dialled(t)
			if _, err := client.Write(test.sent); err != nil {
				t.Fatal(err)
			}
			s, err := StartSASL(server, "A", "B")
			if got, want := read(t, client, 17), "R\x00\x00\x00\x0d\x00\x00\x00\x0aA\x00B\x00\x00"; !strings.HasPrefix(got, want) {
				t.Errorf("it offered %q, want %q", got, want)
			}
			if test.refused != "" {
				var r *refusal.Refusal
				if !errors.As(err, &r) || s != nil || r.Code != refusal.Protocol || !strings.Contains(r.Message, test.refused) {
					t.Fatalf("got %v, %v, want %q", s, err, test.refused)
				}
				return
			}
			if err != nil || string(s.Initial) != test.initial || (s.Initial == nil) != test.none {
				t.Fatalf("got %+v, %v", s, err)
			}
		})
	}
}

// read returns up to n bytes, fewer if no more come at once.
func read(t *testing.T, conn net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	got, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:got])
}

func TestSASLChallenge(t *testing.T) {
	client, server := dialled(t)
	s := &SASL{conn: server}
	if _, err := client.Write([]byte("p\x00\x00\x00\x06hi")); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Challenge([]byte("who"))
	if err != nil || string(answer) != "hi" {
		t.Fatalf("got %q, %v", answer, err)
	}
	if err := s.Final([]byte("ok")); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	got, err := io.ReadAll(client)
	want := []byte("R\x00\x00\x00\x0b\x00\x00\x00\x0bwhoR\x00\x00\x00\x0a\x00\x00\x00\x0cok")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the client got %q, %v, want %q", got, err, want)
	}
	_ = client.Close()
	if _, err := s.Challenge(nil); err == nil {
		t.Error("a client that left was not missed")
	}
}
