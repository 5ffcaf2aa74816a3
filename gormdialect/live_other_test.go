//go:build cgo && !linux

package gormdialect_test

import "testing"

func live() bool { return false }

func servedLive(_ *testing.T, path string) string { return path }
