// Package livepolicy keeps the policy that a gateway enforces: the newest
// release that could be verified and compiled, and nothing else.
//
//	live, err := livepolicy.Open(livepolicy.Config{
//		Gateway: "orders", Dir: dir, Trusted: keys, Source: source,
//	})
//	go live.Run(ctx)       // pulls until ctx ends
//	live.Current()         // on every decision: one atomic load
//	live.Subscribe(review) // to look at live sessions again
//
// # What it promises
//
// A policy is verified, compiled off to the side, kept on disk and then swapped
// in whole, by one atomic store: nobody ever sees half of it. Whatever fails on
// the way leaves the policy in force as it was, and is reported.
//
// The revision never goes back, across restarts too: the release in force is
// kept on disk as it was signed, together with its bundle, and loaded again
// without asking anyone. So a gateway starts, and goes on, without a control
// plane.
//
// Keys are replaced while it runs, by [Live.Trust]. A policy that a key signed
// which is trusted no more is withdrawn at once, and the revision that such a
// key has claimed binds nobody: whoever stole it cannot block what comes after.
//
// # On disk
//
// The directory, which belongs to one gateway, holds release.json, the sealed
// release in force, and sha256-HEX.bundle.json, the sealed bundle that it
// names. Files are replaced by renaming, synced before and after, the release
// after the bundle: at any moment the release that is there has its bundle.
// [FileSource] reads the same layout.
package livepolicy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/policylang/compile"
)

// Policy is a verified policy with what it was compiled to. It is immutable.
type Policy struct {
	Program *compile.Program
	Release bundle.Release
	Digest  string    // of the bundle
	KeyID   string    // of the key that signed the bundle
	Since   time.Time // when this process began to enforce it

	releaseKeyID string // of the key that signed the release
}

// trusted reports whether both keys that the policy rests on are trusted.
func (p *Policy) trusted(keys bundle.KeyRing) bool {
	return keys.Trusts(p.KeyID) && keys.Trusts(p.releaseKeyID)
}

// Source tells which release a gateway must run. Nothing that it says is
// trusted before it is verified.
type Source interface {
	// Next waits until there may be something newer than the release in force,
	// which is the zero Release if there is none, and returns the sealed
	// release and the sealed bundle that it names. It returns ctx's error when
	// ctx ends, and another when it cannot know: it is asked again, after a
	// pause. If it then knows that there is nothing newer it returns nothing at
	// once, so that what stood in the way is known to be over; it may do so
	// whenever it is asked.
	Next(ctx context.Context, after bundle.Release) (sealedRelease, sealedBundle []byte, err error)
}

// Config says what to enforce and whom to trust. Gateway and Trusted are
// required.
type Config struct {
	Gateway string         // the gateway's name in the policy
	Trusted bundle.KeyRing // keys that may publish, until Live.Trust names others
	Dir     string         // where the policy in force is kept; empty keeps it in memory alone
	Source  Source         // nil: Run only waits, and Apply is the way in

	// Report, if not nil, is called after each change of the Status that Run
	// brings about, by one goroutine at a time: it acknowledges a release, or
	// says why one is refused. It is called after every subscriber.
	Report func(context.Context, Status)

	Logger *slog.Logger     // slog.Default if nil
	Clock  func() time.Time // time.Now if nil

	// Pause is how long Run waits after the first failure in a row; it doubles
	// with each up to 64 times. Half a second if zero.
	Pause time.Duration
}

// Status says what is enforced, and what stands in the way of something newer.
type Status struct {
	Release bundle.Release // in force; zero if none
	Since   time.Time      // when this process began to enforce it
	Err     error          // why something newer is not in force or not known of, or why this is not kept on disk; nil if all is well
}

// CompileError says that a bundle, however well signed, does not compile here.
type CompileError struct {
	Problems []policylang.Problem // at least one error; perhaps warnings
}

// Error gives the first error and how many there are.
func (e *CompileError) Error() string {
	first, n := "", 0
	for _, p := range e.Problems {
		if p.Severity == policylang.SeverityError {
			if n == 0 {
				first = p.Error()
			}
			n++
		}
	}
	if n > 1 {
		return fmt.Sprintf("compile: %s (and %d more)", first, n-1)
	}
	return "compile: " + first
}

