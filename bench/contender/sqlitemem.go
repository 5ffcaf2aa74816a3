package contender

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func sqliteMem() *Contender {
	return &Contender{
		Name: Reference,
		// Without the log, as the others in memory have none.
		DSN: "PATH?sqlite_sync_interval=1d&sqlite_wal=off",
		Durability: "none at a commit; everything at a save, which is atomic and synced, every sqlite_sync_interval " +
			"(here only when the bench asks for it). A crash leaves the last save, whole",
		Pool:      "any number of connections; its own queue of writers",
		Safe:      true,
		Save:      "driver.Sync: page images, checked, fsync, rename, fsync of the directory",
		MailStore: "PATH?sqlite_sync_interval=1d&sqlite_wal=off",
		open:      openSqliteMem,
	}
}

// sqliteMemLog is sqlite-mem with a log of what is committed, synced so often. 1s is
// the driver's default.
func sqliteMemLog(wal string, interval time.Duration) *Contender {
	dsn := "PATH?sqlite_sync_interval=1d&sqlite_wal=" + wal
	durability := "every commit is synced, to a log, before it returns; one sync serves all that wait"
	if interval > 0 {
		durability = fmt.Sprintf("a crash of the process or the machine costs what was committed in the last %s: the log is synced that often", wal)
	}
	return &Contender{
		Name:       Reference + "-wal-" + wal,
		DSN:        dsn,
		Durability: durability,
		Pool:       "any number of connections; its own queue of writers",
		Safe:       true,
		Own:        true,
		Interval:   interval,
		MailStore:  dsn,
		open:       openSqliteMem,
		rest:       driver.Sync, // which leaves the log empty
	}
}

func openSqliteMem(c *Contender, path string) (*DB, error) {
	pool, err := sql.Open(driver.Name, strings.Replace(c.DSN, "PATH", path, 1))
	if err != nil {
		return nil, err
	}
	pool.SetMaxIdleConns(maxIdle)
	return &DB{Pool: pool, save: func(ctx context.Context, _ string) error {
		return driver.Sync(ctx, pool)
	}}, pool.Ping()
}
