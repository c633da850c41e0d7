package netloop

import "syscall"

// WithoutRings has the loops send as where the kernel gives them no ring.
func (l *Loops) WithoutRings() {
	l.each(func(loop *Loop) {
		if r := loop.later.ring; r != nil {
			_ = r.close()
			loop.later.ring = nil
		}
	})
}

// BreakRings has the next use of each ring fail.
func (l *Loops) BreakRings() {
	l.each(func(loop *Loop) {
		if r := loop.later.ring; r != nil {
			_ = syscall.Close(r.fd)
			r.fd = -1
		}
	})
}

// each has each loop do something, and returns when all have done it.
func (l *Loops) each(do func(*Loop)) {
	for _, loop := range l.loops {
		done := make(chan struct{})
		loop.post(item{do: func() {
			do(loop)
			close(done)
		}})
		<-done
	}
}
