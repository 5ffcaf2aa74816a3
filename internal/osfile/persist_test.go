package osfile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refusals runs an operation that is refused, by persist, and returns what persist does wrong.
func refusals(persist func(mayPass func(error) bool, op func() error) error) error {
	defer func() { pause = time.Sleep }()
	var waited time.Duration
	pause = func(d time.Duration) { waited += d }
	held, other := errors.New("held"), errors.New("other")
	mayPass := func(err error) bool { return errors.Is(err, held) }
	for _, tt := range []struct {
		results []error // the last one stays
		calls   int
		want    error
	}{
		{[]error{nil}, 1, nil},
		{[]error{held, held, nil}, 3, nil},
		{[]error{other, nil}, 1, other},
		{[]error{held, other, nil}, 2, other},
		{[]error{held}, 8, held},
	} {
		calls := 0
		waited = 0
		err := persist(mayPass, func() error {
			if calls++; calls > 100 {
				return nil // for a persist without an end
			}
			return tt.results[min(calls, len(tt.results))-1]
		})
		if err != tt.want || calls != tt.calls {
			return fmt.Errorf("%v: %w after %d calls", tt.results, err, calls)
		}
	}
	if waited != 1270*time.Millisecond {
		return fmt.Errorf("waited %v", waited)
	}
	return nil
}

// Ensure that an operation that is refused for a moment is done in the end. One that is refused
// for good ends with its error, after about the time that SQLite waits. The test finds the
// planted faults.
func TestPersist(t *testing.T) {
	require.NoError(t, refusals(persist))

	type function = func(mayPass func(error) bool, op func() error) error
	for name, planted := range map[string]function{
		"the first refusal is final": func(_ func(error) bool, op func() error) error { return op() },
		"the second refusal is final": func(mayPass func(error) bool, op func() error) error {
			err := op()
			if err != nil && mayPass(err) {
				pause(firstPause)
				err = op()
			}
			return err
		},
		"every error may pass": func(_ func(error) bool, op func() error) error {
			return persist(func(error) bool { return true }, op)
		},
		"the last refusal is a success": func(mayPass func(error) bool, op func() error) error {
			if err := persist(mayPass, op); err != nil && !mayPass(err) {
				return err
			}
			return nil
		},
		"without an end": func(mayPass func(error) bool, op func() error) error {
			err := op()
			for err != nil && mayPass(err) {
				pause(lastPause)
				err = op()
			}
			return err
		},
	} {
		require.Error(t, refusals(planted), name)
	}
}
