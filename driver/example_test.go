//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// A database is opened by the name of the driver. It is in the file when Close
// has returned.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	db, err := sql.Open("sqlite-mem", filepath.Join(dir, "app.db")+"?sqlite_sync_interval=20m")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE quotas(username TEXT PRIMARY KEY, max_storage INTEGER)"); err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO quotas VALUES(?, ?)", "alice@example.org", 1<<30); err != nil {
		log.Fatal(err)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}

	file, err := sql.Open("sqlite3", filepath.Join(dir, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	var bytes int64
	if err := file.QueryRow("SELECT max_storage FROM quotas WHERE username='alice@example.org'").Scan(&bytes); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bytes)
	// Output: 1073741824
}

// Sync writes what has changed now; ReadStats tells how things are.
func ExampleSync() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite-mem", filepath.Join(dir, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t(x)"); err != nil {
		log.Fatal(err)
	}
	if err := driver.Sync(context.Background(), db); err != nil {
		log.Fatal(err)
	}
	stats, err := driver.ReadStats(db)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Role, stats.Commits, stats.Unsaved)
	// Output: server 1 0
}

// A mail server has a client that idles (IMAP IDLE). The client is told of new mail, whoever
// delivers it: this pool, another sql.DB, or a tool by a live connection.
func ExampleWatch() {
	db, err := sql.Open("sqlite-mem", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	exec := func(query string) {
		if _, err := db.Exec(query); err != nil {
			log.Fatal(err)
		}
	}
	exec("CREATE TABLE messages(id INTEGER PRIMARY KEY, mailbox TEXT); CREATE TABLE quotas(username TEXT)")

	ctx, done := context.WithCancel(context.Background())
	idle := make(chan int)
	go func() {
		defer close(idle)
		told := -1
		for change, err := range driver.Watch(ctx, db) {
			if err != nil {
				return // the client is done, or the server is
			}
			if !change.Has("messages") {
				continue
			}
			var exists int
			if err := db.QueryRow("SELECT count(*) FROM messages WHERE mailbox='INBOX'").Scan(&exists); err != nil {
				log.Fatal(err)
			}
			if exists != told {
				told = exists
				idle <- exists
			}
		}
	}()
	fmt.Printf("* %d EXISTS\n", <-idle) // the first change is there at once
	exec("INSERT INTO messages(mailbox) VALUES('INBOX')")
	fmt.Printf("* %d EXISTS\n", <-idle)
	exec("INSERT INTO quotas VALUES('alice')")
	exec("INSERT INTO messages(mailbox) VALUES('Sent')")
	exec("INSERT INTO messages(mailbox) VALUES('INBOX')")
	fmt.Printf("* %d EXISTS\n", <-idle)
	done()
	<-idle
	// Output:
	// * 0 EXISTS
	// * 1 EXISTS
	// * 2 EXISTS
}

// A Config has what a string cannot say.
func ExampleNewConnector() {
	cfg, err := driver.ParseDSN("file:mail?mode=memory&cache=shared&sqlite_max_memory=64MiB&_fk=1")
	if err != nil {
		log.Fatal(err)
	}
	cfg.OnSync = func(e driver.SyncEvent) {
		if e.Err != nil {
			log.Print("page somebody: ", e.Err)
		}
	}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(db.Ping(), cfg.FormatDSN())
	// Output: <nil> file:mail?_fk=1&cache=shared&mode=memory&sqlite_max_memory=64MiB
}

// BackupTo sends a database over HTTP, while statements run on. A server with a WriteTimeout
// ends a transfer to a client that takes nothing, and so frees what the backup holds.
func ExampleBackupTo() {
	db, err := sql.Open("sqlite-mem", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t(x); INSERT INTO t VALUES('hello')"); err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.sqlite3")
		if err := driver.BackupTo(r.Context(), db, w); err != nil {
			log.Print("backup: ", err)
			panic(http.ErrAbortHandler) // the client sees that the answer is not whole
		}
	}))
	server.Config.WriteTimeout = 10 * time.Minute
	server.Start()
	defer server.Close()

	answer, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	backup, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q %d\n", backup[:15], len(backup))
	// Output: "SQLite format 3" 8192
}
