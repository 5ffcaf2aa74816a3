//go:build cgo

package store

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
)

// logMin is the size in bytes below which a log never asks for a save. It is
// what recovery reads in a tenth of a second. A variable for the tests.
var logMin int64 = 64 << 20

// Committed is told of every commit, with its epoch. With WALCommit it returns when
// the commit is durable; with an interval it has the log flushed soon. It is called
// without the write lock, so that one flush serves all who wait. Its error is a
// [*NotDurableError].
func (s *Store) Committed(epoch uint64) error {
	flusher := s.flusher.Load()
	if s.opts.WAL != WALCommit {
		if flusher != nil {
			flusher.Soon()
		}
		return nil
	}
	if s.file.Durable() >= epoch {
		return nil
	}
	err := schedule.ErrClosed
	if flusher != nil {
		err = flusher.Wait()
	}
	if err != nil && s.file.Durable() < epoch {
		return &NotDurableError{Path: s.opts.Path, Committed: true, Err: err}
	}
	return nil
}

// MayWrite returns an error while nothing may be committed: one that wraps
// proclock.ErrLost or proclock.ErrUnavailable if this process may not own the file
// any more, and a [*NotDurableError] while commits cannot be made durable although
// that is promised. Then it has the log tried again.
func (s *Store) MayWrite() error {
	if s.lost.Load() != nil {
		if err := s.owned(); err != nil {
			return fmt.Errorf("sqlite-mem: %s: refused to write: %w", s.opts.Path, err)
		}
	}
	if s.opts.WAL != WALCommit {
		return nil
	}
	flusher := s.flusher.Load()
	if flusher == nil {
		return nil
	}
	if err := flusher.Failed(); err != nil {
		flusher.Soon()
		return &NotDurableError{Path: s.opts.Path, Err: err}
	}
	return nil
}

// Settle makes durable what was committed before the call, as a DB.Close promises
// while connections of its handle stay in use: that of the last handle saves, as if it
// were the last user, and returns after the last event; the others flush the log, if
// there is one. With an interval of 0 nothing is written. It is called once by a handle,
// whose ReleaseSettled comes when its last connection has gone.
func (s *Store) Settle() error {
	registry.mu.Lock()
	s.entry.settled++
	registry.mu.Unlock()
	return s.settle(0)
}

// settle is Settle for a handle that is counted. ifLast is how many handles there are if
// it is the last: those that have settled do not count, though their connections may
// stay in use for long, nor do attachments.
func (s *Store) settle(ifLast int) error {
	registry.mu.Lock()
	last := s.entry.refs-s.entry.attached-s.entry.settled == ifLast
	registry.mu.Unlock()
	if last {
		defer s.events.wait()
	}
	if s.opts.Path == "" || s.opts.SyncInterval == 0 {
		return nil
	}
	if last {
		_, err := s.Sync(context.Background())
		return err
	}
	if s.flusher.Load() == nil {
		return nil
	}
	return s.makeDurable(context.Background())
}

// makeDurable makes durable what was committed before the call. The end of ctx ends
// the wait, not what is waited for.
func (s *Store) makeDurable(ctx context.Context) error {
	flusher := s.flusher.Load()
	if flusher == nil {
		_, err := s.Sync(ctx)
		return err
	}
	if s.Unlogged() == 0 {
		return nil
	}
	flushed := make(chan error, 1)
	go func() { flushed <- flusher.Wait() }()
	select {
	case err := <-flushed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WAL is Options.WAL.
func (s *Store) WAL() time.Duration { return s.opts.WAL }

// LogBytes is the length of the log that this process writes, 0 if it has none.
func (s *Store) LogBytes() int64 {
	if s.file == nil {
		return 0
	}
	return s.file.LogSize()
}

// Unlogged is the number of commits that a crash of the machine would undo.
func (s *Store) Unlogged() uint64 {
	if s.opts.Path == "" {
		return 0
	}
	durable := s.file.Durable() // first: the epoch only grows, so this never goes below 0
	return s.Engine.Epoch() - durable
}

// flush writes what was committed to the log, or where that is not possible to
// the file. A log that has become large asks for a save, which begins it anew:
// when it is as large as the file, so that both cost the same.
func (s *Store) flush() error {
	err := s.file.Flush()
	s.mu.Lock()
	loop := s.loop
	s.mu.Unlock()
	if err == image.ErrNeedsSave {
		return s.flushBySave(loop)
	}
	if err == nil && s.file.LogSize() > max(logMin, s.Engine.Stats().Size) {
		loop.Soon()
	}
	return err
}

// flushBySave makes durable by a save what no log can tell.
func (s *Store) flushBySave(loop *schedule.Loop) error {
	_, err := loop.Sync(context.Background())
	if err == schedule.ErrClosed {
		err = loop.Close(context.Background()) // its last save covers it
	}
	return err
}

func (s *Store) onFlush(ev schedule.FlushEvent) {
	s.mu.Lock()
	failedBefore := s.flushes.LastError != nil
	if ev.Err == nil {
		s.flushes.Flushes++
	}
	s.flushes.Failures = ev.Failures
	s.flushes.LastTime = ev.Start
	s.flushes.LastDuration = ev.Duration
	s.flushes.LastError = ev.Err
	s.mu.Unlock()
	switch {
	case ev.Err != nil && !failedBefore:
		s.opts.Logger.Error("sqlite-mem: the log cannot be written", "path", s.opts.Path, "error", ev.Err)
	case ev.Err == nil && failedBefore:
		s.opts.Logger.Info("sqlite-mem: the log is written again", "path", s.opts.Path)
	}
}
