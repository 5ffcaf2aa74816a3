package clients

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func init() {
	sql.Register("app", &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("twice", func(n int64) int64 { return 2 * n }, true)
	}})
}

var errTaken = errors.New("the name is taken")

// Functions and errors are those of go-sqlite3.
func Example_fromGoSQLite3() {
	inTempDir(func() error {
		db, err := sql.Open("sqlite-mem", "app.db?_fk=1")
		if err != nil {
			return err
		}
		if _, err := db.Exec("CREATE TABLE names(name TEXT UNIQUE)"); err != nil {
			return err
		}
		for range 2 {
			if err := addName(db, "alice"); err != nil {
				fmt.Println(err)
			}
		}
		return db.Close()
	}, func() error {
		db, err := sql.Open("app", "app.db")
		if err != nil {
			return err
		}
		conn, err := db.Conn(context.Background())
		if err != nil {
			return err
		}
		err = conn.Raw(func(c any) error {
			return c.(driver.RawConn).Raw().RegisterFunc("thrice", func(n int64) int64 { return 3 * n }, true)
		})
		if err != nil {
			return err
		}
		var twice, thrice int
		err = conn.QueryRowContext(context.Background(), "SELECT twice(count(*)), thrice(count(*)) FROM names").Scan(&twice, &thrice)
		fmt.Println(twice, thrice)
		return errors.Join(err, conn.Close(), db.Close())
	})
	// Output:
	// the name is taken
	// 2 3
}

func addName(db *sql.DB, name string) error {
	_, err := db.Exec("INSERT INTO names VALUES(?)", name)
	var e sqlite3.Error
	if errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique {
		return errTaken
	}
	return err
}

// A transaction that only reads takes no lock.
func Example_readOnly() {
	inTempDir(func() error {
		db, err := sql.Open("sqlite-mem", "app.db")
		if err != nil {
			return err
		}
		ctx := context.Background()
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		_, err = db.Exec("CREATE TABLE written(meanwhile)") // does not wait
		return errors.Join(err, tx.Rollback(), db.Close())
	})
	// Output:
}
