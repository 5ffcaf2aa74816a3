//go:build cgo

package driver_test

import (
	"fmt"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a new connection with _auto_vacuum reads beside an open writer,
// unless it has to change the mode of the database. At every moment the mode is
// that of go-sqlite3.
func TestAutoVacuum_newConnection(t *testing.T) {
	for have := range 3 {
		for want, name := range []string{"NONE", "FULL", "incremental"} {
			t.Run(fmt.Sprintf("%d to %d", have, want), func(t *testing.T) {
				path, plainPath := testdb.Path(t), testdb.Path(t)
				for _, p := range []string{path, plainPath} {
					made := testdb.Plain(t, p)
					testdb.Exec(t, made, fmt.Sprintf("PRAGMA auto_vacuum=%d; CREATE TABLE t(x)", have))
					require.NoError(t, made.Close())
				}
				other := testdb.Open(t, path)
				tx, err := other.Begin()
				require.NoError(t, err)
				testdb.Exec(t, tx, "INSERT INTO t VALUES(1)")
				db := testdb.Open(t, path+"?_busy_timeout=50&_auto_vacuum="+name)
				var n int
				err = db.QueryRow("SELECT count(*) FROM t").Scan(&n)
				if have != 0 && want != 0 && have != want {
					var refused sqlite3.Error
					require.ErrorAs(t, err, &refused)
					require.Equal(t, sqlite3.ErrBusy, refused.Code)
				} else {
					require.NoError(t, err)
				}
				require.NoError(t, tx.Rollback())

				plain := testdb.Plain(t, plainPath+"?_auto_vacuum="+name)
				for range 2 {
					require.Equal(t, testdb.Text(t, plain, "PRAGMA auto_vacuum"), testdb.Text(t, db, "PRAGMA auto_vacuum"))
					testdb.Exec(t, plain, "VACUUM")
					testdb.Exec(t, db, "VACUUM")
				}
			})
		}
	}
}

// Ensure that _auto_vacuum, by either of its names, is the mode of a new database.
func TestAutoVacuum_newDatabase(t *testing.T) {
	for want, params := range []string{"_auto_vacuum=none", "_vacuum=1", "_auto_vacuum=INCREMENTAL"} {
		db := testdb.Open(t, testdb.Path(t)+"?"+params)
		testdb.Exec(t, db, "CREATE TABLE t(x)")
		require.Equal(t, fmt.Sprint(want), testdb.Text(t, db, "PRAGMA auto_vacuum"))
	}
}
