// Package clients tells how libraries and servers that use SQLite use sqlite-mem, and how
// programs come to it from other drivers. It has no API. Its tests run every line of code
// that stands here.
//
// # Libraries
//
// Each library of the table in README works as it is, with the line of code that stands
// there. Migrations may be run again and again. Many goroutines read and write with the
// pool that the library has by default. No call needs to be tried again for SQLITE_BUSY, and
// db.SetMaxOpenConns(1), with which many programs avoid that error, is not needed.
//
// A transaction begins as BEGIN IMMEDIATE, so it may read first and write later. One that
// only reads takes no lock, if the library lets the program say so:
//
//	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
//
// Foreign keys are off, as in SQLite, unless the name has _fk=1.
//
// These libraries have something to know:
//
//   - sqlx and xorm choose their SQL by the name of the driver. They need to be told once
//     what "sqlite-mem" is.
//   - ent refuses to migrate without _fk=1.
//   - golang-migrate locks a migration inside one process only. If two processes may migrate at
//     the same time, use another tool. Its own Close closes the sql.DB.
//   - The connector of ngrok/sqlmw has no Close. DB.Close does not reach the driver, so that
//     nothing is saved. Call driver.Close(db) in its place.
//
// # GORM programs
//
// A program that uses gorm.io/driver/sqlite, or its copy over modernc's driver, changes one
// line. The file and its tables stay as they are.
//
//	db, err := gorm.Open(gormdialect.Open("app.db?_fk=1"), &gorm.Config{})
//
// Package gormdialect tells what else is different: a migration that rebuilds a table keeps
// its indexes, triggers and constraints, or is an error. A program that needs GORM's own
// dialect gives it the name of this driver:
//
//	db, err := gorm.Open(&sqlite.Dialector{DriverName: "sqlite-mem", DSN: "app.db?_fk=1"}, &gorm.Config{})
//
// GORM has no Close, and many programs never close its pool. Here the close saves the file:
//
//	pool, err := db.DB()
//	if err != nil {
//		return err
//	}
//	return pool.Close()
//
// Without it, the next start reads the log, and nothing that sqlite_wal promises is lost.
// gormdialect.Sync saves in between.
//
// # go-imap-sql
//
// go-imap-sql chooses its SQL by the name of the driver. It knows SQLite as "sqlite3" and as
// "sqlite". The second name is free in a program without modernc's driver:
//
//	func init() {
//		if err := driver.RegisterAs("sqlite"); err != nil {
//			panic(err)
//		}
//	}
//
// Then:
//
//	store, err := imapsql.New("sqlite", "mail.db?_fk=1&sqlite_wal=commit", &imapsql.FSStore{Root: "messages"}, imapsql.Opts{})
//
// The first name is go-sqlite3's, which is part of this driver. It gives the name up if the
// program is linked with a flag. By this name go-imap-sql adds _fk, _auto_vacuum,
// _journal_mode, _sync and _busy_timeout to the data source name, so leave them out there.
//
//	go build -ldflags "-X github.com/mattn/go-sqlite3.driverName="
//
// Use sqlite_wal=commit for mail. An IMAP client keeps what it has fetched by the number of
// the message (UID) and of the mailbox (UIDVALIDITY). If a crash takes the last second of
// commits back, the server gives the UIDs of that second to other messages. A client that has
// seen them never shows the new messages, or shows the old ones in their place. Nothing but a
// new UIDVALIDITY helps, with which every client fetches every mailbox again. An SMTP server
// has also told the sender that it keeps the message. With sqlite_wal=commit a commit is
// durable when it returns.
//
// The bodies of messages are files (FSStore). Only what is in the database is in memory. A
// mail server may have its mail and its passwords in one file, with a pool for each. But use
// one imapsql.Backend for a file in a process: it counts mailboxes by itself.
//
// # maddy
//
// This is for maddy 0.9.4, from its source to a server. Its default configuration has two
// databases, credentials.db and imapsql.db. Go 1.26 and a C compiler are needed.
//
//	git clone --branch v0.9.4 https://github.com/foxcpp/maddy
//	cd maddy
//	go get github.com/sqlite-mem/sqlite-mem/driver
//
// One file is changed. In internal/sqlite/sqlite3.go this replaces the import of go-sqlite3:
//
//	import (
//		"errors"
//		"os"
//		"slices"
//
//		"github.com/sqlite-mem/sqlite-mem/driver"
//	)
//
//	func init() {
//		role := driver.RoleTool
//		if slices.Contains(os.Args, "run") {
//			role = driver.RoleServer
//		}
//		if err := errors.Join(driver.RegisterAs("sqlite3"), driver.SetRole(role)); err != nil {
//			panic(err)
//		}
//	}
//
// So "maddy run" is the server, or an error if another process is. The command line ("maddy
// creds", "maddy imap-acct") is a tool. Beside the server it works on the server's memory:
// an account that it creates can log in at once. Without a server it works on the file.
// Without the role, it would be a server for a moment. It also ends without closing the
// database, so its work would wait in the log for the next start. Run it as the server's user.
//
//	go mod tidy
//	go build -trimpath -ldflags "-X github.com/foxcpp/maddy.Version=0.9.4 -X github.com/mattn/go-sqlite3.driverName=" -o build/maddy ./cmd/maddy
//
// The script build.sh sets -ldflags itself, so add the second -X there, behind the first.
// maddy's unit tests need the flag too. Without it the program ends at once, and says that
// the name is taken.
//
// In maddy.conf only the names of the databases change. The driver stays "sqlite3".
//
//	auth.pass_table local_authdb {
//	    table sql_table {
//	        driver sqlite3
//	        dsn credentials.db?sqlite_wal=commit
//	        table_name passwords
//	    }
//	}
//
//	storage.imapsql local_mailboxes {
//	    driver sqlite3
//	    dsn imapsql.db?sqlite_wal=commit&sqlite_keep=1
//	}
//
// The second one may not have the parameters that go-imap-sql adds. For a longer wait of
// writers use the directive sqlite3_busy_timeout.
//
// Existing files are used as they are. Stop maddy before the first start of the new one.
// With that, accounts are made and the server is started as ever:
//
//	build/maddy creds create alice@example.org
//	build/maddy imap-acct create alice@example.org
//	build/maddy run
//
// On SIGTERM maddy closes its databases, and so saves them. The unit file that comes with it
// kills it after 7 s (TimeoutStopSec). That loses nothing that sqlite_wal=commit has
// promised: the log has it, and the next start reads it. A longer time saves that work.
//
// On SIGUSR2 maddy reads its configuration again. It opens the same databases before it
// closes the old ones, and nothing is loaded twice. In 0.9.4 that needs the directive log.
// Without it maddy ends with a panic of its own.
//
// The command line logs at each start that the options of the server are without effect.
// That is right: they are the server's.
//
// Both databases are in memory, with about 1.03 times the size of their files. Add room for
// the old versions of the pages that change during a save. If the service has MemoryMax, the
// kernel kills it there, and it starts again. With sqlite_max_memory below the limit, a write that would go
// beyond is SQLITE_FULL instead. maddy then refuses the message for good (554), and goes on.
// Watch the size of the file: "sqlite-mem status imapsql.db" tells it, and more.
//
// Other programs see the state of the last save. For the state of now use the command:
//
//	sqlite-mem query imapsql.db "SELECT username FROM users"
//
// To go back, stop maddy and start an old one. The files are those of SQLite.
//
// # Coming from go-sqlite3
//
// SQL, types, errors, functions and data source names are the same. The import and the name
// of the driver change:
//
//	import _ "github.com/sqlite-mem/sqlite-mem/driver"
//
// And:
//
//	db, err := sql.Open("sqlite-mem", "app.db?_fk=1")
//
// A driver with a hook or with extensions is registered in the same way:
//
//	sql.Register("app", &driver.Driver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
//		return c.RegisterFunc("twice", func(n int64) int64 { return 2 * n }, true)
//	}})
//
// Conn.Raw gives a [github.com/sqlite-mem/sqlite-mem/driver.RawConn] and no *sqlite3.SQLiteConn:
//
//	err = conn.Raw(func(c any) error {
//		return c.(driver.RawConn).Raw().RegisterFunc("thrice", func(n int64) int64 { return 3 * n }, true)
//	})
//
// Errors are sqlite3.Error. Nothing has to be changed where they are looked at:
//
//	var e sqlite3.Error
//	if errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique {
//		return errTaken
//	}
//
// What is different:
//
//   - The file is written by saves: every 20 minutes, on DB.Close and by driver.Sync. Commits
//     between two saves are in a log. See sqlite_wal in package driver for what a crash
//     costs. A program that is told to end calls driver.SyncAll.
//   - _journal_mode, _locking_mode and _synchronous have no effect. A checkpoint is not needed.
//   - A transaction begins as BEGIN IMMEDIATE. _txlock=deferred is as it was.
//   - Writers wait for their turn for a minute, and not for 5 seconds.
//   - ":memory:" is one database for the whole sql.DB, and not one for each connection.
//   - A parameter that go-sqlite3 does not know is an error, and was nothing before.
//   - Another program that reads the file sees the last save. The command sqlite-mem sees
//     what was committed a moment ago.
//   - In the place of SQLiteConn.Backup and VACUUM INTO there is driver.Backup.
//
// # Coming from modernc.org/sqlite
//
// The driver needs cgo: a C compiler at build time, and CGO_ENABLED=1 also where the program
// is built for another system. The file stays as it is. A program that keeps the name
// "sqlite" registers it, and must no longer link modernc's driver:
//
//	func init() {
//		if err := driver.RegisterAs("sqlite"); err != nil {
//			panic(err)
//		}
//	}
//
// The parameters may stay as they are, _pragma above all. Package driver has a table of them,
// and says which are refused.
//
//	db, err := sql.Open("sqlite", "app.db?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
//
// Errors are sqlite3.Error of go-sqlite3, with the same numbers:
//
//	var e sqlite3.Error
//	if errors.As(err, &e) && int(e.ExtendedCode) == 2067 { // SQLITE_CONSTRAINT_UNIQUE
//		return errTaken
//	}
//
// Unless it is told otherwise (_time_format), modernc's driver writes a time.Time as
// time.Time.String does, with the name of the zone. This driver reads such a text in a column
// of the type DATE, DATETIME or TIMESTAMP. It writes "2006-01-02 15:04:05.999999999-07:00", as
// go-sqlite3 does. SQLite's own functions for dates read only the latter: of modernc's text
// they make NULL. go-sqlite3 and its tools read it as the year 1. This statement changes all
// times of a column to the form that everybody reads:
//
//	UPDATE messages SET received =
//		substr(received, 1, instr(substr(received, 12), ' ') + 10) ||
//		substr(received, instr(substr(received, 12), ' ') + 12, 3) || ':' ||
//		substr(received, instr(substr(received, 12), ' ') + 15, 2)
//	WHERE received GLOB '????-??-?? ??:??:??* [+-][0-9][0-9][0-9][0-9] *';
//
// What is said above for go-sqlite3 of saves, transactions and other programs is so here too.
package clients
