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
		// There is no log, because the others in memory have none.
		DSN: "PATH?sqlite_sync_interval=1d&sqlite_wal=off",
		Durability: "a commit is not durable; a save is, and is atomic, every sqlite_sync_interval " +
			"(here only on request). A crash leaves the last save, whole",
		Pool:      "any number of connections; its own queue of writers",
		Safe:      true,
		Save:      "driver.Sync: page images, checked, fsync, rename, fsync of the directory",
		MailStore: "PATH?sqlite_sync_interval=1d&sqlite_wal=off",
		open:      openSqliteMem,
	}
}

// sqliteMemLog is sqlite-mem with a log. wal is the value of sqlite_wal, of which 1s is
// the driver's default; interval is the same as a duration, 0 for commit.
func sqliteMemLog(wal string, interval time.Duration) *Contender {
	dsn := "PATH?sqlite_sync_interval=1d&sqlite_wal=" + wal
	durability := "every commit is synced to a log before it returns; one sync serves all waiting commits"
	if interval > 0 {
		durability = fmt.Sprintf("a crash of the process or the machine costs the commits of the last %s: the log is synced that often", wal)
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
		rest:       driver.Sync, // leaves the log empty
	}
}

// Live opens a database that another process serves, as a tool.
func Live(path string) (*DB, error) {
	return openSqliteMem(&Contender{DSN: "PATH?sqlite_role=tool"}, path)
}

func openSqliteMem(c *Contender, path string) (*DB, error) {
	pool, err := sql.Open(driver.Name, strings.Replace(c.DSN, "PATH", path, 1))
	if err != nil {
		return nil, err
	}
	pool.SetMaxIdleConns(maxIdle)
	return pinged(&DB{Pool: pool, save: func(ctx context.Context, _ string) error {
		return driver.Sync(ctx, pool)
	}})
}
