package clients

import (
	"context"
	"database/sql"
	"time"
)

// dbtx, queries and its methods are what sqlc generates (emit_prepared_queries) for
// the three queries below.
type dbtx interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

type queries struct {
	db                              dbtx
	tx                              *sql.Tx
	takeUID, addMessage, listNewest *sql.Stmt
}

const (
	takeUID    = "UPDATE mailboxes SET uid_next = uid_next + 1 WHERE name = ? RETURNING id, uid_next - 1"
	addMessage = "INSERT INTO messages (mailbox_id, uid, subject, body, received) VALUES (?1, ?2, ?3, ?4, ?5)"
	listNewest = "SELECT uid, subject, body, received FROM messages ORDER BY uid DESC LIMIT ?"
)

func prepare(ctx context.Context, db dbtx) (*queries, error) {
	q := &queries{db: db}
	for _, p := range []struct {
		to    **sql.Stmt
		query string
	}{{&q.takeUID, takeUID}, {&q.addMessage, addMessage}, {&q.listNewest, listNewest}} {
		stmt, err := db.PrepareContext(ctx, p.query)
		if err != nil {
			return nil, err
		}
		*p.to = stmt
	}
	return q, nil
}

func (q *queries) withTx(tx *sql.Tx) *queries {
	return &queries{db: tx, tx: tx, takeUID: q.takeUID, addMessage: q.addMessage, listNewest: q.listNewest}
}

func (q *queries) stmt(ctx context.Context, s *sql.Stmt) *sql.Stmt {
	if q.tx != nil {
		return q.tx.StmtContext(ctx, s)
	}
	return s
}

type takeUIDRow struct{ ID, UID int64 }

func (q *queries) TakeUID(ctx context.Context, name string) (r takeUIDRow, err error) {
	err = q.stmt(ctx, q.takeUID).QueryRowContext(ctx, name).Scan(&r.ID, &r.UID)
	return r, err
}

type addMessageParams struct {
	MailboxID, UID int64
	Subject        string
	Body           []byte
	Received       time.Time
}

func (q *queries) AddMessage(ctx context.Context, p addMessageParams) error {
	_, err := q.stmt(ctx, q.addMessage).ExecContext(ctx, p.MailboxID, p.UID, p.Subject, p.Body, p.Received)
	return err
}

func (q *queries) ListNewest(ctx context.Context, limit int64) (items []message, err error) {
	rows, err := q.stmt(ctx, q.listNewest).QueryContext(ctx, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.uid, &m.subject, &m.body, &m.received); err != nil {
			return nil, err
		}
		items = append(items, m)
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	return items, rows.Err()
}

type sqlcBox struct {
	sqlBox
	q *queries
}

func openSQLC(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	return &sqlcBox{sqlBox: sqlBox{db, createTables}}, err
}

func (b *sqlcBox) migrate() (err error) {
	if err := b.sqlBox.migrate(); err != nil || b.q != nil {
		return err
	}
	b.q, err = prepare(context.Background(), b.db)
	return err
}

func (b *sqlcBox) deliver(subject string, body []byte) error {
	ctx := context.Background()
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	q := b.q.withTx(tx)
	box, err := q.TakeUID(ctx, "INBOX")
	if err != nil {
		return err
	}
	err = q.AddMessage(ctx, addMessageParams{MailboxID: box.ID, UID: box.UID, Subject: subject, Body: body, Received: time.Now()})
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (b *sqlcBox) newest(n int) ([]message, error) {
	return b.q.ListNewest(context.Background(), int64(n))
}
