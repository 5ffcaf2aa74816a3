//go:build cgo

package store

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// next returns the next Change, which must have come already or be about to.
func next(t *testing.T, w *Watcher) Change {
	t.Helper()
	c, err := w.Next(t.Context())
	require.NoError(t, err)
	return c
}

// upTo returns what the commits up to last have changed.
func upTo(t *testing.T, w *Watcher, last uint64) Change {
	t.Helper()
	c := next(t, w)
	for c.Last < last {
		more := next(t, w)
		require.Equal(t, c.Last+1, more.First)
		c.Last, c.All, c.Tables = more.Last, c.All || more.All, append(c.Tables, more.Tables...)
	}
	return c
}

// Ensure that a watcher is told of all tables where it cannot be told which: when it begins,
// behind a commit that nobody announced, and beyond the bounds on names.
func TestWatch_all(t *testing.T) {
	s := mustOpen(t, Options{Logger: slog.New(slog.DiscardHandler)})
	w := s.Watch()
	first := s.Engine.Epoch()
	require.Equal(t, Change{First: 1, Last: first, All: true}, next(t, w))
	s.Announce(first, []byte("old\x00"), false) // before the beginning
	s.Announce(first+1, []byte("a\x00b\x00"), false)
	require.Equal(t, Change{First: first + 1, Last: first + 1, Tables: []string{"a", "b"}}, next(t, w))
	s.Announce(first+2, nil, false)
	require.Equal(t, Change{First: first + 2, Last: first + 2}, next(t, w))
	s.Announce(first+4, []byte("a\x00"), false)
	require.Equal(t, Change{First: first + 3, Last: first + 4, All: true}, next(t, w))
	s.Announce(first+5, nil, true)
	require.Equal(t, Change{First: first + 5, Last: first + 5, All: true}, next(t, w))

	last := first + 5
	for i := range maxTables + 1 {
		last++
		s.Announce(last, fmt.Appendf(nil, "t%d\x00", i), false)
	}
	require.True(t, upTo(t, w, last).All, "too many")
	for i := range maxNames/(maxAnnounced/2) + 2 {
		last++
		s.Announce(last, fmt.Appendf(nil, "%d%s\x00", i, strings.Repeat("x", maxAnnounced/2)), false)
	}
	require.True(t, upTo(t, w, last).All, "too long")
	last++
	s.Announce(last, []byte("a\x00"), false)
	require.Equal(t, Change{First: last, Last: last, Tables: []string{"a"}}, next(t, w))

	w.Close()
	s.Announce(last+1, []byte("a\x00"), false) // nobody watches
	require.NoError(t, s.Release())
}

// Ensure that of commits and watchers at the same time every watcher hears of every table
// of every commit, however late it looks, and however watchers begin and end.
func TestWatch_merge(t *testing.T) {
	s := mustOpen(t, Options{Logger: slog.New(slog.DiscardHandler)})
	first := s.Engine.Epoch()
	stays := s.Watch()
	require.True(t, next(t, stays).All)
	const commits = 3000
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 200 {
				w := s.Watch()
				next(t, w)
				if n%2 == 0 {
					time.Sleep(time.Microsecond)
				}
				w.Close()
			}
		})
	}
	wg.Go(func() {
		for i := range uint64(commits) {
			s.Announce(first+1+i, fmt.Appendf(nil, "t%d\x00", i%50), false)
		}
	})
	for seen := first; seen < first+commits; {
		c := next(t, stays)
		require.Equal(t, seen+1, c.First)
		require.False(t, c.All)
		want := make(map[string]bool)
		for i := c.First; i <= c.Last; i++ {
			want[fmt.Sprintf("t%d", (i-first-1)%50)] = true
		}
		require.Len(t, c.Tables, len(want))
		for _, name := range c.Tables {
			require.True(t, want[name], name)
		}
		seen = c.Last
	}
	wg.Wait()
	stays.Close()

	// Alone each begins and ends the goroutine.
	for i := range uint64(300) {
		w := s.Watch()
		next(t, w)
		s.Announce(s.Engine.Epoch()+1, []byte("t\x00"), false)
		if i%3 > 0 {
			require.Equal(t, []string{"t"}, next(t, w).Tables)
		}
		w.Close()
	}
	require.NoError(t, s.Release())
}
