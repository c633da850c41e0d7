package testacc_test

import (
	"os/exec"
	"testing"
)

// TestDocsAreGenerated fails if the registry pages are not what the provider's
// schemas, the templates and the examples give: `make docs` was forgotten.
func TestDocsAreGenerated(t *testing.T) {
	needTerraform(t)
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "testacc/tools/docs.sh", "--check")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
