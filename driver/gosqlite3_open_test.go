//go:build cgo

package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// The checks of theirTests that open and close databases.

// openFails opens a data source name, which must fail in Open or Ping, and returns
// the error.
func (p *peer) openFails(name, dsn string) error {
	p.Helper()
	db, err := sql.Open(name, dsn)
	if err == nil {
		err = db.Ping()
		require.NoError(p, db.Close())
	}
	require.Error(p, err)
	return err
}

// tellCodes tells the codes of an error that may have a text of this driver.
func (p *peer) tellCodes(err error) {
	var e sqlite3.Error
	p.tell(errors.As(err, &e), int(e.Code), int(e.ExtendedCode), int(e.SystemErrno))
}

func checkTxLock(p *peer) {
	for _, params := range []string{"", "?_txlock=immediate", "?_txlock=deferred", "?_txlock=exclusive"} {
		path := testdb.Path(p)
		db := p.openAt(path + params)
		testdb.Exec(p, db, "CREATE TABLE t(id INTEGER)")
		tx, err := db.Begin()
		require.NoError(p, err)
		p.result(tx.Exec("INSERT INTO t VALUES(1)"))
		require.NoError(p, tx.Commit())
		require.NoError(p, db.Close())
		require.FileExists(p, path)
	}
	p.openFails(p.name(), testdb.Path(p)+"?_txlock=bogus")
}

func checkVFS(p *peer) {
	err := p.openFails(p.name(), "file:"+testdb.Path(p)+"?vfs=hello")
	require.ErrorContains(p, err, "vfs")
	known := "file:" + testdb.Path(p) + "?vfs=unix-none"
	if p.ours {
		require.ErrorContains(p, p.openFails(p.name(), known), "vfs")
		return
	}
	require.NoError(p, p.openAt(known).Ping())
}

func checkNoCreate(p *peer) {
	path := testdb.Path(p)
	p.tellCodes(p.openFails(p.name(), "file:"+path+"?mode=rw"))
	require.NoFileExists(p, path)
	db := p.openAt("file:" + path + "?mode=rwc")
	require.NoError(p, db.Ping())
	testdb.Exec(p, db, "CREATE TABLE t(x)")
	require.NoError(p, db.Close())
	require.FileExists(p, path)
}

func checkReadOnly(p *peer) {
	path := testdb.Path(p)
	writer := p.openAt("file:" + path)
	testdb.Exec(p, writer, "CREATE TABLE t(x INT, y FLOAT)")
	if p.ours { // mode=ro wants a file, which comes with the first save
		require.NoError(p, driver.Sync(ctx, writer))
	}
	reader := p.openAt("file:" + path + "?mode=ro")
	_, err := reader.Exec("INSERT INTO t VALUES(1, 3.14)")
	p.tell(err)
	require.Equal(p, sqlite3.ErrReadonly, code(err))
	p.rows(reader.Query("SELECT count(*) FROM t"))
}

func checkForeignKeys(p *peer) {
	for _, on := range []string{"1", "0"} {
		db := p.open("?_foreign_keys=" + on)
		require.Equal(p, on, testdb.Text(p, db, "PRAGMA foreign_keys"))
		testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, other REFERENCES t(id))")
		p.result(db.Exec("INSERT INTO t(other) VALUES(9)"))
	}
}

func checkRecursiveTriggers(p *peer) {
	for _, on := range []string{"1", "0"} {
		db := p.open("?_recursive_triggers=" + on)
		require.Equal(p, on, testdb.Text(p, db, "PRAGMA recursive_triggers"))
		testdb.Exec(p, db, "CREATE TABLE t(n); CREATE TRIGGER more AFTER INSERT ON t WHEN new.n<3 BEGIN INSERT INTO t VALUES(new.n+1); END; INSERT INTO t VALUES(0)")
		require.Equal(p, map[string]string{"1": "4", "0": "2"}[on], testdb.Text(p, db, "SELECT count(*) FROM t"))
	}
}

func checkClosed(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER)")
	s, err := db.Prepare("SELECT id FROM t WHERE id=?")
	require.NoError(p, err)
	require.NoError(p, db.Close())
	_, err = s.Exec(1)
	require.Error(p, err)
	p.tell(err)
	_, err = s.Query(1)
	p.tell(err)
	p.tell(s.Close())
}

func checkPing(p *peer) {
	db := p.openAt(":memory:")
	require.NoError(p, db.Ping())
	require.NoError(p, db.Close())
	err := db.Ping()
	require.Error(p, err)
	p.tell(err)
}

func checkReopen(p *peer) {
	path := testdb.Path(p)
	db := p.openAt(path)
	testdb.Exec(p, db, "CREATE TABLE t(id INT); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)")
	require.NoError(p, db.Close())
	for range 200 {
		db, err := sql.Open(p.name(), path)
		require.NoError(p, err)
		for range 3 {
			require.Equal(p, []string{"int64:1"}, all(p, db, "SELECT * FROM t WHERE id=1"))
		}
		require.NoError(p, db.Close())
	}
}

