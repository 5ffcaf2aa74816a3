package contender

import (
	"context"
	"database/sql"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// prepared runs statements that database/sql prepares once for each connection. It is
// for drivers that would prepare them at each call.
type prepared struct{ db *DB }

var (
	_ workload.Conn = prepared{}
	_ workload.Conn = preparedTx{}
)

func (d *DB) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := d.stmts.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := d.Pool.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, err
	}
	if first, loaded := d.stmts.LoadOrStore(query, s); loaded {
		return first.(*sql.Stmt), s.Close()
	}
	return s, nil
}

func (p prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.db.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (p prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.db.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (p prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := p.db.stmt(ctx, query)
	if err != nil {
		return p.db.Pool.QueryRowContext(ctx, query, args...) // returns the error again
	}
	return s.QueryRowContext(ctx, args...)
}

// preparedTx is prepared inside a transaction. A statement that is not known yet runs
// as text, because preparing it would need a second connection of the pool. The
// workloads call [DB.Prepare] before they begin.
type preparedTx struct {
	db *DB
	tx *sql.Tx
}

// Prepare prepares the statements of transactions. It does nothing for a driver that
// keeps statements prepared itself.
func (d *DB) Prepare(ctx context.Context, queries ...string) error {
	if !d.prepare {
		return nil
	}
	for _, q := range queries {
		if _, err := d.stmt(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func (p preparedTx) stmt(ctx context.Context, query string) *sql.Stmt {
	if s, ok := p.db.stmts.Load(query); ok {
		return p.tx.StmtContext(ctx, s.(*sql.Stmt))
	}
	return nil
}

func (p preparedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if s := p.stmt(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return p.tx.ExecContext(ctx, query, args...)
}

func (p preparedTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s := p.stmt(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.tx.QueryContext(ctx, query, args...)
}

func (p preparedTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := p.stmt(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.tx.QueryRowContext(ctx, query, args...)
}
