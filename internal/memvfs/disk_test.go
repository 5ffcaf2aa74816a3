//go:build cgo

package memvfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// diskRecorder implements DiskHooks. It records the calls, and refuses with err.
type diskRecorder struct {
	mu    sync.Mutex
	held  map[string]int
	asked int // LockDisk since the last call of count
	tool  bool
	err   error

	created []string // by CreateDisk
}

func (r *diskRecorder) CreateDisk(path string, tool bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tool = tool
	if r.err != nil {
		return r.err
	}
	r.created = append(r.created, path)
	r.held[path]++
	return nil
}

func (r *diskRecorder) LockDisk(path string, tool bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	r.tool = tool
	if r.err != nil {
		return r.err
	}
	r.held[path]++
	return nil
}

func (r *diskRecorder) UnlockDisk(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[path]--
	if r.held[path] == 0 {
		delete(r.held, path)
	}
}

// count returns the number of calls of LockDisk since the last count, and the number of
// files that are held.
func (r *diskRecorder) count() (asked, held int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked, r.asked = r.asked, 0
	return asked, len(r.held)
}

func recordDisk(t *testing.T) *diskRecorder {
	r := &diskRecorder{held: map[string]int{}}
	require.NoError(t, Register())
	SetDiskHooks(r)
	t.Cleanup(func() {
		_, held := r.count()
		require.Zero(t, held, "a file is held without a transaction")
		diskHooks.Store(nil)
	})
	return r
}

func diskPath(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return filepath.Join(dir, "disk.db")
}

// openDisk opens a file through the VFS for the disk, as a tool does.
func openDisk(t *testing.T, path, params string) *testConn {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?vfs=" + DiskName + "&" + DiskParam + "=1&_busy_timeout=0" + params)
	require.NoError(t, err)
	return &testConn{t, c.(*sqlite3.SQLiteConn)}
}

func openPlain(t *testing.T, path string) *testConn {
	t.Helper()
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?_busy_timeout=0")
	require.NoError(t, err)
	return &testConn{t, c.(*sqlite3.SQLiteConn)}
}

// fileWith makes a database file by SQLite's own VFS, runs query on it, and returns its
// path.
func fileWith(t *testing.T, query string) string {
	t.Helper()
	path := diskPath(t)
	c := openPlain(t, path)
	c.exec(query)
	c.close()
	return path
}

// crashCopy copies a database and the file beside it, as a crash would leave them now. It
// returns the new path.
func crashCopy(t *testing.T, path, beside string) string {
	t.Helper()
	to := diskPath(t)
	for _, suffix := range []string{"", beside} {
		b, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, b, 0o600))
	}
	return to
}

// until calls f again and again until stop is closed.
func until(stop <-chan struct{}, f func()) {
	for {
		select {
		case <-stop:
			return
		default:
			f()
		}
	}
}

const tableOfOne = "CREATE TABLE t(x); INSERT INTO t VALUES(1)"

func extended(err error) sqlite3.ErrNoExtended {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.ExtendedCode
	}
	return 0
}

