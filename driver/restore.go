//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"io"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// Restore replaces the database by that of the file at path, while the program runs. The file
// is only read, and need not be writable.
//
// First the file is checked, as the file of a database is when it is opened. Statements run on
// meanwhile. Then the new database becomes the next commit: under the write lock, in one step
// and in constant time. Transactions and rows that have begun before finish on the old
// database. Everything after that sees the new one: its page size, its auto_vacuum mode and
// its text encoding too. A statement that was prepared before runs on the new database, or
// fails if its tables are not there. If the text encoding differs, the connections that are
// open are of no use any more. Outside of transactions their calls return driver.ErrBadConn of
// database/sql, which then makes them on a new connection. Only an [sql.Conn] has to be taken
// anew. An empty file is an empty database, with one page of 4096 bytes.
//
// After nil the new database is durable in the file; with a sync interval of [Never], and in
// memory only, it is as durable as any commit. A crash before that leaves the old database,
// with all that was durable, or the new one. With sqlite_keep the state that is replaced,
// every commit included, is kept as <file>.kept-1; the save that this may take is made while
// writers wait. See also RestoreOptions.Keep.
//
// Restore needs memory for both databases, until the last reader of the old one has ended.
// With sqlite_max_memory the new database must not be larger than that or than the old one,
// and all versions of pages together must fit into twice that. Otherwise the error is
// SQLITE_FULL. While the new database is loaded, writers do not count it. Restores of a
// database run one after the other. Commit hooks and update hooks are not called.
//
// The file must be a whole database by itself, such as a kept state (<file>.kept-1). It is
// refused if a journal, -wal or log with content is beside it, or if it changes meanwhile. It
// is also refused if a process serves it: restore from a [Backup] then.
//
// In the role of a tool, with live connections, the server does all that, with the content
// that this process sends. Without a server, the file of the database is replaced as by a
// save. This process then owns it for the moment, and its old content need not be a sound
// database. It is kept as sqlite_keep and RestoreOptions.Keep say.
//
// Errors are [ErrNotOurs], [ErrClosed], that of ctx, and those of opening and of the file
// system. SQLITE_READONLY: mode=ro or _query_only. SQLITE_BUSY: after _busy_timeout. A file
// that is no sound database: those of package snapshot.
//
// If the error is a [NotDurableError] with Committed set, the new database is there and could
// not be saved yet; a later save makes it durable. After [ErrCommitUnknown] the server is lost,
// and either may be there. A tool without a server may get an error that says that the new file
// is in place, and that a power failure may bring the old one back. After every other error the
// old database is there.
func Restore(ctx context.Context, db *sql.DB, path string, opts *RestoreOptions) error {
	return restore(ctx, db, incoming{path: path}, opts)
}

// RestoreFrom is [Restore] of a database file that r has: the body of an HTTP request, or the
// output of a program that decrypts. A file can be checked for what is beside it, and for
// changes; a stream cannot. So there are two functions.
//
// It reads r to io.EOF before it replaces anything. So an error of r at its end, such as a wrong
// checksum, leaves the old database. What is behind the database, whose size is in its header,
// is thrown away. A stream of no bytes is an error. It is what a program that fails writes.
//
// The end of ctx ends the restore between two calls of Read. A Read that does not return
// cannot be interrupted. With live connections the server ends a restore whose stream gives
// nothing for sqlite_live_idle.
func RestoreFrom(ctx context.Context, db *sql.DB, r io.Reader, opts *RestoreOptions) error {
	return restore(ctx, db, incoming{r: &counting{Reader: r}}, opts)
}

func restore(ctx context.Context, db *sql.DB, in incoming, opts *RestoreOptions) error {
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	keep := ""
	if opts != nil {
		keep = opts.Keep
	}
	switch {
	case c.cfg.cannotWrite() || c.cfg.queryOnly():
		err = connerr.ReadOnly
	case keep != "":
		err = notServed(keep)
	}
	if err == nil {
		err = c.withOnce(ctx, in.begun, func(b backend) error { return b.restore(ctx, in, keep) })
	}
	return connerr.Join(err, done())
}

// incoming is where the new database of a restore comes from.
type incoming struct {
	path string
	r    *counting // nil: path
}

func (in incoming) from() store.RestoreFrom {
	if in.r != nil {
		return store.FromStream(in.r)
	}
	return store.FromFile(in.path)
}

// begun reports whether some of it was read that cannot be read again.
func (in incoming) begun() bool { return in.r != nil && in.r.n > 0 }

// counting counts the bytes that were read.
type counting struct {
	io.Reader
	n int64
}

func (r *counting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}
