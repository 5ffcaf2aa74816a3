package gormdialect

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// A session is a migration on one connection: a transaction of its own, or a savepoint
// of the caller's. A migration that fails is rolled back.
type session struct {
	db *gorm.DB

	// joined is true if the migration is a savepoint of the caller's transaction.
	joined bool

	// enforced is true if foreign keys are enforced. Only a joined session can have
	// that, because the setting cannot be changed inside a transaction.
	enforced bool

	// legacyAlter is true while this session has PRAGMA legacy_alter_table on.
	legacyAlter bool
}

// atomically calls fn with a session. If fn fails, its changes are rolled back.
func (m Migrator) atomically(fn func(*session) error) error {
	db := plain(m.DB)
	if db.DryRun {
		return dryRun(db, fn)
	}
	switch pool := db.Statement.ConnPool.(type) {
	case gorm.TxCommitter:
		return inSavepoint(db, fn)
	case *sql.Conn:
		return onConnection(db, pool, fn)
	}
	pool, err := db.DB()
	if err != nil {
		// The pool is not an sql.DB and cannot hand out a connection.
		return db.Transaction(func(tx *gorm.DB) error { return inSavepoint(plain(tx), fn) })
	}
	conn, err := pool.Conn(db.Statement.Context)
	if err != nil {
		return err
	}
	defer conn.Close()
	return onConnection(db, conn, fn)
}

// dryRun calls fn with a session that prints its statements. It also prints BEGIN,
// COMMIT and the switch of foreign keys. Without that switch, DROP TABLE in the
// script would act on the rows that refer to the table.
func dryRun(db *gorm.DB, fn func(*session) error) error {
	enforced, err := setting(db, "foreign_keys")
	if err != nil {
		return err
	}
	if _, ok := db.Statement.ConnPool.(gorm.TxCommitter); ok {
		return fn(&session{db: db, joined: true, enforced: enforced})
	}
	s := &session{db: db}
	begin, end := []string{"BEGIN IMMEDIATE"}, []string{"COMMIT"}
	if enforced {
		begin, end = append([]string{"PRAGMA foreign_keys = OFF"}, begin...), append(end, "PRAGMA foreign_keys = ON")
	}
	if err := s.exec(begin...); err != nil {
		return err
	}
	if err := fn(s); err != nil {
		return err
	}
	return s.exec(end...)
}

// plain returns a handle without conditions and without GORM's cache of prepared
// statements, because the migrator's statements run once.
func plain(db *gorm.DB) *gorm.DB {
	pool := db.Statement.ConnPool
	switch prepared := pool.(type) {
	case *gorm.PreparedStmtDB:
		pool = prepared.ConnPool
	case *gorm.PreparedStmtTX:
		pool = prepared.Tx
	}
	return on(db, pool)
}

// on returns a handle of db that uses pool.
func on(db *gorm.DB, pool gorm.ConnPool) *gorm.DB {
	// Session copies the statement only if it is given a context.
	db = db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	db.Statement.ConnPool = pool
	return db
}

// A pinned is a connection whose transaction is begun and ended by SQL. A *sql.Tx will
// not do: when its context ends, another goroutine rolls it back. PRAGMA foreign_keys
// = ON might run before that rollback, and inside a transaction it has no effect.
//
// A pinned is a gorm.TxCommitter, so that GORM's plugins leave it alone.
type pinned struct{ *sql.Conn }

func (p pinned) Commit() error {
	_, err := p.ExecContext(context.Background(), "COMMIT")
	return err
}

func (p pinned) Rollback() error {
	_, err := p.ExecContext(context.Background(), "ROLLBACK")
	return err
}

