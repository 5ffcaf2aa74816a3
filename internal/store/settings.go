//go:build cgo

package store

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// This file has the options that all opens of a file in a process share. An open says by
// Options.Set which it names; the others are its defaults, and are no conflict. An option
// that nobody has named yet may come with a later open, if it can take effect for all.

// Option is a set of options.
type Option uint8

// The options on which the opens of a file must agree.
const (
	SetSyncInterval Option = 1 << iota
	SetWAL
	SetKeep
	SetMaxMemory
	SetLive
	SetLiveLimit
	SetLiveIdle
)

// shared are the options, by their names in a data source name. Their values are those of a
// data source name too, where that has a word for them.
var shared = []struct {
	option Option
	key    string
	value  func(Options) any
	later  bool // it can take effect in an open store
}{
	{SetSyncInterval, "sqlite_sync_interval", func(o Options) any { return intervalName(o.SyncInterval) }, true},
	{SetWAL, "sqlite_wal", func(o Options) any { return walName(o.WAL) }, true},
	{SetKeep, "sqlite_keep", func(o Options) any { return o.Keep }, true},
	{SetMaxMemory, "sqlite_max_memory", func(o Options) any { return o.MaxMemory }, false},
	{SetLive, "sqlite_live", func(o Options) any { return liveName(o) }, false},
	{SetLiveLimit, "sqlite_live_limit", func(o Options) any { return o.LiveLimit }, false},
	{SetLiveIdle, "sqlite_live_idle", func(o Options) any { return o.LiveIdle }, false},
}

// remedy is how two opens come to agree.
const remedy = "give every open the same, or set it for the process (driver.SetDefaults, SQLITE_MEM_DEFAULTS)"

// settings are the shared options of a store that a later open may change.
type settings struct {
	// turn, of capacity 1, is a lock, which a send takes, so that a wait ends with a context.
	// It serialises adopt, and is held across a flush.
	turn chan struct{}
	set  Option // guarded by turn; the options that an open has named

	// Stored under turn, or before the store is used. They are atomic, as commits and saves
	// load them.
	syncInterval, wal atomic.Int64
	keep              atomic.Int64
}

func (v *settings) init(opts Options) {
	v.turn = make(chan struct{}, 1)
	v.set = opts.Set
	v.store(opts)
}

func (v *settings) store(opts Options) {
	v.syncInterval.Store(int64(opts.SyncInterval))
	v.wal.Store(int64(opts.WAL))
	v.keep.Store(int64(opts.Keep))
}

// WAL is Options.WAL as it is now.
func (s *Store) WAL() time.Duration { return time.Duration(s.settings.wal.Load()) }

// syncInterval is Options.SyncInterval as it is now.
func (s *Store) syncInterval() time.Duration { return time.Duration(s.settings.syncInterval.Load()) }

// options are the options as they are now.
func (s *Store) options() Options {
	o := s.opts
	o.SyncInterval, o.WAL, o.Keep = s.syncInterval(), s.WAL(), int(s.settings.keep.Load())
	return o
}

// adopt makes the options of another open those of the store. If it returns nil, what other
// names is in effect for every user: a commit that returns from then on is as durable as
// that says. Otherwise nothing has changed. The error is ErrOptions, or that of a flush, or
// of ctx.
func (s *Store) adopt(ctx context.Context, other Options) error {
	v := &s.settings
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := s.options()
	next, set := now, v.set
	for _, o := range shared {
		have, want := o.value(now), o.value(other)
		switch {
		case other.Set&o.option == 0:
			continue
		case have == want:
		case v.set&o.option != 0:
			return fmt.Errorf("%w: %s is %v, not %v; %s", ErrOptions, o.key, have, want, remedy)
		case !o.later:
			return fmt.Errorf("%w: %s is %v since the first open, and cannot become %v now; %s", ErrOptions, o.key, have, want, remedy)
		case o.option == SetSyncInterval:
			next.SyncInterval = other.SyncInterval
		case o.option == SetWAL:
			next.WAL = other.WAL
		case o.option == SetKeep:
			next.Keep = other.Keep
		}
		set |= o.option
	}
	if err := now.mayBecome(next); err != nil {
		return err
	}
	if err := s.apply(ctx, now, next); err != nil {
		return err
	}
	v.set = set
	return nil
}

// mayBecome returns an error if a later open cannot change the save interval and the log of
// a store in this way.
func (o Options) mayBecome(next Options) error {
	switch {
	case (o.WAL == WALOff) != (next.WAL == WALOff):
		return fmt.Errorf("%w: sqlite_wal is %s since the first open, and cannot become %s now; %s", ErrOptions, walName(o.WAL), walName(next.WAL), remedy)
	case next.WAL != WALOff && next.SyncInterval == 0 && o.SyncInterval != 0:
		return fmt.Errorf("%w: sqlite_sync_interval=%s cannot apply with a log, and sqlite_wal is %s; %s", ErrOptions, intervalName(0), walName(o.WAL), remedy)
	case next.atRisk() > o.atRisk():
		return fmt.Errorf("%w: a crash would cost more with sqlite_wal=%s and sqlite_sync_interval=%s than with %s and %s, and others rely on that; %s",
			ErrOptions, walName(next.WAL), intervalName(next.SyncInterval), walName(o.WAL), intervalName(o.SyncInterval), remedy)
	}
	return nil
}

// atRisk is how old a commit may be that a crash undoes.
func (o Options) atRisk() time.Duration {
	switch {
	case o.WAL == WALCommit:
		return 0
	case o.WAL != WALOff:
		return o.WAL
	case o.SyncInterval == 0:
		return math.MaxInt64
	}
	return o.SyncInterval
}

// apply changes the settings from now to next. A user of the store calls it, so its loop and
// its flusher run.
func (s *Store) apply(ctx context.Context, now, next Options) error {
	s.settings.store(next)
	s.pace(next)
	if next.WAL == now.WAL {
		return nil
	}
	// A commit that still loaded the old value was made before this flush, which covers it.
	if err := s.MakeDurable(ctx); err != nil {
		s.settings.store(now)
		s.pace(now)
		if flusher := s.flusher.Load(); flusher != nil {
			flusher.Soon() // for those that the flusher may not have heard of
		}
		return fmt.Errorf("sqlite-mem: %s: sqlite_wal=%s does not take effect: %w", s.opts.Path, walName(next.WAL), err)
	}
	return nil
}

// pace tells the loop and the flusher their intervals.
func (s *Store) pace(o Options) {
	s.mu.Lock()
	loop, flusher := s.loop, s.flusher.Load()
	s.mu.Unlock()
	if loop != nil {
		loop.SetInterval(o.SyncInterval)
	}
	if flusher != nil {
		flusher.SetInterval(max(o.WAL, 0))
	}
}
