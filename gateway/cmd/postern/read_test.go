package main

import (
	"runtime"
	"strings"
	"testing"
)

// TestReadsNoMoreThanItMust names a file without an end wherever a command reads
// one: each says so at once.
func TestReadsNoMoreThanItMust(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/zero")
	}
	const policy = "../../../examples/policies/support-desk"
	for _, line := range []string{
		"bundle inspect /dev/zero",
		"bundle verify --trust /dev/zero /dev/zero",
		"bundle diff /dev/zero /dev/zero",
		"policy check /dev/zero",
		"policy fmt /dev/zero",
		"policy test /dev/zero",
		"policy test --scenarios /dev/zero " + policy,
		"policy build --key /dev/zero --out - " + policy,
		"policy explain --token /dev/zero --sql x " + policy,
		"policy explain --identity maria --schema /dev/zero --sql x " + policy,
	} {
		got := runLine(line)
		if !strings.Contains(got, "more than") && !strings.Contains(got, "larger than") && !strings.Contains(got, "too large") {
			t.Errorf("%s: %.300s", line, got)
		}
	}
}
