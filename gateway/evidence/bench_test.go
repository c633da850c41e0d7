//go:build linux

package evidence_test

import (
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/evidence"
	"github.com/posternhq/postern/policylang"
)

// typical is a record as the gateway writes one for each statement.
func typical() *evidence.Record {
	return &evidence.Record{
		Time: time.Now(), Kind: evidence.KindStatement,
		Identity: "ana", Issuer: "https://login.example.com", Subject: "auth0|5f7c8ec7c33c6c004bbafe82", Groups: []string{"eng", "on-call"},
		AuthMethod: "token", ClientAddr: "10.1.2.3", ApplicationName: "psql",
		Gateway: "orders", Server: "db.internal:5432", Database: "shop", Role: "ana", Session: "s_0123456789abcdef", StmtNo: 42, Txn: "I",
		Command: "SELECT", Class: policylang.ClassRead, Fingerprint: "50fde20626009aba",
		Shape:     "SELECT id, email FROM customers WHERE id = ? AND country = ?",
		Relations: []evidence.Relation{{Name: "public.customers", Verb: policylang.VerbRead}},
		Protocol:  "extended",
		SQL:       "SELECT id, email FROM customers WHERE id = $1 AND country = 'SE'", Params: []evidence.Param{{Value: []byte("4711")}},
		Effect: policylang.EffectAllow, Rules: []string{"allow_reads"},
		Bundle:  "sha256:c9f2d9decc7f3c6612bc4d006c01261da43363f4c4135d4b0c6f51871d8ede48",
		Outcome: evidence.OutcomeCompleted, Rows: 1, Bytes: 87, DurationUS: 412, Masked: []string{"email"},
	}
}

// benchJournal opens a journal on a real disk, sealing as in production.
func benchJournal(b *testing.B) *evidence.Journal {
	b.Helper()
	cfg := config(b, filepath.Join(b.TempDir(), "journal"))
	cfg.BlockInterval = time.Second
	j, err := evidence.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeJournal(b, j) })
	return j
}

// benchmarkAppend measures one statement after the other, in bursts: what the
// journal does in the background it does between them. Only the CPU time says
// anything.
func benchmarkAppend(b *testing.B, d evidence.Durability) {
	const burst = 256
	j, r := benchJournal(b), typical()
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	path, all := cpuTime(b, rusageThread), cpuTime(b, syscall.RUSAGE_SELF)
	for i := 0; b.Loop(); i++ {
		if _, err := j.Append(r, d); err != nil {
			b.Fatal(err)
		}
		if i%burst == burst-1 {
			time.Sleep(time.Millisecond)
		}
	}
	path, all = cpuTime(b, rusageThread)-path, cpuTime(b, syscall.RUSAGE_SELF)-all
	b.ReportMetric(float64(path)/float64(b.N), "path-cpu-ns/op")
	b.ReportMetric(float64(all-path)/float64(b.N), "background-cpu-ns/op")
}

// rusageThread is Linux's RUSAGE_THREAD.
const rusageThread = 1

// cpuTime returns the CPU time that this thread, or process, has used.
func cpuTime(b *testing.B, who int) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkAppendProcess(b *testing.B) { benchmarkAppend(b, evidence.Process) }

func BenchmarkAppendPower(b *testing.B) { benchmarkAppend(b, evidence.Power) }

func benchmarkAppendParallel(b *testing.B, d evidence.Durability) {
	j := benchJournal(b)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := typical()
		for pb.Next() {
			if _, err := j.Append(r, d); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkAppendProcessParallel(b *testing.B) { benchmarkAppendParallel(b, evidence.Process) }

func BenchmarkAppendPowerParallel(b *testing.B) { benchmarkAppendParallel(b, evidence.Power) }

func BenchmarkVerify(b *testing.B) {
	cfg := config(b, journalDir(b))
	j := open(b, cfg)
	const n = 20_000
	for range n {
		if _, err := j.Append(typical(), evidence.Process); err != nil {
			b.Fatal(err)
		}
	}
	closeJournal(b, j)
	b.ReportMetric(n, "records")
	for b.Loop() {
		report, err := evidence.Verify(cfg.Dir, keys(b, cfg))
		if err != nil || report.Records < n {
			b.Fatal(err)
		}
	}
}