// Ensure that Go is asked once for each transaction that writes to a file on the disk,
// before the write, and told of its end. It is not asked for a read. This holds for all
// journal modes, for writes by SQLite itself, and in WAL mode.
func TestDisk_asks(t *testing.T) {
	r := recordDisk(t)
	path := diskPath(t)
	c := openDisk(t, path, "")
	step := func(query string, asked, held int) {
		t.Helper()
		c.exec(query)
		gotAsked, gotHeld := r.count()
		require.Equal(t, asked, gotAsked, "asked by %s", query)
		require.Equal(t, held, gotHeld, "held after %s", query)
	}
	step("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", 1, 0)
	require.True(t, r.tool)
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"} {
		c.exec("PRAGMA journal_mode=" + mode)
		r.count()
		step("SELECT * FROM t", 0, 0)
		step("BEGIN", 0, 0)
		step("SELECT * FROM t", 0, 0)
		step("INSERT INTO t(x) VALUES(1)", 1, 1)
		step("INSERT INTO t(x) VALUES(1)", 0, 1)
		step("COMMIT", 0, 0)
		step("BEGIN IMMEDIATE", 1, 1)
		step("ROLLBACK", 0, 0)
		step("BEGIN EXCLUSIVE", 1, 1)
		step("COMMIT", 0, 0)
		step("VACUUM", 1, 0)
		step("PRAGMA user_version=3", 1, 0)
	}
	c.exec("BEGIN IMMEDIATE")
	c.close() // in the middle of a transaction
	_, held := r.count()
	require.Zero(t, held)

	// The first reader rolls back a hot journal.
	plain := openPlain(t, path)
	plain.exec("PRAGMA cache_size=1; BEGIN; UPDATE t SET x=zeroblob(5000)")
	crashed := crashCopy(t, path, "-journal")
	plain.close()
	c = openDisk(t, crashed, "")
	step("SELECT count(*) FROM t", 1, 0)
	require.NoFileExists(t, crashed+"-journal")
	c.close()

	// Another program has left the file in WAL mode. The first reader builds the index of
	// the log, and Go is not asked for that.
	plain = openPlain(t, path)
	require.Equal(t, "wal", plain.text("PRAGMA journal_mode=WAL"))
	plain.exec("INSERT INTO t(x) VALUES(7)")
	copied := crashCopy(t, path, "-wal")
	plain.close()
	c = openDisk(t, copied, "")
	step("SELECT count(*) FROM t", 0, 0)
	require.Equal(t, "7", c.text("SELECT x FROM t ORDER BY id DESC LIMIT 1"))
	step("INSERT INTO t(x) VALUES(8)", 1, 0)
	step("PRAGMA wal_checkpoint", 1, 0)
	step("BEGIN IMMEDIATE", 1, 1)
	step("COMMIT", 0, 0)
	step("PRAGMA wal_checkpoint(TRUNCATE)", 1, 0)
	step("INSERT INTO t(x) VALUES(9)", 1, 0)
	c.close() // the last connection empties the log
	asked, held := r.count()
	require.Equal(t, [2]int{1, 0}, [2]int{asked, held})
	require.NoFileExists(t, copied+"-wal")
	plain = openPlain(t, copied)
	require.Equal(t, "9", plain.text("SELECT x FROM t ORDER BY id DESC LIMIT 1"))
	plain.close()
}

// Ensure that Go is asked once before any statement creates a database file, and holds its
// answer until the file exists. It is not asked if the file exists or SQLite may not create
// it.
func TestDisk_creates(t *testing.T) {
	r := recordDisk(t)
	mem := open(t, newStore(t, 0))
	mem.exec("CREATE TABLE t(x)")
	tool := openDisk(t, diskPath(t), "")
	tool.exec("CREATE TABLE t(x)")
	for _, c := range []*testConn{mem, tool} {
		for _, query := range []string{"ATTACH ? AS o; DETACH o", "VACUUM INTO ?"} {
			path := diskPath(t)
			r.created = nil
			c.exec(query, path)
			require.Equal(t, []string{path}, r.created, query)
			require.False(t, r.tool)
			_, held := r.count()
			require.Zero(t, held)
			c.exec("ATTACH ? AS o; DETACH o", path)
			require.Len(t, r.created, 1, "it is there")
		}
		path := diskPath(t)
		require.Equal(t, sqlite3.ErrCantOpen, code(c.try("ATTACH ? AS o", "file:"+path+"?mode=rw")))
		require.NoFileExists(t, path)
		require.Equal(t, sqlite3.ErrCantOpen, code(c.try("ATTACH ? AS o", filepath.Dir(path))))
		require.NotContains(t, r.created, path)
		if runtime.GOOS != "windows" { // SQLite takes an empty directory for an empty file there
			require.NotContains(t, r.created, filepath.Dir(path))
		}
	}
	path := diskPath(t)
	openDisk(t, path, "").close()
	require.Equal(t, path, r.created[len(r.created)-1])
	require.True(t, r.tool)
	mem.close()
	tool.close()
}

