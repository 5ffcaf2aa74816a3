//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// tool is the target of a connector that works on the file itself.
//
// It holds nothing between two transactions: a server may come at any time, and go.
// So each connection looks at the facts when it is opened, and again when it comes
// from the pool. What it writes, it writes under a shared process lock, from the
// moment at which SQLite begins to write to the end of the transaction: see
// memvfs.DiskName.
type tool struct {
	cfg  *Config
	path string
	auto bool // a later connection may find this process to be the server
	users

	denied   atomic.Bool            // with auto: the file may not be written here, so there is no use in trying again to serve it
	closed   atomic.Bool            // by the connector: its connections give way to new ones
	reported atomic.Pointer[string] // the last reason for reading only that the log was told
}

func newTool(cfg *Config, path string, auto bool) *tool {
	t := &tool{cfg: cfg, path: path, auto: auto}
	t.release = func() error { return nil }
	t.flush = func() error { return nil }
	t.logger = func(err error) {
		cfg.logger().Error("sqlite-mem: close", "path", path, "error", err)
	}
	if options := cfg.onlyInMemory(); cfg.Direct && len(options) > 0 {
		cfg.logger().Info("sqlite-mem: "+path+": options without effect, because sqlite_in_memory=no", "path", path, "options", options)
	}
	return t
}

// facts is what a connection to the file is opened by, and what it has to give way
// for when it changes.
type facts struct {
	file     fs.FileInfo          // nil: there is none
	readOnly bool                 // nothing can be written
	owner    *proclock.OwnedError // who keeps it from writing; nil: nobody

	// retry is when the process may find itself to be the server, if it goes on with
	// this connection: nobody else serves the file. Zero: never.
	retry time.Time
}

// serveRetry is how long a connection works on the file before the role auto looks
// again whether the process can serve it: what is in the way, transactions above all,
// may be so for long, and each look costs as much as to open a connection.
const serveRetry = 100 * time.Millisecond

