//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"iter"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// Watch reports the commits of a database, of whatever connection: those of this sql.DB
// and of others, of live connections, and of connections that have attached the database.
//
//	for change, err := range driver.Watch(ctx, db) {
//		if err != nil {
//			return err
//		}
//		if change.Has("messages") {
//			// Read again what depends on the table messages.
//		}
//	}
//
// The loop opens the database if it was not used before. It begins with a Change of all
// commits so far, at once, in which All is true. So what is read from then on misses
// nothing. A Change comes when its commits can be read. That may be before they are
// durable, and before COMMIT has returned. Each commit is in one Change, in their order.
// While the body of the loop runs, commits go on, and the next Change has all of them. No
// writer waits for a watcher, whatever it does and however many there are. A watcher needs
// no connection of the pool. Each loop over the iterator is a watcher of its own.
//
// Tables has every table that the commits may have changed. It may have more, such as one
// whose changes were undone by ROLLBACK TO.
//
//   - Triggers and actions of foreign keys are included. A view that was written through
//     INSTEAD OF triggers is named as well.
//   - A change of the schema names the table or view, and sqlite_schema. ANALYZE names
//     sqlite_stat1 and sqlite_stat4. The table sqlite_sequence is not named when it follows
//     a table with AUTOINCREMENT. A commit that changed no table, such as PRAGMA
//     user_version, has no names. Temporary tables are not part of the database.
//   - All is true after a write to a virtual table, such as one of FTS5, also by a
//     trigger. It is true after VACUUM and the renaming of a table. It is true for
//     connections with a ConnectHook or extensions, and for those that were given to Raw. It
//     is true if some hundred tables were changed, and for a transaction that had written
//     before anybody watched.
//   - A transaction over several databases (ATTACH) is a commit of each that it has
//     changed, with the tables of that one.
//
// The loop ends with the error of ctx or of opening, with [ErrClosed] when db is closed, with
// [ErrNotOurs], or with [ErrNotServed] for a tool that works on the file. For a live
// connection it also ends when the server does; a new loop finds the next server. Each live
// watcher takes a connection, of those for what is no SQL: see Config.LiveLimit. A watcher does not keep a database
// open. Commits that it has not heard of at the end are not reported.
func Watch(ctx context.Context, db *sql.DB) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		left := false // yield must not be called again
		err := watchEach(ctx, db, func(c Change) bool {
			left = !yield(c, nil)
			return !left
		})
		if err != nil && !left {
			yield(Change{}, err)
		}
	}
}

// watcher hears of the commits of a database. One goroutine uses it.
type watcher interface {
	// Next waits for the next Change. It returns at once the first time.
	Next(ctx context.Context) (Change, error)
	Close()
}

// watchEach calls yield for each Change until it returns false.
func watchEach(ctx context.Context, db *sql.DB, yield func(Change) bool) error {
	c, done, err := connectorOf(ctx, db)
	if err != nil {
		return err
	}
	return connerr.Join(c.watchEach(ctx, yield), done())
}

func (c *connector) watchEach(ctx context.Context, yield func(Change) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // this ends the stream of a live tool
	if c.single {  // it is closed, and the caller keeps the connection open
		return c.watchUntil(ctx, yield)
	}
	defer context.AfterFunc(c.ending, cancel)()
	if err := c.watchUntil(ctx, yield); err != nil {
		return c.ended(err)
	}
	return nil
}

// watchUntil watches until ctx ends.
func (c *connector) watchUntil(ctx context.Context, yield func(Change) bool) error {
	var w watcher
	err := c.with(ctx, func(b backend) (release bool, err error) {
		w, err = b.watch(ctx)
		return true, err
	})
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		change, err := w.Next(ctx)
		if err != nil || !yield(change) {
			return err
		}
	}
}
