//go:build cgo

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that each command in the README's table of questions answers its question, beside a
// server and on a backup.
func TestReadme_questions(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_wal=off&sqlite_sync_interval=1h")
	testdb.Exec(t, server, "CREATE TABLE t (a)")
	require.NoError(t, driver.Sync(t.Context(), server))
	backup := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, driver.Backup(t.Context(), server, backup))
	testdb.Exec(t, server, "INSERT INTO t VALUES (1)")
	if !live(t, path) {
		t.Skip("no live connections here")
	}
	tx, err := server.Begin()
	require.NoError(t, err)
	testdb.Exec(t, tx, "DELETE FROM t WHERE a = 5")

	answers := map[string]string{
		"who holds it up?":             "by transaction; last statement: DELETE FROM t WHERE a = ?",
		"what would a crash cost now?": "a crash costs 1 commit",
		"is last night's backup good?": "1 table, 8.19 kB: in order",
	}
	rows := regexp.MustCompile("(?m)^\\| ([a-z][^|]*\\?) \\| `sqlite-mem ([^`]*)`").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, rows, len(answers))
	for _, row := range rows {
		question, args := row[1], strings.Fields(strings.NewReplacer("FILE", path, "BACKUP", backup).Replace(row[2]))
		require.Contains(t, answers, question)
		if strings.Contains(row[2], "-watch") {
			lines, stop := watching(t, args[2:]...)
			require.True(t, lines.Scan())
			require.Contains(t, lines.Text(), answers[question], question)
			require.Equal(t, exitOK, stop())
			continue
		}
		out := strings.Join(strings.Fields(succeed(t, args...)), " ")
		require.Contains(t, out, answers[question], question)
	}
	require.NoError(t, tx.Rollback())
}
