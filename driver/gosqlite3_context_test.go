//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The checks of theirTests that cancel.

// endless is a query that ends when its context does, or when go_on() says so.
const endless = "WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value+1 FROM n WHERE value<? AND go_on()) SELECT sum(value) FROM n"

// goOn is the function go_on of endless.
type goOn struct {
	started chan struct{} // closed when it is called first
	passed  chan struct{} // closed when it has been called left times
	left    atomic.Int64
	stop    atomic.Bool
}

// endlessOn registers go_on.
func (p *peer) endlessOn(c *sqlite3.SQLiteConn) *goOn {
	g := &goOn{started: make(chan struct{}), passed: make(chan struct{})}
	var once sync.Once
	require.NoError(p, c.RegisterFunc("go_on", func() bool {
		once.Do(func() { close(g.started) })
		if g.left.Add(-1) == 0 {
			close(g.passed)
		}
		return !g.stop.Load()
	}, false))
	return g
}

// steps is how far endless counts: limit is its argument.
func steps(limit int64) []sqldriver.NamedValue {
	return []sqldriver.NamedValue{{Ordinal: 1, Value: limit}}
}

const noEnd = 1 << 60

// next fetches a row and returns the error of that.
func next(rows sqldriver.Rows) error { return rows.Next(make([]sqldriver.Value, 1)) }

func checkCancelStep(p *peer) {
	for _, query := range []string{endless, "SELECT 1 UNION ALL SELECT (" + endless + ")"} {
		c := p.conn("")
		g := p.endlessOn(p.raw(c))
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			rows, err := c.QueryContext(ctx, query, steps(noEnd))
			for err == nil {
				err = next(rows)
			}
			if rows != nil {
				err = errors.Join(err, rows.Close())
			}
			done <- err
		}()
		<-g.started
		cancel()
		err := <-done
		require.ErrorIs(p, err, context.Canceled)
		require.NotErrorIs(p, err, sqldriver.ErrBadConn)
	}
}

func checkCancelBetweenRows(p *peer) {
	c := p.conn("")
	ctx, cancel := context.WithCancel(ctx)
	rows, err := c.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2", nil)
	require.NoError(p, err)
	require.NoError(p, next(rows))
	cancel()
	require.ErrorIs(p, next(rows), context.Canceled)
	require.NoError(p, rows.Close())
}

func checkCancelIdleRows(p *peer) {
	c := p.conn("")
	idle, cancelIdle := context.WithCancel(ctx)
	rows, err := c.QueryContext(idle, "SELECT 1 UNION ALL SELECT 2", nil)
	require.NoError(p, err)
	require.NoError(p, next(rows))
	p.runsBeside(c, func() (sqldriver.Rows, error) {
		active, cancel := context.WithCancel(ctx)
		p.Cleanup(cancel)
		return c.QueryContext(active, endless, steps(noEnd))
	}, cancelIdle)
	require.NoError(p, rows.Close())
}

// runsBeside makes sure that query, which runs endless, is not stopped by cancel.
func (p *peer) runsBeside(c fullConn, query func() (sqldriver.Rows, error), cancel func()) {
	p.Helper()
	g := p.endlessOn(p.raw(c))
	done := make(chan error, 1)
	go func() {
		rows, err := query()
		if err == nil {
			err = errors.Join(next(rows), rows.Close())
		}
		done <- err
	}()
	<-g.started
	cancel()
	g.left.Store(20_000) // far more than between two looks at a context
	select {
	case <-g.passed:
	case err := <-done:
		require.Fail(p, "the query ended", "%v", err)
	}
	g.stop.Store(true)
	require.NoError(p, <-done)
}

func checkCancelOldRun(p *peer) {
	c := p.conn("")
	p.endlessOn(p.raw(c))
	s, err := c.PrepareContext(ctx, endless)
	require.NoError(p, err)
	old, cancelOld := context.WithCancel(ctx)
	rows, err := s.(sqldriver.StmtQueryContext).QueryContext(old, steps(0))
	require.NoError(p, err)
	require.NoError(p, next(rows))
	require.NoError(p, rows.Close())
	p.runsBeside(c, func() (sqldriver.Rows, error) {
		active, cancel := context.WithCancel(ctx)
		p.Cleanup(cancel)
		return s.(sqldriver.StmtQueryContext).QueryContext(active, steps(noEnd))
	}, cancelOld)
	require.NoError(p, s.Close())
}

