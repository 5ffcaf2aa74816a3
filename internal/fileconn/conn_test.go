//go:build cgo

package fileconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// connector opens connections to one file.
type connector struct{ db *Database }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) { return c.db.Connect(ctx) }
func (c connector) Driver() driver.Driver                            { return nil }

// open opens a new file as a tool.
func open(t *testing.T) *sql.DB {
	return sql.OpenDB(connector{New(Options{
		Path:      filepath.Join(t.TempDir(), "app.db"),
		TxLock:    "immediate",
		Logger:    slog.Default(),
		StatsJSON: func() (string, error) { return "", nil },
	})})
}

// Ensure that an idle tool has the file open only where that is in nobody's way.
func TestIdle(t *testing.T) {
	was := idles
	defer func() { idles = was }()
	for _, idles = range []bool{true, false} {
		db := open(t)
		_, err := db.Exec("CREATE TABLE t(a)")
		require.NoError(t, err)
		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO t VALUES(1)")
		require.NoError(t, err)
		require.Equal(t, 1, db.Stats().OpenConnections)
		require.NoError(t, tx.Commit())
		want := 0
		if idles {
			want = 1
		}
		require.Equal(t, want, db.Stats().OpenConnections)
		require.NoError(t, db.Close())
	}
}

// Ensure that a tool syncs with F_FULLFSYNC where fsync is not enough, as on macOS.
func TestFullSync(t *testing.T) {
	was := sqlitefile.FullSync
	defer func() { sqlitefile.FullSync = was }()
	sqlitefile.FullSync = "PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON"
	db := open(t)
	for _, pragma := range []string{"fullfsync", "checkpoint_fullfsync"} {
		var on int
		require.NoError(t, db.QueryRow("PRAGMA "+pragma).Scan(&on))
		require.Equal(t, 1, on, pragma)
	}
	require.NoError(t, db.Close())
}
