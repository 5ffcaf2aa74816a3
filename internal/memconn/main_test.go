//go:build cgo

package memconn

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// TestMain fails if stores or goroutines are left. Package testdb, which does that for
// others, imports this one.
func TestMain(m *testing.M) {
	code := m.Run()
	if n := store.Count(); code == 0 && n > 0 {
		println("stores left open:", n)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// open opens a connection to a database of its own. The test may close it.
func open(t *testing.T, stmtCacheSize int) *conn {
	t.Helper()
	db, err := Open(context.Background(), Options{
		Store:         store.Options{Name: t.Name(), Logger: slog.Default()},
		TxLock:        "immediate",
		StmtCacheSize: stmtCacheSize,
		NamedMemory:   func(string) (store.Options, bool, error) { return store.Options{}, false, nil },
	})
	require.NoError(t, err)
	db.Acquire()
	c, err := db.connect(context.Background())
	require.NoError(t, err)
	require.NoError(t, db.CloseWithLast())
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}
