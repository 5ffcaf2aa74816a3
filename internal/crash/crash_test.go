package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Main()
	goleak.VerifyTestMain(m)
}

func pointName(i int) string { return fmt.Sprint([]string{"even ", "odd "}[i%2], i) }

func init() {
	Register("count", func(c *Child) error {
		for i := range 5 {
			c.Point(pointName(i))
			if err := os.WriteFile(filepath.Join(c.Dir, fmt.Sprint(i)), []byte(c.Arg), 0o600); err != nil {
				return err
			}
			c.Ack("wrote", i)
		}
		return nil
	})
	Register("fail", func(c *Child) error {
		c.Ack("so far")
		if c.Arg == "panic" {
			panic("as told")
		}
		return errors.New("as told")
	})
	Register("endless", func(c *Child) error {
		for i := 0; ; i++ {
			c.Ack(i)
		}
	})
}

// Ensure that a child dies at the requested point, and that the result has everything that
// it acknowledged.
func TestRun_point(t *testing.T) {
	for point, want := range map[string]int{"even": 2, "odd": 3, "": 1} {
		dir := t.TempDir()
		res := Run{Program: "count", Dir: dir, Arg: "x", Point: point, Nth: 2}.Do(t)
		require.True(t, res.Killed)
		require.Equal(t, pointName(want), res.At)
		require.Len(t, res.Acked, want)
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, want)
	}
	res := Run{Program: "count", Dir: t.TempDir(), Point: "even", Nth: 4}.Do(t)
	require.Equal(t, Result{Acked: []string{"wrote 0", "wrote 1", "wrote 2", "wrote 3", "wrote 4"}}, res)
}

// Ensure that a sweep kills at each point once, or at some at equal distances, and ends with
// a complete run.
func TestSweep(t *testing.T) {
	for step, want := range map[int][]int{0: {0, 1, 2, 3, 4, 5}, 1: {0, 1, 2, 3, 4, 5}, 2: {0, 2, 4, 5}, 9: {0, 5}} {
		var acked []int
		kills := Sweep(t, Run{Program: "count", Step: step}, t.TempDir, func(dir string, res Result) {
			acked = append(acked, len(res.Acked))
			require.Equal(t, len(res.Acked) < 5, res.Killed)
		})
		require.Equal(t, want, acked)
		require.Equal(t, len(want)-1, kills)
	}
}

// Ensure that a running child is killed from outside after the requested number of
// acknowledgements, and that no acknowledgement is cut short.
func TestRun_kill(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		res := Run{Program: "endless", Kill: true, Acks: 10, Delay: delay}.Do(t)
		require.True(t, res.Killed)
		require.Empty(t, res.At)
		require.GreaterOrEqual(t, len(res.Acked), 10)
		for i, line := range res.Acked {
			require.Equal(t, fmt.Sprint(i), line)
		}
	}
}

// Ensure that a child that fails without a kill fails the test, with its message.
func TestRun_childFails(t *testing.T) {
	for _, arg := range []string{"", "panic"} {
		p := &probe{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Run{Program: "fail", Arg: arg, Kill: true, Acks: 100}.Do(p)
		}()
		<-done
		require.Contains(t, p.failure, "as told")
		require.Contains(t, p.failure, "so far")
	}
}

// probe is a testing.TB that records a failure.
type probe struct {
	testing.TB
	failure string
}

func (p *probe) Fatalf(format string, args ...any) {
	p.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
