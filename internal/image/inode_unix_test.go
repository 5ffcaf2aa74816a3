//go:build cgo && unix

package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// forgetful is a file system whose inode numbers last only while a file is open, like exFAT
// and many network file systems.
type forgetful struct {
	osfile.FS
	mu     sync.Mutex
	open_  map[uint64]int    // true inode number to how often it is open
	number map[uint64]uint64 // and to the one that is given out
	last   uint64
}

func newForgetful(f osfile.FS) *forgetful {
	return &forgetful{FS: f, open_: map[uint64]int{}, number: map[uint64]uint64{}}
}

// forget gives every file that is not open a new number.
func (f *forgetful) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ino := range f.number {
		if f.open_[ino] == 0 {
			delete(f.number, ino)
		}
	}
}

func (f *forgetful) info(info os.FileInfo, err error) (os.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	st := info.Sys().(*syscall.Stat_t) // of its own, and what os.SameFile compares
	if f.number[uint64(st.Ino)] == 0 {
		f.last++
		f.number[uint64(st.Ino)] = 1<<32 + f.last
	}
	st.Ino = f.number[uint64(st.Ino)]
	return info, nil
}

func (f *forgetful) Stat(name string) (os.FileInfo, error) { return f.info(f.FS.Stat(name)) }

func (f *forgetful) Lstat(name string) (os.FileInfo, error) { return f.info(f.FS.Lstat(name)) }

func (f *forgetful) wrap(x osfile.File, err error) (osfile.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := x.Stat()
	if err != nil {
		return nil, err
	}
	ino := uint64(info.Sys().(*syscall.Stat_t).Ino)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open_[ino]++
	return &forgetfulFile{x, f, ino}, nil
}

func (f *forgetful) Create(name string, perm os.FileMode) (osfile.File, error) {
	return f.wrap(f.FS.Create(name, perm))
}

func (f *forgetful) Open(name string) (osfile.File, error) { return f.wrap(f.FS.Open(name)) }

func (f *forgetful) OpenWrite(name string) (osfile.File, error) { return f.wrap(f.FS.OpenWrite(name)) }

type forgetfulFile struct {
	osfile.File
	fs  *forgetful
	ino uint64
}

func (f *forgetfulFile) Stat() (os.FileInfo, error) { return f.fs.info(f.File.Stat()) }

func (f *forgetfulFile) Close() error {
	f.fs.mu.Lock()
	f.fs.open_[f.ino]--
	f.fs.mu.Unlock()
	return f.File.Close()
}

// inodesForgotten saves where inode numbers last only while a file is open. below is the file
// system below.
func inodesForgotten(t testing.TB, below osfile.FS, log bool) {
	t.Helper()
	want := logStates(t, 8)
	path := filepath.Join(t.TempDir(), "x.db")
	fs := newForgetful(below)
	counting := &osfiletest.FaultFS{FS: fs}
	f, h := served(t, counting, path, log, want)
	f.Keep = 2
	for _, img := range want[1:6] {
		fs.forget()
		require.NoError(t, f.Check())
		h.commit(img.b)
		if log {
			require.NoError(t, f.Flush())
			fs.forget()
		}
		saved, err := f.Save(bg, Pace{})
		require.NoError(t, err)
		require.NoError(t, saved.NotKept)
	}
	fs.forget()
	testfile.Write(t, path, want[7].b)
	h.commit(want[6].b)
	_, err := f.Save(bg, Pace{})
	first := requireForeign(t, err, path, want[6])
	counting.Ops = nil
	for range 5 {
		fs.forget()
		_, err = f.Save(bg, Pace{})
		require.Equal(t, first.SavedAs, requireForeign(t, err, path, want[6]).SavedAs)
	}
	require.NotContains(t, strings.Join(counting.Ops, "\n"), "create ")

	require.NoError(t, os.Rename(first.SavedAs, path))
	fs.forget()
	_, err = f.Save(bg, Pace{})
	require.NoError(t, err)
	require.Equal(t, string(want[6].b), string(testfile.Read(t, path)))
}

// Ensure that where inode numbers do not last, no save takes its own file for another. A
// save that is refused does not write its copy again at each retry.
func TestFile_inodesForgotten(t *testing.T) {
	for name, below := range map[string]osfile.FS{"links": osfile.OS{}, "copies": withoutLinks(osfile.OS{})} {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/log=%v", name, log), func(t *testing.T) { inodesForgotten(t, below, log) })
		}
	}
}

// Ensure that the test finds a process that knows its file by an inode number which it has
// noted, and does not keep the file open.
func TestPlanted_inode(t *testing.T) {
	sqlitefile.Pins = false
	defer func() { sqlitefile.Pins = true }()
	for _, log := range []bool{false, true} {
		require.True(t, osfiletest.Finds(t, func(t testing.TB) { inodesForgotten(t, osfile.OS{}, log) }), "log=%v", log)
	}
}

// copyUp is a file system that copies a file when it is first opened for writing, like
// overlayfs. Until then its name has another inode number.
type copyUp struct {
	osfile.FS
	mu     sync.Mutex
	copied map[string]bool // guarded by mu
}

