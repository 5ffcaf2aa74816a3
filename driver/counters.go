//go:build cgo

package driver

import (
	"encoding/json"
	"os"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/latency"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// storeStats are the counters of a database in memory.
func storeStats(s *store.Store) Stats {
	kept := int(s.Kept.Load()) // before mem: a connection is opened before it is kept
	start, saves, flushes, writer, mem := s.Start(), s.SaveStats(), s.FlushStats(), s.Writer.Stats(), s.Engine.Stats()
	system := store.SystemMemory()
	st := Stats{
		Role: RoleServer,
		Path: s.Path(),

		UncleanStart:     start.Unclean,
		RecoveredCommits: start.Commits,
		TornBytes:        start.Torn,

		Unsaved:      s.Unsaved(),
		Saves:        histogram(saves.Durations),
		SaveFailures: saves.Failures,
		LastSave:     saves.LastTime,
		LastDuration: saves.LastDuration,
		LastBytes:    saves.LastBytes,

		WAL:             formatWAL(s.WAL()),
		Unlogged:        s.Unlogged(),
		LossWindow:      s.LossWindow(),
		LogBytes:        s.LogBytes(),
		LogFlushes:      histogram(flushes.Durations),
		LogFailures:     flushes.Failures,
		LogLastFlush:    flushes.LastTime,
		LogLastDuration: flushes.LastDuration,

		WriterHolder:  s.HolderText(writer.Holder),
		WriterHeldFor: writer.HeldFor,
		WriterQueue:   writer.Waiting,
		WriterWaits:   histogram(writer.Waits),
		WriterHolds:   histogram(writer.Holds),
		BusyErrors:    writer.Timeouts,

		Commits:      mem.Epoch - 1,
		Restores:     s.Restores(),
		DataBytes:    mem.Size,
		HeldBytes:    mem.Held,
		FreeBytes:    mem.Free,
		OldestReader: time.Duration(mem.OldestReader) * time.Millisecond,
		Connections:  max(mem.Files-kept, 0), // one may have been closed meanwhile
		Tools:        s.Tools(),

		MaxMemory:       s.MaxMemory(),
		MemoryAvailable: system.Available,
		MemoryLimit:     system.Limit,
		MemoryWarnings:  s.MemoryWarnings(),

		Kept: kept,
	}
	if saves.LastError != nil {
		st.LastError = saves.LastError.Error()
	}
	if flushes.LastError != nil {
		st.LogLastError = flushes.LastError.Error()
	}
	return st
}

func histogram(b latency.Buckets) Histogram { return Histogram{b.Count, b.Sum, b.Of} }

// fileStats are the counters of a tool.
func fileStats(path string) Stats {
	s := Stats{Role: RoleTool, Path: path}
	if fi, err := os.Stat(path); err == nil {
		s.DataBytes = fi.Size()
	}
	return s
}

// json is what sqlite_mem_stats returns.
func (s Stats) json() (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
