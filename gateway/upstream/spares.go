package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/policylang"
)

// The bounds of what Spares keep.
const (
	maxSpares    = 64               // in all, those that are being made among them
	spareLife    = 15 * time.Second // of one that nobody takes
	spareBackoff = time.Minute      // after one could not be made
	maxLogins    = 1024             // that are remembered
)

// Spares are connections that have logged in and wait, each for the next session
// of the very same login: see [Spares.Dial]. They are made for logins that
// repeat, as a client's does that connects for each of its statements. No client
// has used one before, and none is shared.
//
// Spares are safe for concurrent use. Nil spares keep nothing.
type Spares struct {
	perLogin int
	life     time.Duration // of a spare that nobody takes
	log      *slog.Logger
	count    func(change int)
	making   sync.WaitGroup
	ctx      context.Context // ends with Close
	stop     context.CancelFunc

	mu         sync.Mutex
	logins     map[loginKey]*keptLogin
	total      int    // spares, and those that are being made
	generation uint64 // counts Drop
	closed     bool
}

// loginKey stands for everything that a login is about: who the session is of,
// under which policy, and all that is sent to the server.
type loginKey [sha256.Size]byte

// keptLogin is what is known of one login.
type keptLogin struct {
	spares []*spare
	making int
	last   time.Time // of the newest session
	failed time.Time // when a spare could not be made
}

