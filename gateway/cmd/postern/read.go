package main

import (
	"fmt"
	"io"
	"os"
)

// The most bytes that are read of what a user names, before anything is known
// of it: it may be a device, or a pipe without an end.
const (
	maxKeyFile    = 64 << 10
	maxClaimsFile = 1 << 20
	maxPolicyFile = 4 << 20 // also of a statement
	maxSchemaFile = 64 << 20
)

// readBounded reads a file of at most that many bytes.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, most)
}

// readAll reads at most that many bytes.
func readAll(r io.Reader, name string, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return data, nil
}
