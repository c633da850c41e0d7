//go:build linux && cgo

// Package protopack writes the syntax trees that PostgreSQL's parser hands out
// as protocol buffers, in place of the generic writer that comes with it. A
// program that imports the package is linked so that the parser calls it.
//
// In the parser's tree each node is wrapped in a message that has a field for
// every kind of node, about 250, of which one is set. protobuf-c looks at all of
// them, twice for each node, which takes longer than to parse most texts. This
// writer goes to the one that is set. The bytes are the same, which tests show for
// every field of every message.
//
// It is linked by the GNU linker's --wrap, which others than Linux's don't have:
// there the generic writer stays.
package protopack

/*
#cgo CFLAGS: -O2 -std=gnu99
#cgo LDFLAGS: -Wl,--wrap=protobuf_c_message_get_packed_size -Wl,--wrap=protobuf_c_message_pack
#include <stdlib.h>
#include "protopack.h"
*/
import "C"

import "unsafe"

// Repack reads a tree as protobuf-c does and writes it again. It returns nil if
// the program has no parser, or wire is no tree. It is for tests, which cannot
// call C themselves.
func Repack(wire []byte) []byte {
	out := make([]byte, len(wire)+64)
	n := C.protopack_repack((*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(wire))), C.size_t(len(wire)),
		(*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(out))), C.size_t(len(out)))
	if n < 0 {
		return nil
	}
	return out[:n]
}
