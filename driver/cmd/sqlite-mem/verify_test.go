//go:build cgo

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// verified runs verify -json, and makes sure that it leaves the directory of the file as it
// was. A server may change that meanwhile.
func verified(t testing.TB, want int, args ...string) (r report) {
	t.Helper()
	dir := filepath.Dir(args[len(args)-1])
	before := testfile.Contents(t, dir)
	served := ownerOf(args[len(args)-1]) != nil
	status, stdout, stderr := program(t, append([]string{"verify", "-json"}, args...)...)
	require.Equal(t, want, status, stdout+stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &r), stderr)
	require.Equal(t, want == exitOK, r.OK)
	if !served {
		require.True(t, maps.Equal(before, testfile.Contents(t, dir)), "the directory was changed")
	}
	return r
}

// found returns the findings in one text.
func found(r report) (text string) {
	for _, f := range r.Findings {
		text += f.Where + ": " + f.What + "\n"
	}
	return text
}

// Ensure that verify finds a sound file sound, whatever its page size and journal mode,
// though its directory may not be written, and makes no file beside it.
func TestVerify(t *testing.T) {
	for _, script := range []string{
		"PRAGMA page_size = 512", "PRAGMA page_size = 65536", "PRAGMA journal_mode = WAL", "PRAGMA auto_vacuum = FULL", "PRAGMA encoding = 'UTF-16'",
	} {
		path := file(t, script+`; CREATE TABLE "a ""b" (x UNIQUE, y REFERENCES "a ""b"(x)); INSERT INTO "a ""b" VALUES (1, 1), (2, 1); CREATE TABLE w (k PRIMARY KEY) WITHOUT ROWID; CREATE TABLE "77" (x)`)
		require.NoError(t, os.Chmod(filepath.Dir(path), 0o500))
		r := verified(t, exitOK, path)
		require.NoError(t, os.Chmod(filepath.Dir(path), 0o700))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, []checked{{Where: "file", Tables: 3, Bytes: info.Size()}}, r.Checked, script)
		require.Equal(t, []string{"at the file"}, r.Looked)
		require.Empty(t, r.Notes)
		require.Contains(t, succeed(t, "verify", path), "file      3 tables, ")
	}
	path := file(t, "PRAGMA journal_mode = WAL; CREATE TABLE k (b CHECK (b > 0)); INSERT INTO k VALUES (1)")
	require.Contains(t, verified(t, exitOK, path).Notes[0], "CHECK constraints were not checked")
	testfile.Write(t, path, nil)
	require.Contains(t, verified(t, exitOK, path).Notes, "an empty file is a database without tables")
}

// Ensure that verify finds rows without the row they refer to, an index that does not agree
// with its table, and a value that breaks a constraint. Each is a line, and the exit status
// is 1.
func TestVerify_findings(t *testing.T) {
	path := file(t, `CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p, q REFERENCES p); INSERT INTO c VALUES (1, NULL), (2, 3);
		CREATE TABLE i (a, b); CREATE INDEX ia ON i (a); INSERT INTO i VALUES (1, 1), (2, 2), (3, -1);
		CREATE TABLE k (b CHECK (b > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO k VALUES (-1);
		PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX ia ON i (b)' WHERE name = 'ia'`)
	r := verified(t, exitFailed, path)
	for _, want := range []string{
		"file: table c: 2 rows without the row of p that foreign key 1 names, first at rowid 1, 2\n",
		"file: table c: 1 row without the row of p that foreign key 0 names, first at rowid 2\n",
		"file: row 3 missing from index ia\n", "file: CHECK constraint failed in k\n",
	} {
		require.Contains(t, found(r), want)
	}
	require.Len(t, r.Findings, 4)
	require.Equal(t, 4, r.Checked[0].Wrong)
	require.Empty(t, r.Notes)
	status, stdout, stderr := program(t, "verify", path)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "\nWRONG     file: row 3 missing from index ia\n")
	require.Equal(t, "sqlite-mem: "+path+": 4 findings\n", stderr)
}