// look finds out what a connection may do now. A log that a crash has left is
// written into the file first, if that is possible.
func (t *tool) look(ctx context.Context) (facts, error) {
	var f facts
	if t.cfg.cannotWrite() {
		f.readOnly = true
	}
	owner, owned, err := proclock.OwnerOf(t.path)
	switch {
	case err != nil && !proclock.ReadOnly(err):
		return f, err
	case owned && owner.Role != proclock.Recovery:
		f.owner = ownedBy(t.path, owner)
		f.readOnly = true
	}
	if f.owner == nil {
		pending, err := image.LogPending(t.path)
		if err == nil && pending && f.readOnly {
			t.report("it is only read, and the log that a crash has left beside it is not: what it shows may be old; open it for writing once, or run sqlite-mem recover " + t.path)
		}
		if err == nil && pending && !f.readOnly {
			err = t.fold(ctx)
		}
		var owned *proclock.OwnedError
		switch {
		case errors.As(err, &owned):
			f.owner, f.readOnly = owned, true // it has come meanwhile
		case errors.Is(err, proclock.ErrUnavailable) && proclock.ReadOnly(err):
			f.readOnly = true
			t.report("it cannot be written here, and the log that a crash has left beside it is not read: " + err.Error())
		case err != nil:
			return f, err
		}
	}
	// After the fold, before the open: a save in between is noticed by the first use.
	f.file, err = os.Stat(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f.file == nil && f.readOnly {
		return f, notThere(t.path, err)
	}
	if !f.readOnly {
		if reason := mayNotWrite(t.path, f.file != nil); reason != nil {
			f.readOnly = true
			t.report("it is only read: " + reason.Error())
		}
	}
	if t.auto && f.owner == nil && !t.denied.Load() {
		f.retry = time.Now().Add(serveRetry)
	}
	return f, nil
}

// report tells the log why the file is only read, once for each reason.
func (t *tool) report(reason string) {
	if last := t.reported.Swap(&reason); last == nil || *last != reason {
		t.cfg.logger().Warn("sqlite-mem: "+t.path+": "+reason, "path", t.path)
	}
}

// fold writes what a crashed server has left in its log into the file.
func (t *tool) fold(ctx context.Context) error {
	lockCtx, cancel := context.WithTimeout(ctx, t.cfg.busyTimeout())
	defer cancel()
	// In this order: while it waits for transactions of this process, others may recover
	// the file, or serve it.
	end, err := memvfs.BeginLoad(lockCtx, t.path)
	if err != nil {
		return err
	}
	defer end()
	lock, err := proclock.Acquire(lockCtx, t.path, proclock.Recovery)
	if err != nil {
		return err
	}
	_, err = image.RemoveLeftovers(t.path)
	if err == nil {
		var rec image.Recovery
		rec, err = image.FoldLog(ctx, t.path, t.cfg.Keep)
		if rec.Transactions > 0 {
			t.cfg.logger().Info("sqlite-mem: wrote what a crash had left in the log into the file", "path", t.path,
				"transactions", rec.Transactions, "torn", rec.Torn)
		}
		if rec.NotKept != nil {
			t.cfg.logger().Error("sqlite-mem: the state that the file had before is not kept (sqlite_keep)", "path", t.path, "error", rec.NotKept)
		}
	}
	return also(err, lock.Release())
}

// uri is the name by which go-sqlite3 opens the file.
func (t *tool) uri(readOnly bool) string {
	q := url.Values{}
	for k, v := range t.cfg.Params {
		q.Set(k, v)
	}
	// A tool never leaves the file in WAL mode, nor keeps a lock that it does not
	// need. One data source name serves servers and tools, and for servers these mean
	// nothing.
	for _, key := range []string{"_journal_mode", "_journal", "_locking_mode", "_locking"} {
		q.Del(key)
	}
	txLock := t.cfg.txLock()
	if readOnly {
		q.Set("mode", "ro")
		txLock = TxDeferred // the others begin by writing
		for _, key := range []string{"_auto_vacuum", "_vacuum"} {
			q.Del(key) // they write when a connection is opened
		}
	}
	q.Set("vfs", memvfs.DiskName)
	q.Set(memvfs.DiskParam, "1")
	q.Set("_txlock", string(txLock))
	q.Set("_busy_timeout", strconv.FormatInt(t.cfg.busyTimeout().Milliseconds(), 10))
	q.Set("_stmt_cache_size", strconv.Itoa(t.cfg.stmtCacheSize()))
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(t.path), RawQuery: q.Encode()}
	if u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	return u.String()
}

func (t *tool) connect(ctx context.Context) (driver.Conn, error) {
	f, err := t.look(ctx)
	if err != nil {
		return nil, openErr(t.cfg.Path, err)
	}
	if err := memvfs.Register(); err != nil {
		return nil, openErr(t.cfg.Path, err)
	}
	c := &fileConn{tool: t, facts: f}
	d := &sqlite3.SQLiteDriver{Extensions: t.cfg.Extensions, ConnectHook: c.connected}
	inner, err := d.Open(t.uri(f.readOnly))
	if err != nil {
		return nil, openErr(t.cfg.Path, err)
	}
	c.SQLiteConn = inner.(*sqlite3.SQLiteConn)
	return c, nil
}

// sync has nothing to do: what a tool commits is in the file.
func (t *tool) sync(context.Context) (int64, error) { return 0, nil }

func (t *tool) stats() Stats {
	s := Stats{Role: RoleTool, Path: t.path}
	if fi, err := os.Stat(t.path); err == nil {
		s.DataBytes = fi.Size()
	}
	return s
}

func (t *tool) close() error {
	t.closed.Store(true)
	return t.users.close()
}

// ownedBy is the error for a database that by owns.
func ownedBy(path string, by proclock.Owner) *proclock.OwnedError {
	return &proclock.OwnedError{Path: path, PID: by.PID, Since: by.Since, Role: by.Role}
}

// notThere adds to the error of a missing file, if a server has the database, that it
// is not saved yet.
func notThere(path string, err error) error {
	owner, owned, ownerErr := proclock.OwnerOf(path)
	if ownerErr != nil || !owned || owner.Role == proclock.Recovery {
		return err // it is missing all the same
	}
	return fmt.Errorf("%w; %v, which has not saved it yet", err, ownedBy(path, owner))
}
