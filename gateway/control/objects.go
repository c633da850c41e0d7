package control

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posternhq/postern/gateway/control/internal/store"
	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
)

func (s *Server) listObjects(w http.ResponseWriter, r *http.Request, _ *caller) error {
	kind, err := kindOf(r)
	if err != nil {
		return err
	}
	objects, err := s.store.Objects(r.Context(), kind)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, api.ObjectList{Objects: objects})
	return nil
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request, _ *caller) error {
	kind, err := kindOf(r)
	if err != nil {
		return err
	}
	o, err := s.store.Object(r.Context(), kind, r.PathValue("name"))
	if err != nil {
		return objectError(err, kind, r.PathValue("name"))
	}
	answerObject(w, http.StatusOK, o)
	return nil
}

func answerObject(w http.ResponseWriter, status int, o api.Object) {
	w.Header().Set("ETag", etag(strconv.FormatInt(o.Rev, 10)))
	answer(w, status, o)
}

func (s *Server) putObject(w http.ResponseWriter, r *http.Request, c *caller) error {
	kind, err := kindOf(r)
	if err != nil {
		return err
	}
	name, err := nameOf(r, "name")
	if err != nil {
		return err
	}
	if err := scopedDraft(kind, name, c); err != nil {
		return err
	}
	pre, err := preconditionOf(r)
	if err != nil {
		return err
	}
	o, err := readObject(r, kind, name)
	if err != nil {
		return err
	}
	o.UpdatedAt, o.UpdatedBy = s.now(), c.Name
	event := Event{Caller: c.Name, Target: string(kind) + "." + name}
	status := http.StatusOK
	if pre.absent {
		event.Action, status = "object.create", http.StatusCreated
		o.Rev, err = s.store.CreateObject(r.Context(), o, s.audit(r.Context(), event))
	} else {
		event.Action = "object.update"
		if o.Rev, err = revOf(pre.version); err != nil {
			return err
		}
		o.Rev, err = s.store.UpdateObject(r.Context(), o, s.audit(r.Context(), event))
	}
	if err != nil {
		return objectError(err, kind, name)
	}
	answerObject(w, status, o)
	return nil
}

// scopedDraft refuses an author for one gateway the drafts of other gateways.
// The others are shared: no gateway reads drafts.
func scopedDraft(kind policylang.Kind, name string, c *caller) error {
	if kind != policylang.KindGateway || c.may(name, api.RoleAuthor) {
		return nil
	}
	return refuse(http.StatusForbidden, api.CodeForbidden, fmt.Sprintf("%q may not write the draft of gateway %q", c.Name, name), "")
}

// readObject reads a definition and brings it into canonical form. References
// to other objects are not checked: drafts come one by one.
func readObject(r *http.Request, kind policylang.Kind, name string) (api.Object, error) {
	var in api.ObjectInput
	if err := readJSON(r, &in); err != nil {
		return api.Object{}, err
	}
	if definition := bytes.TrimSpace(in.Definition); len(definition) == 0 || definition[0] != '{' {
		return api.Object{}, invalid("definition must be an object")
	}
	object, err := policylang.ParseDefinition(kind, name, in.Definition)
	if err != nil {
		return api.Object{}, refuse(http.StatusUnprocessableEntity, api.CodeInvalid, err.Error(),
			"the control plane and what sent this may be of different versions")
	}
	definition, err := policylang.Definition(object)
	if err != nil {
		return api.Object{}, err
	}
	return api.Object{Kind: kind, Name: name, Definition: definition, Digest: policylang.DigestBytes(definition)}, nil
}

func (s *Server) deleteObject(w http.ResponseWriter, r *http.Request, c *caller) error {
	kind, err := kindOf(r)
	if err != nil {
		return err
	}
	if err := scopedDraft(kind, r.PathValue("name"), c); err != nil {
		return err
	}
	var rev int64
	if r.Header.Get("If-Match") != "" {
		pre, err := preconditionOf(r)
		if err != nil {
			return err
		}
		if rev, err = revOf(pre.version); err != nil {
			return err
		}
	}
	name := r.PathValue("name")
	event := Event{Caller: c.Name, Action: "object.delete", Target: string(kind) + "." + name}
	if err := s.store.DeleteObject(r.Context(), kind, name, rev, s.audit(r.Context(), event)); err != nil {
		return objectError(err, kind, name)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func objectError(err error, kind policylang.Kind, name string) error {
	what := string(kind) + " " + strconv.Quote(name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return missing(what)
	case errors.Is(err, store.ErrExists):
		return refuse(http.StatusConflict, api.CodeExists, what+" exists already", "import it, or choose another name")
	case errors.Is(err, store.ErrChanged):
		return refuse(http.StatusPreconditionFailed, api.CodeChanged, what+" was changed by somebody else", "read it again and decide anew")
	}
	return err
}

func kindOf(r *http.Request) (policylang.Kind, error) {
	kind := policylang.Kind(r.PathValue("kind"))
	if !slices.Contains(policylang.Kinds(), kind) {
		return "", missing("kind of object " + strconv.Quote(string(kind)))
	}
	return kind, nil
}

// nameOf reads a name from the path. Which names a policy may use is the
// policy's validation to say.
func nameOf(r *http.Request, key string) (string, error) {
	name := r.PathValue(key)
	return name, checkName(key, name)
}

func checkName(what, name string) error {
	if name == "" || len(name) > 128 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return invalid("%s must be a name of 1 to 128 bytes", what)
	}
	return nil
}

func revOf(version string) (int64, error) {
	rev, err := strconv.ParseInt(version, 10, 64)
	if err != nil || rev <= 0 {
		return 0, refuse(http.StatusBadRequest, api.CodeInvalid, "If-Match must be the ETag of an object", "")
	}
	return rev, nil
}
