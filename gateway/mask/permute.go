package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// rounds of the Feistel network, as many as FF1 has (NIST SP 800-38G).
const rounds = 10

// letterLabel sets the stream of letters apart from the rounds' streams.
const letterLabel = rounds

// permute replaces the symbols by others, each smaller than its radix, so that
// no two strings of the same radixes become one: a Feistel network whose halves
// are added to each other, symbol by symbol modulo its radix. The round
// function is a CBC-MAC with AES, which also covers the radixes and s.extra,
// spread out by encrypting a counter with it, as FF1 does.
func (s *scratch) permute(block cipher.Block) {
	middle := len(s.symbols) / 2
	left, right := s.symbols[:middle], s.symbols[middle:]
	leftRadix, rightRadix := s.radix[:middle], s.radix[middle:]
	for round := range rounds {
		if round%2 == 0 {
			s.roundStream(block, round, right)
			s.add(block, left, leftRadix)
		} else {
			s.roundStream(block, round, left)
			s.add(block, right, rightRadix)
		}
	}
}

// prepare computes what every round depends on: the lengths, the radixes and
// s.extra. The lengths come first, so that no input begins another.
func (s *scratch) prepare(block cipher.Block) {
	clear(s.state[:])
	binary.BigEndian.PutUint64(s.state[:], uint64(len(s.radix)))
	binary.BigEndian.PutUint64(s.state[8:], uint64(len(s.extra)))
	block.Encrypt(s.state[:], s.state[:])
	s.absorb(block, s.radix)
	s.absorb(block, s.extra)
	s.base = s.state
}

// roundStream starts a stream that depends on the round and on data.
func (s *scratch) roundStream(block cipher.Block, round int, data []byte) {
	s.state = s.base
	s.state[0] ^= byte(round + 1)
	block.Encrypt(s.state[:], s.state[:])
	s.absorb(block, data)
}

func (s *scratch) absorb(block cipher.Block, data []byte) {
	for len(data) > 0 {
		n := min(len(data), aes.BlockSize)
		for i, b := range data[:n] {
			s.state[i] ^= b
		}
		block.Encrypt(s.state[:], s.state[:])
		data = data[n:]
	}
}

// add adds the stream to the symbols.
func (s *scratch) add(block cipher.Block, symbols, radix []byte) {
	for i := range symbols {
		r := uint32(radix[i])
		if r == 0 {
			r = 256
		}
		symbols[i] = byte((uint32(symbols[i]) + s.streamAt(block, i)) % r)
	}
}

// streamAt returns the i-th 16 bits of the stream; they are asked for in order.
func (s *scratch) streamAt(block cipher.Block, i int) uint32 {
	const each = aes.BlockSize / 2
	if i%each == 0 {
		s.stream = s.state
		var counter [4]byte
		binary.BigEndian.PutUint32(counter[:], uint32(i/each+1))
		for j, b := range counter {
			s.stream[j] ^= b
		}
		block.Encrypt(s.stream[:], s.stream[:])
	}
	return uint32(binary.BigEndian.Uint16(s.stream[i%each*2:]))
}
