package clients

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/dialect/sql/sqlgraph"
	"entgo.io/ent/schema/field"
)

// What follows is what ent generates for two types, without the typed builders around it:
// tables, specifications of nodes, and scanned values. Everything below that is ent's own.
// The generated code would be 6,000 lines.
var (
	entMailboxColumns = []*schema.Column{
		{Name: "id", Type: field.TypeInt64, Increment: true},
		{Name: "name", Type: field.TypeString, Unique: true},
		{Name: "uid_next", Type: field.TypeInt64, Default: 1},
	}
	entMailboxes = &schema.Table{Name: "mailboxes", Columns: entMailboxColumns, PrimaryKey: entMailboxColumns[:1]}

	entMessageColumns = []*schema.Column{
		{Name: "id", Type: field.TypeInt64, Increment: true},
		{Name: "uid", Type: field.TypeInt64},
		{Name: "subject", Type: field.TypeString},
		{Name: "body", Type: field.TypeBytes},
		{Name: "received", Type: field.TypeTime},
		{Name: "mailbox_messages", Type: field.TypeInt64},
	}
	entMessages = &schema.Table{
		Name: "messages", Columns: entMessageColumns, PrimaryKey: entMessageColumns[:1],
		Indexes: []*schema.Index{
			{Name: "message_uid_mailbox_messages", Unique: true, Columns: []*schema.Column{entMessageColumns[1], entMessageColumns[5]}},
			{Name: "message_subject", Columns: entMessageColumns[2:3]},
		},
		ForeignKeys: []*schema.ForeignKey{{
			Symbol: "messages_mailboxes_messages", Columns: entMessageColumns[5:], RefTable: entMailboxes,
			RefColumns: entMailboxColumns[:1], OnDelete: schema.Cascade,
		}},
	}
)

type entBox struct{ drv *entsql.Driver }

func openEnt(dsn string) (client, error) {
	db, err := sql.Open("sqlite-mem", dsn)
	if err != nil {
		return nil, err
	}
	return &entBox{entsql.OpenDB(dialect.SQLite, db)}, nil
}

func (b *entBox) migrate() error {
	ctx := context.Background()
	m, err := schema.NewMigrate(b.drv)
	if err != nil {
		return err
	}
	if err := m.Create(ctx, entMailboxes, entMessages); err != nil {
		return err
	}
	return inEntTx(ctx, b.drv, func(tx dialect.Driver) error {
		if _, err := entMailbox(ctx, tx); !isNotFound(err) {
			return err
		}
		create := sqlgraph.NewCreateSpec("mailboxes", sqlgraph.NewFieldSpec("id", field.TypeInt64))
		create.SetField("name", field.TypeString, "INBOX")
		create.SetField("uid_next", field.TypeInt64, int64(1))
		return sqlgraph.CreateNode(ctx, tx, create)
	})
}

func (b *entBox) pool() *sql.DB { return b.drv.DB() }
func (b *entBox) close() error  { return b.drv.Close() }

func (b *entBox) deliver(subject string, body []byte) error {
	ctx := context.Background()
	return inEntTx(ctx, b.drv, func(tx dialect.Driver) error {
		box, err := entMailbox(ctx, tx)
		if err != nil {
			return err
		}
		create := sqlgraph.NewCreateSpec("messages", sqlgraph.NewFieldSpec("id", field.TypeInt64))
		create.SetField("uid", field.TypeInt64, box.uidNext)
		create.SetField("subject", field.TypeString, subject)
		create.SetField("body", field.TypeBytes, body)
		create.SetField("received", field.TypeTime, time.Now())
		create.Edges = append(create.Edges, &sqlgraph.EdgeSpec{
			Rel: sqlgraph.M2O, Inverse: true, Table: "messages", Columns: []string{"mailbox_messages"},
			Target: &sqlgraph.EdgeTarget{IDSpec: sqlgraph.NewFieldSpec("id", field.TypeInt64), Nodes: []driver.Value{box.id}},
		})
		if err := sqlgraph.CreateNode(ctx, tx, create); err != nil {
			return err
		}
		update := sqlgraph.NewUpdateSpec("mailboxes", []string{"id", "uid_next"}, sqlgraph.NewFieldSpec("id", field.TypeInt64))
		update.Node.ID.Value = box.id
		update.AddField("uid_next", field.TypeInt64, int64(1))
		update.ScanValues = func([]string) ([]any, error) { return []any{new(int64), new(int64)}, nil }
		update.Assign = func([]string, []any) error { return nil }
		return sqlgraph.UpdateNode(ctx, tx, update)
	})
}

func (b *entBox) newest(n int) (all []message, err error) {
	query := sqlgraph.NewQuerySpec("messages", []string{"id", "uid", "subject", "body", "received"}, sqlgraph.NewFieldSpec("id", field.TypeInt64))
	query.Limit = n
	query.Order = func(s *entsql.Selector) { s.OrderBy(entsql.Desc(s.C("uid"))) }
	query.ScanValues = func([]string) ([]any, error) {
		return []any{new(int64), new(int64), new(string), new([]byte), new(sql.NullTime)}, nil
	}
	query.Assign = func(_ []string, v []any) error {
		all = append(all, message{*v[1].(*int64), *v[2].(*string), *v[3].(*[]byte), v[4].(*sql.NullTime).Time})
		return nil
	}
	return all, sqlgraph.QueryNodes(context.Background(), b.drv, query)
}

type entMailboxNode struct{ id, uidNext int64 }

// entMailbox returns the only mailbox.
func entMailbox(ctx context.Context, drv dialect.Driver) (box entMailboxNode, err error) {
	found := 0
	query := sqlgraph.NewQuerySpec("mailboxes", []string{"id", "uid_next"}, sqlgraph.NewFieldSpec("id", field.TypeInt64))
	query.Predicate = func(s *entsql.Selector) { s.Where(entsql.EQ("name", "INBOX")) }
	query.ScanValues = func([]string) ([]any, error) { return []any{new(int64), new(int64)}, nil }
	query.Assign = func(_ []string, v []any) error {
		found++
		box = entMailboxNode{*v[0].(*int64), *v[1].(*int64)}
		return nil
	}
	if err := sqlgraph.QueryNodes(ctx, drv, query); err != nil {
		return box, err
	}
	if found == 0 {
		return box, &sqlgraph.NotFoundError{}
	}
	return box, nil
}

func isNotFound(err error) bool {
	_, ok := err.(*sqlgraph.NotFoundError)
	return ok
}

// inEntTx runs f in a transaction, as the generated Client.Tx does.
func inEntTx(ctx context.Context, drv *entsql.Driver, f func(dialect.Driver) error) error {
	tx, err := drv.Tx(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := f(entTx{tx, drv}); err != nil {
		return err
	}
	return tx.Commit()
}

// entTx is a transaction as a driver, in which the builders begin no other.
type entTx struct {
	tx  dialect.Tx
	drv *entsql.Driver
}

func (t entTx) Exec(ctx context.Context, query string, args, v any) error {
	return t.tx.Exec(ctx, query, args, v)
}

func (t entTx) Query(ctx context.Context, query string, args, v any) error {
	return t.tx.Query(ctx, query, args, v)
}
func (t entTx) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(t), nil }
func (t entTx) Close() error                           { return nil }
func (t entTx) Dialect() string                        { return t.drv.Dialect() }
