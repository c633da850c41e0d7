package main

import (
	"fmt"
	"log/slog"
)

// logFormat is a flag; the zero value is text.
type logFormat string

const logJSON = logFormat("json")

func (f *logFormat) String() string {
	if *f == "" {
		return "text"
	}
	return string(*f)
}

// Type is what help calls the value.
func (f *logFormat) Type() string { return "format" }

// Set is for pflag.Value.
func (f *logFormat) Set(s string) error {
	if s != "text" && s != string(logJSON) {
		return fmt.Errorf("%q is neither text nor json", s)
	}
	*f = logFormat(s)
	return nil
}

// logLevel is a flag; the zero value is info.
type logLevel slog.Level

func (l *logLevel) String() string { return slog.Level(*l).String() }

// Type is what help calls the value.
func (l *logLevel) Type() string { return "level" }

// Set is for pflag.Value.
func (l *logLevel) Set(s string) error {
	if err := (*slog.Level)(l).UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	return nil
}