// Live is a gateway's live policy. It is safe for concurrent use.
type Live struct {
	cfg     Config
	store   store
	current atomic.Pointer[Policy]
	status  atomic.Pointer[Status]

	mu          sync.Mutex // serialises changes
	trusted     bundle.KeyRing
	newest      map[string]bundle.Release // that each trusted key has signed, by the key's id
	subscribers map[*subscriber]struct{}
	unkept      sealed // what is in force and could not be kept on disk; empty if it is there
	keepErr     error  // why
	withdrawn   error  // why there is no policy in force any more; nil if there is one or never was
	interrupt   func() // has Run ask its source anew; nil if it is not asking
}

type subscriber struct{ changed func(old, now *Policy) }

// sealed is a release and its bundle as they were signed.
type sealed struct{ release, bundle []byte }

// Open loads the last good policy from disk, if there is one. What cannot be
// read or verified any more is not enforced: it is logged and in the Status,
// and the gateway has no policy until a source brings one. The error is about
// the configuration or the directory.
func Open(cfg Config) (*Live, error) {
	if cfg.Gateway == "" {
		return nil, errors.New("open live policy: the gateway has no name")
	}
	if len(cfg.Trusted.Keys()) == 0 {
		return nil, errors.New("open live policy: no key is trusted")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 500 * time.Millisecond
	}
	l := &Live{
		cfg: cfg, store: store{dir: cfg.Dir}, trusted: cfg.Trusted,
		newest: map[string]bundle.Release{}, subscribers: map[*subscriber]struct{}{},
	}
	l.status.Store(&Status{})
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open live policy: %w", err)
	}
	return l, nil
}

// load enforces what the directory holds. The error is the directory's alone.
func (l *Live) load() error {
	if err := l.store.prepare(); err != nil {
		return err
	}
	kept, err := l.store.load()
	switch {
	case errors.Is(err, errNothingKept):
		return nil
	case err == nil:
		_, err = l.enforce(kept, false)
	}
	if err != nil {
		l.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "the last good policy cannot be used", slog.String("dir", l.cfg.Dir), slog.Any("error", err))
		l.status.Store(&Status{Err: fmt.Errorf("load the last good policy: %w", err)})
	}
	return nil
}

// Current returns the policy in force, nil if there is none: then every client
// is refused.
func (l *Live) Current() *Policy { return l.current.Load() }

// Status returns what is enforced, and what stands in the way of more.
func (l *Live) Status() Status { return *l.status.Load() }

// Subscribe has changed called after each change of the policy in force, with
// the policy before (nil if none) and now. Calls are serial, in the order of
// the changes, and the release is not reported as enforced before they
// return. The function returned ends the subscription; when it has returned,
// changed is not running and will not run again, so changed must not call it.
func (l *Live) Subscribe(changed func(old, now *Policy)) (unsubscribe func()) {
	s := &subscriber{changed: changed}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subscribers[s] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subscribers, s)
	}
}

// Apply verifies a release and its bundle and enforces them, unless they are
// in force already. It returns the policy in force then; an error leaves the
// policy as it was. The error wraps one of package bundle's, or is a
// *[CompileError]. That the policy could not be kept on disk is no error
// here: what is new is enforced all the same, and [Live.Status] says so.
func (l *Live) Apply(sealedRelease, sealedBundle []byte) (*Policy, error) {
	return l.enforce(sealed{sealedRelease, sealedBundle}, true)
}

func (l *Live) enforce(s sealed, keep bool) (*Policy, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.current.Load()
	p, err := l.verify(s, old)
	if err != nil || p == old {
		return p, err
	}
	if keep {
		l.keep(s)
	}
	l.newest[p.releaseKeyID], l.withdrawn = p.Release, nil
	l.swap(old, p, l.keepErr)
	return p, nil
}

