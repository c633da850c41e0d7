package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Block is the header of a sealed block: consecutive records that became one
// leaf of the log together. Its encoding is JSON without white space, members
// in this order.
type Block struct {
	V        int       `json:"v"`
	Origin   string    `json:"origin"`
	FirstSeq uint64    `json:"first_seq"`
	Count    uint64    `json:"count"`
	From     time.Time `json:"t_first"` // least time of its records
	To       time.Time `json:"t_last"`  // greatest time of its records
	Root     tlog.Hash `json:"block_root"`
	Bundle   string    `json:"bundle_digest"` // of the last record that names one, here or in a block before
}

// Last returns the seq of the block's last record.
func (b *Block) Last() uint64 { return b.FirstSeq + b.Count - 1 }

func (b *Block) encode() ([]byte, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode block: %w", err)
	}
	return data, nil
}

// parseBlock reads a block's encoding and nothing else.
func parseBlock(data []byte) (Block, error) {
	var b Block
	if err := json.Unmarshal(data, &b); err != nil {
		return Block{}, fmt.Errorf("read block: %w", err)
	}
	if b.V != Version {
		return Block{}, fmt.Errorf("read block: version %d is not supported, want %d", b.V, Version)
	}
	again, err := b.encode()
	if err != nil {
		return Block{}, err
	}
	if !bytes.Equal(again, data) {
		return Block{}, fmt.Errorf("read block: the encoding is not canonical")
	}
	return b, nil
}
