package control

import (
	"math"
	"sync"
	"time"
)

// Limits bounds how fast callers may call. A zero field has its default;
// a negative rate means no limit.
type Limits struct {
	PerCaller          float64 // requests a second of one caller; 200
	CallerBurst        float64 // at once; 2,000
	FailuresPerAddress float64 // refused tokens a second from one address; 2
	FailureBurst       float64 // at once; 60
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *float64
		value float64
	}{{&l.PerCaller, 200}, {&l.CallerBurst, 2000}, {&l.FailuresPerAddress, 2}, {&l.FailureBurst, 60}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// maxBuckets bounds a limiter's memory. When it is reached the full buckets are
// forgotten, which changes nothing, and if none is full, all.
const maxBuckets = 10_000

// limiter gives each key a bucket of tokens that refills with time.
type limiter struct {
	rate, burst float64
	now         func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate, burst float64, now func() time.Time) *limiter {
	return &limiter{rate: rate, burst: burst, now: now, buckets: make(map[string]*bucket)}
}

// take takes n tokens of the key's bucket. If there are not as many it takes
// none and says how long to wait for them. To take 0 is to ask whether one is
// there.
func (l *limiter) take(key string, n float64) (wait time.Duration, ok bool) {
	if l.rate < 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key)
	if want := max(n, 1); b.tokens < want {
		return time.Duration(math.Ceil((want-b.tokens)/l.rate)) * time.Second, false
	}
	b.tokens -= n
	return 0, true
}

func (l *limiter) bucket(key string) *bucket {
	now := l.now()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		b = &bucket{tokens: l.burst, at: now}
		l.buckets[key] = b
	}
	l.refill(b, now)
	return b
}

func (l *limiter) refill(b *bucket, now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens, b.at = min(l.burst, b.tokens+passed*l.rate), now
	}
}

func (l *limiter) forget(now time.Time) {
	for key, b := range l.buckets {
		if l.refill(b, now); b.tokens >= l.burst {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}
