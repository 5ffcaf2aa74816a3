package connerr

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// Ensure that the error names a way to the database that exists. A server that serves
// tools is not a reason to read the file.
func TestOwnedError(t *testing.T) {
	refused := errors.New("attempt to write a readonly database")
	for _, tt := range []struct {
		live bool
		err  error
		want string
	}{
		{true, nil, "open it in the role of a tool to work on it there"},
		{false, nil, "open it in the role of a tool to read what was saved last"},
		{true, refused, "a live connection (sqlite_live) can make it: attempt"},
		{false, refused, "so it is not made: attempt"},
	} {
		err := NewOwned(&proclock.OwnedError{Path: "app.db", PID: 7, Role: proclock.Server, Live: tt.live}, tt.err)
		require.ErrorContains(t, err, "sqlite-mem: app.db is owned by process 7")
		require.ErrorContains(t, err, tt.want)
	}
}
