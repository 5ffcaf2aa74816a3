package contender

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// here are those of list that run in this program.
func here(list []*Contender) []*Contender {
	return slices.DeleteFunc(list, func(c *Contender) bool { return c.Worker != "" })
}

// Ensure that a contender with a program of its own does not open in this one, and
// names its program. The test of cmd/report runs it.
func TestContenders_elsewhere(t *testing.T) {
	require.Less(t, len(here(All())), len(All()))
	for _, c := range All() {
		if c.Worker != "" {
			_, err := c.Open("here")
			require.ErrorContains(t, err, c.Worker)
		}
	}
}

// openHere opens a contender in a new directory.
func openHere(t *testing.T, c *Contender) *DB {
	db, err := c.Open(filepath.Join(t.TempDir(), c.Name+".db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// Ensure that each contender runs every load from several goroutines, with no error and
// no lost update.
func TestContenders(t *testing.T) {
	const accounts, deliveries, writes = 2000, 200, 100
	for _, c := range here(All()) {
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			db := openHere(t, c)
			require.NoError(t, workload.Fill(ctx, db, accounts, 10))
			require.NoError(t, workload.Prepare(ctx, db))
			for _, w := range db.Works() {
				ops := int64(20)
				switch w.Name {
				case "Deliver":
					ops = deliveries
				case "PointWrite":
					ops = writes
				}
				contexts := []bool{false, true}
				if w.Batch > 1 {
					ops, contexts = max(ops, int64(w.Batch)), contexts[:1]
				} else {
					ops /= 2
				}
				for _, cancellable := range contexts {
					r, err := measure.Run(db, w.Op(accounts), measure.Load{Goroutines: 4, Ops: ops, Batch: w.Batch, Cancellable: cancellable})
					require.NoError(t, err, w.Name)
					require.Equal(t, ops, r.Ops, w.Name)
				}
			}
			n, err := db.Ints(ctx, "SELECT (SELECT count(*) FROM messages), (SELECT sum(uid_next-1) FROM mailboxes), (SELECT sum(used) FROM accounts)", 3)
			require.NoError(t, err)
			if c.Empty {
				require.Equal(t, []int64{0, 0, 0}, n, "it writes nothing")
				return
			}
			require.EqualValues(t, deliveries, n[0])
			require.EqualValues(t, deliveries, n[1])
			require.GreaterOrEqual(t, n[2], int64(writes))
			require.NoError(t, c.Rest(ctx, db.Pool))
			t.Logf("%d retries", db.Retries())
		})
	}
}

// Ensure that each contender runs the loads of users in any order, and reads and leaves
// the right rows.
func TestContenders_users(t *testing.T) {
	size := workload.UserSizes{Users: 300, Writers: workload.Blog{Users: 4, Articles: 3, Comments: 2}, Bulk: workload.Blog{Users: 5, Articles: 4, Comments: 3}, Queries: 6, Rows: []int{10, 100}}
	// want has the number of users, articles and comments after each load.
	want := map[string][3]int64{"UsersInsert": {300, 0, 0}, "UsersScan": {300, 0, 0}, "BlogInsert": {4, 12, 24}, "BlogJoin": {4, 12, 24},
		"BulkInsert": {5, 20, 60}, "BulkJoin": {5, 20, 60}, "Query10": {10, 0, 0}, "Query100": {100, 0, 0}}
	for _, c := range here(Compared()) {
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			db := openHere(t, c)
			require.NoError(t, workload.UserSchema(ctx, db))
			require.NoError(t, workload.PrepareUsers(ctx, db))
			loads := workload.Users(size, db.Users())
			for range 2 {
				for _, i := range rand.Perm(len(loads)) {
					l := loads[i]
					require.NoError(t, l.Before(ctx, db), l.Name)
					r, err := measure.Run(db, l.Op, measure.Load{Goroutines: l.Goroutines, Ops: l.Ops})
					require.NoError(t, err, l.Name)
					require.Equal(t, l.Ops, r.Ops, l.Name)
					if c.Empty {
						continue
					}
					w := want[l.Name]
					n, err := db.Ints(ctx, `SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM articles), (SELECT count(*) FROM comments),
						(SELECT count(*) FROM users WHERE email=printf('user%08d@example.org', id) AND created=1700000000000+id AND active=1),
						(SELECT count(DISTINCT author) FROM articles WHERE length(body)>80 AND created=1700000000000+id), (SELECT count(DISTINCT article) FROM comments WHERE length(body)>20 AND created=1700000000000+id)`, 6)
					require.NoError(t, err)
					authors := min(w[0], w[1])
					require.Equal(t, []int64{w[0], w[1], w[2], w[0], authors, w[1]}, n, l.Name)
				}
			}
		})
	}
}

