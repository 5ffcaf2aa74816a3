package contender

import (
	"database/sql"

	_ "modernc.org/sqlite" // "sqlite"
)

func moderncMemory() *Contender {
	return &Contender{
		Name:       "modernc-memory-1conn",
		DSN:        ":memory:?_txlock=immediate",
		Durability: "none",
		Pool:       "one connection; the goroutines wait for it",
		open: func(c *Contender, _ string) (*DB, error) {
			pool, err := sql.Open("sqlite", c.DSN)
			if err != nil {
				return nil, err
			}
			pool.SetMaxOpenConns(1)
			return pinged(&DB{Pool: pool, prepare: true})
		},
	}
}
