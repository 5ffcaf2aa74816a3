//go:build cgo

package connerr

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// Ensure that an error that was sent has its text, its type and its codes: SQLite's stay
// bare, and errors.Is finds what it found before.
func TestWire(t *testing.T) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(":memory:")
	require.NoError(t, err)
	_, real := c.(*sqlite3.SQLiteConn).Exec("SELECT nonsense", nil)
	require.NoError(t, c.Close())
	for _, err := range []error{real, Busy, sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrRead, SystemErrno: syscall.ENOSPC}, ErrTxOver, store.ErrNoFile} {
		require.Equal(t, err, Decode(Encode(err)))
	}
	got := Decode(Encode(fmt.Errorf("wrapped: %w", real)))
	require.EqualError(t, got, "wrapped: no such column: nonsense")
	var e sqlite3.Error
	require.True(t, errors.As(got, &e))
	require.Equal(t, real, e)
	lost := &store.NotDurableError{Path: "a.db", Committed: true, Err: errors.New("disk full")}
	require.Equal(t, lost, Decode(Encode(lost)))
	require.ErrorIs(t, Decode(Encode(lost)), store.ErrNotDurable)
	// As of a string of statements that has committed and then failed.
	both := errors.Join(real, lost)
	got = Decode(Encode(both))
	require.EqualError(t, got, both.Error())
	require.True(t, errors.As(got, &e))
	require.Equal(t, real, e)
	var kept *store.NotDurableError
	require.True(t, errors.As(got, &kept))
	require.Equal(t, lost, kept)
	refused := NewOwned(&proclock.OwnedError{Path: "a.db", PID: 7, Since: time.Unix(1, 0).UTC(), Role: proclock.Server, Live: true}, sqlite3.Error{Code: sqlite3.ErrReadonly})
	foreign := &image.ForeignChangeError{Path: "a.db", Reason: "it was replaced", SavedAs: "a.db.foreign"}
	full := &image.Error{Op: "save", Path: "a.db", Err: &fs.PathError{Op: "write", Path: "a.db", Err: syscall.ENOSPC}}
	for _, err := range []error{refused, foreign, full, fmt.Errorf("sync: %w", errors.Join(foreign, full)), fs.ErrExist} {
		got := Decode(Encode(err))
		require.EqualError(t, got, err.Error())
		var o, gotO *OwnedError
		require.Equal(t, errors.As(err, &o), errors.As(got, &gotO))
		require.Equal(t, o, gotO)
		var f, gotF *image.ForeignChangeError
		require.Equal(t, errors.As(err, &f), errors.As(got, &gotF))
		require.Equal(t, f, gotF)
		var p, gotP *image.Error
		if require.Equal(t, errors.As(err, &p), errors.As(got, &gotP)); p != nil {
			require.Equal(t, p.Op+p.Error(), gotP.Op+gotP.Error())
		}
		for _, s := range []error{syscall.ENOSPC, fs.ErrExist, fs.ErrNotExist, sqlitefile.ErrBusy} {
			require.Equal(t, errors.Is(err, s), errors.Is(got, s), "%v is %v", err, s)
		}
	}
	require.Nil(t, Encode(errors.New("other")))
	require.Nil(t, Decode([]byte("no JSON")))
	require.Nil(t, Decode([]byte(`{"Sentinels":[-1,99]}`)))
}
