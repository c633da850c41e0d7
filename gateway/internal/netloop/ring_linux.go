package netloop

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring sends on several sockets by one system call: an io_uring (io_uring(7)),
// of which nothing is in flight between two calls of send. It belongs to one
// loop.
type ring struct {
	fd          int
	queues      []byte // shared with the kernel, as are those that follow
	submissions []byte
	sqes        *[ringSize]sqe
	array       *[ringSize]uint32 // which sqes are submitted, in which order
	sqTail      *uint32
	cqes        *[2 * ringSize]cqe
	cqHead      *uint32
	cqTail      *uint32
}

// ringSize is on how many sockets it sends at most, a power of two. With more,
// the first would wait for long.
const ringSize = 16

// sqe is struct io_uring_sqe, as far as sends need it.
type sqe struct {
	opcode    uint8
	_         [3]uint8
	fd        int32
	_         uint64
	addr      uint64
	length    uint32
	sendFlags uint32
	userData  uint64
	_         [3]uint64
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	result   int32
	_        uint32
}

// ringParams is struct io_uring_params: what is asked for, what there is, and
// where.
type ringParams struct {
	sqEntries, cqEntries, flags, _, _, features, _ uint32
	_                                              [3]uint32
	sq                                             struct { // struct io_sqring_offsets
		head, tail, _, _, _, _, array, _ uint32
		_                                uint64
	}
	cq struct { // struct io_cqring_offsets
		head, tail, _, _, _, cqes, _, _ uint32
		_                               uint64
	}
}

// Of linux/io_uring.h.
const (
	opSend         = 26
	enterGetEvents = 1
	featSingleMap  = 1 // both queues are in one mapping
	offsetQueues   = 0
	offsetSQEs     = 0x10000000
)

// newRing makes a ring. Many kernels, and containers most of all, do not let us.
func newRing() (*ring, error) {
	var p ringParams
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: int(fd)}
	err := r.share(&p)
	if _, errno := r.enter(0); err == nil && errno != 0 {
		err = os.NewSyscallError("io_uring_enter", errno)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a ring: %w", err), r.close())
	}
	return r, nil
}

// enter submits the next n sends, each of which the kernel answers at once.
func (r *ring) enter(n uint32) (submitted uint32, errno syscall.Errno) {
	done, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), uintptr(min(n, 1)), enterGetEvents, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return uint32(done), 0
}

// share maps what is shared with the kernel.
func (r *ring) share(p *ringParams) (err error) {
	size := max(p.sq.array+uint32(unsafe.Sizeof(*r.array)), p.cq.cqes+uint32(unsafe.Sizeof(*r.cqes)))
	if p.features&featSingleMap == 0 || p.sqEntries != ringSize || p.cqEntries != 2*ringSize {
		return errors.ErrUnsupported
	}
	const access, how = syscall.PROT_READ | syscall.PROT_WRITE, syscall.MAP_SHARED | syscall.MAP_POPULATE
	if r.queues, err = syscall.Mmap(r.fd, offsetQueues, int(size), access, how); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if r.submissions, err = syscall.Mmap(r.fd, offsetSQEs, int(unsafe.Sizeof(*r.sqes)), access, how); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	at := func(offset uint32) unsafe.Pointer { return unsafe.Pointer(&r.queues[offset]) }
	r.sqes = (*[ringSize]sqe)(unsafe.Pointer(unsafe.SliceData(r.submissions)))
	r.array, r.sqTail = (*[ringSize]uint32)(at(p.sq.array)), (*uint32)(at(p.sq.tail))
	r.cqes, r.cqHead, r.cqTail = (*[2 * ringSize]cqe)(at(p.cq.cqes)), (*uint32)(at(p.cq.head)), (*uint32)(at(p.cq.tail))
	return nil
}

func (r *ring) close() error {
	var err error
	for _, m := range [][]byte{r.queues, r.submissions} {
		if m != nil {
			err = errors.Join(err, syscall.Munmap(m))
		}
	}
	return errors.Join(err, syscall.Close(r.fd))
}

// send sends what is pending of at most ringSize connections, whose locks are
// held, and returns when the kernel has done what it can without waiting. An
// error means that the ring is of no use any more; what could be sent was sent
// otherwise.
func (r *ring) send(conns []*Conn) error {
	left := r.submit(conns)
	for unanswered := left; unanswered > 0; unanswered -= r.answers(conns) {
		n, errno := r.enter(left)
		switch errno {
		case 0, syscall.EINTR, syscall.EAGAIN, syscall.EBUSY: // the last two: short of memory just now
			left -= n
		default:
			for _, c := range conns {
				c.sendPendingLocked()
			}
			return os.NewSyscallError("io_uring_enter", errno)
		}
	}
	return nil
}

// submit queues the sends, and returns how many.
func (r *ring) submit(conns []*Conn) uint32 {
	first := *r.sqTail // the kernel does not write it
	tail := first
	for i, c := range conns {
		if !c.sendsLocked() {
			continue
		}
		slot := tail % ringSize
		r.array[slot] = slot
		r.sqes[slot] = sqe{
			opcode: opSend, fd: int32(c.fd), addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.pending)))), length: uint32(len(c.pending)),
			sendFlags: syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL, userData: uint64(i),
		}
		tail++
	}
	atomic.StoreUint32(r.sqTail, tail)
	return tail - first
}

// answers tells the connections what became of their sends.
func (r *ring) answers(conns []*Conn) (n uint32) {
	head := *r.cqHead // nor this
	for ; head != atomic.LoadUint32(r.cqTail); head++ {
		e := &r.cqes[head%uint32(len(r.cqes))]
		conns[e.userData].sentLocked(e.result)
		n++
	}
	atomic.StoreUint32(r.cqHead, head)
	return n
}
