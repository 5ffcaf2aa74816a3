package contender

import "errors"

// crawshaw is measured by a command of its own, cmd/crawshaw: its SQLite and
// go-sqlite3's do not link into one program.
func crawshaw() *Contender {
	return &Contender{
		Name:       "crawshaw-memory-shared",
		DSN:        "file:PATH?mode=memory&cache=shared",
		Durability: "none",
		Pool:       "any number of connections behind a sync.RWMutex",
		Safe:       true,
		Bypass:     "its own interface",
		Worker:     "github.com/sqlite-mem/sqlite-mem/bench/cmd/crawshaw",
		open: func(c *Contender, _ string) (*DB, error) {
			return nil, errors.New("it does not link beside go-sqlite3; use " + c.Worker + " instead")
		},
	}
}
