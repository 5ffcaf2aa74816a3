package clients

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"
)

// A program that comes from modernc.org/sqlite keeps the name of the driver, the
// parameters, and the times.
func Example_fromModernc() {
	inTempDir(func() error {
		db, err := sql.Open("sqlite", "app.db?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
		if err != nil {
			return err
		}
		for pragma, want := range map[string]string{"foreign_keys": "1", "busy_timeout": "5000"} {
			var got string
			if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				return fmt.Errorf("%s is %q: %w", pragma, got, err)
			}
		}
		// The text is what modernc's driver writes for a time.Time.
		written := time.Date(2026, 11, 26, 23, 18, 47, 123456789, time.FixedZone("CET", 3600))
		if _, err := db.Exec("CREATE TABLE messages(subject TEXT UNIQUE, received TIMESTAMP)"); err != nil {
			return err
		}
		if _, err := db.Exec("INSERT INTO messages VALUES('hello', ?)", written.String()); err != nil {
			return err
		}
		var read time.Time
		if err := db.QueryRow("SELECT received FROM messages").Scan(&read); err != nil {
			return err
		}
		fmt.Println(read.Equal(written))
		if _, err := db.Exec(pageSQL("UPDATE messages SET received")); err != nil {
			return err
		}
		var utc string
		if err := db.QueryRow("SELECT datetime(received) FROM messages").Scan(&utc); err != nil {
			return err
		}
		fmt.Println(utc)
		fmt.Println(addSubject(db, "hello"))
		return db.Close()
	})
	// Output:
	// true
	// 2026-11-26 22:18:47
	// the name is taken
}

func addSubject(db *sql.DB, subject string) error {
	_, err := db.Exec("INSERT INTO messages(subject) VALUES(?)", subject)
	var e sqlite3.Error
	if errors.As(err, &e) && int(e.ExtendedCode) == 2067 { // SQLITE_CONSTRAINT_UNIQUE
		return errTaken
	}
	return err
}
