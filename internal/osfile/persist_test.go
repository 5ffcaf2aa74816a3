package osfile

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that an operation that is refused for a moment is done in the end. One that is refused
// for good ends with its error, after about the time that SQLite waits.
func TestPersist(t *testing.T) {
	defer func() { pause = time.Sleep }()
	var waited time.Duration
	pause = func(d time.Duration) { waited += d }
	held, other := errors.New("held"), errors.New("other")
	mayPass := func(err error) bool { return errors.Is(err, held) }
	run := func(results ...error) (calls int, err error) {
		waited = 0
		err = persist(mayPass, func() error {
			calls++
			return results[min(calls, len(results))-1]
		})
		return calls, err
	}

	for _, tt := range []struct {
		results []error
		calls   int
		want    error
	}{
		{[]error{nil}, 1, nil},
		{[]error{held, held, nil}, 3, nil},
		{[]error{other, nil}, 1, other},
		{[]error{held, other, nil}, 2, other},
		{[]error{held}, 8, held},
	} {
		calls, err := run(tt.results...)
		require.Equal(t, tt.want, err)
		require.Equal(t, tt.calls, calls)
	}
	require.Equal(t, 1270*time.Millisecond, waited)
}
