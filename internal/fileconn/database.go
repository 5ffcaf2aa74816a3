//go:build cgo

package fileconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
)

// Options say which file to open, and how its connections behave.
type Options struct {
	Path string // of the file, as osfile.Resolve gives it
	Name string // the path as the user has given it, for errors

	Params        map[string]string // of go-sqlite3 and of SQLite's URIs, by their name in a DSN
	Pragmas       []string          // statements that each new connection runs that may write, before ConnectHook
	ReadOnly      bool              // the connections are asked not to write
	QueryOnly     bool              // by _query_only
	TxLock        string            // how a transaction that may write begins: deferred, immediate or exclusive
	BusyTimeout   time.Duration     // longest wait for others that use the file; 0: none
	StmtCacheSize int               // statements that each connection keeps; 0: none
	Live          bool              // beside a server that serves tools, Connect returns ErrServed
	Keep          int               // states of the file that are kept when a log is written into it

	// Extensions and ConnectHook are those of sqlite3.SQLiteDriver.
	Extensions  []string
	ConnectHook func(*sqlite3.SQLiteConn) error

	Logger    *slog.Logger           // not nil
	StatsJSON func() (string, error) // the SQL function sqlite_mem_stats
}

// ErrServed is returned by Connect if a server that serves tools has come. The file lacks
// what it has committed since its last save.
var ErrServed = errors.New("a server has the database and serves tools")

// Database is a file to which connections can be opened.
//
// It holds nothing between two transactions, as a server may come and go at any time. So
// each connection inspects the file when it is opened, and again when it comes from the
// pool. It writes under a shared process lock, from the moment at which SQLite begins to
// write to the end of the transaction: see memvfs.DiskName.
type Database struct {
	opts  *Options
	times *sqltime.Format // how times are kept
	loc   *time.Location  // of times that are read; nil: they stay as they are

	mayServe atomic.Bool            // see SetMayServe
	closed   atomic.Bool            // by Close
	reported atomic.Pointer[string] // the last reason for reading only that was logged
}

// New returns the database of a file. It opens nothing.
func New(opts Options) *Database {
	times, _ := sqltime.New(opts.Params) // they were checked
	if times == nil {
		times = &sqltime.Format{}
	}
	return &Database{opts: &opts, times: times, loc: sqltime.Location(opts.Params)}
}

// SetMayServe says whether this process may become the server of the file. Then its
// connections give way to new ones from time to time, and their connector looks again.
func (d *Database) SetMayServe(may bool) { d.mayServe.Store(may) }

// Acquire does nothing: there is nothing to keep open for a user.
func (d *Database) Acquire() {}

// Release does nothing.
func (d *Database) Release() error { return nil }

// Close makes the connections give way to new ones when they come from the pool.
func (d *Database) Close() error {
	d.closed.Store(true)
	return nil
}

// CloseWithLast is Close.
func (d *Database) CloseWithLast() error { return d.Close() }

// Sync does nothing: what is committed is in the file.
func (d *Database) Sync(context.Context) error { return nil }

// Backup writes what the file has, compacted, to a new file.
func (d *Database) Backup(ctx context.Context, path string) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return connerr.Join(c.backup(ctx, path), c.Close())
}

// BackupTo writes what the file has, compacted, to w. SQLite writes a database to files only,
// so there is a copy in the directory for temporary files meanwhile, readable by its owner
// alone.
func (d *Database) BackupTo(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "sqlite-mem-backup-")
	if err != nil {
		return err
	}
	defer func() { err = connerr.Join(err, os.RemoveAll(dir)) }()
	name := filepath.Join(dir, "backup.db")
	if err := d.Backup(ctx, name); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = connerr.Join(err, f.Close()) }()
	// Copied in pieces, so that the end of ctx is seen between two of them.
	for buf := make([]byte, 1<<20); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// fileState is the state of the file when a connection to it is opened. When it changes,
// the connection gives way to a new one.
type fileState struct {
	file     fs.FileInfo          // nil: there is none
	readOnly bool                 // nothing can be written
	owner    *proclock.OwnedError // the process that keeps this one from writing; nil: none

	// retry is when the connection gives way so that the connector can try again to serve
	// the file. Zero: never. It is set if no other process serves the file.
	retry time.Time
}

