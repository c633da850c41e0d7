package statement

import "testing"

func TestProbeStack(t *testing.T) {
	for _, depth := range []int{0, 10, 1000} {
		if err := ProbeStack(depth); err != nil {
			t.Error(err)
		}
	}
}
