package contender

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// Ensure that each contender does all of the work, from several goroutines, with no
// error and no lost update: what is measured has to be right.
func TestContenders(t *testing.T) {
	const accounts, deliveries, writes = 2000, 200, 100
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			db, err := c.Open(filepath.Join(t.TempDir(), c.Name+".db"))
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			require.NoError(t, workload.Fill(ctx, db, accounts, 10))
			require.NoError(t, workload.Prepare(ctx, db))
			for _, w := range workload.All() {
				ops := int64(20)
				switch w.Name {
				case "Deliver":
					ops = deliveries
				case "PointWrite":
					ops = writes
				}
				for _, cancellable := range []bool{false, true} {
					_, err := measure.Run(db, w.Op(accounts), measure.Load{Goroutines: 4, Ops: ops / 2, Cancellable: cancellable})
					require.NoError(t, err, w.Name)
				}
			}
			var messages, uids, used int
			require.NoError(t, db.Read(ctx, func(ctx context.Context, conn workload.Conn) error {
				return conn.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM messages), (SELECT sum(uid_next-1) FROM mailboxes), (SELECT sum(used) FROM accounts)").
					Scan(&messages, &uids, &used)
			}))
			require.Equal(t, deliveries, messages)
			require.Equal(t, deliveries, uids)
			require.GreaterOrEqual(t, used, writes)
			require.NoError(t, c.Rest(ctx, db.Pool))
			t.Logf("%d retries", db.Retries())
		})
	}
}

// Ensure that what a contender saves while it is written to is a whole database.
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

// Ensure that the contenders are told apart and say what they promise.
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
		for _, text := range []string{"`" + c.DSN + "`", c.Durability, c.Pool, "`" + c.MailStore + "`"} {
			require.True(t, text == "``" || strings.Contains(string(readme), text), "%s: README.md does not say %s", c.Name, text)
		}
	}
	require.True(t, seen[Reference])
	_, err = Named("nobody")
	require.Error(t, err)
}