func checkCancelAndClose(p *peer) {
	c := p.conn("")
	for range 100 {
		ctx, cancel := context.WithCancel(ctx)
		rows, err := c.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2", nil)
		require.NoError(p, err)
		require.NoError(p, next(rows))
		var both sync.WaitGroup
		start, closed := make(chan struct{}), make(chan error, 1)
		both.Go(func() { <-start; closed <- rows.Close() })
		both.Go(func() { <-start; cancel() })
		close(start)
		both.Wait()
		require.NoError(p, <-closed)
		rows, err = c.QueryContext(context.Background(), "SELECT 1", nil)
		require.NoError(p, err)
		require.NoError(p, next(rows))
		require.NoError(p, rows.Close())
	}
}

func checkPanic(p *peer) {
	// Without a mutex of SQLite's: go-sqlite3 would wait for it in a finalizer.
	c := p.conn("?_mutex=no")
	require.NoError(p, p.raw(c).RegisterFunc("blow_up", func() int64 { panic("blown up") }, false))
	ctx, cancel := context.WithCancel(ctx)
	require.PanicsWithValue(p, "blown up", func() {
		rows, err := c.QueryContext(ctx, "SELECT blow_up()", nil)
		require.NoError(p, err)
		_ = next(rows)
	})
	cancel() // calls nothing of the connection
}

func checkCancelAndReuse(p *peer) {
	conn := p.pinned("")
	var g *goOn
	p.rawOf(conn, func(c *sqlite3.SQLiteConn) error { g = p.endlessOn(c); return nil })
	ctx2, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		rows, err := conn.QueryContext(ctx2, endless, int64(noEnd))
		if err == nil {
			for rows.Next() {
			}
			err = errors.Join(rows.Err(), rows.Close())
		}
		done <- err
	}()
	<-g.started
	cancel()
	require.ErrorIs(p, <-done, context.Canceled)
	require.Equal(p, "1", testdb.Text(p, conn, "SELECT 1"))
}

// rowsToSort opens a new file with rows that take a while to be sorted.
func (p *peer) rowsToSort(n int) *sql.DB {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(key PRIMARY KEY, id, other, data); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<?) INSERT INTO t SELECT hex(randomblob(25)), i, hex(randomblob(25)), randomblob(2000) FROM c", n)
	return db
}

func checkDeadline(p *peer) {
	db := p.rowsToSort(100)
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	_, err := db.QueryContext(ctx, "SELECT * FROM t ORDER BY other")
	require.Equal(p, context.DeadlineExceeded, err)
	p.tell(err)
}

func checkCancelExec(p *peer) {
	conn := p.pinned("")
	testdb.Exec(p, conn, "CREATE TABLE t(x); INSERT INTO t VALUES('before')")
	var g *goOn
	p.rawOf(conn, func(c *sqlite3.SQLiteConn) error { g = p.endlessOn(c); return nil })
	over, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(over, "INSERT INTO t SELECT value FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value+1 FROM n WHERE go_on()) SELECT value FROM n LIMIT 100000000)")
		done <- err
	}()
	<-g.started
	cancel()
	err := <-done
	require.Equal(p, context.Canceled, err)
	p.tell(err)
	p.rows(conn.QueryContext(ctx, "SELECT * FROM t"))
}

// cancelled runs a query whose context is cancelled before its row is scanned.
func cancelled(db *sql.DB) error {
	ctx, cancel := context.WithCancel(ctx)
	row := db.QueryRowContext(ctx, "SELECT id FROM t ORDER BY other")
	cancel()
	var id int
	if err := row.Scan(&id); err != nil && err != context.Canceled {
		return err
	}
	return nil
}

func checkCancelQueryRow(p *peer) {
	db := p.rowsToSort(100)
	for range 1000 {
		require.NoError(p, cancelled(db))
	}
}

func checkCancelParallel(p *peer) {
	db := p.rowsToSort(100)
	var all sync.WaitGroup
	failed := make(chan error, 100)
	for range 20 {
		all.Go(func() {
			for range 50 {
				if err := cancelled(db); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(p, err)
	}
}

func checkCancelBegin(p *peer) {
	db := p.rowsToSort(1)
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(5)
	for range 500 {
		over, cancel := context.WithCancel(ctx)
		conn, err := db.Conn(ctx)
		require.NoError(p, err)
		require.NoError(p, conn.Raw(func(c any) error {
			ended := make(chan struct{})
			go func() { cancel(); close(ended) }()
			tx, err := c.(sqldriver.ConnBeginTx).BeginTx(over, sqldriver.TxOptions{})
			<-ended
			switch {
			case err == nil:
				if err = tx.Rollback(); errors.Is(err, sql.ErrTxDone) {
					err = nil
				}
			case errors.Is(err, context.Canceled):
				err = nil
			}
			return err
		}))
		testdb.Exec(p, conn, "BEGIN; ROLLBACK")
		require.NoError(p, conn.Close())
	}
}
