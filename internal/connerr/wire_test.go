//go:build cgo

package connerr

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

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
	require.Nil(t, Encode(errors.New("other")))
	require.Nil(t, Decode([]byte("no JSON")))
	require.Nil(t, Decode([]byte(`{"Sentinels":[-1,99]}`)))
}