// NewSpares returns spares, at most perLogin for each login. count is told of
// each that comes and goes.
func NewSpares(perLogin int, log *slog.Logger, count func(change int)) *Spares {
	s := &Spares{perLogin: perLogin, life: spareLife, log: log, count: count, logins: map[loginKey]*keptLogin{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Dial is the package's Dial, or gives a spare that was made for the same owner
// and the same login. owner names whoever the session is of, and the policy that
// says so; restock has a spare made for the next one, and is to be called when
// the connection is the session's.
//
// There are none for logins with something of their own: a certificate for the
// session, or a credential that Vault made for the connection. And none that was
// logged in with another password than a new connection would be.
func (s *Spares) Dial(ctx context.Context, target *policylang.Upstream, owner string, login Login) (c *Conn, spare bool, restock func(), err error) {
	key, ok := s.key(ctx, target, owner, login)
	if !ok {
		c, err = Dial(ctx, target, login)
		return c, false, func() {}, err
	}
	restock = func() { s.restock(key, target, login) }
	for taken := s.take(key); taken != nil; taken = s.take(key) {
		if c := taken.claim(); c != nil {
			return c, true, restock, nil
		}
	}
	c, err = Dial(ctx, target, login)
	if tooMany(err) && s.Drop() > 0 { // spares are in the way
		c, err = dialSoon(ctx, target, login)
	}
	return c, false, restock, err
}

// dialSoon is Dial when the server has been left by others, which it notices
// soon.
func dialSoon(ctx context.Context, target *policylang.Upstream, login Login) (*Conn, error) {
	const tries, pause = 10, 50 * time.Millisecond
	for try := 1; ; try++ {
		c, err := Dial(ctx, target, login)
		if !tooMany(err) || try == tries || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(pause)
	}
}

// tooMany reports whether the server, or the role, has as many connections as it
// may.
func tooMany(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "53300"
}

// key returns the key of a login, if spares can be made for it.
func (s *Spares) key(ctx context.Context, target *policylang.Upstream, owner string, login Login) (loginKey, bool) {
	if s == nil || s.perLogin <= 0 || target.LoginBy() == policylang.LoginCertificate || strings.HasPrefix(target.Credentials, "vault:") {
		return loginKey{}, false
	}
	secret, err := readCredential(ctx, target, &login)
	if err != nil {
		return loginKey{}, false // Dial says so
	}
	described, err := json.Marshal(target)
	if err != nil {
		return loginKey{}, false
	}
	parts := []string{string(described), owner, login.Role, login.Database, secret.user}
	for _, server := range target.Servers() {
		parts = append(parts, secret.passwords.password(server.Host, server.Port, login.Database, login.Role))
	}
	for _, name := range slices.Sorted(maps.Keys(login.Parameters)) {
		parts = append(parts, name, login.Parameters[name])
	}
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash's Write never fails
		_, _ = h.Write([]byte(part))
	}
	return loginKey(h.Sum(nil)), true
}

// take removes a spare of a login, nil if there is none.
func (s *Spares) take(key loginKey) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.logins[key]
	if k == nil || len(k.spares) == 0 {
		return nil
	}
	taken := k.spares[0] // the oldest
	k.spares = k.spares[1:]
	s.gone(1)
	return taken
}

// gone counts spares that are no more. The caller holds s.mu.
func (s *Spares) gone(n int) {
	s.total -= n
	s.count(-n)
}

// restock has a spare made in the background if the login repeats, and there is
// room for one.
func (s *Spares) restock(key loginKey, target *policylang.Upstream, login Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	k := s.remember(key, now)
	repeats := now.Sub(k.last) < s.life
	k.last = now
	if s.closed || !repeats || len(k.spares)+k.making >= s.perLogin || s.total >= maxSpares || now.Sub(k.failed) < spareBackoff {
		return
	}
	k.making++
	s.total++
	login.Session = "" // it is for the certificate that there is not
	login.Parameters = maps.Clone(login.Parameters)
	s.making.Go(func() { s.make(key, k, target, login, s.generation) })
}

// remember returns what is known of a login. The caller holds s.mu.
func (s *Spares) remember(key loginKey, now time.Time) *keptLogin {
	if k := s.logins[key]; k != nil {
		return k
	}
	if len(s.logins) >= maxLogins {
		maps.DeleteFunc(s.logins, func(_ loginKey, k *keptLogin) bool {
			return len(k.spares)+k.making == 0 && now.Sub(k.last) >= s.life
		})
	}
	k := &keptLogin{}
	if len(s.logins) < maxLogins {
		s.logins[key] = k
	}
	return k
}

// make makes a spare, unless spares were dropped meanwhile.
func (s *Spares) make(key loginKey, k *keptLogin, target *policylang.Upstream, login Login, generation uint64) {
	c, err := Dial(s.ctx, target, login)
	s.mu.Lock()
	defer s.mu.Unlock()
	k.making--
	switch {
	case err != nil:
		s.total--
		k.failed = time.Now()
		if s.ctx.Err() == nil {
			s.log.LogAttrs(s.ctx, slog.LevelWarn, "make a spare connection", slog.Any("error", err))
		}
		return
	case s.closed, s.generation != generation, s.logins[key] != k:
		s.total--
		_ = c.Close() // nobody has used it
		return
	}
	made := &spare{conn: c, watched: make(chan struct{})}
	k.spares = append(k.spares, made)
	s.count(1)
	remove := func() { s.remove(k, made) }
	made.timer = time.AfterFunc(s.life, remove)
	s.making.Go(func() { made.watch(remove) })
}

// remove closes a spare, unless it was taken.
func (s *Spares) remove(k *keptLogin, dead *spare) {
	s.mu.Lock()
	i := slices.Index(k.spares, dead)
	if i >= 0 {
		k.spares = slices.Delete(k.spares, i, i+1)
		s.gone(1)
	}
	s.mu.Unlock()
	if i >= 0 {
		dead.close()
	}
}

// Drop closes every spare, and those that are being made, and returns how many
// there were.
func (s *Spares) Drop() (dropped int) {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	var all []*spare
	for _, k := range s.logins {
		all = append(all, k.spares...)
		k.spares = nil
	}
	s.gone(len(all))
	s.generation++
	s.mu.Unlock()
	for _, one := range all {
		one.close()
	}
	return len(all)
}

// Close drops every spare, and has no other made. It returns when nothing of
// them is left.
func (s *Spares) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.Drop()
	s.making.Wait()
}

// spare is a connection that waits to be taken. The server has nothing to say on
// it but that it ends.
type spare struct {
	conn    *Conn
	timer   *time.Timer
	watched chan struct{} // closed when watch has ended
	silent  bool          // nothing came; set by watch
}

// watch reads until claim or close end that, and calls dead if anything came.
func (sp *spare) watch(dead func()) {
	var b [1]byte
	n, err := sp.conn.Read(b[:])
	sp.silent = n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
	close(sp.watched)
	if !sp.silent {
		dead()
	}
}

// claim ends the watch and returns the connection, nil if it is of no use. The
// caller has taken the spare.
func (sp *spare) claim() *Conn {
	sp.timer.Stop()
	err := sp.conn.SetReadDeadline(time.Unix(1, 0))
	if err == nil {
		<-sp.watched
		err = sp.conn.SetReadDeadline(time.Time{})
	}
	if err != nil || !sp.silent {
		_ = sp.conn.Close() // it is of no use
		return nil
	}
	return sp.conn
}

// close closes the connection. The caller has taken the spare.
func (sp *spare) close() {
	sp.timer.Stop()
	_ = sp.conn.Close() // it was of no use
}