func checkJournalMode(p *peer) {
	db := p.open("")
	db.SetMaxOpenConns(1) // the exclusive mode of go-sqlite3 shuts others out
	testdb.Exec(p, db, "PRAGMA journal_mode=WAL;")
	testdb.Exec(p, db, "PRAGMA locking_mode=EXCLUSIVE;")
	testdb.Exec(p, db, "CREATE TABLE t(id SERIAL, user TEXT NOT NULL, name TEXT NOT NULL);")
	testdb.Exec(p, db, "INSERT INTO t(user, name) VALUES('user', 'name');")
	tx, err := db.Begin()
	require.NoError(p, err)
	s, err := tx.Prepare("INSERT INTO t(user, name) VALUES(?, ?);")
	require.NoError(p, err)
	p.rows(tx.Query("SELECT count(user) FROM t;"))
	p.result(s.Exec("b", "a"))
	require.NoError(p, s.Close())
	require.NoError(p, tx.Commit())
	p.rows(db.Query("SELECT * FROM t"))
}

func checkVersion(p *peer) {
	text, number, id := sqlite3.Version()
	require.NotEmpty(p, text)
	require.NotZero(p, number)
	db := p.open("")
	require.Equal(p, text, testdb.Text(p, db, "SELECT sqlite_version()"))
	require.Equal(p, id, testdb.Text(p, db, "SELECT sqlite_source_id()"))
}

func checkConnAfterClose(p *peer) {
	var kept *sqlite3.SQLiteConn
	db := p.hooked(func(c *sqlite3.SQLiteConn) error {
		kept = c
		return nil
	})
	require.NoError(p, db.Ping())
	require.NoError(p, db.Close())
	require.NotNil(p, kept)
	for _, err := range []error{
		kept.RegisterCollation("c", func(string, string) int { return 0 }),
		kept.RegisterFunc("f", func() int64 { return 1 }, true),
		kept.RegisterAggregator("a", newProduct, true),
		kept.SetFileControlInt("", sqlite3.SQLITE_FCNTL_CHUNK_SIZE, 4096),
		kept.SetFileControlInt64("", sqlite3.SQLITE_FCNTL_CHUNK_SIZE, 4096),
	} {
		require.Error(p, err)
		p.tell(err)
	}
	kept.RegisterCommitHook(func() int { return 0 })
	kept.RegisterRollbackHook(func() {})
	kept.RegisterUpdateHook(func(int, string, string, int64) {})
	kept.RegisterAuthorizer(func(int, string, string, string) int { return sqlite3.SQLITE_OK })
	kept.RegisterAuthorizer(nil)
	p.tell(kept.AutoCommit(), kept.GetFilename("main"), kept.GetLimit(sqlite3.SQLITE_LIMIT_LENGTH), kept.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000))
}

func checkFileControlInt(p *peer) {
	path := testdb.Path(p)
	db := p.openBy(p.register(func(c *sqlite3.SQLiteConn) error {
		return c.SetFileControlInt("", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
	}), path)
	testdb.Exec(p, db, "PRAGMA journal_mode=wal")
	testdb.Exec(p, db, "CREATE TABLE t(x)")
	require.NoError(p, db.Close())
	if p.ours {
		require.NoFileExists(p, path+"-wal")
	} else {
		require.FileExists(p, path+"-wal")
	}
	p.rows(p.openAt(path).Query("SELECT * FROM t"))
}

func checkFileControlInt64(p *peer) {
	for _, op := range []int{sqlite3.SQLITE_FCNTL_SIZE_LIMIT, sqlite3.SQLITE_FCNTL_CHUNK_SIZE} {
		db := p.hooked(func(c *sqlite3.SQLiteConn) error {
			p.tell(c.SetFileControlInt64("", op, 4<<30))
			p.tell(c.SetFileControlInt64("nowhere", op, 4<<30))
			return nil
		})
		conn, err := db.Conn(ctx)
		require.NoError(p, err)
		testdb.Exec(p, conn, "CREATE TABLE t(x)")
		require.NoError(p, conn.Close())
	}
}

func checkExtensions(p *peer) {
	err := p.openFails(p.register(nil, "foobar"), testdb.Path(p))
	require.NotContains(p, err.Error(), "not an error")
	require.ErrorContains(p, err, "foobar")
}

func checkLoadExtension(p *peer) {
	err := p.openFails(p.register(func(c *sqlite3.SQLiteConn) error {
		err := c.LoadExtension("foobar", "")
		p.tell(err)
		return err
	}), testdb.Path(p))
	require.NotContains(p, err.Error(), "not an error")
}

func checkErrorText(p *peer) {
	_, err := p.open("").Exec("nonsense")
	e := err.(sqlite3.Error)
	require.Equal(p, "SQL logic error", e.Code.Error())
	p.tell(err, e.ExtendedCode.Error())
}

func checkNotADatabase(p *peer) {
	path := filepath.Join(p.TempDir(), "garbage.db")
	require.NoError(p, os.WriteFile(path, []byte{1, 2, 3, 4, 5}, 0o600))
	db, err := sql.Open(p.name(), path)
	require.NoError(p, err)
	_, err = db.Exec("DROP TABLE t")
	require.NotEmpty(p, err.Error())
	p.tellCodes(err)
	require.Equal(p, sqlite3.ErrNotADB, code(err))
	require.NoError(p, db.Close())
}

func checkLogicError(p *peer) {
	db := p.open("")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
	_, err := db.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY)")
	require.EqualError(p, err, "table t already exists")
	p.tell(err)
}