// serveRetry is how long a connection works on the file before the role auto tries again
// to serve it. Transactions may be in the way for long, and each try costs as much as to
// open a connection.
const serveRetry = 100 * time.Millisecond

// inspect finds out what a connection may do now. If it can, it first writes a log that a
// crash has left into the file.
func (d *Database) inspect(ctx context.Context) (fileState, error) {
	var f fileState
	if d.opts.ReadOnly {
		f.readOnly = true
	}
	owner, owned, err := proclock.OwnerOf(d.opts.Path)
	switch {
	case err != nil && !proclock.ReadOnly(err):
		return f, err
	case owned && d.opts.Live && owner.MayBeLive():
		return f, ErrServed
	case owned && owner.Role != proclock.Recovery:
		f.owner = owner.Owned(d.opts.Path)
		f.readOnly = true
	}
	if f.owner == nil {
		pending, err := image.LogPending(d.opts.Path)
		if err == nil && pending && f.readOnly {
			d.report("it is only read, and the log that a crash has left beside it is not: what it shows may be old; open it for writing once, or run sqlite-mem recover " + d.opts.Path)
		}
		if err == nil && pending && !f.readOnly {
			err = d.fold(ctx)
		}
		var owned *proclock.OwnedError
		switch {
		case errors.As(err, &owned) && d.opts.Live && owned.MayBeLive():
			return f, ErrServed
		case errors.As(err, &owned):
			f.owner, f.readOnly = owned, true // a server has come meanwhile
		case errors.Is(err, proclock.ErrUnavailable) && proclock.ReadOnly(err):
			f.readOnly = true
			d.report("it cannot be written here, and the log that a crash has left beside it is not read: " + err.Error())
		case err != nil:
			return f, err
		}
	}
	// This comes after the fold and before the open, so the first use notices a save in
	// between.
	f.file, err = os.Stat(d.opts.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f.file == nil && f.readOnly {
		return f, NotThere(d.opts.Path, err)
	}
	if !f.readOnly {
		if reason := mayNotWrite(d.opts.Path, f.file != nil); reason != nil {
			f.readOnly = true
			d.report("it is only read: " + reason.Error())
		}
	}
	if d.mayServe.Load() && f.owner == nil {
		f.retry = time.Now().Add(serveRetry)
	}
	return f, nil
}

// report logs why the file is only read, once for each reason.
func (d *Database) report(reason string) {
	if last := d.reported.Swap(&reason); last == nil || *last != reason {
		d.opts.Logger.Warn("sqlite-mem: "+d.opts.Path+": "+reason, "path", d.opts.Path)
	}
}

// fold writes the log of a crashed server into the file.
func (d *Database) fold(ctx context.Context) error {
	return d.own(ctx, func() error {
		rec, err := image.FoldLog(ctx, d.opts.Path, d.opts.Keep)
		if rec.Transactions > 0 {
			d.opts.Logger.Info("sqlite-mem: wrote what a crash had left in the log into the file", "path", d.opts.Path,
				"transactions", rec.Transactions, "torn", rec.Torn)
		}
		d.notKept(rec.NotKept)
		return err
	})
}

func (d *Database) notKept(err error) {
	if err != nil {
		d.opts.Logger.Error("sqlite-mem: the state that the file had before is not kept (sqlite_keep)", "path", d.opts.Path, "error", err)
	}
}

// own calls f while this process owns the file, and no connection of it has the file open.
func (d *Database) own(ctx context.Context, f func() error) error {
	lockCtx, cancel := context.WithTimeout(ctx, d.opts.BusyTimeout)
	defer cancel()
	// The order matters. While it waits for transactions of this process, other processes
	// may recover or serve the file.
	end, err := memvfs.BeginLoad(lockCtx, d.opts.Path)
	if err != nil {
		return err
	}
	defer end()
	lock, err := proclock.Acquire(lockCtx, d.opts.Path, proclock.Recovery)
	if err != nil {
		return err
	}
	if _, err = image.RemoveLeftovers(d.opts.Path); err == nil {
		err = f()
	}
	return connerr.Join(err, lock.Release())
}

// Restore replaces the file by the database that read gives to a sink: see image.Exchange.
// keep is the name of a new file for the old state, or empty.
func (d *Database) Restore(ctx context.Context, read func(context.Context, image.Sink) error, keep string) error {
	if err := memvfs.Register(); err != nil {
		return connerr.Open(d.opts.Name, err)
	}
	err := d.own(ctx, func() error {
		notKept, err := image.Exchange(ctx, d.opts.Path, read, image.ExchangeOptions{Keep: d.opts.Keep, KeepAs: keep})
		d.notKept(notKept)
		return err
	})
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok && owned.Path == d.opts.Path {
		if d.opts.Live && owned.MayBeLive() {
			return ErrServed
		}
		return connerr.NewOwned(owned, connerr.ReadOnly)
	}
	return err
}

// uri returns the name by which go-sqlite3 opens the file.
func (d *Database) uri(readOnly bool) string {
	q := url.Values{}
	for k, v := range d.opts.Params {
		q.Set(k, v)
	}
	// A tool never puts the file into WAL mode, and keeps no lock that it does not need.
	// One data source name is for servers and tools, and servers ignore these.
	for _, key := range []string{"_journal_mode", "_journal", "_locking_mode", "_locking"} {
		q.Del(key)
	}
	txLock := d.opts.TxLock
	if readOnly {
		q.Set("mode", "ro")
		txLock = "deferred" // the other ways begin by writing
		for _, key := range []string{"_auto_vacuum", "_vacuum"} {
			q.Del(key) // they write when a connection is opened
		}
	}
	q.Set("vfs", memvfs.DiskName)
	q.Set(memvfs.DiskParam, "1")
	q.Set("_txlock", txLock)
	q.Set("_busy_timeout", strconv.FormatInt(d.opts.BusyTimeout.Milliseconds(), 10))
	q.Set("_stmt_cache_size", strconv.Itoa(d.opts.StmtCacheSize))
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(d.opts.Path), RawQuery: q.Encode()}
	if u.Path[0] != '/' {
		u.Path = "/" + u.Path
	}
	return u.String()
}

