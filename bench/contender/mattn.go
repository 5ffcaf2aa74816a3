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

// mattnOptions are the options that sqlite-mem sets for its own go-sqlite3, so that the
// engines are compared and not the options. They are cached statements, no mutex around
// each call, a transaction that locks at its beginning, and a wait of up to a minute.
// One more, no counting of allocated memory, is set for the whole process by the first open
// of sqlite-mem.
const mattnOptions = "_stmt_cache_size=128&_mutex=no&_txlock=immediate&_busy_timeout=60000"

func mattnBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked)
}

// openMattn opens the contender's DSN and one connection. conns is the most
// connections; 0: no limit.
func openMattn(c *Contender, path string, conns int) (*DB, error) {
	pool, err := sql.Open("sqlite3", strings.Replace(c.DSN, "PATH", path, 1))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(maxIdle)
	return pinged(&DB{Pool: pool, busy: mattnBusy})
}

// syncAll writes the system's dirty pages to the disk.
func syncAll(context.Context, *sql.DB) error {
	unix.Sync()
	return nil
}

// openLocked opens a database without a file, with a lock around it, because it cannot
// serve readers beside a writer. It saves by VACUUM INTO.
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

// vacuumInto is the save that Madmail documents: VACUUM INTO a file beside the target,
// then a rename. It syncs nothing.
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

// madmail is Madmail's design: a shared cache, and a lock whose write side a save
// holds. Madmail's save took the lock a second time and so deadlocked; here it takes
// the lock once.
func madmail() *Contender {
	return &Contender{
		Name:       "madmail",
		DSN:        "file:PATH?mode=memory&cache=shared&" + mattnOptions,
		Durability: "a commit is not durable; a save (VACUUM INTO, rename) is not synced, so a power failure may undo or damage it",
		Pool:       "any number of connections behind a sync.RWMutex; a save holds its write lock",
		Safe:       true,
		Save:       "VACUUM INTO and rename; nothing synced",
		open:       func(c *Contender, path string) (*DB, error) { return openLocked(c, path, true) },
	}
}

// madmailPlain is madmail with its original data source name, without the options that
// sqlite-mem sets. Each statement is prepared anew. Its save is the same and is not
// measured again.
func madmailPlain() *Contender {
	c := madmail()
	c.Name, c.DSN, c.Save = "madmail-plain", "file:PATH?mode=memory&cache=shared", ""
	return c
}

func mattnMemdb() *Contender {
	return &Contender{
		Name:       "mattn-memdb",
		DSN:        "file:/PATH?vfs=memdb&" + mattnOptions,
		Durability: "a commit is not durable; a save (VACUUM INTO, rename) is not synced, so a power failure may undo or damage it",
		Pool:       "any number of connections behind a sync.RWMutex; a save holds its read lock",
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
		Pool:       "one connection; the goroutines wait for it",
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
		Durability: "a crash of the process costs nothing; a power failure costs the commits since the last checkpoint",
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
		Durability: "every commit is synced to the WAL before it returns",
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
			return pinged(&DB{Pool: pool, busy: mattnBusy})
		},
	}
}
