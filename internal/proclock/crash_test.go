package proclock

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/crash"
)

var long = flag.Duration("long", 0, "how long TestCrash_random goes on; TestOwnerOf_neverDisturbs has more rounds")

func init() {
	// Acquires and releases the database again and again, and acknowledges each time.
	crash.Register("own", func(c *crash.Child) error {
		step = c.Point
		path := filepath.Join(c.Dir, "app.db")
		for i := 0; i < 2 || c.Arg == "endless"; i++ {
			l, err := Acquire(bg, path, Server)
			if err != nil {
				return err
			}
			c.Ack("owned")
			if err := l.Release(); err != nil {
				return err
			}
		}
		return nil
	})

	// Recovers the database once.
	crash.Register("recover", func(c *crash.Child) error {
		step = c.Point
		l, err := Acquire(bg, filepath.Join(c.Dir, "app.db"), Recovery)
		if err != nil {
			return err
		}
		return l.Release()
	})
}

// free fails the test unless path has no owner, and can be acquired at once and released.
func free(t *testing.T, path string) {
	t.Helper()
	requireOwner(t, path, 0)
	l, err := Acquire(bg, path, Server)
	require.NoError(t, err)
	requireOwner(t, path, os.Getpid())
	_, err = Acquire(bg, path, Server)
	requireOwned(t, err, path, os.Getpid())
	require.NoError(t, l.Release())
	requireOwner(t, path, 0)
}

// Ensure that after a kill between any two steps of Acquire and Release the next process
// acquires at once, under its own name.
func TestCrash_points(t *testing.T) {
	kills := crash.Sweep(t, crash.Run{Program: "own"}, t.TempDir, func(dir string, res crash.Result) {
		free(t, filepath.Join(dir, "app.db"))
	})
	require.Equal(t, 2*6, kills, "the steps of two rounds")
}

// Ensure that a recovery that is killed between any two steps keeps the mark of a server
// that ended uncleanly.
func TestCrash_mark(t *testing.T) {
	dir := func() string {
		dir := t.TempDir()
		putRecord(t, filepath.Join(dir, "app.db"), someRecord)
		return dir
	}
	kills := crash.Sweep(t, crash.Run{Program: "recover"}, dir, func(dir string, res crash.Result) {
		before, unclean := mustAcquire(t, filepath.Join(dir, "app.db")).Previous()
		require.True(t, unclean)
		require.Equal(t, 1234, before.PID)
	})
	require.Equal(t, 7, kills)
}

// Ensure that after a kill at a random time, while OwnerOf is called without a pause, the
// next process acquires at once.
func TestCrash_random(t *testing.T) {
	path := newPath(t)
	start, kills, refused := time.Now(), 0, 0
	for ; kills < 10 || time.Since(start) < *long; kills++ {
		stop := keepAsking(t, path)
		res := crash.Run{
			Program: "own", Dir: filepath.Dir(path), Arg: "endless",
			Kill: true, Acks: rand.IntN(100), Delay: rand.N(2 * time.Millisecond),
		}.Do(t)
		refused += stop()
		require.True(t, res.Killed)
		free(t, path)
	}
	t.Logf("%d kills, seen owned %d times", kills, refused)
}
