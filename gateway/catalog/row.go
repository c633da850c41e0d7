package catalog

import (
	"strconv"
	"strings"
)

// row is one row of a result in text format. A value that is not what it
// should be reads as zero: the queries are our own, and each column's type is
// fixed by its cast.
type row [][]byte

func (r row) text(i int) string { return string(r[i]) }

func (r row) char(i int) byte {
	if len(r[i]) == 0 {
		return 0
	}
	return r[i][0]
}

func (r row) bool(i int) bool { return r.char(i) == 't' }

func (r row) oid(i int) uint32 {
	n, _ := strconv.ParseUint(string(r[i]), 10, 32)
	return uint32(n)
}

func (r row) uint64(i int) uint64 {
	n, _ := strconv.ParseUint(string(r[i]), 10, 64)
	return n
}

func (r row) int16(i int) int16 {
	n, _ := strconv.ParseInt(string(r[i]), 10, 16)
	return int16(n)
}

func (r row) int32(i int) int32 {
	n, _ := strconv.ParseInt(string(r[i]), 10, 32)
	return int32(n)
}

// oids reads OIDs separated by spaces.
func (r row) oids(i int) []uint32 {
	return numbers[uint32](r.text(i))
}

// int16s reads numbers separated by spaces.
func (r row) int16s(i int) []int16 {
	return numbers[int16](r.text(i))
}

func numbers[T int16 | uint32](s string) []T {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return nil
	}
	out := make([]T, len(fields))
	for i, f := range fields {
		n, _ := strconv.ParseInt(f, 10, 64)
		out[i] = T(n)
	}
	return out
}

// listSeparator separates the elements of a text array in a result: a
// character that no name holds.
const listSeparator = "\x01"

// list reads texts separated by listSeparator; nil if the value is NULL.
func (r row) list(i int) []string {
	if r[i] == nil {
		return nil
	}
	return strings.Split(string(r[i]), listSeparator)
}