// Ensure that a query with a wrong number of rows is an error for each kind of driver.
// So no driver is faster by doing less.
func TestContenders_usersMissing(t *testing.T) {
	for _, name := range []string{Reference, "zombiezen-memdb", "C", "null"} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			c, err := Named(name)
			require.NoError(t, err)
			db := openHere(t, c)
			require.NoError(t, workload.UserSchema(ctx, db))
			require.NoError(t, db.Exec(ctx, "INSERT INTO users VALUES(1, 1, 'user00000001@example.org', 1)"))
			ops := db.Users()
			require.NoError(t, ops.ScanUsers(ctx, 1))
			require.NoError(t, ops.JoinUsers(ctx, 1))
			require.NoError(t, ops.JoinUser(ctx, 1, 1))
			for _, err := range []error{ops.ScanUsers(ctx, 2), ops.JoinUsers(ctx, 2), ops.JoinUser(ctx, 1, 2)} {
				require.ErrorContains(t, err, "1 rows instead of 2")
			}
			if !c.Empty {
				require.NoError(t, db.Exec(ctx, "UPDATE users SET id=2"))
				require.Error(t, ops.InsertUsers(ctx, 3), "the second is there")
				n, err := db.Ints(ctx, "SELECT count(*), min(id) FROM users", 2)
				require.NoError(t, err)
				require.Equal(t, []int64{1, 2}, n, "the first was rolled back")
				require.NoError(t, ops.InsertBlog(ctx, 3, workload.Blog{Users: 1}), "no transaction was left open")
			}
		})
	}
}

// Ensure that a contender behind database/sql has a pool, and that one that bypasses it
// has none. Without a pool an operation that needs one fails.
func TestContenders_bypass(t *testing.T) {
	for _, c := range here(All()) {
		t.Run(c.Name, func(t *testing.T) {
			db := openHere(t, c)
			require.Equal(t, c.Bypass == "", db.Pool != nil)
			err := db.Read(t.Context(), func(context.Context, workload.Conn) error { return nil })
			if c.Bypass != "" {
				require.ErrorIs(t, err, errBypass)
				require.Empty(t, c.Save)
				require.Empty(t, c.MailStore)
				require.False(t, c.HasGorm())
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// Ensure that a save during writes is a whole database.
func TestContenders_save(t *testing.T) {
	const accounts = 3000
	for _, c := range All() {
		if c.Save == "" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			path := filepath.Join(t.TempDir(), c.Name+".db")
			db, err := c.Open(path)
			require.NoError(t, err)
			require.NoError(t, workload.Fill(ctx, db, accounts, 500))
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := measure.Run(db, workload.Named("PointWrite").Op(accounts), measure.Load{Goroutines: 2, Ops: 500}); err != nil {
					t.Error(err)
				}
			})
			for range 2 {
				if err := db.Save(ctx, path); err != nil {
					t.Error(err)
				}
			}
			wg.Wait()
			require.NoError(t, db.Save(ctx, path))
			require.NoError(t, db.Close())

			require.FileExists(t, path)
			require.NoFileExists(t, path+".new")
			saved, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
			require.NoError(t, err)
			defer saved.Close()
			var check string
			require.NoError(t, saved.QueryRow("PRAGMA integrity_check").Scan(&check))
			require.Equal(t, "ok", check)
			var n, used int
			require.NoError(t, saved.QueryRow("SELECT count(*), sum(used) FROM accounts").Scan(&n, &used))
			require.Equal(t, accounts, n)
			require.Equal(t, 500, used)
		})
	}
}

// Ensure that each contender has its own name, and that README.md has its description.
func TestContenders_described(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, c := range All() {
		require.False(t, seen[c.Name], c.Name)
		seen[c.Name] = true
		require.NotEmpty(t, c.DSN, c.Name)
		require.NotEmpty(t, c.Durability, c.Name)
		require.NotEmpty(t, c.Pool, c.Name)
		for _, text := range []string{"`" + c.DSN + "`", c.Durability, c.Pool, "`" + c.MailStore + "`", c.Bypass} {
			require.True(t, text == "``" || text == "" || strings.Contains(string(readme), text), "%s: README.md does not say %s", c.Name, text)
		}
	}
	require.True(t, seen[Reference])
	_, err = Named("nobody")
	require.Error(t, err)
}
