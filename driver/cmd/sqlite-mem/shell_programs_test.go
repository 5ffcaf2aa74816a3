//go:build cgo && programs

package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a database made by Python's SQLite, and by the shell of SQLite, is read and
// changed so that they see it.
func TestShell_otherPrograms(t *testing.T) {
	const script = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT; INSERT INTO t VALUES (1, 'ä')"
	for _, program := range [][]string{
		{"python3", "-c", "import sqlite3,sys; db = sqlite3.connect(sys.argv[1]); r = db.executescript(sys.argv[2]) if sys.argv[2].startswith('CREATE') else print(db.execute(sys.argv[2]).fetchone()[0])"},
		{"sqlite3"},
	} {
		t.Run(program[0], func(t *testing.T) {
			path := testdb.Path(t)
			other := func(text string) string {
				out, err := exec.CommandContext(t.Context(), program[0], append(program[1:], path, text)...).CombinedOutput()
				require.NoError(t, err, string(out))
				return strings.TrimSpace(string(out))
			}
			other(script)
			changedInShell(t, path)
			require.Equal(t, "ö", other("SELECT b FROM t WHERE a = 2"))
		})
	}
}
