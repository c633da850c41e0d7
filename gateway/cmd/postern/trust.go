package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/livepolicy"
	"github.com/posternhq/postern/policylang/bundle"
)

// trustInterval is how often files of trusted keys are read again.
const trustInterval = 2 * time.Second

// trustedKeys are the keys of files, which are replaced and revoked while the
// process runs.
type trustedKeys struct {
	files []string
	ring  bundle.KeyRing
	log   *slog.Logger
}

func openTrustedKeys(files []string, log *slog.Logger) (*trustedKeys, error) {
	ring, err := readKeyRing(files)
	if err != nil {
		return nil, err
	}
	return &trustedKeys{files: files, ring: ring, log: log}, nil
}

// follow has the live policy trust what the files say, until ctx ends. Files
// that cannot be read change nothing: half-written ones would else lock
// everybody out.
func (t *trustedKeys) follow(ctx context.Context, live *livepolicy.Live) {
	tick := time.NewTicker(trustInterval)
	defer tick.Stop()
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ring, err := readKeyRing(t.files)
		if err != nil {
			if err.Error() != failed {
				t.log.LogAttrs(ctx, slog.LevelError, "the trusted keys stay as they were", slog.Any("error", err))
			}
			failed = err.Error()
			continue
		}
		failed = ""
		if ring.Equal(t.ring) {
			continue
		}
		t.ring = ring
		t.log.LogAttrs(ctx, slog.LevelInfo, "the trusted keys have changed", slog.Any("keys", keyIDs(ring)))
		switch err := live.Trust(ring); {
		case errors.Is(err, livepolicy.ErrWithdrawn):
			t.log.LogAttrs(ctx, slog.LevelWarn, "every client is refused until a trusted key releases a policy", slog.Any("error", err))
		case err != nil:
			t.log.LogAttrs(ctx, slog.LevelError, "trust the new keys", slog.Any("error", err))
		}
	}
}

func keyIDs(ring bundle.KeyRing) []string {
	var ids []string
	for _, k := range ring.Keys() {
		ids = append(ids, k.ID())
	}
	return ids
}

// readKeyRing reads the public keys of files.
func readKeyRing(files []string) (bundle.KeyRing, error) {
	var text strings.Builder
	for _, name := range files {
		data, err := readBounded(name, maxKeyFile)
		if err != nil {
			return bundle.KeyRing{}, fmt.Errorf("read trusted keys: %w", err)
		}
		text.Write(data)
		text.WriteByte('\n')
	}
	ring, err := bundle.ParseKeyRing(text.String())
	if err != nil {
		return bundle.KeyRing{}, fmt.Errorf("read trusted keys: %w", err)
	}
	return ring, nil
}
