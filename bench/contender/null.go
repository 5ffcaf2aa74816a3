package contender

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"sync/atomic"
)

// null is database/sql over a driver that does nothing. It shows the time that remains
// however fast a driver is. go-sqlite3 holds the data. It answers the first query of
// each text on a connection. From then on null returns that number of rows, each like
// the first. Writes are dropped.
func null() *Contender {
	return &Contender{
		Name:       "null",
		DSN:        ":memory:",
		Durability: "nothing is kept",
		Pool:       "any number of connections of a driver that does nothing",
		Safe:       true,
		Empty:      true,
		open: func(c *Contender, path string) (*DB, error) {
			filled, err := openMattn(c, path, 1)
			if err != nil {
				return nil, err
			}
			n := &nullDriver{filled: filled.Pool}
			pool := sql.OpenDB(n)
			pool.SetMaxIdleConns(maxIdle)
			return &DB{Pool: pool, close: filled.Close, exec: func(ctx context.Context, query string) error {
				n.age.Add(1)
				return filled.Exec(ctx, query)
			}}, nil
		},
	}
}

// nullDriver is the driver and its connector.
type nullDriver struct {
	filled *sql.DB
	age    atomic.Int64 // grows when the answers of filled may change
}

func (n *nullDriver) Connect(context.Context) (driver.Conn, error) { return &nullConn{driver: n}, nil }
func (n *nullDriver) Driver() driver.Driver                        { return n }
func (n *nullDriver) Open(string) (driver.Conn, error)             { return &nullConn{driver: n}, nil }

type nullConn struct {
	driver  *nullDriver
	age     int64
	answers map[string]*nullAnswer
}

// nullAnswer is the answer to a query: rows times the same row.
type nullAnswer struct {
	columns []string
	row     []driver.Value
	rows    int
}

var (
	_ driver.QueryerContext    = (*nullConn)(nil)
	_ driver.ExecerContext     = (*nullConn)(nil)
	_ driver.ConnBeginTx       = (*nullConn)(nil)
	_ driver.NamedValueChecker = (*nullConn)(nil)
	_ driver.SessionResetter   = (*nullConn)(nil)
	_ driver.Validator         = (*nullConn)(nil)
)

func (c *nullConn) Prepare(query string) (driver.Stmt, error)  { return nullStmt{c, query}, nil }
func (c *nullConn) Close() error                               { return nil }
func (c *nullConn) Begin() (driver.Tx, error)                  { return nullTx{}, nil }
func (c *nullConn) IsValid() bool                              { return true }
func (c *nullConn) ResetSession(context.Context) error         { return nil }
func (c *nullConn) CheckNamedValue(_ *driver.NamedValue) error { return nil }
func (c *nullConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return nullTx{}, nil
}

func (c *nullConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nullResult{}, nil
}

func (c *nullConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if age := c.driver.age.Load(); age != c.age || c.answers == nil {
		c.age, c.answers = age, map[string]*nullAnswer{}
	}
	a := c.answers[query]
	if a == nil {
		var err error
		if a, err = c.driver.ask(ctx, query, args); err != nil {
			return nil, err
		}
		c.answers[query] = a
	}
	return &nullRows{a, a.rows}, nil
}

// ask returns the answer of the filled database.
func (n *nullDriver) ask(ctx context.Context, query string, args []driver.NamedValue) (a *nullAnswer, err error) {
	var values []any
	for _, arg := range args {
		values = append(values, arg.Value)
	}
	rows, err := n.filled.QueryContext(ctx, query, values...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	a = &nullAnswer{}
	if a.columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	for ; rows.Next(); a.rows++ {
		if a.rows > 0 {
			continue
		}
		values, dest := make([]any, len(a.columns)), make([]any, len(a.columns))
		for i := range dest {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		for _, v := range values {
			a.row = append(a.row, v)
		}
	}
	return a, rows.Err()
}

type nullRows struct {
	*nullAnswer
	left int
}

func (r *nullRows) Columns() []string { return r.columns }
func (r *nullRows) Close() error      { return nil }

func (r *nullRows) Next(dest []driver.Value) error {
	if r.left == 0 {
		return io.EOF
	}
	r.left--
	copy(dest, r.row)
	return nil
}

type nullStmt struct {
	conn  *nullConn
	query string
}

var (
	_ driver.StmtExecContext  = nullStmt{}
	_ driver.StmtQueryContext = nullStmt{}
)

func (s nullStmt) Close() error                               { return nil }
func (s nullStmt) NumInput() int                              { return -1 }
func (s nullStmt) Exec([]driver.Value) (driver.Result, error) { return nullResult{}, nil }
func (s nullStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s nullStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return nullResult{}, nil
}

func (s nullStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

type nullTx struct{}

func (nullTx) Commit() error   { return nil }
func (nullTx) Rollback() error { return nil }

type nullResult struct{}

func (nullResult) LastInsertId() (int64, error) { return 1, nil }
func (nullResult) RowsAffected() (int64, error) { return 1, nil }
