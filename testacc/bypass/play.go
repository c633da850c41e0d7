package bypass

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// play is one performance of a case: its connections, and what they received.
type play struct {
	r        *Runner
	c        *Case
	at       *Endpoint
	database string
	admin    *pgconn.PgConn
	fill     *strings.Replacer
	conns    map[string]*conn
	order    []string // of conns
	sent     strings.Builder
	hung     string // the step that was never answered
	equals   bool   // the effect took place
}

// perform plays a case against an endpoint.
func (r *Runner) perform(ctx context.Context, c *Case, at *Endpoint, guess string) (*play, error) {
	database, drop, err := r.place(ctx, c)
	if err != nil {
		return nil, err
	}
	defer drop()
	_, port, err := net.SplitHostPort(r.Server.Address)
	if err != nil {
		return nil, err
	}
	p := &play{r: r, c: c, at: at, database: database, conns: map[string]*conn{}}
	p.fill = strings.NewReplacer("{DB}", database, "{DIR}", r.Directory, "{PORT}", port, "{GUESS}", guess)
	defer p.end()
	if p.admin, err = r.admin(ctx, database); err != nil {
		return nil, err
	}
	defer p.admin.Close(context.WithoutCancel(ctx))
	for _, sql := range c.Setup {
		if err := r.execute(ctx, p.admin, r.rewrite(p.expand(sql))); err != nil {
			return nil, fmt.Errorf("set up: %w", err)
		}
	}
	defer p.tearDown(ctx)
	for i := range c.Steps {
		if err := p.step(ctx, &c.Steps[i]); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	// What is left of a transaction, and a portal or slot, ends with the main
	// connection. The others are witnesses that stay until the effect is seen.
	if main := p.conns[""]; main != nil {
		main.end()
	}
	if c.Effect != "" {
		got, err := value(ctx, p.admin, p.expand(c.Effect))
		p.equals = err == nil && got == c.Equals
	}
	p.end()
	return p, nil
}

func (p *play) end() {
	for _, name := range p.order {
		p.conns[name].end()
	}
}

func (p *play) tearDown(ctx context.Context) {
	for _, sql := range p.c.Teardown {
		_ = p.r.execute(ctx, p.admin, p.expand(sql)) // there may be nothing to tear down
	}
}

func (p *play) expand(s string) string { return expand(s, p.fill) }

// text is expand for what the attacker sends.
func (p *play) text(s string) string {
	s = p.expand(s)
	p.sent.WriteString(s)
	p.sent.WriteByte('\n')
	return s
}

func (p *play) deadline() time.Time { return time.Now().Add(p.r.Patience) }

// step performs one step. An error is the runner's; what the other side
// answers, or that it hangs up, is never one.
func (p *play) step(ctx context.Context, s *Step) error {
	switch s.Verb {
	case Admin:
		return p.r.execute(ctx, p.admin, p.r.rewrite(p.expand(s.Text)))
	case Sleep:
		time.Sleep(s.Limit)
		return nil
	case Connect:
		return p.connect(ctx, s)
	case Dial:
		return p.dial(ctx, s)
	case Cancel:
		return p.cancel(ctx, s)
	case Query, Stream, Send:
		c, err := p.conn(ctx, s.Conn)
		if err != nil {
			return err
		}
		return p.ask(c, s)
	case Feed:
	}
	return fmt.Errorf("verb %q is no step", s.Verb)
}

// conn returns a connection, opening it when it is first needed.
func (p *play) conn(ctx context.Context, name string) (*conn, error) {
	if c := p.conns[name]; c != nil {
		return c, nil
	}
	if err := p.connect(ctx, &Step{Verb: Connect, Conn: name}); err != nil {
		return nil, err
	}
	return p.conns[name], nil
}

func (p *play) connect(ctx context.Context, s *Step) error {
	pairs, err := words(p.text(s.Text))
	if err != nil {
		return err
	}
	role := p.c.Role
	var parameters [][2]string
	has := map[string]bool{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if key == "user" && !has["user"] {
			role = value
		}
		has[key] = true
		parameters = append(parameters, [2]string{key, value})
	}
	if !has["database"] {
		parameters = append([][2]string{{"database", p.database}}, parameters...)
	}
	if !has["user"] {
		parameters = append([][2]string{{"user", role}}, parameters...)
	}
	c, err := open(ctx, p.at, role, parameters, p.deadline())
	if err != nil {
		return err
	}
	p.keep(s.Conn, c)
	return nil
}

func (p *play) keep(name string, c *conn) {
	if p.conns[name] == nil {
		p.order = append(p.order, name)
	}
	p.conns[name] = c
}

// dial sends bytes before any login, and listens for a moment.
func (p *play) dial(ctx context.Context, s *Step) error {
	b, err := hex.DecodeString(strings.ReplaceAll(p.expand(s.Text), " ", ""))
	if err != nil {
		return err
	}
	c, err := dialRaw(ctx, p.at)
	if err != nil {
		return err
	}
	p.keep(s.Conn, c)
	if c.write(b) == nil {
		c.collect(time.Now().Add(500 * time.Millisecond))
	}
	return nil
}

func (p *play) cancel(ctx context.Context, s *Step) error {
	victim := p.conns[s.Conn]
	if victim == nil || victim.key == nil {
		return nil // it was not let in
	}
	c, err := dialRaw(ctx, p.at)
	if err != nil {
		return err
	}
	defer c.net.Close()
	_ = c.net.SetDeadline(p.deadline())
	if err := c.startTLS(ctx, p.at.TLS); err != nil {
		return err
	}
	body := append(binary.BigEndian.AppendUint32(nil, cancelRequest), victim.key...)
	_ = c.write(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...))
	c.collect(time.Now().Add(500 * time.Millisecond))
	return nil
}

