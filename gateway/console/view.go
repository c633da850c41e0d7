package console

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

//go:embed pages/*.html
var pageFiles embed.FS

// noTime is the zero time, for content that has no date.
var noTime time.Time

// view is what a page is made of.
type view struct {
	Title   string
	Section string // of the navigation
	Data    any

	// Set by render.
	Console *chrome
	visit   *visit
}

// chrome is what surrounds every page.
type chrome struct {
	SignedIn bool
	Name     string
	Form     string // the token of the session's forms
	Links    []link
	Version  string
}

type link struct {
	Section, Path, Text string
}

// loadPages parses each page together with the layout and the shared parts.
func loadPages(functions template.FuncMap) (map[string]*template.Template, error) {
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		t, err := template.New("layout.html").Funcs(functions).Option("missingkey=error").
			ParseFS(pageFiles, "pages/layout.html", "pages/parts.html", name)
		if err != nil {
			return nil, err
		}
		pages[page] = t
	}
	return pages, nil
}

func (s *server) functions() template.FuncMap {
	return template.FuncMap{
		"add":      func(a, b int) int { return a + b },
		"asset":    s.assets.url,
		"when":     func(t time.Time) moment { return s.moment(t) },
		"until":    func(t time.Time) string { return duration(t.Sub(s.now())) },
		"digest":   shortDigest,
		"reveal":   api.Reveal,
		"oneLine":  oneLine,
		"quorums":  quorums,
		"param":    paramSpans,
		"join":     strings.Join,
		"duration": func(us int64) string { return duration(time.Duration(us) * time.Microsecond) },
		"status":   func(v any) string { return fmt.Sprint(v) },
	}
}

// render writes a page.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, page string, v *view) {
	v.Console = &chrome{Version: s.config.Version}
	if v.visit != nil {
		v.Console.SignedIn, v.Console.Name, v.Console.Form = true, v.visit.caller.Name, v.visit.key.formToken()
		v.Console.Links = s.links(&v.visit.caller)
	}
	var buf bytes.Buffer
	if err := s.pages[page].Execute(&buf, v); err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelError, "console page failed", slog.String("page", page), slog.Any("error", err))
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the visitor has left: nobody to tell
}

// links lists the pages that the visitor may see.
func (s *server) links(c *api.Caller) []link {
	var out []link
	if mayRead(c) {
		out = append(out, link{"overview", "/", "Overview"})
	}
	out = append(out, link{"approvals", "/approvals", "Approvals"})
	if s.config.Evidence != nil && mayAudit(c) {
		out = append(out, link{"evidence", "/evidence", "Evidence"})
	}
	return out
}

func mayRead(c *api.Caller) bool {
	readers := []api.Role{api.RoleViewer, api.RoleAuthor, api.RoleAuditor}
	return c.Has(readers...) || c.HasForSome(readers...)
}

func mayAudit(c *api.Caller) bool { return c.Has(api.RoleAuditor) }

// moment is a time as a page shows it: how long ago, and exactly.
type moment struct {
	Machine, Exact, Relative string
}

func (s *server) moment(t time.Time) moment {
	t = t.UTC()
	m := moment{Machine: t.Format(time.RFC3339), Exact: t.Format("2006-01-02 15:04:05 UTC")}
	switch ago := s.now().Sub(t); {
	case ago < -time.Second:
		m.Relative = "in " + duration(-ago)
	case ago < 5*time.Second:
		m.Relative = "just now"
	default:
		m.Relative = duration(ago) + " ago"
	}
	return m
}

// duration rounds to what people care about.
func duration(d time.Duration) string {
	for _, u := range []struct {
		below, unit time.Duration
		name        string
	}{
		{time.Millisecond, time.Microsecond, "µs"},
		{time.Second, time.Millisecond, "ms"},
		{time.Minute, time.Second, "s"},
		{time.Hour, time.Minute, "min"},
		{48 * time.Hour, time.Hour, "h"},
	} {
		if n := (max(d, 0) + u.unit/2) / u.unit; n*u.unit < u.below {
			return fmt.Sprintf("%d %s", n, u.name)
		}
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// shortDigest is enough of a digest to tell bundles apart by eye.
func shortDigest(digest string) string {
	hexadecimal := strings.TrimPrefix(digest, "sha256:")
	if len(hexadecimal) <= 12 {
		return hexadecimal
	}
	return hexadecimal[:12]
}

// oneLine is the start of a statement, with nothing in it hidden.
func oneLine(sql string) []api.Span {
	const width = 110
	text := []rune(strings.Join(strings.Fields(sql), " "))
	if len(text) > width {
		text = slices.Concat(text[:width-1], []rune{'…'})
	}
	return api.Reveal(string(text))
}

// paramSpans is a parameter's value, with nothing in it hidden.
func paramSpans(p api.Param) []api.Span {
	switch {
	case p.Null:
		return []api.Span{{Text: "NULL"}}
	case p.Binary != nil:
		return []api.Span{{Text: "binary " + hex.EncodeToString(p.Binary)}}
	}
	return slices.Concat([]api.Span{{Text: "'"}}, api.Reveal(p.Text), []api.Span{{Text: "'"}})
}

func quorums(a api.Approval) []api.Quorum {
	var approvers []string
	for _, v := range a.Votes {
		if v.Verdict == api.VerdictApprove {
			approvers = append(approvers, v.Approver)
		}
	}
	return api.Quorums(a.Groups, a.Requester, approvers)
}