// Ensure that a refused file is not created and nothing is left behind. SQLite gets
// SQLITE_CANTOPEN, with the system's error if there is one, or SQLITE_BUSY for a passing
// reason.
func TestDisk_createRefused(t *testing.T) {
	r := recordDisk(t)
	mem := open(t, newStore(t, 0))
	defer mem.close()
	for _, tt := range []struct {
		err  error
		code sqlite3.ErrNo
		text string
	}{
		{fmt.Errorf("lock: %w", syscall.EMFILE), sqlite3.ErrCantOpen, ": " + syscall.EMFILE.Error()},
		{fmt.Errorf("served: %w", sqlite3.Error{Code: sqlite3.ErrReadonly}), sqlite3.ErrCantOpen, ""},
		{sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyDbMoved}, sqlite3.ErrCantOpen, ""},
		{sqlite3.Error{Code: sqlite3.ErrBusy}, sqlite3.ErrBusy, ""},
	} {
		r.err = tt.err
		path := diskPath(t)
		for _, query := range []string{"ATTACH ? AS o", "VACUUM INTO ?"} {
			err := mem.try(query, path)
			require.Equal(t, tt.code, code(err), "%s: %v", query, err)
			require.EqualError(t, err, "unable to open database: "+path+tt.text)
		}
		_, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?vfs=" + DiskName + "&" + DiskParam + "=1")
		require.Equal(t, tt.code, code(err))
		require.NoFileExists(t, path)
		end, err := BeginLoad(t.Context(), path)
		require.NoError(t, err, "nobody has it attached")
		end()
		r.err = nil
		mem.exec("ATTACH ? AS o; CREATE TABLE o.t(x); DETACH o", path)
	}
}

// Ensure that a refused write does not happen, that SQLite gets the code of the refusal,
// and that the connection goes on working.
func TestDisk_refused(t *testing.T) {
	r := recordDisk(t)
	for _, wal := range []bool{false, true} {
		query := tableOfOne
		if wal {
			query += "; PRAGMA journal_mode=WAL"
		}
		path := fileWith(t, query)
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		c := openDisk(t, path, "")
		for _, tt := range []struct {
			err  error
			code sqlite3.ErrNo
			ext  sqlite3.ErrNoExtended
		}{
			{errors.New("no descriptors"), sqlite3.ErrIoErr, sqlite3.ErrIoErrLock},
			{sqlite3.Error{Code: sqlite3.ErrBusy}, sqlite3.ErrBusy, 0},
			{fmt.Errorf("served: %w", sqlite3.Error{Code: sqlite3.ErrReadonly}), sqlite3.ErrReadonly, 0},
			{sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrReadonlyDbMoved}, sqlite3.ErrReadonly, sqlite3.ErrReadonlyDbMoved},
		} {
			r.err = tt.err
			for _, query := range []string{
				"INSERT INTO t VALUES(2)", "CREATE TABLE u(x)", "PRAGMA user_version=7", "VACUUM", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE",
				"SELECT * FROM t; DELETE FROM t", "BEGIN; SELECT * FROM t; UPDATE t SET x=3",
			} {
				err := c.try(query)
				require.Equal(t, tt.code, code(err), "%s: %v", query, err)
				if tt.ext != 0 {
					require.Equal(t, tt.ext, extended(err), "%s: %v", query, err)
				}
				if !c.AutoCommit() {
					c.exec("ROLLBACK")
				}
				require.Equal(t, "1", c.text("SELECT * FROM t"))
			}
		}
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after)
		r.err = nil
		c.exec("INSERT INTO t VALUES(2)")
		require.Equal(t, "2", c.text("SELECT count(*) FROM t"))
		c.close()
	}
}

