package controlclient

import (
	"bytes"
	"io"
	"net/http"
)

// InProcess returns a transport that calls a handler in this process.
func InProcess(h http.Handler) http.RoundTripper { return InProcessFor(h, "in-process") }

// InProcessFor is InProcess on behalf of a client at the address "host:port",
// which the handler sees and may hold to its limits.
func InProcessFor(h http.Handler, address string) http.RoundTripper { return inProcess{h, address} }

type inProcess struct {
	handler http.Handler
	address string
}

// RoundTrip runs the handler to its end, which comes early if it heeds the
// request's context.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI, in.RemoteAddr = in.URL.RequestURI(), t.address
	w := &answer{header: make(http.Header), status: http.StatusOK}
	t.handler.ServeHTTP(w, in)
	_ = in.Body.Close()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer collects what a handler writes.
type answer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status, a.wrote = status, true
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