// Ensure that verify finds exactly the damage that integrity_check of the whole database
// finds: it has findings if and only if that has.
func TestVerify_likeIntegrityCheck(t *testing.T) {
	sound := testfile.Read(t, file(t, `PRAGMA page_size = 512; CREATE TABLE t (a PRIMARY KEY, b); CREATE INDEX ib ON t (b);
		INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT i, hex(zeroblob(i)) FROM n; CREATE TABLE u (x); INSERT INTO u SELECT b FROM t; DELETE FROM t WHERE a % 3 = 0; DROP TABLE u`))
	rnd := rand.New(rand.NewPCG(1, 2))
	path := testdb.Path(t)
	damaged := 0
	for range 150 {
		b := append([]byte(nil), sound...)
		for range 1 + rnd.IntN(3) {
			b[100+rnd.IntN(len(b)-100)] ^= byte(1 + rnd.IntN(255))
		}
		testfile.Write(t, path, b)
		db := testdb.Plain(t, path)
		var first string
		err := db.QueryRow("PRAGMA integrity_check").Scan(&first)
		require.NoError(t, db.Close())
		if err == nil && first == "ok" {
			verified(t, exitOK, path)
			continue
		}
		damaged++
		verified(t, exitFailed, path)
	}
	require.Greater(t, damaged, 20)
	require.Less(t, damaged, 150)
}

// Ensure that a file that is no database, or was cut, or has the leftovers of another one,
// is a finding. A missing one, or a directory, is an error.
func TestVerify_noDatabase(t *testing.T) {
	path := testdb.Path(t)
	testfile.Write(t, path, []byte("text that is no database"))
	require.Contains(t, found(verified(t, exitFailed, path)), "not a SQLite database")
	sound := file(t, "CREATE TABLE t (a); CREATE TABLE u (a)")
	testfile.Write(t, path, testfile.Read(t, sound)[:5000])
	require.Contains(t, found(verified(t, exitFailed, path)), "truncated")

	hot, _ := testfile.HotWAL(t)
	testfile.Write(t, sound+"-wal", testfile.Read(t, hot+"-wal"))
	require.Contains(t, found(verified(t, exitFailed, sound)), "leftover of another file")
	testfile.Write(t, path, nil)
	testfile.Write(t, path+"-wal", testfile.Read(t, hot+"-wal"))
	require.Contains(t, found(verified(t, exitFailed, path)), "holds pages of it")

	for _, name := range []string{path + ".missing", filepath.Dir(path)} {
		status, stdout, stderr := program(t, "verify", name)
		require.Equal(t, exitFailed, status)
		require.Empty(t, stdout)
		require.Contains(t, stderr, name)
	}
}

