package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang/bundle"
)

func (s *Server) listBundles(w http.ResponseWriter, r *http.Request, _ *caller) error {
	bundles, err := s.store.Bundles(r.Context())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.BundleList{Bundles: bundles})
	return nil
}

// getBundle gives a gateway the bundles that were released to it, and readers
// all.
func (s *Server) getBundle(w http.ResponseWriter, r *http.Request, c *caller) error {
	digest := r.PathValue("digest")
	allowed, err := s.mayRead(r.Context(), c, digest)
	if err != nil {
		return err
	}
	if !allowed && len(c.gateways()) == 0 {
		return refuse(http.StatusForbidden, api.CodeForbidden, strconv.Quote(c.Name)+" may not do this",
			"it needs the role viewer, author or auditor, or that of a gateway")
	}
	if !allowed {
		return missing("bundle " + strconv.Quote(digest))
	}
	data, err := s.store.Bundle(r.Context(), digest)
	if err != nil {
		return bundleError(err, digest)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("ETag", etag(digest))
	_, _ = w.Write(data) // the caller has left: nobody to tell
	return nil
}

// mayRead reports whether a caller may know what is in a bundle: readers may, an
// author for one gateway (it reads what it has uploaded, and knows its digest),
// and whoever a gateway of theirs was released it to.
func (s *Server) mayRead(ctx context.Context, c *caller, digest string) (bool, error) {
	if c.Has(readers()...) || c.HasForSome(api.RoleAuthor) {
		return true, nil
	}
	for _, gateway := range c.gateways() {
		// What is live is what a fleet asks for.
		if live, err := s.store.LiveSeen(ctx, gateway); err == nil && live.Bundle == digest {
			return true, nil
		}
		if released, err := s.store.Released(ctx, gateway, digest); released || err != nil {
			return released, err
		}
	}
	return false, nil
}

func (s *Server) putBundle(w http.ResponseWriter, r *http.Request, c *caller) error {
	digest := r.PathValue("digest")
	sealed, err := readBytes(r)
	if err != nil {
		return err
	}
	inside, err := bundle.InspectUnverified(sealed)
	switch {
	case err != nil:
		return invalid("the bundle cannot be read: %s", err)
	case inside.Type != bundle.TypeBundle:
		return invalid("this is not a bundle but %s", inside.Type)
	case inside.Digest != digest:
		return invalid("the bundle's digest is %s, the path says %q", inside.Digest, digest)
	}
	b := api.Bundle{Digest: digest, Size: int64(len(sealed)), KeyID: inside.KeyID, CreatedAt: s.now(), CreatedBy: c.Name}
	event := Event{Caller: c.Name, Action: "bundle.put", Target: digest, Bundle: digest}
	created, err := s.store.PutBundle(r.Context(), b, sealed, s.audit(r.Context(), event))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	answer(w, status, b)
	return nil
}

func (s *Server) deleteBundle(w http.ResponseWriter, r *http.Request, c *caller) error {
	digest := r.PathValue("digest")
	event := Event{Caller: c.Name, Action: "bundle.delete", Target: digest, Bundle: digest}
	if err := s.store.DeleteBundle(r.Context(), digest, s.audit(r.Context(), event)); err != nil {
		return bundleError(err, digest)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func bundleError(err error, digest string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return missing("bundle " + strconv.Quote(digest))
	case errors.Is(err, store.ErrReferenced):
		return refuse(http.StatusConflict, api.CodeReferenced, "a release names the bundle, so it is kept", "")
	}
	return err
}

// readBytes reads a body within the route's limit.
func readBytes(r *http.Request) ([]byte, error) {
	var buf bytes.Buffer
	_, err := io.Copy(&buf, r.Body)
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, refuse(http.StatusBadRequest, api.CodeInvalid, "the body ended too early", "")
	}
	return buf.Bytes(), err
}