// onConnection runs fn on conn in a transaction of its own. Foreign keys are off, so
// that dropping a table does not act on rows that refer to it. Before it returns it
// restores the settings, or discards the connection.
func onConnection(db *gorm.DB, conn *sql.Conn, fn func(*session) error) error {
	ctx, pool := db.Statement.Context, pinned{conn}
	db = on(db, pool)
	enforced, err := setting(db, "foreign_keys")
	if err != nil {
		return err
	}
	s := &session{db: db}
	defer func() {
		// The settings are restored even if the context has ended. A connection on
		// which that fails must not return to the pool.
		back := db.Session(&gorm.Session{NewDB: true, Context: context.WithoutCancel(ctx)})
		var errs []error
		if enforced {
			errs = append(errs, control(back, "PRAGMA foreign_keys = ON"))
			if now, err := setting(back, "foreign_keys"); err != nil || !now {
				errs = append(errs, errors.New("foreign keys stay off"))
			}
		}
		if s.legacyAlter {
			errs = append(errs, control(back, "PRAGMA legacy_alter_table = OFF"))
		}
		if errors.Join(errs...) != nil {
			conn.Raw(func(any) error { return sqldriver.ErrBadConn })
		}
	}()
	if enforced {
		if err := control(db, "PRAGMA foreign_keys = OFF"); err != nil {
			return err
		}
		if s.enforced, err = setting(db, "foreign_keys"); err != nil {
			return err
		}
		if s.enforced { // the caller has executed BEGIN on this connection
			enforced = false
			return inSavepoint(db, fn)
		}
	}
	if _, err := pool.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		if strings.Contains(err.Error(), "within a transaction") {
			return inSavepoint(db, fn)
		}
		return err
	}
	done := false
	defer func() {
		if !done {
			pool.Rollback() // an error means that SQLite has rolled back already
		}
	}()
	if err := fn(s); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := pool.Commit(); err != nil {
		return err
	}
	done = true
	return nil
}

// inSavepoint runs fn in a savepoint of db, which is a transaction.
func inSavepoint(db *gorm.DB, fn func(*session) error) (err error) {
	enforced, err := setting(db, "foreign_keys")
	if err != nil {
		return err
	}
	s := &session{db: db, joined: true, enforced: enforced}
	return s.savepoint("sqlite_mem_migration", func() error { return fn(s) })
}

// errNotUndone is wrapped by the error of a savepoint that could not be rolled back.
// No statement may follow, because SQLite may have ended the transaction.
var errNotUndone = errors.New("cannot undo the failed migration; roll back the transaction")

// savepoint calls fn in a savepoint, and rolls back to it if fn fails or panics.
func (s *session) savepoint(name string, fn func() error) (err error) {
	if err := s.exec("SAVEPOINT " + name); err != nil {
		return err
	}
	done := false
	defer func() {
		if done {
			return
		}
		back := s.db.Session(&gorm.Session{NewDB: true, Context: context.WithoutCancel(s.db.Statement.Context)})
		undo := control(back, "ROLLBACK TO "+name)
		if undo == nil {
			undo = control(back, "RELEASE "+name)
		}
		// A transaction that has ended is rolled back, and its statements fail.
		if undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("gormdialect: %w: %w", errNotUndone, undo))
		}
	}()
	if err := fn(); err != nil {
		return err
	}
	if err := s.exec("RELEASE " + name); err != nil {
		return err
	}
	done = true
	return nil
}

// exec executes statements in order, up to the first error.
func (s *session) exec(statements ...string) error {
	for _, statement := range statements {
		if err := s.db.Exec(statement).Error; err != nil {
			return err
		}
	}
	return nil
}

// setting returns the value of a boolean PRAGMA.
func setting(db *gorm.DB, name string) (on bool, err error) {
	err = query(db, "PRAGMA "+name, func(rows *sql.Rows) error { return rows.Scan(&on) })
	return on, err
}

// reader returns a handle that executes queries, also in a dry run.
func reader(db *gorm.DB) *gorm.DB {
	handle := db.Session(&gorm.Session{NewDB: true})
	if handle.DryRun {
		// A dry run prints only the statements that it does not execute.
		handle.DryRun, handle.Logger = false, logger.Discard
	}
	return handle
}

// query calls scan for each row of a statement without parameters.
func query(db *gorm.DB, statement string, scan func(*sql.Rows) error) error {
	// GORM does not look for placeholders in a statement without values.
	rows, err := reader(db).Raw(statement).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// queryStrings returns the only column of a query's rows. The column has no NULL.
func queryStrings(db *gorm.DB, statement string) (values []string, err error) {
	err = query(db, statement, func(rows *sql.Rows) error {
		var value string
		if err := rows.Scan(&value); err != nil {
			return err
		}
		values = append(values, value)
		return nil
	})
	return values, err
}
