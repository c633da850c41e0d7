package testacc_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestBenchModule fails if the module of the benchmarks against other engines
// has fallen behind the product's, so that `make bench` would not start: run
// `go mod tidy` in testacc/bench/policy.
func TestBenchModule(t *testing.T) {
	const dir = "bench/policy"
	for _, name := range []string{"../go.mod", dir + "/go.mod"} { // for the test cache to know what this depends on
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "all")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