// Ensure that a file that was replaced or removed is not written to:
// SQLITE_READONLY_DBMOVED.
func TestDisk_moved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open database can be neither replaced nor removed")
	}
	recordDisk(t)
	path := fileWith(t, tableOfOne)
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	c := openDisk(t, path, "")
	c.exec("INSERT INTO t VALUES(2)")
	for _, replace := range []bool{true, false} {
		if replace {
			require.NoError(t, os.WriteFile(path+".new", image, 0o600))
			require.NoError(t, os.Rename(path+".new", path))
		} else {
			require.NoError(t, os.Remove(path))
		}
		for _, query := range []string{"INSERT INTO t VALUES(3)", "BEGIN IMMEDIATE", "VACUUM"} {
			require.Equal(t, sqlite3.ErrReadonlyDbMoved, extended(c.try(query)), query)
		}
		require.Equal(t, "2", c.text("SELECT count(*) FROM t"))
	}
	c.close()
}

// Ensure that no pragma puts a file on the disk into WAL mode or keeps its lock. The file
// is that of a tool or attached to a store, and the pragma has a schema or none.
func TestDisk_pragmas(t *testing.T) {
	r := recordDisk(t)
	check := func(c *testConn, path, pragma, want string) {
		t.Helper()
		require.Equal(t, want, c.text("PRAGMA "+pragma), pragma)
		c.exec("CREATE TABLE IF NOT EXISTS o.t(x); INSERT INTO o.t VALUES(1)")
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, []byte{1, 1}, b[18:20], "%s: the file is in WAL mode", pragma)
		_, held := r.count()
		require.Zero(t, held, pragma)
	}
	path, attached := diskPath(t), diskPath(t)
	tool, s := openDisk(t, path, ""), newStore(t, 0)
	c := open(t, s)
	for _, c := range []*testConn{tool, c} {
		c.exec("ATTACH ? AS o", attached)
		for _, pragma := range []string{"journal_mode=WAL", "main.journal_mode=wal", "o.journal_mode=wAl", "journal_mode=w", "journal_mode='wa'", "o.journal_mode(WAL)"} {
			check(c, attached, pragma, "delete")
		}
		for _, pragma := range []string{"locking_mode=EXCLUSIVE", "main.locking_mode=exclusive", "o.locking_mode=EXCLUSIVE", "locking_mode"} {
			check(c, attached, pragma, "normal")
		}
		c.exec("PRAGMA o.journal_mode=PERSIST")
		check(c, attached, "o.journal_mode=WAL", "persist")
		c.exec("PRAGMA o.journal_mode=DELETE")
		c.exec("DETACH o")
	}
	tool.close()
	c.close()

	// An existing log is used, and WAL mode can be left.
	plain := openPlain(t, path)
	require.Equal(t, "wal", plain.text("PRAGMA journal_mode=WAL"))
	plain.close()
	tool = openDisk(t, path, "")
	require.Equal(t, "wal", tool.text("PRAGMA journal_mode=WAL"))
	require.Equal(t, "delete", tool.text("PRAGMA journal_mode=DELETE"))
	require.Equal(t, "delete", tool.text("PRAGMA journal_mode=WAL"))
	tool.close()
}

// Ensure that a connection without locks (nolock=1) reads a file of the disk and does not
// write it.
func TestDisk_nolock(t *testing.T) {
	recordDisk(t)
	path := fileWith(t, tableOfOne)
	c := openDisk(t, path, "&nolock=1")
	require.Equal(t, "1", c.text("SELECT x FROM t"))
	require.Equal(t, sqlite3.ErrReadonly, code(c.try("INSERT INTO t VALUES(2)")))
	c.close()
	plain := openPlain(t, path)
	require.Equal(t, "1", plain.text("SELECT group_concat(x) FROM t"))
	plain.close()
}

