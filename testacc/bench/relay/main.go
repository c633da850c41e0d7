// Command relay measures what a connection through Postern costs, beside what
// people would put in its place and beside nothing at all:
//
//	direct      the client connects to PostgreSQL
//	pgbouncer   Debian's, pool_mode=session
//	haproxy     Debian's, mode tcp
//	gorelay     two goroutines a connection that copy bytes (gorelay.go)
//	postern     a policy of a hundred rules, masking policies, evidence on
//
// Everything speaks plaintext. A round runs each workload through each of them
// in turn, so that whatever else the machine does hits all alike; what is
// reported is the median of the rounds, as ratios. The CPU time of a proxy is
// that of its process, from /proc/PID/stat: on a shared machine it is steadier
// than throughput.
//
//	go run ./testacc/bench/relay -seconds 4 -rounds 3
//	go run ./testacc/bench/relay -rows prepared -through gorelay,postern -pprof cpu.out
//	go run ./testacc/bench/relay -idle 5000
//
// With -docs it writes its section of docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	duration time.Duration
	rounds   int
	rows     *regexp.Regexp
	through  []string
	stream   int64 // MB of each stream
	idle     int
	profile  string
	docs     string
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := children[os.Args[1]]; ok {
			exit(run(os.Args[2:]))
		}
	}
	o, err := parseFlags()
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, o))
}

// children are the processes that this program starts of itself.
var children = map[string]func(args []string) error{
	"gorelay":  runGoRelay,
	"postern":  runPostern,
	"upstream": runFakeUpstream,
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-relay:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseFlags() (*options, error) {
	seconds := flag.Float64("seconds", 4, "length of each run of pgbench")
	rounds := flag.Int("rounds", 3, "rounds; the median is reported")
	rows := flag.String("rows", "", "only workloads whose name matches this regular expression")
	through := flag.String("through", strings.Join(proxyNames, ","), "what to measure")
	stream := flag.Int64("stream", 1024, "MB of each stream")
	idle := flag.Int("idle", 0, "measure the memory of this many idle sessions, and nothing else")
	profile := flag.String("pprof", "", "write Postern's CPU profile to this `file`")
	docs := flag.String("docs", "", "write the results into the section of this `file`")
	flag.Parse()
	o := &options{
		duration: time.Duration(*seconds * float64(time.Second)), rounds: *rounds, through: strings.Split(*through, ","),
		stream: *stream, idle: *idle, profile: *profile, docs: *docs,
	}
	for _, name := range o.through {
		if !slices.Contains(proxyNames, name) {
			return nil, fmt.Errorf("-through names %q, which is none of %s", name, strings.Join(proxyNames, ", "))
		}
	}
	var err error
	if o.rows, err = regexp.Compile(*rows); err != nil {
		return nil, fmt.Errorf("-rows: %w", err)
	}
	return o, nil
}

func run(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "bench-relay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // servers that run as another user enter it
		return err
	}
	if o.idle > 0 {
		return measureIdle(ctx, dir, o.idle, o.docs)
	}
	results, err := measure(ctx, dir, o)
	if err != nil {
		return err
	}
	fmt.Print(results.text())
	if o.docs != "" {
		return writeSection(o.docs, "relay", results.markdown(o))
	}
	return nil
}

// measure runs every workload through everything.
func measure(ctx context.Context, dir string, o *options) (*results, error) {
	db, err := startPostgres(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer db.stop()
	fmt.Fprintln(os.Stderr, "making the database")
	if err := db.fill(ctx, o.stream); err != nil {
		return nil, err
	}
	var proxies []*proxy
	for _, name := range o.through {
		p, err := startProxy(ctx, name, dir, db, o.profile)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		defer p.stop()
		proxies = append(proxies, p)
	}
	r := &results{proxies: o.through}
	for round := range o.rounds {
		for _, w := range workloads(o) {
			for i := range proxies {
				p := proxies[(i+round)%len(proxies)]
				if w.only != "" && w.only != p.name && p.name != "direct" {
					continue
				}
				s, err := w.measure(ctx, db, p)
				if err != nil {
					return nil, fmt.Errorf("%s through %s: %w", w.name, p.name, err)
				}
				r.add(w, p.name, s)
				fmt.Fprintf(os.Stderr, "round %d  %-22s %-10s %12.1f %s  %7.1f %s\n", round+1, w.name, p.name, s.rate, w.unit, s.cpu, w.cpuUnit)
			}
		}
	}
	return r, nil
}