func (c *copyUp) info(name string, info os.FileInfo, err error) (os.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := info.Sys().(*syscall.Stat_t); !c.copied[name] {
		st.Ino += 1 << 40
	}
	return info, nil
}

func (c *copyUp) Stat(name string) (os.FileInfo, error) {
	info, err := c.FS.Stat(name)
	return c.info(name, info, err)
}

func (c *copyUp) Lstat(name string) (os.FileInfo, error) {
	info, err := c.FS.Lstat(name)
	return c.info(name, info, err)
}

// mark notes that a file is the copy, or new.
func (c *copyUp) mark(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied[name] = true
}

func (c *copyUp) Create(name string, perm os.FileMode) (osfile.File, error) {
	c.mark(name)
	return c.FS.Create(name, perm)
}

func (c *copyUp) OpenWrite(name string) (osfile.File, error) {
	c.mark(name)
	return c.FS.OpenWrite(name)
}

func (c *copyUp) Rename(from, to string) error {
	c.mark(to)
	return c.FS.Rename(from, to)
}

func (c *copyUp) Link(name, also string) error {
	c.mark(also)
	return c.FS.Link(name, also)
}

// Ensure that a file is served as any other where the file system copies it at the first write.
func TestFile_copyUp(t *testing.T) {
	dir := t.TempDir()
	want := logStates(t, 5)
	for _, name := range []string{"x.db", "y.db"} {
		testfile.Write(t, filepath.Join(dir, name), want[0].b)
	}
	servedAfterCopyUp(t, &copyUp{FS: osfile.OS{}, copied: map[string]bool{}}, dir, want)
}

// servedAfterCopyUp loads and saves x.db in dir, twice. It makes sure that a write of another
// program to y.db is noticed. Both files are want[0], and fs copies them when they are first
// written.
func servedAfterCopyUp(t *testing.T, fs osfile.FS, dir string, want []*memImage) {
	t.Helper()
	path := filepath.Join(dir, "x.db")
	for i := 1; i < 5; i += 2 {
		h := new(history)
		h.commit(want[i-1].b)
		f := openLoggedOn(t, fs, path, h)
		f.Keep = 1
		require.NoError(t, f.Check())
		h.commit(want[i].b)
		require.NoError(t, f.Flush())
		h.commit(want[i+1].b)
		saved, err := f.Save(bg, Pace{})
		require.NoError(t, errors.Join(err, saved.NotKept))
		require.NoError(t, f.Close(true))
	}
	require.Equal(t, string(want[4].b), string(testfile.Read(t, path)))

	path = filepath.Join(dir, "y.db")
	h := new(history)
	h.commit(want[0].b)
	f := openLoggedOn(t, fs, path, h)
	testfile.MustExec(t, testfile.OpenSQL(t, path), "INSERT INTO t(b) VALUES('theirs')")
	require.ErrorIs(t, f.Check(), ErrChanged)
	require.NoError(t, f.Close(false))
}

// Ensure that locks of SQLite in this process outlast flushes, Check, and saves that are
// refused. Another process still cannot write.
func TestFile_keepsLocks(t *testing.T) {
	if path := os.Getenv("SNAPSHOT_TEST_LOCKED"); path != "" {
		d, err := sqlitefile.Open(path, "_busy_timeout=0")
		if err == nil {
			err = d.Exec("BEGIN IMMEDIATE")
			d.Close()
		}
		fmt.Printf("busy=%v\n", err != nil)
		return
	}
	locked := func(path string) bool {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFile_keepsLocks$")
		cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_LOCKED="+path)
		out, err := cmd.Output()
		require.NoError(t, err)
		return strings.Contains(string(out), "busy=true")
	}
	want := logStates(t, 3)
	path := filepath.Join(t.TempDir(), "x.db")
	f, h := served(t, osfile.OS{}, path, true, want)
	db := testfile.OpenSQL(t, path)
	require.False(t, locked(path))
	testfile.MustExec(t, db, "PRAGMA synchronous=OFF", "BEGIN IMMEDIATE") // its journal is live at once
	h.commit(want[1].b)
	require.NoError(t, f.Flush())
	require.NoError(t, f.Check())
	require.True(t, locked(path))

	testfile.MustExec(t, db, "INSERT INTO t(b) VALUES('theirs')") // makes a journal
	h.commit(want[2].b)
	for range 2 {
		_, err := f.Save(bg, Pace{})
		requireForeign(t, err, path, want[2])
	}
	require.True(t, locked(path))
	testfile.MustExec(t, db, "COMMIT")
	_, err := f.Save(bg, Pace{})
	requireForeign(t, err, path, want[2])

	testfile.MustExec(t, db, "BEGIN IMMEDIATE")
	var later io.Closer
	f.CloseLater = func(c io.Closer) { later = c }
	require.NoError(t, f.Close(false))
	require.True(t, locked(path))
	testfile.MustExec(t, db, "COMMIT")
	require.NoError(t, later.Close())
}