// Ensure that no store and no file of the disk is opened with SQLite's shared cache, as the
// main database or by ATTACH.
func TestDisk_sharedCache(t *testing.T) {
	recordDisk(t)
	s, path := newStore(t, 0), diskPath(t)
	c := open(t, s)
	tool := openDisk(t, path, "")
	for _, name := range []string{s.Path(), path} {
		for _, params := range []string{"cache=shared", "mode=rw&cache=shared", "cache=private&cache=shared", "cache=shared&vfs=" + DiskName} {
			require.Equal(t, sqlite3.ErrCantOpen, code(c.try("ATTACH ? AS x", "file:"+name+"?"+params)), params)
			require.Equal(t, sqlite3.ErrCantOpen, code(tool.try("ATTACH ? AS x", "file:"+name+"?"+params)), params)
		}
		c.exec("ATTACH ? AS x", "file:"+name+"?cache=private")
		c.exec("DETACH x")
	}
	c.close()
	tool.close()
}

// Ensure that a load waits while the file is attached or locked, that no connection
// attaches or locks it during the load. The wait ends with SQLITE_BUSY at the end of its
// context.
func TestBeginLoad(t *testing.T) {
	recordDisk(t)
	path := fileWith(t, tableOfOne)
	s := newStore(t, 0)
	attached, tool := open(t, s), openDisk(t, path, "")
	refused := func(attachedCount, locked int) {
		t.Helper()
		for _, wait := range []time.Duration{0, 120 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			_, err := BeginLoad(ctx, path)
			cancel()
			require.ErrorIs(t, err, ErrDiskInUse)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, sqlite3.ErrBusy, code(err))
			var inUse *DiskInUseError
			require.ErrorAs(t, err, &inUse)
			require.Equal(t, [2]int{attachedCount, locked}, [2]int{inUse.Attached, inUse.Locked}, err.Error())
			require.Contains(t, err.Error(), path)
		}
	}
	// loads begins a load that has to wait, calls end to let it go on, and ends it.
	loads := func(end func()) {
		t.Helper()
		began := make(chan func())
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			done, err := BeginLoad(ctx, path)
			if err != nil {
				t.Error(err)
				done = func() {}
			}
			began <- done
		}()
		select {
		case <-began:
			t.Fatal("the load did not wait")
		case <-time.After(150 * time.Millisecond): // longer than one turn of the wait
		}
		end()
		done := <-began
		require.Equal(t, sqlite3.ErrBusy, code(tool.try("SELECT * FROM t")))
		require.Equal(t, sqlite3.ErrBusy, code(tool.try("INSERT INTO t VALUES(2)")))
		require.Equal(t, sqlite3.ErrBusy, code(attached.try("ATTACH ? AS o", path)))
		done()
		done() // once is enough
		require.Equal(t, "1", tool.text("SELECT * FROM t"))
	}

	attached.exec("ATTACH ? AS o", path)
	refused(1, 0)
	require.Equal(t, "1", attached.text("SELECT x FROM o.t"), "it goes on to work while a load waits")
	loads(func() { attached.exec("DETACH o") })
	attached.exec("ATTACH ? AS o; BEGIN; SELECT * FROM o.t", path)
	refused(1, 1)
	attached.exec("COMMIT; DETACH o")

	for _, begin := range []string{"BEGIN; SELECT * FROM t", "BEGIN IMMEDIATE"} {
		tool.exec(begin)
		refused(0, 1)
		loads(func() { tool.exec("ROLLBACK") })
	}
	second := openDisk(t, path, "")
	second.exec("BEGIN IMMEDIATE")
	loads(second.close)

	// Two loads: one waits for the other.
	first, err := BeginLoad(t.Context(), path)
	require.NoError(t, err)
	refused(0, 0)
	require.Equal(t, sqlite3.ErrBusy, code(tool.try("SELECT * FROM t")), "the one that gave up has not ended the other")
	first()

	// The engine itself refuses a store whose journal would be mixed up with that of the
	// file.
	attached.exec("ATTACH ? AS o", path)
	_, err = NewStore(path, 0, nil)
	require.ErrorIs(t, err, sqlite3.ErrBusy)
	attached.exec("DETACH o")
	tool.close()
	attached.close()
}

