// Package transcript prints what a client program saw: a line for each step.
package transcript

import (
	"fmt"
	"runtime/debug"
)

// Step runs an action and prints what it gives, or its error.
func Step(name string, action func() (any, error)) {
	v, err := action()
	if err != nil {
		fmt.Printf("%s: %v error: %v\n", name, v, err)
		return
	}
	fmt.Printf("%s: %v\n", name, v)
}

// Version returns the version of a module that the program is built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return "unknown"
}
