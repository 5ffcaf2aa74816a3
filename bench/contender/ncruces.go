package contender

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs/memdb"
	"github.com/ncruces/go-sqlite3/vfs/mvcc"
)

func ncrucesBusy(err error) bool {
	return errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED)
}

func openNcruces(c *Contender, path string, remove func(string)) (*DB, error) {
	name := filepath.Base(path)
	pool, err := driver.Open(strings.Replace(c.DSN, "PATH", name, 1))
	if err != nil {
		return nil, err
	}
	pool.SetMaxIdleConns(maxIdle)
	return pinged(&DB{Pool: pool, busy: ncrucesBusy, prepare: true, close: func() error {
		remove(name)
		return nil
	}})
}

func ncrucesMemdb() *Contender {
	return &Contender{
		Name:       "ncruces-memdb",
		DSN:        "file:/PATH?vfs=memdb&_txlock=immediate&_pragma=busy_timeout(60000)",
		Durability: "none",
		Pool:       "any number of connections; its own locks, polled",
		Safe:       true,
		open:       func(c *Contender, path string) (*DB, error) { return openNcruces(c, path, memdb.Delete) },
	}
}

func ncrucesMVCC() *Contender {
	return &Contender{
		Name:       "ncruces-mvcc",
		DSN:        "file:/PATH?vfs=mvcc&_txlock=immediate&_pragma=busy_timeout(60000)",
		Durability: "a commit is not durable; a save (VACUUM INTO a file) is not synced, so a power failure may undo or damage it",
		Pool:       "any number of connections; its own locks, polled",
		Safe:       true,
		Save:       "VACUUM INTO; nothing synced",
		open: func(c *Contender, path string) (*DB, error) {
			db, err := openNcruces(c, path, mvcc.Delete)
			if err != nil {
				return nil, err
			}
			db.save = func(ctx context.Context, path string) error { return vacuumInto(ctx, db.Pool, path, "os") }
			return db, nil
		},
	}
}
