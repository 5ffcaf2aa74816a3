package clients

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/crash"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// A client is one mailbox, kept in a database by one library as its users write it.
type client interface {
	// migrate creates the tables and the mailbox. If they exist, it changes nothing.
	migrate() error

	// deliver adds a message. In one transaction it reads the next UID of the mailbox,
	// inserts the message, and updates the mailbox.
	deliver(subject string, body []byte) error

	// newest returns the n messages with the highest UIDs, the highest first.
	newest(n int) ([]message, error)

	// pool is the library's pool. It has the sizes that the library or database/sql gives it.
	pool() *sql.DB

	close() error
}

type message struct {
	uid      int64
	subject  string
	body     []byte
	received time.Time
}

// A library opens a data source name of sqlite-mem.
type library struct {
	name string
	open func(dsn string) (client, error)
}

// libraries has the rows of the table in README, in its order.
var libraries = []library{
	{"database/sql", openSQL},
	{"GORM", openGORM},
	{"GORM with its own dialect", openOfficialGORM},
	{"sqlx", openSQLX},
	{"ent", openEnt},
	{"bun", openBun},
	{"xorm", openXORM},
	{"goose", openGoose},
	{"golang-migrate", openMigrate},
	{"sqlc", openSQLC},
	{"otelsql", openOtel},
	{"sqlmw", openSQLMW},
	{"go-imap-sql", openIMAPSQL},
}

const (
	workers    = 16
	deliveries = 8 // of each worker
)

// Ensure that each library migrates twice without a change, and works from many goroutines
// without an error: on a file, and on a database that is only in memory. What it has closed
// is in the file, for go-sqlite3 and for the library itself.
func TestLibraries(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Run("memory", func(t *testing.T) {
				c := lib.opened(t, ":memory:")
				work(t, c, "first")
				check(t, c, subjectsOf("first"))
				require.NoError(t, c.close())
			})
			t.Run("file", func(t *testing.T) {
				path := testdb.Path(t)
				c := lib.opened(t, path+"?sqlite_sync_interval=20ms")
				work(t, c, "first")
				require.NoError(t, c.close())
				sound(t, path)

				c = lib.opened(t, path)
				check(t, c, subjectsOf("first"))
				work(t, c, "second")
				check(t, c, append(subjectsOf("first"), subjectsOf("second")...))
				require.NoError(t, c.close())
				sound(t, path)
			})
		})
	}
}

// Ensure that each library works beside a server of the same library, on the server's memory.
// When the server is killed under load, no message is lost that either has acknowledged, and
// no UID is given twice. The library opens what is left, and goes on.
func TestLibraries_killed(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			path := testdb.Path(t)
			kill := lib.serve(t, path)
			tool := lib.opened(t, path+"?sqlite_role=tool")
			live(t, path)
			work(t, tool, "tool")
			require.NoError(t, tool.close())
			res := kill()
			require.True(t, res.Killed)

			c := lib.opened(t, path+"?sqlite_wal=commit")
			acked := append(res.Acked, subjectsOf("tool")...)
			found := check(t, c, acked)
			require.LessOrEqual(t, found, len(acked)+workers, "more than one message of a worker was not acknowledged")
			work(t, c, "after")
			check(t, c, append(acked, subjectsOf("after")...))
			require.NoError(t, c.close())
			sound(t, path)
		})
	}
}

// serve starts a server in a child. It returns when the server has migrated, and delivers. The
// function that it returns kills the server under load.
func (lib library) serve(t *testing.T, path string) (kill func() crash.Result) {
	t.Helper()
	done := make(chan crash.Result, 1)
	go func() {
		defer close(done)
		done <- crash.Run{Program: "server", Dir: filepath.Dir(path), Arg: lib.name, Point: "stop", Nth: 1}.Do(t)
	}()
	kill = sync.OnceValue(func() crash.Result {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), stopFile), nil, 0o600))
		return <-done
	})
	t.Cleanup(func() { kill() })
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(path), readyFile))
		return err == nil
	}, time.Minute, time.Millisecond)
	return kill
}

// The two processes signal each other by files.
const readyFile, stopFile = "ready", "stop"

// The server delivers until it finds the stop file, and acknowledges each message. It is
// killed while its workers deliver.
func init() {
	crash.Register("server", func(c *crash.Child) error {
		i := slices.IndexFunc(libraries, func(lib library) bool { return lib.name == c.Arg })
		box, err := libraries[i].open(filepath.Join(c.Dir, "app.db") + "?_fk=1&sqlite_role=server&sqlite_wal=commit")
		if err != nil {
			return err
		}
		if err := box.migrate(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Dir, readyFile), nil, 0o600); err != nil {
			return err
		}
		failed := make(chan error)
		for w := range workers {
			go func() {
				for i := 0; ; i++ {
					s := subject("server", w, i)
					if err := box.deliver(s, bodyOf(s)); err != nil {
						failed <- fmt.Errorf("%s: %w", s, err)
						return
					}
					c.Ack(s)
					time.Sleep(5 * time.Millisecond)
				}
			}()
		}
		for {
			select {
			case err := <-failed:
				return err
			case <-time.After(time.Millisecond):
				if _, err := os.Stat(filepath.Join(c.Dir, stopFile)); err == nil {
					c.Point("stop")
				}
			}
		}
	})
}

