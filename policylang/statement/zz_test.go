package statement

import (
	"fmt"
	"testing"
	"time"
)

func TestZ(t *testing.T) {
	for name, sql := range nested(2900) {
		t0 := time.Now()
		_, err := Parse(sql, Limits{})
		if d := time.Since(t0); d > 150*time.Millisecond {
			fmt.Println(name, len(sql), d, err)
		}
	}
}
