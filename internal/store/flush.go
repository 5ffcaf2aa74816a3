//go:build cgo

package store

import (
	"context"
	"time"

	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// logMin is the size in bytes below which a log never asks for a save. It is
// what recovery reads in a tenth of a second. A variable for the tests.
var logMin int64 = 64 << 20

// Durably returns when the commit with that epoch is on the disk, if that is
// promised (WALCommit). It is called without the write lock, so that one flush
// serves all who wait. Its error is a [*NotDurableError].
func (s *Store) Durably(epoch uint64) error {
	if s.opts.WAL != WALCommit || s.file.Durable() >= epoch {
		return nil
	}
	s.mu.Lock()
	flusher := s.flusher
	s.mu.Unlock()
	err := snapshot.ErrClosed
	if flusher != nil {
		err = flusher.Wait()
	}
	if err != nil && s.file.Durable() < epoch {
		return &NotDurableError{Path: s.opts.Path, Committed: true, Err: err}
	}
	return nil
}

// MayWrite returns a [*NotDurableError] while commits cannot be made durable
// although that is promised.
func (s *Store) MayWrite() error {
	if s.opts.WAL != WALCommit {
		return nil
	}
	s.mu.Lock()
	flusher := s.flusher
	s.mu.Unlock()
	if flusher == nil {
		return nil
	}
	if err := flusher.Failed(); err != nil {
		return &NotDurableError{Path: s.opts.Path, Err: err}
	}
	return nil
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
	if err == snapshot.ErrNeedsSave {
		return s.flushBySave(loop)
	}
	if err == nil && s.file.LogSize() > max(logMin, s.Engine.Stats().Size) {
		loop.Soon()
	}
	return err
}

// flushBySave has the loop save. It returns when that is done, but does not wait
// for OnSync, which the loop calls before Sync returns: what that commits waits
// for the turn of the flusher, which is ours.
func (s *Store) flushBySave(loop *snapshot.Loop) error {
	epoch := s.Engine.Epoch()
	saved := s.nextSave()
	synced := make(chan error, 1)
	go func() {
		_, err := loop.Sync(context.Background())
		synced <- err
	}()
	for s.file.Durable() < epoch {
		select {
		case err := <-saved:
			if err != nil {
				return err
			}
			saved = s.nextSave() // it had begun before
		case err := <-synced:
			return err
		}
	}
	return nil
}

// nextSave returns a channel that gets the result of the next save that ends.
func (s *Store) nextSave() <-chan error {
	c := make(chan error, 1)
	s.mu.Lock()
	s.awaitSave = append(s.awaitSave, c)
	s.mu.Unlock()
	return c
}

// saveEnded tells those who wait for a save.
func (s *Store) saveEnded(err error) {
	s.mu.Lock()
	waiting := s.awaitSave
	s.awaitSave = nil
	s.mu.Unlock()
	for _, c := range waiting {
		c <- err // of capacity 1, and sent to once
	}
}

func (s *Store) onFlush(ev snapshot.FlushEvent) {
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
