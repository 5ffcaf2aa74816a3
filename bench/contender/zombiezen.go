package contender

import (
	"path/filepath"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/sqlite-mem/sqlite-mem/bench/direct"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

func zombiezen() *Contender {
	return &Contender{
		Name:       "zombiezen-memdb",
		DSN:        "file:/PATH?vfs=memdb",
		Durability: "none",
		Pool:       "any number of connections behind a sync.RWMutex",
		Safe:       true,
		Bypass:     "its own interface",
		open: func(c *Contender, path string) (*DB, error) {
			uri := strings.Replace(c.DSN, "PATH", filepath.Base(path), 1)
			d, err := direct.Open(func() (direct.Conn, error) {
				conn, err := sqlite.OpenConn(uri, sqlite.OpenReadWrite, sqlite.OpenCreate, sqlite.OpenURI)
				if err != nil {
					return nil, err
				}
				return zombiezenConn{conn}, nil
			})
			if err != nil {
				return nil, err
			}
			return &DB{bypass: d}, nil
		},
	}
}

type zombiezenConn struct{ *sqlite.Conn }

func (c zombiezenConn) Prepare(query string) (workload.DirectStmt, error) {
	return c.Conn.Prepare(query)
}
