package contender

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"
)

// mattnOptions are what sqlite-mem sets for the go-sqlite3 below itself, so that
// what is compared is the engine: cached statements, no mutex around each call of
// a connection, a transaction that takes its lock at its beginning, and a wait of
// up to a minute. (The third, no counting of allocated memory, is set for the
// whole process by importing sqlite-mem.)
const mattnOptions = "_stmt_cache_size=128&_mutex=no&_txlock=immediate&_busy_timeout=60000"

func mattnBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked)
}

// openMattn opens the contender's DSN with at most so many connections, 0 for any
// number, and keeps one open.
func openMattn(c *Contender, path string, conns int) (*DB, error) {
	pool, err := sql.Open("sqlite3", strings.Replace(c.DSN, "PATH", path, 1))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(maxIdle)
	return &DB{Pool: pool, busy: mattnBusy}, pool.Ping()
}

// syncAll writes what the system has not written yet.
func syncAll(context.Context, *sql.DB) error {
	unix.Sync()
	return nil
}

// openLocked opens a database that is only in memory, with a lock around it that
// shields it from what it cannot do, and saves by VACUUM INTO.
func openLocked(c *Contender, path string, stopReaders bool) (*DB, error) {
	db, err := openMattn(c, filepath.Base(path), 0)
	if err != nil {
		return nil, err
	}
	db.lock = new(sync.RWMutex)
	db.save = func(ctx context.Context, path string) error {
		if stopReaders {
			db.lock.Lock()
			defer db.lock.Unlock()
		} else {
			db.lock.RLock()
			defer db.lock.RUnlock()
		}
		return vacuumInto(ctx, db.Pool, path, "unix")
	}
	return db, nil
}

// vacuumInto is the save that is documented for Madmail: into a file beside the
// target by the VFS of files, then renamed. It syncs nothing.
func vacuumInto(ctx context.Context, pool *sql.DB, path, vfs string) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := pool.ExecContext(ctx, "VACUUM INTO ?", "file:"+temp+"?vfs="+vfs); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// madmail is what Madmail had: a shared cache, and a lock that a save holds as a
// writer. Its deadlock came from taking the lock again in what a save runs;
// here a save takes it once.
func madmail() *Contender {
	return &Contender{
		Name:       "madmail",
		DSN:        "file:PATH?mode=memory&cache=shared&" + mattnOptions,
		Durability: "none at a commit; at a save (VACUUM INTO, rename) as much as the system has written, as nothing is synced",
		Pool:       "any number of connections behind a sync.RWMutex; a save holds it as a writer",
		Safe:       true,
		Save:       "VACUUM INTO and rename; nothing synced",
		open:       func(c *Contender, path string) (*DB, error) { return openLocked(c, path, true) },
	}
}

// madmailPlain is the same with the data source name that it had, without the
// options that sqlite-mem sets: each statement is prepared anew. It saves in the
// same way, which is not measured again.
func madmailPlain() *Contender {
	c := madmail()
	c.Name, c.DSN, c.Save = "madmail-plain", "file:PATH?mode=memory&cache=shared", ""
	return c
}

func mattnMemdb() *Contender {
	return &Contender{
		Name:       "mattn-memdb",
		DSN:        "file:/PATH?vfs=memdb&" + mattnOptions,
		Durability: "none at a commit; at a save (VACUUM INTO, rename) as much as the system has written, as nothing is synced",
		Pool:       "any number of connections behind a sync.RWMutex; a save holds it as a reader",
		Safe:       true,
		Save:       "VACUUM INTO and rename; nothing synced",
		open:       func(c *Contender, path string) (*DB, error) { return openLocked(c, path, false) },
	}
}

func mattnMemory() *Contender {
	return &Contender{
		Name:       "mattn-memory-1conn",
		DSN:        ":memory:?" + mattnOptions,
		Durability: "none",
		Pool:       "one connection, for which the goroutines wait",
		open:       func(c *Contender, path string) (*DB, error) { return openMattn(c, path, 1) },
	}
}

func mattnDisk() *Contender {
	return &Contender{
		Name:       "mattn-disk-rollback",
		DSN:        "file:PATH?" + mattnOptions,
		Durability: "every commit is synced before it returns (rollback journal, synchronous=FULL: SQLite's defaults)",
		Pool:       "any number of connections; SQLite's file locks, polled",
		Safe:       true,
		open:       func(c *Contender, path string) (*DB, error) { return openMattn(c, path, 0) },
		rest:       syncAll,
	}
}

func mattnDiskWAL() *Contender {
	return &Contender{
		Name:       "mattn-disk-wal-normal",
		DSN:        "file:PATH?_journal_mode=WAL&_synchronous=NORMAL&" + mattnOptions,
		Durability: "a crash of the process costs nothing; a power failure what was committed since the last checkpoint",
		Pool:       "any number of connections; SQLite's file locks, polled",
		Safe:       true,
		MailStore:  "file:PATH?_stmt_cache_size=128&_mutex=no",
		open:       func(c *Contender, path string) (*DB, error) { return openMattn(c, path, 0) },
		rest:       syncAll,
	}
}

func mattnDiskWALFull() *Contender {
	return &Contender{
		Name:       "mattn-disk-wal-full",
		DSN:        "file:PATH?_journal_mode=WAL&_synchronous=FULL&" + mattnOptions,
		Durability: "every commit is synced, to the WAL, before it returns",
		Pool:       "any number of connections; SQLite's file locks, polled",
		Safe:       true,
		open:       func(c *Contender, path string) (*DB, error) { return openMattn(c, path, 0) },
		rest:       syncAll,
	}
}

func mattnDiskMmap() *Contender {
	return &Contender{
		Name:       "mattn-disk-wal-off-mmap",
		DSN:        "file:PATH?_journal_mode=WAL&_synchronous=OFF&" + mattnOptions + ", PRAGMA mmap_size=2147418112 on each connection",
		Durability: "a crash of the process costs nothing; a power failure may damage the file, as nothing is ever synced",
		Pool:       "any number of connections; SQLite's file locks, polled",
		Safe:       true,
		rest:       syncAll,
		open: func(c *Contender, path string) (*DB, error) {
			dsn, pragma, _ := strings.Cut(strings.Replace(c.DSN, "PATH", path, 1), ", ")
			pragma, _, _ = strings.Cut(pragma, " on each")
			pool := sql.OpenDB(hooked{dsn, &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
				_, err := conn.Exec(pragma, nil)
				return err
			}}})
			pool.SetMaxIdleConns(maxIdle)
			return &DB{Pool: pool, busy: mattnBusy}, pool.Ping()
		},
	}
}
