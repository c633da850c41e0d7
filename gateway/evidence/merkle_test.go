package evidence

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func leafOf(line []byte) tlog.Hash { return newLeafHasher().hash(line) }

// TestTreeIsTlogs compares our tree with golang.org/x/mod's, size by size.
func TestTreeIsTlogs(t *testing.T) {
	var ours tree
	var hashes memoryHashes
	if got, want := ours.root(), tlog.Hash(sha256.Sum256(nil)); got != want {
		t.Errorf("the empty tree's root is %v, want %v", got, want)
	}
	for n := range int64(300) {
		line := fmt.Appendf(nil, "line %d", n)
		leaf := leafOf(line)
		if want := tlog.RecordHash(line); leaf != want {
			t.Fatalf("leaf %d is %v, want %v", n, leaf, want)
		}
		ours.add(leaf)
		var err error
		if hashes, err = hashes.append(n, leaf); err != nil {
			t.Fatal(err)
		}
		want, err := tlog.TreeHash(n+1, hashes)
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.root(); got != want {
			t.Fatalf("root of %d leaves is %v, want %v", n+1, got, want)
		}
	}
}

func TestLeavesStored(t *testing.T) {
	for count := range int64(200) {
		n := tlog.StoredHashCount(count)
		for extra := range tlog.StoredHashCount(count+1) - n {
			if got := leavesStored(n + extra); got != uint64(count) {
				t.Errorf("%d hashes hold %d leaves, want %d", n+extra, got, count)
			}
		}
	}
}