// Ensure that a load begins although readers follow each other without a gap.
func TestBeginLoad_readers(t *testing.T) {
	recordDisk(t)
	path := fileWith(t, tableOfOne)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		c := openDisk(t, path, "")
		c.exec("PRAGMA busy_timeout=60000")
		wg.Go(func() {
			defer c.close()
			until(stop, func() {
				if err := c.try("BEGIN; SELECT * FROM t"); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Millisecond)
				if err := c.try("COMMIT"); err != nil {
					t.Error(err)
				}
			})
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer wg.Wait()
	defer close(stop)
	for range 5 {
		end, err := BeginLoad(ctx, path)
		require.NoError(t, err)
		end()
	}
}

// Ensure that a failed open leaves nothing behind, also if memory ran out. The file can be
// loaded, and opened later.
func TestDisk_failingOpen(t *testing.T) {
	recordDisk(t)
	dir := filepath.Dir(diskPath(t))
	s := newStore(t, 0)
	c := open(t, s)
	defer c.close()
	loadable := func(path string) {
		t.Helper()
		end, err := BeginLoad(t.Context(), path)
		require.NoError(t, err)
		end()
	}
	for _, path := range []string{dir, filepath.Join(dir, "none", "x.db")} {
		for range 2 {
			require.Equal(t, sqlite3.ErrCantOpen, code(c.try("ATTACH ? AS o", path)))
			_, err := (&sqlite3.SQLiteDriver{}).Open("file:" + path + "?vfs=" + DiskName)
			require.Equal(t, sqlite3.ErrCantOpen, code(err))
		}
	}
	loadable(dir)
	path := filepath.Join(dir, "x.db")
	FailAlloc(1, true)
	require.Equal(t, sqlite3.ErrNomem, code(c.try("ATTACH ? AS o", path)))
	_, err := BeginLoad(t.Context(), path)
	require.ErrorIs(t, err, sqlite3.ErrNomem)
	FailAlloc(0, false)
	loadable(path)
	c.exec("ATTACH ? AS o; CREATE TABLE o.t(x); DETACH o", path)
	loadable(path)
}

// Ensure that a name is a store or a file of the disk, never both, while connections attach
// and loads run. No commit to the file is undone by the journal of the store.
func TestDisk_storm(t *testing.T) {
	recordDisk(t)
	path := fileWith(t, "CREATE TABLE t(x)")
	main := newStore(t, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var commits, others atomic.Int64
	for range 3 {
		c := open(t, main)
		c.exec("PRAGMA busy_timeout=10000")
		wg.Go(func() {
			defer c.close()
			until(stop, func() {
				if c.try("ATTACH ? AS o", path) != nil {
					return // it is being loaded
				}
				if c.try("INSERT INTO o.t VALUES(1)") == nil {
					commits.Add(1)
				} else {
					others.Add(1) // the store has no such table
				}
				if err := c.try("DETACH o"); err != nil {
					t.Error(err)
				}
			})
		})
	}
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		end, err := BeginLoad(t.Context(), path)
		require.NoError(t, err)
		s, err := NewStore(path, 0, t)
		require.NoError(t, err)
		s.Loaded()
		end()
		time.Sleep(2 * time.Millisecond)
		for s.Close() != nil {
			runtime.Gosched()
		}
	}
	close(stop)
	wg.Wait()
	require.Positive(t, commits.Load())
	require.Positive(t, others.Load())
	require.NoFileExists(t, path+"-journal")
	plain := openPlain(t, path)
	require.Equal(t, fmt.Sprint(commits.Load()), plain.text("SELECT count(*) FROM t"))
	require.Equal(t, "ok", plain.text("PRAGMA integrity_check"))
	plain.close()
	t.Log(commits.Load(), "commits to the file,", others.Load(), "times it was the store")
}
