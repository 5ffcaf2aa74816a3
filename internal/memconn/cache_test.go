//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cached are the texts in the cache, the oldest first. It makes sure that the
// cache is whole, and SQLite has no statement that nobody keeps.
func (c *conn) cached(t *testing.T) (texts []string) {
	t.Helper()
	var last *statement
	for s := c.cache.oldest; s != nil; s = s.newer {
		require.Same(t, s, c.cache.byText[s.text])
		require.Equal(t, last, s.older)
		require.Contains(t, c.open, s)
		texts = append(texts, s.text)
		last = s
	}
	require.Equal(t, last, c.cache.newest)
	require.Len(t, c.cache.byText, len(texts))
	return texts
}

// Ensure that the cache keeps the statements that were used last, as many as
// _stmt_cache_size says. It also keeps those with open rows. It keeps no pragma, no
// string of several statements, and no very long text. Everything is freed.
func TestStmtCache(t *testing.T) {
	ctx := context.Background()
	c := open(t, 3)
	exec := func(text string) {
		t.Helper()
		_, err := c.ExecContext(ctx, text, nil)
		require.NoError(t, err)
	}
	exec("CREATE TABLE t(x)")
	require.Empty(t, c.cached(t))
	for _, text := range []string{"SELECT 1", "SELECT 2;", "SELECT 3 -- x", "SELECT 1"} {
		exec(text)
	}
	require.Equal(t, []string{"SELECT 2;", "SELECT 3 -- x", "SELECT 1"}, c.cached(t))
	exec("SELECT 4")
	require.Equal(t, []string{"SELECT 3 -- x", "SELECT 1", "SELECT 4"}, c.cached(t))
	exec("SELECT 3 -- x")
	for _, text := range []string{"PRAGMA user_version", "SELECT '" + strings.Repeat("x", maxCachedText) + "'", "-- nothing", "PRAGMA user_version; PRAGMA user_version"} {
		exec(text)
		require.Equal(t, []string{"SELECT 1", "SELECT 4", "SELECT 3 -- x"}, c.cached(t), "%.20s", text)
		require.Len(t, c.open, 3, "%.20s is freed", text)
	}

	// A statement whose rows are open stays, and is prepared again meanwhile.
	var open []driver.Rows
	for _, text := range []string{"SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9"} {
		rows, err := c.QueryContext(ctx, text, nil)
		require.NoError(t, err)
		open = append(open, rows)
	}
	exec("SELECT 5")
	exec("SELECT 6")
	require.Equal(t, []string{"SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", "SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9", "SELECT 6"}, c.cached(t))
	require.Len(t, c.open, 4)
	exec("CREATE TABLE u(x)")
	exec("SELECT 8")
	require.Equal(t, []string{"SELECT 8"}, c.cached(t), "names have changed")
	require.Len(t, c.open, 4, "the open ones go when their rows are closed")
	for _, rows := range open {
		require.NoError(t, rows.Close())
		require.NoError(t, rows.Close())
	}
	require.Len(t, c.open, 1)
	require.LessOrEqual(t, len(c.batches), 4)

	// Statements that nobody has closed are freed with the connection.
	rows, err := c.QueryContext(ctx, "SELECT value FROM json_each('[1,2,3,4,5,6]')", nil)
	require.NoError(t, err)
	s, err := c.PrepareContext(ctx, "SELECT value FROM json_each('[1,2,3,4,5,6]')")
	require.NoError(t, err)
	more, err := s.(*stmt).QueryContext(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.ErrorIs(t, rows.Next(make([]driver.Value, 1)), driver.ErrBadConn)
	require.NoError(t, rows.Close())
	require.NoError(t, more.Close())
	require.NoError(t, s.Close())
	_, err = s.(*stmt).ExecContext(ctx, nil)
	require.ErrorIs(t, err, driver.ErrBadConn)
}

// Ensure that a connection which has attached a database uses its cache.
func TestStmtCache_attached(t *testing.T) {
	c := open(t, 128)
	for _, text := range []string{"ATTACH ':memory:' AS o", "CREATE TABLE t(x)", "CREATE TABLE o.u(x)", "SELECT * FROM t", "SELECT * FROM u", "INSERT INTO t VALUES(1)", "SELECT * FROM t"} {
		_, err := c.ExecContext(context.Background(), text, nil)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"SELECT * FROM u", "INSERT INTO t VALUES(1)", "SELECT * FROM t"}, c.cached(t))
}

// Ensure that a cached statement is not used any more after a pragma that is prepared, or
// explained, and never run: SQLite sets it all the same.
func TestStmtCache_pragmaNotRun(t *testing.T) {
	ctx := context.Background()
	for name, set := range map[string]func(c *conn) (io.Closer, error){
		"prepared": func(c *conn) (io.Closer, error) { return c.PrepareContext(ctx, "PRAGMA full_column_names=1") },
		"explained": func(c *conn) (io.Closer, error) {
			return c.QueryContext(ctx, "EXPLAIN PRAGMA full_column_names=1", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, 128)
			execute(t, c, "CREATE TABLE t(x)")
			for _, want := range []string{"x", "t.x"} {
				rows, err := c.QueryContext(ctx, "SELECT x FROM t", nil)
				require.NoError(t, err)
				require.Equal(t, []string{want}, rows.Columns())
				require.NoError(t, rows.Close())
				closer, err := set(c)
				require.NoError(t, err)
				require.NoError(t, closer.Close())
			}
		})
	}
}

// Ensure that values that share allocations are equal to values made by Go, at
// every place of a batch.
func TestBoxes(t *testing.T) {
	var b boxes
	var want, got []driver.Value
	for i := range 1000 {
		n, text := int64(i*i), strings.Repeat("é", i%80)
		var v [2]driver.Value
		b.setInt(&v[0], n, 64-i%64)
		b.setText(&v[1], []byte(text), 64-i%64)
		want, got = append(want, n, text), append(got, v[0], v[1])
	}
	b.setInt(&got[0], 300, 0)
	require.Equal(t, any(int64(300)), got[0])
	b.setText(&got[0], []byte("x"), 0)
	require.Equal(t, any("x"), got[0])
	got[0] = int64(0)
	require.Equal(t, want, got)

	left := len(b.texts)
	b.setText(&got[0], []byte(strings.Repeat("x", maxSharedText+1)), 64)
	require.Equal(t, any(strings.Repeat("x", maxSharedText+1)), got[0])
	require.Len(t, b.texts, left, "a long text is not kept by its neighbours")
}

// Ensure that the values of a query stay what they are while the connection runs others,
// which use the same memory for their rows.
func TestBoxes_queries(t *testing.T) {
	c := open(t, 3)
	var want, got []driver.Value
	for i := range 200 {
		rows, err := c.QueryContext(context.Background(), "SELECT ?1, ?2, ?1+1", []driver.NamedValue{{Ordinal: 1, Value: int64(1000 + i)}, {Ordinal: 2, Value: strings.Repeat("é", i)}})
		require.NoError(t, err)
		v := make([]driver.Value, 3)
		require.NoError(t, rows.Next(v))
		require.NoError(t, rows.Close())
		want, got = append(want, int64(1000+i), strings.Repeat("é", i), int64(1001+i)), append(got, v...)
	}
	require.Len(t, c.batches, 1)
	require.Equal(t, want, got)
}
