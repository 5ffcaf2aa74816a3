//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"net/url"
	"strconv"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// memory is the target of a connector whose database is in memory.
type memory struct {
	cfg   *Config
	store *store.Store
	uri   string // by which go-sqlite3 opens it
	plain string // uri without auto_vacuum
	users
}

// setUp is run on each new connection, behind go-sqlite3's own pragmas.
//
//   - mmap_size lets readers use the pages of the engine where they are; any
//     size over 0 does, as it is not a mapping.
//   - synchronous=OFF: there is nothing to sync, and the pager does less.
//   - journal_mode=TRUNCATE keeps one buffer for the journals of the
//     connection: see internal/memvfs/journal.c.
const setUp = "PRAGMA main.mmap_size=1073741824; PRAGMA main.synchronous=OFF; PRAGMA main.journal_mode=TRUNCATE"

// setUpCache is run when the user has not set the size of the page cache.
// Readers do not use the cache, and a writer begins with an empty one after
// each commit of another connection, so a large one only costs memory: malloc
// gives to the system and takes from it again what a cache throws away. 20
// pages are what SQLite allocates in one piece and keeps. What a transaction
// has changed stays in the cache up to 500 pages, as by SQLite's default.
const setUpCache = "PRAGMA main.cache_size=20; PRAGMA main.cache_spill=500"

func openMemory(ctx context.Context, cfg *Config, opts store.Options) (target, error) {
	s, err := store.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	for k, v := range cfg.Params {
		q.Set(k, v)
	}
	if mode := q.Get("mode"); mode != "ro" {
		q.Del("mode") // checked when the file was opened
	}
	if !q.Has("_mutex") {
		// database/sql uses a connection from one goroutine at a time, so
		// SQLite need not lock it at every call.
		q.Set("_mutex", "no")
	}
	q.Set("_busy_timeout", strconv.FormatInt(cfg.busyTimeout().Milliseconds(), 10))
	q.Set("_stmt_cache_size", strconv.Itoa(cfg.stmtCacheSize()))
	m := &memory{cfg: cfg, store: s, uri: s.URI(q)}
	q.Del("_auto_vacuum")
	q.Del("_vacuum")
	m.plain = s.URI(q)
	m.release = s.Release
	m.flush = func() error {
		m.release = s.ReleaseSettled // the last to leave is counted until flush has ended
		return s.Settle()
	}
	m.logger = func(err error) {
		cfg.logger().Error("sqlite-mem: close", "path", s.Path(), "error", err)
	}
	return m, nil
}

// connect opens a connection to the store.
func (m *memory) connect(ctx context.Context) (driver.Conn, error) {
	c := &conn{store: m.store, parent: m, cfg: m.cfg, loc: m.cfg.location()}

	// A new connection does not wait for a writer because its auto_vacuum would
	// take the write lock for nothing. Where it does write, go-sqlite3 sets it
	// before the connection is linked and can take the lock for itself.
	uri := m.uri
	if want, set := m.cfg.wantedAutoVacuum(); set {
		same, writes, err := m.autoVacuumOnOpen(want)
		switch {
		case err != nil:
			return nil, err
		case same:
			uri = m.plain
		case writes:
			if err := c.lock(ctx, "open a connection"); err != nil {
				return nil, err
			}
		}
	}
	d := &sqlite3.SQLiteDriver{Extensions: m.cfg.Extensions, ConnectHook: c.connected}
	panicked := true
	defer func() {
		if panicked { // in the user's ConnectHook
			if err := c.Close(); err != nil {
				m.logger(err)
			}
		}
	}()
	_, err := d.Open(uri)
	panicked = false
	if err != nil {
		if c.locked {
			c.unlock()
		}
		if c.link != nil {
			c.link.Close()
		}
		return nil, err
	}
	return c, nil
}

// connected is the ConnectHook.
func (c *conn) connected(inner *sqlite3.SQLiteConn) error {
	if c.locked {
		c.unlock()
	}
	c.inner = inner
	link, err := c.store.Engine.Link(inner, c)
	if err != nil {
		return err
	}
	c.link = link
	link.SetBusyTimeout(int(c.cfg.busyTimeout().Milliseconds()))
	if _, err := inner.ExecContext(background, setUp, nil); err != nil {
		return err
	}
	if c.cfg.Params["_cache_size"] == "" {
		if _, err := inner.ExecContext(background, setUpCache, nil); err != nil {
			return err
		}
	}
	if err := c.registerFunctions(); err != nil {
		return err
	}
	if c.cfg.ConnectHook != nil || len(c.cfg.Extensions) > 0 {
		c.hooked, c.replaced = true, true
	}
	if c.cfg.ConnectHook != nil {
		return c.cfg.ConnectHook(inner)
	}
	return nil
}

func (m *memory) sync(ctx context.Context) (int64, error) { return m.store.Sync(ctx) }

func (m *memory) stats() Stats { return readStats(m.store) }