// live makes sure that a tool works on the memory of a server.
func live(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open(driver.Name, path+"?sqlite_role=tool")
	require.NoError(t, err)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, driver.RoleLive, st.Role)
	require.NoError(t, db.Close())
}

// opened opens a database and migrates it twice.
func (lib library) opened(t *testing.T, dsn string) client {
	t.Helper()
	c, err := lib.open(with(dsn, "_fk=1"))
	require.NoError(t, err)
	require.NoError(t, c.migrate())
	before := schemaOf(t, c.pool())
	require.Contains(t, before, "CREATE TABLE")
	require.NoError(t, c.migrate())
	require.Equal(t, before, schemaOf(t, c.pool()))
	return c
}

// work delivers from many goroutines at once, and reads after each delivery. UIDs never go back.
func work(t *testing.T, c client, batch string) {
	t.Helper()
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			highest := int64(0)
			for i := range deliveries {
				s := subject(batch, w, i)
				if err := c.deliver(s, bodyOf(s)); err != nil {
					errs <- fmt.Errorf("%s: %w", s, err)
					return
				}
				messages, err := c.newest(5)
				if err == nil {
					err = inOrder(messages)
				}
				if err == nil && (len(messages) < min(i+1, 5) || messages[0].uid <= highest) {
					err = fmt.Errorf("%d messages after delivery %d; the last UID was %d", len(messages), i, highest)
				}
				if err != nil {
					errs <- fmt.Errorf("%s: %w", s, err)
					return
				}
				highest = messages[0].uid
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

// inOrder reports whether the UIDs fall, and each message is as it was delivered.
func inOrder(messages []message) error {
	for i, m := range messages {
		switch {
		case i > 0 && messages[i-1].uid <= m.uid:
			return fmt.Errorf("UID %d is behind %d", m.uid, messages[i-1].uid)
		case string(m.body) != string(bodyOf(m.subject)):
			return fmt.Errorf("%s has the body %q", m.subject, m.body)
		case time.Since(m.received).Abs() > time.Hour:
			return fmt.Errorf("%s was received at %v", m.subject, m.received)
		}
	}
	return nil
}

// check makes sure that all wanted messages are there, each once, and returns the number of
// all. The UIDs have no gap: none was given twice, and none was lost.
func check(t *testing.T, c client, want []string) int {
	t.Helper()
	messages, err := c.newest(1 << 20)
	require.NoError(t, err)
	require.NoError(t, inOrder(messages))
	found := make(map[string]bool)
	for _, m := range messages {
		require.False(t, found[m.subject], "%s is there twice", m.subject)
		found[m.subject] = true
	}
	for _, s := range want {
		require.True(t, found[s], "%s is lost", s)
	}
	require.NotEmpty(t, messages)
	require.EqualValues(t, len(messages), messages[0].uid)
	return len(messages)
}

// sound makes sure that the saved file is sound for go-sqlite3.
func sound(t *testing.T, path string) {
	t.Helper()
	require.NoFileExists(t, path+"-memwal")
	db := testdb.Plain(t, path)
	require.Equal(t, "ok", testdb.Text(t, db, "PRAGMA integrity_check"))
	rows, err := db.Query("PRAGMA foreign_key_check")
	require.NoError(t, err)
	require.False(t, rows.Next())
	require.NoError(t, rows.Close())
}

// schemaOf returns the text of a schema.
func schemaOf(t *testing.T, db *sql.DB) string {
	t.Helper()
	rows, err := db.Query("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")
	require.NoError(t, err)
	var all strings.Builder
	for rows.Next() {
		var line [4]string
		require.NoError(t, rows.Scan(&line[0], &line[1], &line[2], &line[3]))
		fmt.Fprintln(&all, line)
	}
	require.NoError(t, rows.Err())
	return all.String()
}

func subject(batch string, worker, n int) string { return fmt.Sprintf("%s-%d-%d", batch, worker, n) }

// subjectsOf returns the subjects of what work delivers.
func subjectsOf(batch string) (all []string) {
	for w := range workers {
		for i := range deliveries {
			all = append(all, subject(batch, w, i))
		}
	}
	return all
}

// bodyOf returns the body of a message, which is about 1 KB.
func bodyOf(subject string) []byte {
	return []byte(strings.Repeat(subject+"\r\n", 1000/(len(subject)+2)))
}

// with adds a parameter to a data source name.
func with(dsn, param string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + param
	}
	return dsn + "?" + param
}
