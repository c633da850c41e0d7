package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxCheckpoint bounds what is read of a signed checkpoint, in bytes.
const maxCheckpoint = 64 << 10

// Checkpoint is what a signed checkpoint states: the log of Origin has Blocks
// leaves, which hold Records records, under Root. Its text is a C2SP
// tlog-checkpoint (https://c2sp.org/tlog-checkpoint) with two extension lines:
//
//	ORIGIN
//	BLOCKS
//	ROOT in base64
//	records RECORDS
//	time 2006-01-02T15:04:05.000000Z
type Checkpoint struct {
	Origin  string
	Blocks  uint64
	Root    tlog.Hash
	Records uint64    // seq of the last record that is sealed
	Time    time.Time // when it was signed
}

func (c *Checkpoint) text() string {
	return c.Origin + "\n" +
		strconv.FormatUint(c.Blocks, 10) + "\n" +
		base64.StdEncoding.EncodeToString(c.Root[:]) + "\n" +
		"records " + strconv.FormatUint(c.Records, 10) + "\n" +
		"time " + c.Time.UTC().Format(timeLayout) + "\n"
}

// sign returns the checkpoint as a signed note.
func (c *Checkpoint) sign(s note.Signer) ([]byte, error) {
	data, err := note.Sign(&note.Note{Text: c.text()}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return data, nil
}

// OpenCheckpoint verifies a signed checkpoint. Signatures by other keys, such
// as those of witnesses, are ignored.
func OpenCheckpoint(signed []byte, trusted note.Verifiers) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %d bytes, at most %d are possible", len(signed), maxCheckpoint)
	}
	n, err := note.Open(signed, trusted)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return parseCheckpoint(n.Text)
}

// unverifiedCheckpoint reads a checkpoint whoever signed it.
func unverifiedCheckpoint(signed []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if !ok {
		return Checkpoint{}, errors.New("read checkpoint: not a signed note")
	}
	return parseCheckpoint(text + "\n")
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitAfter(text, "\n")
	var c Checkpoint
	if len(lines) != 6 || lines[5] != "" {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %d lines, want 5", len(lines)-1)
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n")
	}
	c.Origin = lines[0]
	blocks, err1 := strconv.ParseUint(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	records, err3 := strconv.ParseUint(strings.TrimPrefix(lines[3], "records "), 10, 64)
	at, err4 := time.Parse(timeLayout, strings.TrimPrefix(lines[4], "time "))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	if len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("read checkpoint: root of %d bytes, want %d", len(root), tlog.HashSize)
	}
	c.Blocks, c.Root, c.Records, c.Time = blocks, tlog.Hash(root), records, at
	if c.text() != text {
		return Checkpoint{}, errors.New("read checkpoint: the encoding is not canonical")
	}
	return c, nil
}
