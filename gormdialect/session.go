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

// A session is one connection on which a migration runs, as a transaction of its
// own or as a part of the caller's. A migration that fails leaves nothing.
type session struct {
	db *gorm.DB

	// joined is true in the caller's transaction. The migration is a savepoint of
	// it.
	joined bool

	// enforced is true if foreign keys are enforced and stay so: the setting cannot
	// be changed inside a transaction.
	enforced bool

	// legacyAlter is true while PRAGMA legacy_alter_table is switched on.
	legacyAlter bool
}

// atomically calls fn with a session, and undoes what fn did if it fails.
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
		// A pool of the caller's own, which cannot be asked for a connection.
		return db.Transaction(func(tx *gorm.DB) error { return inSavepoint(plain(tx), fn) })
	}
	conn, err := pool.Conn(db.Statement.Context)
	if err != nil {
		return err
	}
	defer conn.Close()
	return onConnection(db, conn, fn)
}

// dryRun calls fn with a session that prints what it would execute, together with the
// statements around it: without them, dropping a table would act on the rows that
// refer to it.
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

// plain returns a handle without conditions, and without GORM's cache of prepared
// statements: the migrator's statements run once.
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

// on returns a handle on another connection or pool.
func on(db *gorm.DB, pool gorm.ConnPool) *gorm.DB {
	// A context makes GORM copy the statement, which is changed then.
	db = db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	db.Statement.ConnPool = pool
	return db
}

// A pinned is a connection whose transaction is begun and ended by SQL. A *sql.Tx
// would not do: when its context ends, it is rolled back by another goroutine, and a
// setting changed meanwhile would fall into the transaction, where it has no effect.
// It is a gorm.TxCommitter, which GORM's plugins send nowhere else.
type pinned struct{ *sql.Conn }

func (p pinned) Commit() error {
	_, err := p.ExecContext(context.Background(), "COMMIT")
	return err
}

func (p pinned) Rollback() error {
	_, err := p.ExecContext(context.Background(), "ROLLBACK")
	return err
}

// onConnection runs fn on a connection that nobody else uses, in a transaction of
// its own, with foreign keys off: dropping a table must not act on the rows that
// refer to it. The settings are as before when it returns.
func onConnection(db *gorm.DB, conn *sql.Conn, fn func(*session) error) error {
	ctx, pool := db.Statement.Context, pinned{conn}
	db = on(db, pool)
	enforced, err := setting(db, "foreign_keys")
	if err != nil {
		return err
	}
	s := &session{db: db}
	defer func() {
		// Also when the context is over. A connection on which it fails must not go
		// back to the pool.
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
		if s.enforced { // in a transaction that began as text: BEGIN
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
			pool.Rollback() // SQLite may have done so already
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

// inSavepoint runs fn in a savepoint of the transaction that db is.
func inSavepoint(db *gorm.DB, fn func(*session) error) (err error) {
	enforced, err := setting(db, "foreign_keys")
	if err != nil {
		return err
	}
	s := &session{db: db, joined: true, enforced: enforced}
	return s.savepoint("sqlite_mem_migration", func() error { return fn(s) })
}

// errNotUndone is wrapped by the error of a savepoint that could not be rolled back.
// Nothing may be executed after it: SQLite may have ended the transaction.
var errNotUndone = errors.New("cannot undo the failed migration; roll back the transaction")

// savepoint undoes what fn did if it returns an error or panics.
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
		// A transaction that is over is undone, and whatever follows fails.
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

// exec executes statements.
func (s *session) exec(statements ...string) error {
	for _, statement := range statements {
		if err := s.db.Exec(statement).Error; err != nil {
			return err
		}
	}
	return nil
}

// setting reads a PRAGMA that is on or off.
func setting(db *gorm.DB, name string) (on bool, err error) {
	err = query(db, "PRAGMA "+name, func(rows *sql.Rows) error { return rows.Scan(&on) })
	return on, err
}

// query calls scan for each row of a statement that has no parameters. It also
// reads when db is a dry run.
func query(db *gorm.DB, statement string, scan func(*sql.Rows) error) error {
	reader := db.Session(&gorm.Session{NewDB: true})
	if reader.DryRun {
		// What a dry run prints is what it does not execute.
		reader.DryRun, reader.Logger = false, logger.Discard
	}
	// GORM leaves a statement without values as it is, whatever names are in it.
	rows, err := reader.Raw(statement).Rows()
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

// queryStrings reads the rows of a statement with one column, which has no NULL.
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