// Ensure that verify checks what SQLite or a server would make of the leftovers of a crash,
// on a copy, and leaves them alone.
func TestVerify_crash(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	path, _ := testfile.HotWAL(t)
	require.Equal(t, []string{"at a copy of the file, with the -wal that is beside it"}, verified(t, exitOK, path).Looked)
	path, _ = testfile.HotJournal(t)
	require.Equal(t, []string{"at a copy of the file, rolled back by the journal that is beside it"}, verified(t, exitOK, path).Looked)

	path = crashed(t)
	r := verified(t, exitOK, path)
	require.Equal(t, []string{"at a copy of the file, with 2 transactions of its log"}, r.Looked)
	require.Equal(t, 2, r.Log.Transactions)
	require.Contains(t, succeed(t, "verify", path), "log       2 transactions beyond the file: in order")

	// A save was killed between its two renames.
	require.NoError(t, os.Rename(path+"-memwal", path+"-memwal-new"))
	require.Equal(t, 2, verified(t, exitOK, path).Log.Transactions)
	other := crashed(t)
	testfile.Write(t, path+"-memwal", testfile.Read(t, other+"-memwal"))
	require.Equal(t, 2, verified(t, exitOK, path).Log.Transactions)
	testfile.Write(t, other, testfile.Read(t, file(t, "CREATE TABLE t (a)")))
	require.Contains(t, found(verified(t, exitFailed, other)), "log: 2 transactions that do not belong to the file")

	path = crashed(t)
	log := testfile.Read(t, path+"-memwal")
	log[100] ^= 1
	testfile.Write(t, path+"-memwal", log)
	r = verified(t, exitFailed, path)
	require.Contains(t, found(r), "damaged")
	require.Equal(t, []string{"at the file"}, r.Looked)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Ensure that verify respects a program that uses the file: it sees what that has committed
// to its -wal, and makes nothing.
func TestVerify_besideProgram(t *testing.T) {
	path := file(t, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
	other := testdb.Plain(t, path)
	testdb.Exec(t, other, "CREATE TABLE u (a)")
	before := testfile.Contents(t, filepath.Dir(path))
	out, err := child(t, "verify", path).Output() // this process has the index open for writing
	require.NoError(t, err)
	require.Contains(t, string(out), "looked    at the file, which another program may be using\nfile      2 tables")
	require.True(t, maps.Equal(before, testfile.Contents(t, filepath.Dir(path))), "the directory was changed")
	require.NoError(t, other.Close())
}

// Ensure that beside a server verify checks the file as saved, and the memory if the server
// answers. It says what it has looked at. A foreign key that is broken only in memory is
// found there.
func TestVerify_besideServer(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_sync_interval=1h")
	testdb.Exec(t, server, "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); CREATE TABLE k (b CHECK (b > 0))")
	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO c VALUES (1); PRAGMA ignore_check_constraints = ON; INSERT INTO k VALUES (-1); PRAGMA ignore_check_constraints = OFF")
	r := verified(t, exitOK, "-saved", path)
	require.Equal(t, []string{"at the file as its server saved it last"}, r.Looked)
	require.Equal(t, []string{fmt.Sprintf("the memory of process %d was not looked at (-saved)", os.Getpid())}, r.Notes)
	if live(t, path) {
		r = verified(t, exitFailed, path)
		require.Equal(t, []string{"at the file as its server saved it last", fmt.Sprintf("into the memory of process %d (live)", os.Getpid())}, r.Looked)
		require.Equal(t, "memory: CHECK constraint failed in k\nmemory: table c: 1 row without the row of p that foreign key 0 names, first at rowid 1\n", found(r))
		require.Zero(t, r.Checked[0].Wrong)
	}
	require.NoError(t, driver.Sync(t.Context(), server)) // verify was in the way of no save
	testdb.Exec(t, server, "DELETE FROM c; DELETE FROM k")
	testdb.Close(t, server)
	server = testdb.Open(t, path+"?sqlite_live=no")
	testdb.Exec(t, server, "INSERT INTO p VALUES (1)")
	require.Equal(t, []string{fmt.Sprintf("process %d does not answer tools, so its memory was not looked at", os.Getpid())}, verified(t, exitOK, path).Notes)
}

// Ensure that verify checks a backup that was made while the server serves, and the kept
// state of a save.
func TestVerify_backup(t *testing.T) {
	path := testdb.Path(t)
	server := testdb.Open(t, path+"?sqlite_keep=1")
	testdb.Exec(t, server, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
	require.NoError(t, driver.Sync(t.Context(), server))
	testdb.Exec(t, server, "INSERT INTO t VALUES (2)")
	require.NoError(t, driver.Sync(t.Context(), server))
	backup := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, driver.Backup(t.Context(), server, backup))
	require.NoError(t, os.Chmod(backup, 0o400))
	verified(t, exitOK, backup)
	verified(t, exitOK, path+".kept-1")
	b := testfile.Read(t, backup)
	clear(b[4096:4200])
	require.NoError(t, os.Chmod(backup, 0o600))
	testfile.Write(t, backup, b)
	require.NotEmpty(t, found(verified(t, exitFailed, backup)))
}