// ask sends what a step says and receives the answer.
func (p *play) ask(c *conn, s *Step) error {
	if c.err != nil {
		return nil //nolint:nilerr // it was refused or has ended, which is an outcome
	}
	var out []byte
	want := 1
	if s.Verb == Send {
		want = 0
		var err error
		for i := range s.Messages {
			if out, err = s.Messages[i].append(out, p.text, p.functionOID); err != nil {
				return err
			}
			if s.Messages[i].answered() {
				want++
			}
		}
	} else {
		out = appendQuery(nil, p.text(s.Text))
	}
	deadline := p.deadline()
	if s.Limit > 0 {
		deadline = time.Now().Add(s.Limit)
	}
	_ = c.net.SetDeadline(deadline)
	// A large message must not wait for its answer to be read, nor the other
	// way round.
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = c.net.Write(out) // an error shows when reading
	}()
	p.answer(c, s, want)
	if c.timedOut() {
		if s.Limit == 0 {
			p.hung = strings.TrimSpace(fmt.Sprintf("%.60s", s.Text))
		}
		c.err = nil
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(time.Second))
	<-written
	return nil
}

// answer receives until the other side is ready as often as it was asked.
func (p *play) answer(c *conn, s *Step, want int) {
	for want > 0 {
		r, err := c.read()
		if err != nil {
			return
		}
		switch {
		case r.kind == 'Z':
			want--
		case r.kind == 'G' && s.Verb == Query:
			p.feed(c, s)
		}
	}
}

// feed answers COPY FROM STDIN.
func (p *play) feed(c *conn, s *Step) {
	if s.Feed == nil {
		_ = c.write(appendMessage(nil, 'f', appendStrings(nil, "there is no data")))
		return
	}
	_ = c.write(appendMessage(appendMessage(nil, 'd', []byte(p.text(*s.Feed))), 'c', nil))
}

// functionOID asks the server, straight.
func (p *play) functionOID(signature string) (uint32, error) {
	kind := "regprocedure"
	if name, ok := strings.CutPrefix(signature, "type "); ok {
		kind, signature = "regtype", name
	}
	text, err := value(context.Background(), p.admin, "SELECT '"+strings.ReplaceAll(signature, "'", "''")+"'::"+kind+"::oid")
	if err != nil {
		return 0, err
	}
	var oid uint32
	if _, err := fmt.Sscan(text, &oid); err != nil {
		return 0, errors.New("not an OID: " + text)
	}
	return oid, nil
}
