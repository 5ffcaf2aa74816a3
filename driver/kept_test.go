//go:build cgo

package driver_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a pool which keeps no idle connection gives each user one that is as good as
// new. Random users leave all kinds of state behind, and the next one looks for it. The same
// users on go-sqlite3, where each connection is new, see the same.
func TestKept_asNew(t *testing.T) {
	const params = "?_fk=1&_busy_timeout=10000&_txlock=immediate"
	dir := t.TempDir()
	plain := testdb.Plain(t, filepath.Join(dir, "plain.db")+params)
	mem := testdb.Open(t, filepath.Join(dir, "mem.db")+params)
	for _, db := range []*sql.DB{plain, mem} {
		db.SetMaxIdleConns(0)
		testdb.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x REFERENCES t); CREATE TABLE log(c, n);"+
			"CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log VALUES(changes(), total_changes()); DELETE FROM log WHERE c<0; INSERT INTO log VALUES(changes(), total_changes()); END")
	}
	look := []string{
		"SELECT last_insert_rowid(), changes(), total_changes()",
		"SELECT changes()+total_changes() FROM t LIMIT 1",
		"SELECT 'a' LIKE 'A'",
		"SELECT name, sql FROM temp.sqlite_schema",
		"SELECT name FROM pragma_database_list",
		"SELECT * FROM (SELECT foreign_keys FROM pragma_foreign_keys), (SELECT timeout FROM pragma_busy_timeout), (SELECT query_only FROM pragma_query_only), (SELECT recursive_triggers FROM pragma_recursive_triggers)",
		"SELECT count(*), sum(id), sum(x) FROM t",
		"SELECT count(*), sum(c), sum(n) FROM log",
	}
	leave := []string{
		"INSERT INTO t(x) VALUES(NULL)",
		"INSERT INTO t(x) VALUES(NULL), (NULL), (NULL)",
		"INSERT INTO t(x) SELECT max(id) FROM t",
		"INSERT INTO t(x) VALUES(-1)",
		"DELETE FROM t WHERE id=(SELECT max(id) FROM t WHERE id NOT IN (SELECT x FROM t WHERE x IS NOT NULL))",
		"UPDATE t SET x=NULL WHERE id%3=0",
		"UPDATE t SET x=NULL WHERE id<0",
		"REPLACE INTO log SELECT 1, 1 WHERE 0",
		"SELECT nonsense FROM t",
		"SELECT * FROM t",
		"SELECT changes(), total_changes(), last_insert_rowid()",
		"BEGIN",
		"BEGIN IMMEDIATE",
		"SAVEPOINT s",
		"COMMIT",
		"PRAGMA case_sensitive_like=1",
		"PRAGMA foreign_keys=0",
		"PRAGMA query_only=1",
		"PRAGMA recursive_triggers=1",
		"PRAGMA busy_timeout=7",
		"CREATE TEMP TABLE t(id, x)",
		"CREATE TEMP TABLE IF NOT EXISTS own(x)",
		"CREATE TEMP TRIGGER tt AFTER INSERT ON main.t BEGIN DELETE FROM log; END",
		"ATTACH ':memory:' AS o",
		"CREATE TABLE IF NOT EXISTS o.t(id, x)",
		"DETACH o",
	}
	rng := rand.New(rand.NewPCG(*seed, 19))
	var history strings.Builder
	var kept int
	both := func(a, b *sql.Conn, how int, query string) {
		t.Helper()
		fmt.Fprintf(&history, "%d: %s\n", how, query)
		require.Equal(t, run(a, how, query, nil), run(b, how, query, nil), &history)
	}
	for range 250 {
		a, err := plain.Conn(ctx)
		require.NoError(t, err)
		b, err := mem.Conn(ctx)
		require.NoError(t, err)
		history.WriteString("-- a user\n")
		// Half of the users leave nothing that SQL can name.
		n := len(leave)
		if rng.IntN(2) == 0 {
			n = 15
		}
		if rng.IntN(3) > 0 {
			both(a, b, 1, look[rng.IntN(4)]) // the first statement of a user
		}
		for range rng.IntN(4) {
			both(a, b, rng.IntN(4), leave[rng.IntN(n)])
		}
		if rng.IntN(8) == 0 {
			for _, query := range look {
				both(a, b, 1, query)
			}
		}
		// go-sqlite3 closes the connection, and with it the transaction.
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		st, err := driver.ReadStats(mem)
		require.NoError(t, err)
		kept += st.Kept
	}
	require.Equal(t, dump(t, plain), dump(t, mem), &history)
	require.Greater(t, kept, 60, "connections were kept")
	testdb.Close(t, mem)
}
