package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certificateInterval is how often the files of a certificate are looked at,
// at most: when somebody connects.
const certificateInterval = time.Second

// servedCertificate is a TLS certificate that is read again when its files
// change, or have to be renewed, while the process runs.
type servedCertificate struct {
	files []string
	load  func() (tls.Certificate, error)
	due   func(*tls.Certificate) bool // it must be renewed though its files are the same
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   string    // of the files when they were read
	looked  time.Time // when they were last looked at
}

// serveCertificate reads a certificate and returns the TLS configuration that
// serves it.
func (f *commonFlags) serveCertificate(log *slog.Logger) (*tls.Config, error) {
	s := &servedCertificate{log: log, files: []string{f.certFile, f.keyFile}, due: func(*tls.Certificate) bool { return false }}
	s.load = func() (tls.Certificate, error) { return serverCertificate(f.certFile, f.keyFile, f.data, f.hosts) }
	if f.certFile == "" {
		s.files = []string{f.path("server.pem"), f.path("server.key")}
		s.due = func(c *tls.Certificate) bool { return !stillGood(c.Leaf, f.hosts) }
	}
	cert, err := s.load()
	if err != nil {
		return nil, err
	}
	s.current, s.stamp = &cert, stampOf(s.files)
	return &tls.Config{GetCertificate: s.get, MinVersion: tls.VersionTLS12}, nil
}

// get is tls.Config.GetCertificate. Files that cannot be read, as half-written
// ones, change nothing and are looked at again.
func (s *servedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < certificateInterval {
		return s.current, nil
	}
	s.looked = time.Now()
	stamp := stampOf(s.files)
	if stamp == s.stamp && !s.due(s.current) {
		return s.current, nil
	}
	cert, err := s.load()
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "the TLS certificate stays as it was", slog.Any("error", err))
		return s.current, nil
	}
	s.current, s.stamp = &cert, stampOf(s.files)
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "the TLS certificate was read again", slog.Time("expires", cert.Leaf.NotAfter))
	return s.current, nil
}

// stampOf changes when one of the files does.
func stampOf(files []string) string {
	var b strings.Builder
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintf(&b, "%d %d\n", info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}
