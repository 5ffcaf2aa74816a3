// Command crawshaw is the worker that measures crawshaw.io/sqlite. It is a program of
// its own, because its SQLite and go-sqlite3's have the same symbols and do not link
// into one program. cmd/report builds it and talks to it. See package worker.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"crawshaw.io/sqlite"

	"github.com/sqlite-mem/sqlite-mem/bench/direct"
	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

func main() {
	dir := flag.String("worker", "", "directory for databases")
	flag.Parse()
	s := &session{dir: *dir}
	if err := worker.Serve(os.Stdin, os.Stdout, s.do); err != nil {
		fmt.Fprintln(os.Stderr, "crawshaw:", err)
		os.Exit(1)
	}
}

type session struct {
	dir   string
	db    *direct.DB
	loads *worker.Loads
}

func (s *session) do(r worker.Request) (any, error) {
	switch r.Do {
	case "open", "users":
		return nil, s.open(r)
	case "run":
		return s.loads.Run(r)
	case "close":
		if s.db == nil {
			return nil, nil
		}
		return nil, s.db.Close()
	}
	return nil, fmt.Errorf("crawshaw.io/sqlite is not measured with %q", r.Do)
}

func (s *session) open(r worker.Request) (err error) {
	uri := strings.Replace(r.DSN, "PATH", filepath.Base(s.dir), 1)
	s.db, err = direct.Open(func() (direct.Conn, error) {
		c, err := sqlite.OpenConn(uri, sqlite.SQLITE_OPEN_READWRITE|sqlite.SQLITE_OPEN_CREATE|sqlite.SQLITE_OPEN_URI|sqlite.SQLITE_OPEN_NOMUTEX)
		if err != nil {
			return nil, err
		}
		return conn{c}, nil
	})
	if err != nil {
		return err
	}
	s.loads, err = worker.Fill(context.Background(), s.db, r)
	return err
}

type conn struct{ *sqlite.Conn }

func (c conn) Prepare(query string) (workload.DirectStmt, error) { return c.Conn.Prepare(query) }
