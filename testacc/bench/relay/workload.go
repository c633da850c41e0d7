package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"
)

// workload is one row of the report.
type workload struct {
	name    string
	unit    string // of the rate
	cpuUnit string // of the proxy's CPU time
	only    string // the one proxy, besides direct, that it makes sense for
	run     func(ctx context.Context, db *postgres, p *proxy) (count float64, took time.Duration, err error)
	per     float64 // CPU time is told per so many of what run counts
}

// sample is what one run showed.
type sample struct {
	rate float64 // per second
	cpu  float64
}

func (w *workload) measure(ctx context.Context, db *postgres, p *proxy) (sample, error) {
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	count, took, err := w.run(ctx, db, p)
	if err != nil {
		return sample{}, err
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	return sample{rate: count / took.Seconds(), cpu: float64((after - before).Microseconds()) / (count / w.per)}, nil
}

// workloads lists those that were asked for.
func workloads(o *options) []*workload {
	var all []*workload
	bench := func(name string, script string, args ...string) {
		all = append(all, &workload{name: name, unit: "tps", cpuUnit: "µs", per: 1, run: pgbench(o.duration, role, script, args...)})
	}
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, clients := range []string{"1", "8", "32"} {
			bench("-S "+mode+", "+clients, "", "-S", "-M", mode, "-c", clients)
		}
	}
	bench("TPC-B, 8", "", "-M", "prepared", "-c", "8")
	bench("200 columns, 8", "\\set id random(1, 1000)\nSELECT * FROM wide WHERE id = :id;\n", "-M", "prepared", "-c", "8")
	bench("connections", "", "-S", "-C", "-c", "1")
	stream := func(name, as, sql string) {
		all = append(all, &workload{name: name, unit: "MB/s", cpuUnit: "ms/GB", per: 1.024, run: streaming(as, sql)})
	}
	stream("SELECT, stream", role, "SELECT * FROM stream")
	stream("COPY, stream", role, "COPY stream TO STDOUT")
	masked := len(all)
	stream("SELECT, 2 masked", maskedRole, "SELECT * FROM masked")
	stream("COPY, 2 masked", maskedRole, "COPY masked TO STDOUT")
	for _, clients := range []string{"1", "8"} {
		bench("-S prepared, "+clients+", masked", "", "-S", "-M", "prepared", "-c", clients)
		all[len(all)-1].run = pgbench(o.duration, maskedRole, "", "-S", "-M", "prepared", "-c", clients)
	}
	for _, w := range all[masked:] {
		w.only = "postern"
	}
	var out []*workload
	for _, w := range all {
		if o.rows.MatchString(w.name) {
			out = append(out, w)
		}
	}
	return out
}

var (
	processedRE = regexp.MustCompile(`(?m)^number of transactions actually processed: (\d+)`)
	rateRE      = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	failedRE    = regexp.MustCompile(`(?m)^number of failed transactions: ([1-9]\d*)`)
)

// pgbench runs Debian's pgbench.
func pgbench(d time.Duration, as, script string, args ...string) func(context.Context, *postgres, *proxy) (float64, time.Duration, error) {
	return func(ctx context.Context, _ *postgres, p *proxy) (float64, time.Duration, error) {
		args := append([]string{
			"-n", "-T", strconv.Itoa(max(1, int(d.Seconds()))), "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", as,
		}, args...)
		if script != "" {
			file := filepath.Join(os.TempDir(), fmt.Sprintf("bench-relay-%d.sql", os.Getpid()))
			if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
				return 0, 0, err
			}
			defer func() { _ = os.Remove(file) }() // in the temporary directory
			args = append(args, "-f", file)
		}
		cmd := exec.CommandContext(ctx, "pgbench", append(args, "postgres")...)
		cmd.Env = append(os.Environ(), "PGPASSWORD="+p.passwords[as], "PGSSLMODE=disable")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return 0, 0, fmt.Errorf("pgbench: %w\n%s\n%s", err, &out, p.log)
		}
		count, err1 := number(processedRE, out.Bytes())
		rate, err2 := number(rateRE, out.Bytes())
		if failedRE.Match(out.Bytes()) || errors.Join(err1, err2) != nil || rate == 0 {
			return 0, 0, fmt.Errorf("pgbench: %w\n%s", errors.Join(err1, err2), &out)
		}
		return count, time.Duration(count / rate * float64(time.Second)), nil
	}
}

func number(re *regexp.Regexp, out []byte) (float64, error) {
	m := re.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("its output has no %s", re)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// streaming reads all of a large result and looks at its end alone, so that
// the client is not what is measured. It counts megabytes.
func streaming(as, sql string) func(context.Context, *postgres, *proxy) (float64, time.Duration, error) {
	return func(ctx context.Context, _ *postgres, p *proxy) (float64, time.Duration, error) {
		config, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres sslmode=disable", p.port, as))
		if err != nil {
			return 0, 0, err
		}
		config.Password = p.passwords[as]
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			return 0, 0, err
		}
		raw, err := conn.Hijack()
		if err != nil {
			return 0, 0, err
		}
		defer raw.Conn.Close()
		query, err := (&pgproto3.Query{String: sql}).Encode(nil)
		if err != nil {
			return 0, 0, err
		}
		start := time.Now()
		if _, err := raw.Conn.Write(query); err != nil {
			return 0, 0, err
		}
		n, err := readToReady(raw.Conn)
		return float64(n) / (1 << 20), time.Since(start), err
	}
}

// readToReady reads until the bytes end in a ReadyForQuery of an idle session.
func readToReady(r io.Reader) (int64, error) {
	ready := []byte{'Z', 0, 0, 0, 5, 'I'}
	buf := make([]byte, 256<<10)
	tail := 0 // bytes kept of the last read
	var total int64
	for {
		n, err := r.Read(buf[tail:])
		if err != nil {
			return total, err
		}
		if total == 0 && buf[0] == 'E' {
			return total, fmt.Errorf("the server answered %q", buf[:n])
		}
		total += int64(n)
		have := buf[:tail+n]
		if bytes.HasSuffix(have, ready) {
			return total, nil
		}
		tail = copy(buf, have[max(0, len(have)-len(ready)):])
	}
}
