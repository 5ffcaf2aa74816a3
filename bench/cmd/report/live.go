package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/worker"
	"github.com/sqlite-mem/sqlite-mem/driver"
)

// The names of the figures of the part "live", in the order of the page. All are compared
// with contender.Reference, which no tool is connected to.
const (
	besideTool = "sqlite-mem-idle-tool"
	liveTool   = "live-connection"
	postgreSQL = "postgresql"
)

// live fills r.Live: point reads and writes through the socket of a server beside the same
// in a server, and beside PostgreSQL through its socket where that is installed. A server
// with an idle tool shows what the tool costs.
func live(r *results, o options, p *progress) error {
	const connections = 8
	g := newGroup(o.dir, p)
	defer g.stop()
	reference, err := contender.Named(contender.Reference)
	if err != nil {
		return err
	}
	fill := request{Do: "open", Contender: reference.Name, DSN: reference.DSN, Accounts: r.Accounts, Connections: connections}
	for _, name := range []string{reference.Name, besideTool} {
		p.step("fill %s", name)
		if err := g.add(name, fill); err != nil {
			return err
		}
	}
	server := g.members[1]
	if err := g.add(liveTool, request{Do: "live", DSN: filepath.Join(server.dir, "bench.db"), Accounts: r.Accounts, Connections: connections}); err != nil {
		return err
	}
	g.members[1], g.members[2] = g.members[2], server // the tool closes before its server
	if postgresPrograms() == "" {
		p.step("PostgreSQL is not installed")
	} else {
		p.step("fill %s", postgreSQL)
		if err := g.add(postgreSQL, request{Do: "postgres", Accounts: r.Accounts, Connections: connections}); err != nil {
			return err
		}
	}
	var loads []load
	for _, w := range []string{"PointRead", "PointWrite"} {
		for _, n := range []int{1, connections} {
			loads = append(loads, load{w, n, false})
		}
	}
	r.Live = measureLoads(p, g, r.Rounds, loads, func(string, load) bool { return true }, func(string) time.Duration { return r.Cell })
	return nil
}

// openLive opens a database that another worker serves, as a tool.
func (s *session) openLive(r request) (err error) {
	if s.db, err = contender.Live(r.DSN); err != nil {
		return err
	}
	st, err := driver.ReadStats(s.db.Pool)
	if err == nil && st.Role != driver.RoleLive {
		err = fmt.Errorf("the role is %s, not %s", st.Role, driver.RoleLive)
	}
	if err != nil {
		return err
	}
	s.loads = &worker.Loads{Execer: s.db, DB: s.db, Works: s.db.Works(), Accounts: r.Accounts, Retries: s.db.Retries}
	return errors.Join(s.db.Connect(context.Background(), r.Connections), s.loads.Settle())
}

// live writes the table of r.Live.
func (b *builder) live(r *results) {
	b.line("\n## Live connections")
	b.line("")
	b.line("Time of each divided by that of sqlite-mem in the process that serves the database, median of the rounds. Above 1 sqlite-mem is")
	b.line("faster. The rows: a server with an idle tool, a tool through the socket of that server, and PostgreSQL through its socket. PostgreSQL")
	b.line("syncs nothing, as the log of sqlite-mem is off.")
	head := []string{"through"}
	type column struct {
		work       string
		goroutines int
	}
	var columns []column
	for _, c := range r.Live {
		if at := (column{c.Workload, c.Goroutines}); !slices.Contains(columns, at) {
			columns = append(columns, at)
			head = append(head, fmt.Sprintf("%s, %s", c.Workload, many(c.Goroutines, "goroutine")))
		}
	}
	b.head(head...)
	for _, name := range []string{contender.Reference, besideTool, liveTool, postgreSQL} {
		row := []string{name}
		for _, at := range columns {
			row = append(row, ratio(r.Live, at.work, name, contender.Reference, false, at.goroutines))
		}
		if find(r.Live, columns[0].work, name, false, columns[0].goroutines) != nil {
			b.row(row...)
		}
	}
}
