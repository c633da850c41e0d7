package bypass

import (
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMessages(t *testing.T) {
	tests := map[string]string{
		"sync":                        "53 00000004",
		"flush":                       "48 00000004",
		"query SELECT 1":              "51 0000000d 53454c4543542031 00",
		"queryhex 53ff":               "51 00000007 53ff 00",
		"parse: A":                    "50 00000009 00 4100 0000",
		"parse s(23): A":              "50 0000000e 7300 4100 0001 00000017",
		"bind":                        "42 0000000c 00 00 0000 0000 0000",
		`bind portal=p results=1 "x"`: "42 00000014 7000 00 0000 0001 00000001 78 0001 0001",
		"describe statement s":        "44 00000007 53 7300",
		"close portal p":              "43 00000007 50 7000",
		"execute p max=7":             "45 0000000a 7000 00000007",
		`call f(int) result=1 "5"`:    "46 00000013 0000002a 0000 0001 00000001 35 0001",
		"copyfail":                    "66 0000000d 676976656e20757000",
	}
	for line, want := range tests {
		m, err := parseMessage(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		same := func(s string) string { return s }
		got, err := m.append(nil, same, func(string) (uint32, error) { return 42, nil })
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if w := strings.ReplaceAll(want, " ", ""); hex.EncodeToString(got) != w {
			t.Errorf("%s:\n got %x\nwant %s", line, got, w)
		}
	}
}

// TestSCRAM replays the exchange of RFC 7677, section 3, whose user name
// PostgreSQL would take from the startup packet.
func TestSCRAM(t *testing.T) {
	s := &scramClient{password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
	got, err := s.finalWith("n=user,r="+s.nonce, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	const want = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || got != want {
		t.Errorf("final = %q, %v", got, err)
	}
	for _, bad := range []string{"", "r=x,s=,i=4096", "r=" + s.nonce + "x,s=!,i=1", "r=" + s.nonce + "x,s=,i=0"} {
		if _, err := s.final(bad); err == nil {
			t.Errorf("%q was answered", bad)
		}
	}
}

// pipe returns a connection whose server sends these bytes, one at a time, and
// closes.
func pipe(t *testing.T, sent []byte) *conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	go func() {
		defer server.Close()
		for i := range sent {
			if _, err := server.Write(sent[i : i+1]); err != nil {
				return
			}
		}
	}()
	_ = client.SetDeadline(time.Now().Add(30 * time.Second))
	return &conn{net: client}
}

func TestReplies(t *testing.T) {
	row := appendMessage(nil, 'D', []byte{0, 2, 0, 0, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff})
	sent := appendMessage(row, 'C', []byte("SELECT 1\x00"))
	sent = appendMessage(sent, 'Z', []byte("I"))
	c := pipe(t, sent)
	for {
		if _, err := c.read(); err != nil {
			break
		}
	}
	var lines []string
	for _, r := range c.replies {
		lines = append(lines, r.line())
	}
	if want := []string{`DataRow "x" NULL`, "CommandComplete SELECT 1", "ReadyForQuery I"}; !slices.Equal(lines, want) {
		t.Errorf("replies %q", lines)
	}
	if !slices.Equal(c.raw, sent) {
		t.Error("bytes were lost")
	}
}

func TestMalformedReply(t *testing.T) {
	for name, sent := range map[string]string{"short": "D\x00\x00\x00\x03", "long": "D\x7f\xff\xff\xff"} {
		if _, err := pipe(t, []byte(sent)).read(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01x"))
	f.Add([]byte("T\x00\x00\x00\x1a\x00\x01a\x00123456789012345678"))
	f.Add([]byte("E\x00\x00\x00\x0cC42501\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &conn{raw: b}
		for {
			r, ok, err := c.next()
			if err != nil || !ok {
				break
			}
			if strings.ContainsAny(r.line(), "\n") {
				t.Errorf("%q is not a line", r.line())
			}
		}
	})
}
