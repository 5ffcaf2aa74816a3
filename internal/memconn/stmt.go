//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
)

// stmt is a prepared statement.
type stmt struct {
	c *conn      // gone: it is closed
	s *statement // nil: there is nothing to do, or it is closed
	n int        // parameters
}

var (
	_ driver.Stmt             = (*stmt)(nil)
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

// ready returns the statement with its arguments, nil if there is nothing to do. While rows
// of the statement are open it returns another one of the same text.
func (s *stmt) ready(args []driver.NamedValue) (*statement, error) {
	c, st := s.c, s.s
	if c.tx == txOver {
		return nil, connerr.ErrTxOver
	}
	if st == nil {
		return nil, nil
	}
	if st.busy {
		var err error
		if st, _, err = c.prepare(st.text); st == nil {
			return nil, err
		}
		st.kept = false
	}
	if err := st.bind(args, 0, len(args)); err != nil {
		c.release(st)
		return nil, err
	}
	return st, nil
}

// ExecContext runs the statement to its end.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	c, res := s.c, &result{}
	err := c.start(ctx, func() error {
		st, err := s.ready(args)
		if st == nil {
			return err
		}
		err = c.exec(st, res)
		c.release(st)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// QueryContext runs the statement and returns its rows.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	c, r := s.c, newRows(ctx)
	err := c.start(ctx, func() error {
		st, err := s.ready(args)
		if st == nil {
			return err
		}
		return c.query(st, r)
	})
	return r.result(err)
}

// Exec is ExecContext without a context.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(background, named(args))
}

// Query is QueryContext without a context.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(background, named(args))
}

// NumInput returns the number of parameters.
func (s *stmt) NumInput() int { return s.n }

// Close frees the statement once its rows are closed. The connection's Close may have
// freed it before.
func (s *stmt) Close() error {
	c, st := s.c, s.s
	if c.broken {
		return nil
	}
	s.c, s.s = gone, nil
	c.stmts--
	if st == nil {
		return nil
	}
	if st.kept = false; st.busy {
		return nil
	}
	return c.do(background, func() error {
		c.finalize(st)
		return nil
	})
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, v := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}