// Connect opens a connection.
func (d *Database) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err // not a *conn that is nil
	}
	return c, nil
}

func (d *Database) connect(ctx context.Context) (*conn, error) {
	if err := memvfs.Register(); err != nil {
		return nil, connerr.Open(d.opts.Name, err)
	}
	for again := false; ; again = true {
		Inspecting()
		f, err := d.inspect(ctx)
		if err != nil {
			return nil, connerr.Open(d.opts.Name, err)
		}
		Inspected()
		c := &conn{db: d, fileState: f}
		sd := &sqlite3.SQLiteDriver{Extensions: d.opts.Extensions, ConnectHook: c.connected}
		inner, err := sd.Open(d.uri(f.readOnly))
		if err == nil {
			c.SQLiteConn = inner.(*sqlite3.SQLiteConn)
			if c.file == nil {
				// SQLite has created it. If another file takes its name, SQLite does not see
				// that, as it has no pages.
				if now, err := os.Stat(d.opts.Path); err == nil {
					c.file = now
				}
			}
			return c, nil
		}
		// A server that has come meanwhile, and has not saved yet, keeps others from
		// creating the file. To look again tells who it is, or that it has saved or gone.
		var e sqlite3.Error
		if again || f.file != nil || f.readOnly || !errors.As(err, &e) || e.Code != sqlite3.ErrCantOpen {
			return nil, connerr.Open(d.opts.Name, err)
		}
	}
}

// Inspecting is called before a look at the state of the file, and Inspected between that
// and its opening. Tests replace them, to let something happen there.
var Inspecting, Inspected = func() {}, func() {}

// NotThere returns the error of a missing file. If a server has the database, it adds that
// the server has not saved it yet.
func NotThere(path string, err error) error {
	owner, owned, ownerErr := proclock.OwnerOf(path)
	if ownerErr != nil || !owned || owner.Role == proclock.Recovery {
		return err // it is missing all the same
	}
	return fmt.Errorf("%w; %v, which has not saved it yet", err, owner.Owned(path))
}
