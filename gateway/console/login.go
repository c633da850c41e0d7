package console

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/gateway/internal/controlclient"
)

// visit is one request of somebody who is signed in.
type visit struct {
	key    sessionKey
	client *controlclient.Client
	caller api.Caller
}

// signedIn runs a handler for somebody who is signed in, and sends others to
// sign in. It checks the token of every form that is sent.
func (s *server) signedIn(handle func(http.ResponseWriter, *http.Request, *visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, kept, ok := s.current(r)
		if !ok {
			s.sendToLogin(w, r)
			return
		}
		client, err := s.client(r, kept.Token)
		if err != nil {
			s.fail(w, r, nil, err)
			return
		}
		v := &visit{key: key, client: client}
		if v.caller, err = client.Whoami(r.Context()); err != nil {
			if status, _ := controlclient.Status(err); status == http.StatusUnauthorized {
				s.sendToLogin(w, r) // the token has expired or was revoked
				return
			}
			s.fail(w, r, nil, err)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
			if !sameToken(r.PostFormValue("form"), key.formToken()) {
				s.fail(w, r, v, &api.Error{Status: http.StatusForbidden, Message: "The form is not from this session.", Hint: "Open the page again."})
				return
			}
		}
		if err := handle(w, r, v); err != nil {
			s.fail(w, r, v, err)
		}
	}
}

// sendToLogin sends a browser to sign in and back. A link from elsewhere comes
// without the cookie even from who is signed in: a page of our own that loads
// itself again brings it.
func (s *server) sendToLogin(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Redirect", "/login")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		s.render(w, r, http.StatusOK, "again", &view{Title: "One moment"})
	default:
		target := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			target += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
		}
		http.Redirect(w, r, target, http.StatusSeeOther)
	}
}

type loginView struct {
	Next    string
	Problem string
}

func (s *server) loginPage(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := s.current(r); ok && r.URL.Query().Get("next") == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login", &view{Title: "Sign in", Data: loginView{Next: localPath(r.URL.Query().Get("next"))}})
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxToken+4096)
	token := strings.TrimSpace(r.PostFormValue("token"))
	data := loginView{Next: localPath(r.PostFormValue("next"))}
	client, err := s.client(r, token)
	if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	if token == "" || len(token) > maxToken || strings.ContainsAny(token, " \r\n\t") {
		data.Problem = "That is not a token."
		s.render(w, r, http.StatusUnprocessableEntity, "login", &view{Title: "Sign in", Data: data})
		return
	}
	caller, err := client.Whoami(r.Context())
	status, _ := controlclient.Status(err)
	switch {
	case status == http.StatusUnauthorized:
		data.Problem = "The token is not accepted. It may have expired or have been revoked."
		s.render(w, r, http.StatusUnauthorized, "login", &view{Title: "Sign in", Data: data})
		return
	case err != nil:
		s.fail(w, r, nil, err)
		return
	}
	if err := s.start(w, r, token, caller.Expires); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "signed in to the console", slog.String("caller", caller.Name))
	http.Redirect(w, r, data.Next, http.StatusSeeOther)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := s.sessions.Delete(r.Context(), v.key.id()); err != nil {
		return err
	}
	s.setCookie(w, r, "", 0)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// fail shows what went wrong: what the API says to its caller, else in general
// terms, and the rest in the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		if r.Context().Err() == nil {
			s.log.LogAttrs(r.Context(), slog.LevelError, "console page failed", slog.String("route", r.Pattern), slog.Any("error", err))
		}
		e = &api.Error{Status: http.StatusInternalServerError, Message: "Something went wrong.", Hint: "The control plane's log says what."}
	}
	s.render(w, r, e.Status, "error", &view{Title: http.StatusText(e.Status), visit: v, Data: e})
}
