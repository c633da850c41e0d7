package bypass

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Runner plays cases against a gateway. Set the fields, then call Open; the
// other methods are safe for concurrent use.
type Runner struct {
	Server    Endpoint // PostgreSQL itself
	Superuser string   // of Server; postgres if empty
	Directory string   // what {DIR} stands for: the server's socket directory
	Target    Endpoint // what is attacked; the gateway, or Server itself
	Patience  time.Duration

	// Use makes the target enforce a policy. If it is nil the target is taken
	// to enforce the second policy on its own, and cases that it would not fit
	// are skipped.
	Use func(context.Context, Policy) error

	// Rewrite changes what the superuser runs to build a database and before a
	// case, as to put other values into protected columns. It may be nil.
	Rewrite func(sql string) string

	// Ignore matches what the target puts into its messages anew each time, as
	// an error's number. Comparisons pass over it. It may be nil.
	Ignore *regexp.Regexp

	major    int
	template string
	shared   func(context.Context) (string, error) // the database of the cases that leave no trace
	made     atomic.Int64
	playing  sync.RWMutex // held for reading by each case, for writing by one that runs alone
}

const defaultPatience = 10 * time.Second

// Open creates the roles and the template database, which Close drops. The
// roles stay.
func (r *Runner) Open(ctx context.Context) error {
	if r.Superuser == "" {
		r.Superuser = "postgres"
	}
	if r.Patience <= 0 {
		r.Patience = defaultPatience
	}
	r.template = "bypass_" + strings.ToLower(rand.Text()[:8])
	admin, err := r.admin(ctx, "postgres")
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	version, _ := strconv.Atoi(admin.ParameterStatus("server_version_num"))
	if version == 0 {
		text, err := value(ctx, admin, "SHOW server_version_num")
		if err != nil {
			return err
		}
		version, _ = strconv.Atoi(text)
	}
	r.major = version / 10000
	if err := r.execute(ctx, admin, r.file("roles.sql")); err != nil {
		return fmt.Errorf("create the roles: %w", err)
	}
	if err := r.execute(ctx, admin, "CREATE DATABASE "+r.template); err != nil {
		return fmt.Errorf("create the template: %w", err)
	}
	inside, err := r.admin(ctx, r.template)
	if err != nil {
		return err
	}
	defer inside.Close(context.WithoutCancel(ctx))
	if err := r.execute(ctx, inside, r.rewrite(r.file("schema.sql"))); err != nil {
		return fmt.Errorf("fill the template: %w", err)
	}
	r.shared = r.once()
	return nil
}

// once returns what makes the shared database when it is first called.
func (r *Runner) once() func(context.Context) (string, error) {
	var mu sync.Mutex
	name := ""
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if name != "" {
			return name, nil
		}
		made, _, err := r.database(ctx)
		if err == nil {
			name = made
		}
		return name, err
	}
}

// Close drops the databases that Open and the shared cases made.
func (r *Runner) Close(ctx context.Context) error {
	admin, err := r.admin(ctx, "postgres")
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	names, err := admin.Exec(ctx, "SELECT datname FROM pg_database WHERE datname LIKE '"+r.template+"%'").ReadAll()
	if err != nil {
		return err
	}
	for _, row := range names[0].Rows {
		err = errors.Join(err, r.execute(ctx, admin, "DROP DATABASE IF EXISTS "+string(row[0])+" WITH (FORCE)"))
	}
	return err
}

func (r *Runner) file(name string) string {
	data, err := files.ReadFile("testdata/" + name)
	if err != nil { // it is embedded
		return ""
	}
	return string(data)
}

func (r *Runner) rewrite(sql string) string {
	if r.Rewrite == nil {
		return sql
	}
	return r.Rewrite(sql)
}

// RunAll runs the cases, some at a time, and reports each as soon as it is
// known. Cases of one policy run together. Run runs one: r.Run, for example.
func (r *Runner) RunAll(ctx context.Context, cases []Case, workers int, run func(context.Context, Case) Result, report func(Result)) error {
	groups := map[string][]Case{}
	var order []string
	for _, c := range cases {
		key := fmt.Sprint(c.Policy())
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], c)
	}
	var serial sync.Mutex
	for _, key := range order {
		group := groups[key]
		if r.Use != nil {
			if err := r.Use(ctx, group[0].Policy()); err != nil {
				return fmt.Errorf("make the target enforce the policy: %w", err)
			}
		}
		var wg sync.WaitGroup
		queue := make(chan Case)
		for range max(1, workers) {
			wg.Go(func() {
				for c := range queue {
					result := run(ctx, c)
					serial.Lock()
					report(result)
					serial.Unlock()
				}
			})
		}
		for _, c := range group {
			queue <- c
		}
		close(queue)
		wg.Wait()
	}
	return ctx.Err()
}

