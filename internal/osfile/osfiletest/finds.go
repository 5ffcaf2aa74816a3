package osfiletest

import (
	"testing"
)

// probe is a test that only notes whether it failed.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Errorf(string, ...any) { p.failed = true }

func (p *probe) FailNow() { p.failed = true; panic(p) }

func (p *probe) Fatalf(string, ...any) { p.FailNow() }

// Finds reports whether f fails its test.
func Finds(t *testing.T, f func(t testing.TB)) (failed bool) {
	p := &probe{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(p) {
			panic(r)
		}
		failed = p.failed
	}()
	f(p)
	return p.failed
}
