package live

import (
	"context"
	"database/sql/driver"
	"strings"
	"time"
)

// CheckNamedValue takes the values that can be sent as they are. The others are
// database/sql's to convert.
func (c *Conn) CheckNamedValue(nv *driver.NamedValue) error {
	switch nv.Value.(type) {
	case nil, int64, int, float64, bool, []byte, string, time.Time:
		return nil
	}
	return driver.ErrSkip
}

// outcomeOf returns the outcome for a statement whose answer is lost. It errs on
// the side of a commit. Only the error depends on it; the statement is not tried
// again in either case.
func (c *Conn) outcomeOf(query string) outcome {
	switch {
	case (c.inTx || c.tx) && !mayEnd(query), !c.inTx && !c.tx && onlyReads(query):
		return harmless
	case several(query):
		return partCommitted
	}
	return committed
}

// mayEnd reports whether a text may commit the transaction in which it runs. Such a
// text has one of the words, perhaps only in a name or a comment. ROLLBACK ends the
// transaction, and the statements behind it commit by themselves.
func mayEnd(query string) bool {
	query = strings.ToLower(query)
	for _, word := range []string{"commit", "end", "release", "rollback"} {
		if strings.Contains(query, word) {
			return true
		}
	}
	return false
}

// onlyReads reports whether a text is a single statement that writes nothing.
func onlyReads(query string) bool {
	if several(query) {
		return false
	}
	query = strings.ToLower(strings.TrimSpace(query))
	word := query[:len(query)-len(strings.TrimLeft(query, "abcdefghijklmnopqrstuvwxyz"))]
	return word == "select" || word == "values" || word == "explain"
}

// several reports whether a text may have more than one statement.
func several(query string) bool {
	query = strings.TrimSpace(query)
	i := strings.IndexByte(query, ';')
	return i >= 0 && i < len(query)-1
}

// ExecContext runs all statements of query.
func (c *Conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(ctx, &request{Op: opExec, Text: query, args: args}, c.outcomeOf(query))
}

func (c *Conn) exec(ctx context.Context, req *request, o outcome) (driver.Result, error) {
	ans, _, err := c.call(ctx, req, o, nil)
	if err != nil {
		return nil, err
	}
	return &result{ans, c.dialer.DecodeError}, nil
}

// result is what a statement has done.
type result struct {
	ans  *answer
	code func([]byte) error
}

func (r *result) LastInsertId() (int64, error) { return r.ans.LastID, r.ans.LastIDErr.decode(r.code) }
func (r *result) RowsAffected() (int64, error) {
	return r.ans.Changes, r.ans.ChangesErr.decode(r.code)
}

// QueryContext runs all statements of query and returns the rows of the last.
func (c *Conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, &request{Op: opQuery, Text: query, args: args}, c.outcomeOf(query))
}

func (c *Conn) query(ctx context.Context, req *request, o outcome) (driver.Rows, error) {
	ans, values, err := c.call(ctx, req, o, nil)
	if err != nil {
		return nil, err
	}
	r := &rows{c: c, id: ans.ID, columns: ans.Columns, outcome: halfway}
	if o.commits() {
		r.outcome = halfCommitted
	}
	if ctx.Done() != nil {
		r.ctx = ctx
	}
	c.open++
	r.take(ans, values)
	return r, nil
}

// PrepareContext prepares a statement in the server.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	ans, _, err := c.call(ctx, &request{Op: opPrepare, Text: query}, harmless, nil)
	if err != nil {
		return nil, err
	}
	return &stmt{c: c, id: ans.ID, text: query, input: ans.Input}, nil
}

// Prepare is PrepareContext without a context.
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// stmt is a prepared statement.
type stmt struct {
	c      *Conn
	id     uint64
	text   string
	input  int
	closed bool
}

var (
	_ driver.Stmt             = (*stmt)(nil)
	_ driver.StmtExecContext  = (*stmt)(nil)
	_ driver.StmtQueryContext = (*stmt)(nil)
)

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(ctx, &request{Op: opStmtExec, ID: s.id, args: args}, s.c.outcomeOf(s.text))
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(ctx, &request{Op: opStmtQuery, ID: s.id, args: args}, s.c.outcomeOf(s.text))
}

// Exec is ExecContext without a context.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query is QueryContext without a context.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func named(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, v := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}

// NumInput is the number of parameters.
func (s *stmt) NumInput() int { return s.input }

// Close frees the statement in the server.
func (s *stmt) Close() error {
	if s.closed || s.c.broken != nil {
		return nil
	}
	s.closed = true
	return s.c.tidy(&request{Op: opStmtClose, ID: s.id}, halfway)
}

// Begin is BeginTx by default.
func (c *Conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a transaction.
func (c *Conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	_, _, err := c.call(ctx, &request{Op: opBegin, Isolation: int(opts.Isolation), ReadOnly: opts.ReadOnly}, harmless, nil)
	if err != nil {
		return nil, err
	}
	c.tx = true
	t := tx{c: c, commit: committed}
	if opts.ReadOnly {
		t.commit = harmless
	}
	return t, nil
}

// tx is a transaction begun by BeginTx.
type tx struct {
	c      *Conn
	commit outcome
}

func (t tx) Commit() error {
	_, _, err := t.c.call(context.Background(), &request{Op: opCommit}, t.commit, nil)
	t.c.tx = false
	return err
}

func (t tx) Rollback() error {
	err := t.c.tidy(&request{Op: opRollback}, halfway)
	t.c.tx = false
	return err
}
