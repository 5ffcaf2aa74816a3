//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Sync saves the database. When it returns nil, every commit made before the call is
// durable in the file, whichever sql.DB of this process made it. It writes nothing if
// nothing has changed. It opens nothing that this process does not have open, unless db is
// behind a wrapper: see "Behind wrappers" in the package documentation. Syncs at
// the same time share one save. The end of ctx ends the wait, not the save. A tool
// with a live connection has the server save. On the file itself it does nothing. If a
// server has ended meanwhile, Sync waits for its last save. If that was not a success, or
// the server was killed, the error is [ErrUnsaved].
//
// Errors are [ErrNotOurs], [ErrNoFile], [ErrClosed], [ErrUnsaved], a *[ForeignChangeError],
// that of ctx, that of the file system, or behind a wrapper that of getting a connection. If
// another process has taken the file (see [ErrLost]), it is a *ForeignChangeError.
//
// After an error of a save the file is as it was before, or the new file is in place. If a power
// failure may then bring the old one back, the text of the error says so. The commits stay in
// memory, and the next save tries again. After the error of ctx the save may still succeed.
func Sync(ctx context.Context, db *sql.DB) error {
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	return connerr.Join(c.sync(ctx), done())
}

func (c *connector) sync(ctx context.Context) error {
	b, err := c.useOpened(ctx)
	if err != nil {
		return err
	}
	if b == nil {
		err = c.syncOthers(ctx)
	} else {
		err = connerr.Join(b.Sync(ctx), b.Release())
	}
	if _, live := b.(*liveBackend); live || c.cfg.noFile() {
		return err
	}
	// A live connection of this process may have committed to a server that was there.
	path, perr := osfile.Resolve(c.cfg.Path)
	if perr != nil {
		return connerr.Join(err, connerr.Open(c.cfg.Path, perr))
	}
	return connerr.Join(err, syncLive(ctx, path, controlSync))
}

// syncOthers saves the commits of other sql.DBs of this process. The connector itself
// has opened nothing yet.
func (c *connector) syncOthers(ctx context.Context) error {
	if c.cfg.noFile() {
		return ErrNoFile
	}
	role, err := roleOf(c.cfg)
	if err != nil || role == RoleTool || c.cfg.direct() {
		return err
	}
	path, err := osfile.Resolve(c.cfg.Path)
	if err != nil {
		return connerr.Open(c.cfg.Path, err)
	}
	s, err := store.Find(ctx, path)
	if err != nil || s == nil {
		return err
	}
	_, err = s.Sync(ctx)
	return connerr.Join(err, s.Release())
}

// SyncAll makes every commit of this process durable, for a program that is told to end:
// see the package documentation. It goes over all files and all sql.DBs, also one that is
// closed and could not save. Where there is a log (sqlite_wal) it flushes that. Elsewhere it
// saves, also with sqlite_sync_interval=never. For live connections the server does that, and
// [ErrUnsaved] is as for Sync.
//
// It returns all errors, joined. After an error the files are whole, and the commits stay
// in memory. The end of ctx ends the wait, not the flushes and saves.
func SyncAll(ctx context.Context) error {
	return connerr.Join(store.SyncAll(ctx), syncLive(ctx, "", controlDurable))
}

// Backup writes the last commit to a new file at path, a database like any other. The
// file is durable when Backup returns. Statements run on meanwhile, and have the
// processors first. The database may be only in memory. It is opened if it was not used
// before. In the role of a tool the backup is what was saved last, compacted (VACUUM INTO);
// with live connections it is the server's last commit.
//
// Errors are [ErrNotOurs], [ErrClosed], and those of opening and of the file system. The
// error wraps [fs.ErrExist] in these cases:
//
//   - A file exists at path, or beside it one that SQLite would take for a part of
//     it.
//   - A process serves a database at path, saved or not.
//   - The name path belongs to a file beside a database: its journal, log, lock, or a
//     kept state.
//
// After an error there is no file at path, with two exceptions, which the error tells. The
// backup may be in place; the error then says whether a power failure may undo it. Or an
// empty file at path could not be removed. Of several backups to one path at once, one
// succeeds. The end of ctx ends the backup.
func Backup(ctx context.Context, db *sql.DB, path string) error {
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	if err = notServed(path); err == nil {
		err = c.with(ctx, func(b backend) (bool, error) { return true, b.Backup(ctx, path) })
	}
	return connerr.Join(err, done())
}

// BackupTo writes the last commit to w, as a database file: the same bytes as [Backup] writes
// to its file. It is for a receiver that is no file here: an answer of net/http, a bucket, a
// program that encrypts. It holds at most 1 MiB of the database in memory of its own. After
// nil w has taken everything; BackupTo does not close it. After an error w may have taken a
// part, which is no database.
//
// The state is pinned until BackupTo returns or ctx ends, whichever comes first. Meanwhile
// each page that is rewritten costs the memory of one page. So a receiver that stalls holds
// old page versions (Stats.HeldBytes). With sqlite_max_memory, writers then get SQLITE_FULL
// when these and the database have twice that size. So give ctx an end, or set write
// deadlines on the receiver.
//
// A Write that does not return cannot be interrupted. The end of ctx then ends the pin, so
// the page versions are freed. BackupTo returns when the Write does, and the database stays
// open until then.
//
// With live connections the server pins its last commit. It ends a tool that takes nothing
// for sqlite_live_idle. On the file itself, BackupTo first makes a copy in the directory for
// temporary files.
//
// Errors are those of w as they are, that of ctx, [ErrNotOurs], [ErrClosed], and those of
// opening.
func BackupTo(ctx context.Context, db *sql.DB, w io.Writer) error {
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	to := &counted{Writer: w}
	err = c.withOnce(ctx, func() bool { return to.n > 0 }, func(b backend) error { return b.BackupTo(ctx, to) })
	return connerr.Join(err, done())
}

// counted counts the bytes that a Writer has taken.
type counted struct {
	io.Writer
	n int64
}

func (w *counted) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// notServed returns an error if a process, or this one, serves a database at path. It
// does so too if path is the name of a file beside that database. The database file need
// not exist yet. Its first save would find the backup.
func notServed(path string) error {
	target, err := osfile.Resolve(path)
	if err != nil {
		return nil // the backup will tell
	}
	err = store.Served(target)
	if _, owned := errors.AsType[*proclock.OwnedError](err); owned {
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	}
	if err != nil {
		return &snapshot.Error{Op: "back up to", Path: path, Err: err}
	}
	return nil
}

// ReadStats returns the counters of a database. It opens the database if that was not used
// before. Errors are [ErrNotOurs], [ErrClosed], or that of opening.
func ReadStats(db *sql.DB) (Stats, error) {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultBusyTimeout)
	defer cancel()
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return Stats{}, err
	}
	var s Stats
	err = c.with(context.Background(), func(b backend) (_ bool, err error) {
		s, err = b.stats(context.Background())
		return true, err
	})
	return s, connerr.Join(err, done())
}

// Close closes db, and makes sure that its database is closed too. It is for an sql.DB
// behind a wrapper whose connector has no Close. There DB.Close does not reach this driver: see "Behind wrappers" in the package documentation. For any other sql.DB it
// does what DB.Close does. Its errors are those of DB.Close and [ErrNotOurs], which leaves
// db open.
func Close(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultBusyTimeout)
	defer cancel()
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	err = connerr.Join(done(), db.Close())
	if c.single {
		return err
	}
	return connerr.Join(err, c.Close())
}