// swap makes now, which may be nil, the policy in force. The caller holds l.mu.
func (l *Live) swap(old, now *Policy, err error) {
	l.current.Store(now)
	status := &Status{Err: err}
	if now != nil {
		status.Release, status.Since = now.Release, now.Since
	}
	l.status.Store(status)
	for sub := range l.subscribers {
		sub.changed(old, now)
	}
}

// ErrWithdrawn says that the policy was withdrawn because a key that signed it
// is trusted no more.
var ErrWithdrawn = errors.New("the policy was withdrawn")

// Trust makes keys those that may publish from now on. A policy in force that
// rests on another key is withdrawn: every client is refused until a release
// comes that a trusted key has signed, so let gateways trust a new key, and
// publish with it, before the old key goes. The error is about keys, or wraps
// [ErrWithdrawn].
func (l *Live) Trust(keys bundle.KeyRing) error {
	if len(keys.Keys()) == 0 {
		return errors.New("trust keys: there is none")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trusted = keys
	for id := range l.newest {
		if !keys.Trusts(id) {
			delete(l.newest, id)
		}
	}
	old := l.current.Load()
	if old == nil || old.trusted(keys) {
		return nil
	}
	l.unkept, l.keepErr = sealed{}, nil
	l.withdrawn = fmt.Errorf("%w: it rests on %q and %q, trusted are %q", ErrWithdrawn, old.releaseKeyID, old.KeyID, keyIDs(keys))
	l.swap(old, nil, l.withdrawn)
	if l.interrupt != nil {
		l.interrupt() // the source waits for what is newer than the policy that is gone
	}
	return l.withdrawn
}

func keyIDs(keys bundle.KeyRing) []string {
	var ids []string
	for _, k := range keys.Keys() {
		ids = append(ids, k.ID())
	}
	return ids
}

// floor is the newest release that any trusted key has signed and that was in
// force. The caller holds l.mu.
func (l *Live) floor() bundle.Release {
	var floor bundle.Release
	for _, r := range l.newest {
		if r.Revision > floor.Revision {
			floor = r
		}
	}
	return floor
}

// verify checks and compiles. It returns old itself if nothing changes.
func (l *Live) verify(s sealed, old *Policy) (*Policy, error) {
	release, err := bundle.OpenRelease(s.release, l.trusted, l.cfg.Gateway)
	if err != nil {
		return nil, err
	}
	if err := release.Follows(l.floor()); err != nil {
		return nil, err
	}
	if old != nil && release.Revision == old.Release.Revision {
		return old, nil
	}
	yield := func() {} // nobody is served before there is a policy
	if old != nil {
		yield = new(pacer).yield
	}
	policy, info, err := bundle.OpenReleasedAside(s.bundle, release, l.trusted, yield)
	if err != nil {
		return nil, err
	}
	signed, err := bundle.InspectUnverified(s.release) // by the key that was verified above
	if err != nil {
		return nil, err
	}
	p := &Policy{Release: release, Digest: info.Digest, KeyID: info.KeyID, Since: l.cfg.Clock(), releaseKeyID: signed.KeyID}
	if old != nil && old.Digest == info.Digest {
		p.Program = old.Program
		return p, nil
	}
	program, problems := compile.Aside(policy, l.cfg.Gateway, info.Digest, yield)
	if program == nil || policylang.HasErrors(problems) {
		return nil, &CompileError{Problems: problems}
	}
	p.Program = program
	return p, nil
}

// keep writes what is about to be enforced to disk. The caller holds l.mu.
func (l *Live) keep(s sealed) {
	l.unkept, l.keepErr = sealed{}, nil
	if err := l.store.save(s); err != nil {
		l.unkept, l.keepErr = s, fmt.Errorf("keep the policy in force on disk: %w", err)
	}
}

// hasUnkept reports whether what is in force could not be kept.
func (l *Live) hasUnkept() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keepErr != nil
}

// keepAgain tries once more to keep it, and reports whether it is kept.
func (l *Live) keepAgain() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(l.unkept)
	return l.keepErr == nil
}

// settle makes err, what could not be kept and a withdrawal the status's.
func (l *Live) settle(err error) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	status := *l.status.Load()
	status.Err = errors.Join(l.withdrawn, err, l.keepErr)
	l.status.Store(&status)
	return status
}