// breaks makes a table with constraints and one row, and tells the error of a
// statement that breaks one.
func (p *peer) breaks(want sqlite3.ErrNoExtended, query string) {
	db := p.open("?_foreign_keys=1")
	testdb.Exec(p, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, value INTEGER NOT NULL, ref INTEGER NULL REFERENCES t(id), UNIQUE(value)); INSERT INTO t(value) VALUES(100)")
	_, err := db.Exec(query)
	e, bare := err.(sqlite3.Error)
	require.True(p, bare)
	require.Equal(p, sqlite3.ErrConstraint, e.Code)
	require.Equal(p, want, e.ExtendedCode)
	require.Equal(p, "constraint failed", e.Code.Extend(3).Error())
	p.tell(err)
}

func checkForeignKeyCode(p *peer) {
	p.breaks(sqlite3.ErrConstraintForeignKey, "INSERT INTO t(ref, value) VALUES(900, 9)")
}

func checkNotNullCode(p *peer) {
	p.breaks(sqlite3.ErrConstraintNotNull, "INSERT INTO t(ref) VALUES(1)")
}

func checkUniqueCode(p *peer) {
	p.breaks(sqlite3.ErrConstraintUnique, "INSERT INTO t(ref, value) VALUES(1, 100)")
}

func checkErrno(p *peer) {
	err := p.openFails(p.name(), "file:"+testdb.Path(p)+"?mode=ro")
	var e sqlite3.Error
	require.ErrorAs(p, err, &e)
	require.Equal(p, syscall.ENOENT, e.SystemErrno)
	require.ErrorIs(p, e.SystemErrno, fs.ErrNotExist)
	p.tellCodes(err)
}

// checkBackup copies a database of some pages into an empty one, steps pages at a
// time.
func checkBackup(p *peer, pages int) {
	from, to := p.pinned(""), p.pinned("")
	testdb.Exec(p, from, "CREATE TABLE t(id INTEGER PRIMARY KEY, value TEXT); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2000) INSERT INTO t SELECT i, 'test '||i FROM c")
	require.Equal(p, "0", testdb.Text(p, to, "SELECT count(*) FROM sqlite_schema"))
	p.rawOf(from, func(source *sqlite3.SQLiteConn) error {
		p.rawOf(to, func(target *sqlite3.SQLiteConn) error {
			b, err := target.Backup("main", source, "main")
			require.NoError(p, err)
			done, err := b.Step(0)
			require.NoError(p, err)
			require.False(p, done)
			all := b.PageCount()
			require.Greater(p, all, 5)
			require.Equal(p, all, b.Remaining())
			p.tell(all)
			for left := all; !done; {
				done, err = b.Step(pages)
				require.NoError(p, err)
				require.Equal(p, all, b.PageCount())
				left -= pages
				if pages < 0 {
					left = 0
				}
				require.Equal(p, left, b.Remaining())
				require.Equal(p, left == 0, done)
			}
			return b.Finish()
		})
		return nil
	})
	p.rows(to.QueryContext(ctx, "SELECT count(*), min(value), max(value), total(id) FROM t"))
	require.Equal(p, "2000", testdb.Text(p, to, "SELECT count(*) FROM t"))
}

func checkBackupItself(p *peer) {
	p.rawOf(p.pinned(""), func(c *sqlite3.SQLiteConn) error {
		b, err := c.Backup("main", c, "main")
		require.Nil(p, b)
		require.EqualError(p, err, "source and destination must be distinct")
		p.tell(err)
		return nil
	})
}

func checkSerialize(p *peer) {
	from, to := p.open(""), p.open("")
	testdb.Exec(p, from, "CREATE TABLE t(name string); INSERT INTO t(name) VALUES('alice')")
	require.Equal(p, "0", testdb.Text(p, to, "SELECT count(*) FROM sqlite_schema"))
	var image []byte
	conn, err := from.Conn(ctx)
	require.NoError(p, err)
	p.rawOf(conn, func(c *sqlite3.SQLiteConn) (err error) {
		image, err = c.Serialize("")
		return err
	})
	require.NoError(p, conn.Close())
	to.SetMaxOpenConns(1) // of go-sqlite3 one connection has it
	conn, err = to.Conn(ctx)
	require.NoError(p, err)
	p.rawOf(conn, func(c *sqlite3.SQLiteConn) error { return c.Deserialize(image, "") })
	require.NoError(p, conn.Close())
	over, cancel := context.WithCancel(ctx)
	defer cancel()
	p.rows(to.QueryContext(over, "SELECT * FROM t"))
}
