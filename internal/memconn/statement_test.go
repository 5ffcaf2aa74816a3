//go:build cgo

package memconn

import (
	"context"
	"database/sql/driver"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// Ensure that a statement which is made is not reported as failed, when memory fails after its
// commit: SQLite has prepared it again, and its columns cannot be read. Its next rows have
// them.
func TestExec_noMemory(t *testing.T) {
	ctx := context.Background()
	db := openDatabase(t, nil)
	c := get(t, db)
	execute(t, c, "CREATE TABLE t(a)")
	s, err := c.Prepare("INSERT INTO t(a) VALUES(1) RETURNING *")
	require.NoError(t, err)
	rows, failed := int64(0), 0
	for n := int64(1); ; n++ {
		execute(t, c, fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d", n))
		memvfs.FailAlloc(n, false)
		_, err := s.(driver.StmtExecContext).ExecContext(ctx, nil)
		reached := memvfs.FailAlloc(0, false) >= n
		if err == nil {
			rows++
		} else {
			failed++
		}
		require.Equal(t, rows, one(t, c, "SELECT count(*) FROM t"), "allocation %d: %v", n, err)
		r, err := s.(driver.StmtQueryContext).QueryContext(ctx, nil)
		require.NoError(t, err)
		require.Len(t, r.Columns(), int(n)+1)
		require.NoError(t, r.Close())
		rows++
		if !reached {
			break
		}
	}
	require.Positive(t, failed)
	require.NoError(t, s.Close())
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
}
