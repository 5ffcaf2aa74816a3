//go:build cgo

package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// said keeps the lines of a logger.
type said struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.Write(p)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.lines.String(), text)
}

// withSystem gives the store a system of 1000 MiB, of which available sets what is left.
func withSystem(t *testing.T) (available func(mib int)) {
	root := t.TempDir()
	t.Cleanup(func() { memoryRoot.Store(nil) }) // a look may be under way
	memoryRoot.Store(&root)
	require.NoError(t, os.Mkdir(filepath.Join(root, "proc"), 0o700))
	return func(mib int) {
		text := fmt.Sprintf("MemTotal: %d kB\nMemAvailable: %d kB\n", 1000<<10, mib<<10)
		require.NoError(t, os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte(text), 0o600))
	}
}

// Ensure that a database which comes near sqlite_max_memory is told of once, and again only if
// it was away from it in between.
func TestMemory_cap(t *testing.T) {
	log := &said{}
	opts := options(t)
	opts.Logger, opts.MaxMemory = slog.New(slog.NewTextHandler(log, nil)), 1<<20
	s := mustOpen(t, opts)
	look := func(want int) {
		t.Helper()
		s.lookAtMemory()
		require.Equal(t, want, log.count("the database is near sqlite_max_memory"))
		require.EqualValues(t, want, s.MemoryWarnings())
	}
	exec(t, s, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(800000))")
	look(0)
	exec(t, s, "INSERT INTO t VALUES(zeroblob(150000))")
	look(1)
	look(1)
	exec(t, s, "DELETE FROM t WHERE rowid=2; INSERT INTO t VALUES(zeroblob(100000)); VACUUM") // 87 %
	look(1)
	exec(t, s, "INSERT INTO t VALUES(zeroblob(50000))")
	look(1)
	exec(t, s, "DELETE FROM t; VACUUM; INSERT INTO t VALUES(zeroblob(950000))")
	look(1) // nobody has looked while it was away
	exec(t, s, "DELETE FROM t; VACUUM")
	look(1)
	exec(t, s, "INSERT INTO t VALUES(zeroblob(950000))")
	look(2)
	require.NoError(t, s.Release())
}

// Ensure that old page versions which come near twice sqlite_max_memory are told of.
func TestMemory_versions(t *testing.T) {
	log := &said{}
	opts := options(t)
	opts.Logger, opts.MaxMemory = slog.New(slog.NewTextHandler(log, nil)), 1<<20
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(970000))")
	img, err := s.Engine.Pin()
	require.NoError(t, err)
	s.lookAtMemory()
	require.Zero(t, log.count("page versions"))
	exec(t, s, "UPDATE t SET x=randomblob(970000)")
	s.lookAtMemory()
	require.Equal(t, 1, log.count("page versions that readers and saves need are near twice"))
	img.Release()
	s.Engine.Drain()
	s.lookAtMemory()
	require.NoError(t, s.Release())
}

// Ensure that little memory of the system is told of while a writer writes, once, and again
// only if there was more in between.
func TestMemory_system(t *testing.T) {
	every := memoryEvery
	defer func() { memoryEvery = every }()
	memoryEvery = time.Hour // no look by itself yet
	available := withSystem(t)
	available(500)
	log := &said{}
	opts := options(t)
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := mustOpen(t, opts)
	look := func(mib, want int) {
		t.Helper()
		available(mib)
		s.lookAtMemory()
		require.Equal(t, want, log.count("the memory of the system is near its end"))
	}
	look(101, 0)
	look(99, 1)
	look(50, 1)
	look(149, 1)
	look(99, 1)
	look(150, 1)
	available(99)
	memoryEvery = time.Millisecond // the timer is not set: the last look has found no commit
	var o Owner
	require.NoError(t, s.LockWriter(context.Background(), 0, "a test", &o))
	require.Eventually(t, func() bool { return s.MemoryWarnings() == 2 }, time.Minute, time.Millisecond)
	s.UnlockWriter(&o)
	require.NoError(t, s.Release())
}

// Ensure that a load tells how much memory it needs before it takes it, and warns if the
// system does not have that, or sqlite_max_memory is less.
func TestMemory_load(t *testing.T) {
	available := withSystem(t)
	opts := options(t)
	s := mustOpen(t, opts)
	exec(t, s, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(3000000))")
	require.NoError(t, s.Release())
	for _, test := range []struct {
		mib             int
		limit           int64
		system, maximum int
	}{{500, 0, 0, 0}, {102, 0, 1, 0}, {1, 0, 1, 0}, {500, 1 << 20, 0, 1}} {
		available(test.mib)
		log := &said{}
		opts.Logger, opts.MaxMemory = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), test.limit
		s := mustOpen(t, opts)
		require.Equal(t, 1, log.count("the load takes memory"))
		require.Equal(t, test.system, log.count("the load needs nearly all memory"))
		require.Equal(t, test.maximum, log.count("the file is larger than sqlite_max_memory"))
		require.EqualValues(t, test.system, s.MemoryWarnings())
		require.NoError(t, s.Release())
	}
}
