//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

// Sync writes what has changed to the file. When it returns nil every commit
// made before the call is on the disk, whichever sql.DB of this process made it.
// Nothing is written when nothing has changed. Syncs at the same time share one
// save. The end of ctx ends the wait, not the save. It opens nothing that is not
// open in this process. In the role of a tool it has nothing to do.
//
// Errors: [ErrNotOurs], [ErrNoFile], [ErrClosed], a *[ForeignChangeError], or
// that of the file system; then the file is as it was before.
func Sync(ctx context.Context, db *sql.DB) error {
	c, err := connectorOf(db)
	if err != nil {
		return err
	}
	b, err := c.useOpened(ctx)
	if err != nil {
		return err
	}
	if b == nil {
		return c.syncOthers(ctx)
	}
	return connerr.Join(b.Sync(ctx), b.Release())
}

// syncOthers saves what other sql.DBs of this process have committed to the file of a
// connector that was not used yet.
func (c *connector) syncOthers(ctx context.Context) error {
	if c.cfg.noFile() {
		return ErrNoFile
	}
	role, err := roleOf(c.cfg)
	if err != nil || role == RoleTool || c.cfg.Direct {
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

// SyncAll makes every commit durable that this process has made, to whatever file and
// by whatever sql.DB, one included that is closed and could not save. It does so by the
// log where there is one (sqlite_wal), and else by a save, also with
// sqlite_sync_interval=never. It is for a program that is told to end: see the package
// documentation. It returns all errors. The end of ctx ends the wait, not what is waited
// for.
func SyncAll(ctx context.Context) error { return store.SyncAll(ctx) }

// Backup writes the last commit to a new file at path, a database like any other, and
// returns when it is on the disk. It works for a database that is only in memory, too.
// Statements run on meanwhile; it lets them have the processors first. It opens the
// database if it was not used before. In the role of a tool it is what was saved last,
// compacted (VACUUM INTO).
//
// Errors are [ErrNotOurs], [ErrClosed], and those of opening and of the file system. One
// wraps [fs.ErrExist] if
//
//   - there is a file at path, or beside it one that would be taken for a part of it,
//   - path is that of a database which somebody serves, saved or not,
//   - path is the name of a file beside a database: its journal, log, lock, or a state
//     that is kept.
//
// After an error there is no file at path, unless the error says that it is in place and
// only its name may not survive a power failure. Of several backups to one path at once,
// one is made. The end of ctx ends the backup.
func Backup(ctx context.Context, db *sql.DB, path string) error {
	c, err := connectorOf(db)
	if err == nil {
		err = notServed(path)
	}
	if err != nil {
		return err
	}
	b, err := c.use(ctx)
	if err != nil {
		return err
	}
	return connerr.Join(b.Backup(ctx, path), b.Release())
}

// notServed returns an error if path is the file of a database that a process serves,
// this one included, or the name of a file beside it. The database need not be there yet;
// the first save would find the backup.
func notServed(path string) error {
	target, err := osfile.Resolve(path)
	if err != nil {
		return nil // the backup will tell
	}
	names := []string{target}
	if db, is := image.DatabaseOf(target); is {
		names = append(names, db)
	}
	for _, name := range names {
		owner, owned, err := proclock.OwnerOf(name)
		if errors.Is(err, proclock.ErrNotALock) {
			continue // so nobody serves it
		}
		if err == nil && owned {
			err = fmt.Errorf("%w: %w", fs.ErrExist, &proclock.OwnedError{Path: name, PID: owner.PID, Since: owner.Since, Role: owner.Role})
		}
		if err != nil {
			return &snapshot.Error{Op: "back up to", Path: path, Err: err}
		}
	}
	return nil
}

// ReadStats returns the counters of a database. It opens the database if it
// was not used before. Errors: [ErrNotOurs], [ErrClosed], or that of opening.
func ReadStats(db *sql.DB) (Stats, error) {
	c, err := connectorOf(db)
	if err != nil {
		return Stats{}, err
	}
	b, err := c.use(context.Background())
	if err != nil {
		return Stats{}, err
	}
	return b.stats(), b.Release()
}
