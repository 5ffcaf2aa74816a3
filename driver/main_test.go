//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	if child := os.Getenv("SQLITE_MEM_TEST_CHILD"); child != "" {
		runChild(child)
		return
	}
	if os.Getenv(noMemory) != "" {
		if err := memvfs.FaultSQLite(); err != nil {
			panic(err)
		}
	}
	testdb.Main(m)
}

// dump returns everything in a database as text: schema, content with rowids,
// and the numbers in the header that belong to the user.
func dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	for _, p := range []string{"user_version", "application_id", "page_size", "encoding", "auto_vacuum"} {
		fmt.Fprintf(&b, "%s=%s\n", p, testdb.Text(t, db, "PRAGMA "+p))
	}
	type object struct{ kind, name, sql string }
	var objects []object
	rows, err := db.Query("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	require.NoError(t, err)
	for rows.Next() {
		var o object
		require.NoError(t, rows.Scan(&o.kind, &o.name, &o.sql))
		objects = append(objects, o)
	}
	require.NoError(t, rows.Err())
	for _, o := range objects {
		fmt.Fprintf(&b, "%s %s: %s\n", o.kind, o.name, o.sql)
		if o.kind != "table" || strings.HasPrefix(strings.ToUpper(o.sql), "CREATE VIRTUAL") {
			continue
		}
		columns := "rowid, *"
		if strings.Contains(o.sql, "WITHOUT ROWID") {
			columns = "*"
		}
		for _, line := range all(t, db, fmt.Sprintf("SELECT %s FROM %q", columns, o.name)) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// all returns the rows of a query as sorted lines, each value with its type.
func all(t testing.TB, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.Query(query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var lines []string
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		var fields []string
		for _, v := range values {
			fields = append(fields, fmt.Sprintf("%T:%v", *v.(*any), *v.(*any)))
		}
		lines = append(lines, strings.Join(fields, "|"))
	}
	require.NoError(t, rows.Err())
	sort.Strings(lines)
	return lines
}

func code(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// schema has one of everything that a load could lose.
const schema = `
PRAGMA user_version=42; PRAGMA application_id=7;
CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE,
	quota INTEGER DEFAULT 100 CHECK(quota>=0), twice INTEGER GENERATED ALWAYS AS (quota*2) STORED, half AS (quota/2));
CREATE TABLE mail(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, subject TEXT, size REAL, body BLOB);
CREATE TABLE kv(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE norowid_order(a, b, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;
CREATE TABLE strict_one(a INTEGER, b ANY) STRICT;
CREATE TABLE plain(x);
CREATE INDEX mail_owner ON mail(owner, size DESC);
CREATE INDEX mail_big ON mail(size) WHERE size>1000;
CREATE UNIQUE INDEX mail_expr ON mail(lower(subject)||id);
CREATE VIEW big AS SELECT u.name, m.subject FROM users u JOIN mail m ON m.owner=u.id WHERE m.size>1000;
CREATE TRIGGER count_mail AFTER INSERT ON mail BEGIN INSERT OR REPLACE INTO kv VALUES('mails', (SELECT count(*) FROM mail)); END;
CREATE TRIGGER into_view INSTEAD OF INSERT ON big BEGIN INSERT INTO plain VALUES(new.name); END;
CREATE VIRTUAL TABLE text_index USING fts3(body);
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, y0, y1);
INSERT INTO users(name, quota) VALUES('alice', 500), ('Bob', 0), ('çelik', 12);
DELETE FROM users WHERE name='Bob';
INSERT INTO mail(owner, subject, size, body) VALUES(1, 'hello', 12.5, x'00ff10'), (1, 'big', 5000, zeroblob(9000)), (3, NULL, 3, NULL);
INSERT INTO norowid_order VALUES(1, 2), (3, 4);
INSERT INTO strict_one VALUES(1, 'text'), (2, 2.5);
INSERT INTO plain(rowid, x) VALUES(10, 'ten'), (-5, 1), (9223372036854775807, 'last');
DELETE FROM plain WHERE rowid=10;
INSERT INTO text_index VALUES('the quick brown fox'), ('lazy dog');
INSERT INTO places VALUES(1, 0, 1, 0, 1), (2, 5, 6, 5, 6);
`
