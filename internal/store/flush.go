//go:build cgo

package store

import (
	"context"
	"fmt"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/schedule"
)

// logMin is the size in bytes below which a log never asks for a save. A recovery reads
// that much in a tenth of a second. It is a variable for the tests.
var logMin int64 = 64 << 20

// Committed is called after every commit, with its epoch. With WALCommit it returns when
// the commit is durable. With an interval it requests a flush of the log. Soon after, the
// memory of what the commit has superseded is freed. The caller does not hold the write lock. So
// one flush serves all waiting commits. Its error is a [*NotDurableError].
func (s *Store) Committed(epoch uint64) error {
	s.drain.soon()
	flusher := s.flusher.Load()
	if s.WAL() != WALCommit {
		s.expose(epoch)
		if flusher != nil {
			flusher.Soon()
		}
		return nil
	}
	if s.file.Durable() >= epoch {
		return nil
	}
	s.expose(epoch)
	err := schedule.ErrClosed
	if flusher != nil {
		err = flusher.Wait()
	}
	if err != nil && s.file.Durable() < epoch {
		return &NotDurableError{Path: s.opts.Path, Committed: true, Err: err}
	}
	return nil
}

// MayWrite returns an error while nothing may be committed. It wraps proclock.ErrLost or
// proclock.ErrUnavailable if this process may have lost the process lock. It is a
// [*NotDurableError] while commits cannot be made durable with WALCommit; MayWrite then also
// requests another flush.
func (s *Store) MayWrite() error {
	if s.lost.Load() != nil {
		if err := s.owned(); err != nil {
			return fmt.Errorf("sqlite-mem: %s: refused to write: %w", s.opts.Path, err)
		}
	}
	if s.WAL() != WALCommit {
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

// Settle makes durable what was committed before the call. It is for the DB.Close of a
// handle whose connections are still in use. Settle of the last handle saves, and returns
// after the last event. The others flush the log, if there is one. With an interval of 0
// nothing is written. A handle calls it once, and ReleaseSettled when its last connection
// is closed.
func (s *Store) Settle() error {
	registry.mu.Lock()
	s.entry.settled++
	registry.mu.Unlock()
	return s.settle(0)
}

// settle is Settle for a handle. ifLast is the number of handles that have not settled if
// it is the last one. Attachments do not count.
func (s *Store) settle(ifLast int) error {
	registry.mu.Lock()
	last := s.entry.refs-s.entry.attached-s.entry.settled == ifLast
	registry.mu.Unlock()
	if last {
		defer s.events.wait()
	}
	if s.opts.Path == "" || s.syncInterval() == 0 {
		return nil
	}
	if last {
		_, err := s.Sync(context.Background())
		return err
	}
	if s.flusher.Load() == nil {
		return nil
	}
	return s.MakeDurable(context.Background())
}

// MakeDurable makes durable what was committed before the call. The end of ctx ends the
// wait, not the flush or the save.
func (s *Store) MakeDurable(ctx context.Context) error {
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

// LogBytes is the length of the log that this process writes, 0 without a log.
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
	durable := s.file.Durable() // first: the epoch only grows, so the difference is never negative
	return s.Engine.Epoch() - durable
}

// flush writes what was committed to the log, or to the file if a log cannot express it. A
// log that is larger than logMin and than the database requests a save, which begins a new
// log.
func (s *Store) flush() error {
	err := s.file.Flush()
	s.mu.Lock()
	loop := s.loop
	s.mu.Unlock()
	if err == image.ErrNeedsSave {
		return s.flushBySave(loop)
	}
	if err != nil {
		return err
	}
	s.serve()
	if s.file.LogSize() > max(logMin, s.Engine.Stats().Size) {
		loop.Soon()
	}
	return nil
}

// flushBySave saves, to make durable the commits that a log cannot express.
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
		s.flushes.Durations.Add(ev.Duration)
		s.covered(ev.Start)
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
