package client

import (
	"net/http"
	"os"
	"strings"
)

// maxOrigin is how many bytes of each header the control plane keeps.
const maxOrigin = 256

// addOrigin says, for the history, in which run a release was made and of which
// commit, where HCP Terraform or a CI system tells it by environment.
func addOrigin(h http.Header) {
	for name, variables := range map[string][]string{
		"Postern-Run":    {"TFC_RUN_ID", "CI_JOB_URL", "BUILD_URL"},
		"Postern-Commit": {"TFC_CONFIGURATION_VERSION_GIT_COMMIT_SHA", "GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"},
	} {
		for _, v := range variables {
			if text := os.Getenv(v); text != "" {
				h.Set(name, printable(text))
				break
			}
		}
	}
	if id := os.Getenv("GITHUB_RUN_ID"); id != "" && h.Get("Postern-Run") == "" {
		h.Set("Postern-Run", printable(os.Getenv("GITHUB_SERVER_URL")+"/"+os.Getenv("GITHUB_REPOSITORY")+"/actions/runs/"+id))
	}
}

// printable drops what the control plane would refuse.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), maxOrigin)]
}
