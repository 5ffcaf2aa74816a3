package contender

import (
	"context"
	"database/sql"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func sqliteMem() *Contender {
	return &Contender{
		Name: Reference,
		DSN:  "PATH?sqlite_sync_interval=1d",
		Durability: "none at a commit; everything at a save, which is atomic and synced, every sqlite_sync_interval " +
			"(here only when the bench asks for it). A crash leaves the last save, whole",
		Pool: "any number of connections; its own queue of writers",
		Safe: true,
		Save: "driver.Sync: page images, checked, fsync, rename, fsync of the directory",
		open: func(c *Contender, path string) (*DB, error) {
			pool, err := sql.Open(driver.Name, strings.Replace(c.DSN, "PATH", path, 1))
			if err != nil {
				return nil, err
			}
			pool.SetMaxIdleConns(maxIdle)
			return &DB{Pool: pool, save: func(ctx context.Context, _ string) error {
				return driver.Sync(ctx, pool)
			}}, pool.Ping()
		},
	}
}
