//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// Sync writes what has changed to the file. When it returns nil every commit
// made before the call is on the disk. Nothing is written when nothing has
// changed. Syncs at the same time share one save. The end of ctx ends the wait,
// not the save.
//
// Errors: [ErrNotOurs], [ErrNoFile], [ErrClosed], a *[ForeignChangeError], or
// that of the file system; then the file is as it was before.
func Sync(ctx context.Context, db *sql.DB) error {
	c, err := connectorOf(db)
	if err != nil {
		return err
	}
	t, err := c.opened()
	if err != nil || t == nil {
		return err
	}
	_, err = t.sync(ctx)
	return err
}

// ReadStats returns the counters of a database. It opens the database if it
// was not used before. Errors: [ErrNotOurs], [ErrClosed], or that of opening.
func ReadStats(db *sql.DB) (Stats, error) {
	c, err := connectorOf(db)
	if err != nil {
		return Stats{}, err
	}
	t, err := c.open(context.Background())
	if err != nil {
		return Stats{}, err
	}
	return t.stats(), nil
}

func connectorOf(db *sql.DB) (*connector, error) {
	if d, ok := db.Driver().(*Driver); ok && d.connector != nil {
		return d.connector, nil
	}
	return nil, ErrNotOurs
}

func readStats(s *store.Store) Stats {
	saves, flushes, writer, mem := s.SaveStats(), s.FlushStats(), s.Writer.Stats(), s.Engine.Stats()
	st := Stats{
		Role: RoleServer,
		Path: s.Path(),

		Unsaved:      s.Unsaved(),
		Saves:        saves.Saves,
		SaveFailures: saves.Failures,
		LastSave:     saves.LastTime,
		LastDuration: saves.LastDuration,
		LastBytes:    saves.LastBytes,

		WAL:             formatWAL(s.WAL()),
		Unlogged:        s.Unlogged(),
		LogBytes:        s.LogBytes(),
		LogFlushes:      flushes.Flushes,
		LogFailures:     flushes.Failures,
		LogLastFlush:    flushes.LastTime,
		LogLastDuration: flushes.LastDuration,

		WriterHolder:  writer.Holder,
		WriterHeldFor: writer.HeldFor,
		WriterQueue:   writer.Waiting,
		WriterWaits:   writer.Waits,
		WriterWaited:  writer.WaitTime,
		BusyErrors:    writer.Timeouts,

		Commits:      mem.Epoch - 1,
		DataBytes:    mem.Size,
		HeldBytes:    mem.Held,
		FreeBytes:    mem.Free,
		OldestReader: time.Duration(mem.OldestReader) * time.Millisecond,
		Connections:  mem.Files,
	}
	if saves.LastError != nil {
		st.LastError = saves.LastError.Error()
	}
	if flushes.LastError != nil {
		st.LogLastError = flushes.LastError.Error()
	}
	return st
}

// registerFunctions gives the connection the functions by which programs that
// have nothing but a connection reach Sync and ReadStats.
func (c *conn) registerFunctions() error {
	return errors.Join(
		c.inner.RegisterFunc("sqlite_mem_sync", func() (int64, error) {
			return c.store.Sync(c.statementContext())
		}, false),
		c.inner.RegisterFunc("sqlite_mem_stats", func() (string, error) {
			b, err := json.Marshal(readStats(c.store))
			return string(b), err
		}, false),
	)
}
