package client

import (
	"net/http"
	"strings"
	"testing"
)

func TestAddOrigin(t *testing.T) {
	for _, v := range []string{"TFC_RUN_ID", "CI_JOB_URL", "BUILD_URL", "GITHUB_RUN_ID", "TFC_CONFIGURATION_VERSION_GIT_COMMIT_SHA", "GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"} {
		t.Setenv(v, "")
	}
	want := func(run, commit string) {
		t.Helper()
		h := http.Header{}
		addOrigin(h)
		if h.Get("Postern-Run") != run || h.Get("Postern-Commit") != commit {
			t.Errorf("got %q, want %q and %q", h, run, commit)
		}
	}
	want("", "")
	t.Setenv("GITHUB_SERVER_URL", "https://github.com")
	t.Setenv("GITHUB_REPOSITORY", "corp/policies")
	t.Setenv("GITHUB_RUN_ID", "7")
	t.Setenv("GITHUB_SHA", "abc")
	want("https://github.com/corp/policies/actions/runs/7", "abc")
	t.Setenv("TFC_RUN_ID", "run-1\r\nX: y")
	t.Setenv("GITHUB_SHA", strings.Repeat("a", 300))
	want("run-1X: y", strings.Repeat("a", maxOrigin))
}