// Run plays one case under the policy in force, and judges.
func (r *Runner) Run(ctx context.Context, c Case) Result {
	return r.timed(ctx, c, func(ctx context.Context, result *Result) error { return r.judge(ctx, &c, result) })
}

// timed plays a case that fits the server and the target's policy, in bounded
// time.
func (r *Runner) timed(ctx context.Context, c Case, play func(context.Context, *Result) error) Result {
	if c.Alone {
		r.playing.Lock()
		defer r.playing.Unlock()
	} else {
		r.playing.RLock()
		defer r.playing.RUnlock()
	}
	started := time.Now()
	result := Result{Case: c}
	switch {
	case !c.Versions.Has(r.major):
		result.Outcome, result.Detail = Skipped, fmt.Sprintf("not for PostgreSQL %d", r.major)
	case r.Use == nil && len(c.Protect) > 0:
		result.Outcome, result.Detail = Skipped, "the target's policy is fixed"
	default:
		ctx, stop := context.WithTimeout(ctx, 6*r.Patience)
		defer stop()
		if err := play(ctx, &result); err != nil {
			result.Outcome, result.Detail = Broken, err.Error()
		}
	}
	result.Took = time.Since(started)
	return result
}

// admin connects to the server as the superuser.
func (r *Runner) admin(ctx context.Context, database string) (*pgconn.PgConn, error) {
	host, port, err := net.SplitHostPort(r.Server.Address)
	if err != nil {
		return nil, fmt.Errorf("the server's address: %w", err)
	}
	cfg, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the server's port: %w", err)
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database = host, uint16(n), r.Superuser, database
	cfg.TLSConfig, cfg.Fallbacks = r.Server.TLS, nil
	if r.Server.Password != nil {
		if cfg.Password, err = r.Server.Password(r.Superuser); err != nil {
			return nil, err
		}
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return conn, nil
}

func (r *Runner) execute(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

// value runs SQL that gives one value. NULL is empty.
func value(ctx context.Context, conn *pgconn.PgConn, sql string) (string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 || len(results[0].Rows[0]) == 0 {
		return "", errors.New("no value")
	}
	return string(results[0].Rows[0][0]), nil
}

// place returns a database for a case, and how to be rid of it: a fresh one
// unless the case leaves no trace.
func (r *Runner) place(ctx context.Context, c *Case) (name string, done func(), err error) {
	if !c.leavesNoTrace() {
		return r.database(ctx)
	}
	name, err = r.shared(ctx)
	return name, func() {}, err
}

// database makes a fresh database and returns how to be rid of it.
func (r *Runner) database(ctx context.Context) (name string, drop func(), err error) {
	admin, err := r.admin(ctx, "postgres")
	if err != nil {
		return "", nil, err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	name = fmt.Sprintf("%s_%d", r.template, r.made.Add(1))
	drop = func() { r.drop(context.WithoutCancel(ctx), name) }
	strategy := ""
	if r.major >= 15 {
		strategy = " STRATEGY file_copy" // half the work for a database of this size
	}
	err = r.execute(ctx, admin, "CREATE DATABASE "+name+" TEMPLATE "+r.template+strategy)
	if err == nil {
		err = r.execute(ctx, admin, "GRANT CREATE ON DATABASE "+name+" TO tblowner")
	}
	if err != nil {
		drop()
		return "", nil, fmt.Errorf("make a database: %w", err)
	}
	return name, drop, nil
}

// drop drops a database as well as it can: Close tries again.
func (r *Runner) drop(ctx context.Context, name string) {
	ctx, stop := context.WithTimeout(ctx, r.Patience)
	defer stop()
	admin, err := r.admin(ctx, "postgres")
	if err != nil {
		return
	}
	defer admin.Close(ctx)
	_ = r.execute(ctx, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}
