//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// statsHandler is a logger that asks several handles for their counters.
type statsHandler struct {
	slog.Handler
	dbs  *[]*sql.DB
	seen *atomic.Int32
}

func (h statsHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h statsHandler) Handle(context.Context, slog.Record) error {
	for _, db := range *h.dbs {
		if _, err := driver.ReadStats(db); err != nil {
			return err
		}
	}
	h.seen.Add(1)
	return nil
}

// Ensure that a logger may ask for the counters, of the handle that logs and of another one of
// the file, whatever an open logs.
func TestLogger_readStats(t *testing.T) {
	tests := map[string]func(t *testing.T, path string) *driver.Config{
		"several names": func(t *testing.T, path string) *driver.Config {
			testdb.Exec(t, testdb.Plain(t, path), "CREATE TABLE t(x)")
			require.NoError(t, os.Link(path, path+"-too"))
			return &driver.Config{Path: path}
		},
		"no socket": func(t *testing.T, path string) *driver.Config {
			require.NoError(t, os.Mkdir(path+".sock", 0o700))
			return &driver.Config{Path: path}
		},
		"options without effect": func(_ *testing.T, path string) *driver.Config {
			return &driver.Config{Path: path, InMemory: driver.Off, SyncInterval: time.Hour}
		},
	}
	if !live.Supported {
		delete(tests, "no socket")
	}
	for name, open := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := open(t, testdb.Path(t))
			var dbs []*sql.DB
			var seen atomic.Int32
			cfg.Logger = slog.New(statsHandler{slog.NewTextHandler(t.Output(), nil), &dbs, &seen})
			for range 2 {
				c, err := driver.NewConnector(cfg)
				require.NoError(t, err)
				dbs = append(dbs, sql.OpenDB(c))
			}
			done := make(chan error, 1)
			go func() { done <- dbs[0].Ping() }()
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(20 * time.Second):
				t.Fatal("the open hangs")
			}
			require.NotZero(t, seen.Load())
			for _, db := range dbs {
				testdb.Close(t, db)
			}
		})
	}
}
