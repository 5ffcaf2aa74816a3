//go:build cgo

package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

// Ensure that the reasons for which a database cannot be opened are told apart.
func TestOpen_errors(t *testing.T) {
	sound := image(t, 3).b
	causes := []error{osfile.ErrNotAFile, osfile.ErrReadOnly, osfile.ErrMountPoint, sqlitefile.ErrNotADatabase, sqlitefile.ErrTruncated, sqlitefile.ErrCorrupt, sqlitefile.ErrSideFile, sqlitefile.ErrBusy, fs.ErrNotExist}
	for name, tt := range map[string]struct {
		put  func(t *testing.T, path string)
		want error
	}{
		"zeros":         {func(t *testing.T, path string) { testfile.Write(t, path, make([]byte, 8192)) }, sqlitefile.ErrNotADatabase},
		"text":          {func(t *testing.T, path string) { testfile.Write(t, path, []byte("not a database")) }, sqlitefile.ErrNotADatabase},
		"cut":           {func(t *testing.T, path string) { testfile.Write(t, path, sound[:len(sound)-4096]) }, sqlitefile.ErrTruncated},
		"cut in a page": {func(t *testing.T, path string) { testfile.Write(t, path, sound[:len(sound)-100]) }, sqlitefile.ErrTruncated},
		"only a header": {func(t *testing.T, path string) { testfile.Write(t, path, sound[:50]) }, sqlitefile.ErrTruncated},
		"directory":     {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, osfile.ErrNotAFile},
		"device":        {func(t *testing.T, path string) { require.NoError(t, os.Symlink(os.DevNull, path)) }, osfile.ErrNotAFile},
		"a file in the way": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
			testfile.Write(t, filepath.Dir(path), nil)
		}, syscall.ENOTDIR},
		"no directory": {func(t *testing.T, path string) { require.NoError(t, os.Remove(filepath.Dir(path))) }, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dir", "x.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			tt.put(t, path)
			_, err := NewFile(path, new(history), false).Open(bg, new(memSink))
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, path)
			for _, cause := range causes {
				require.Equal(t, cause == tt.want, errors.Is(err, cause), cause)
			}
			require.Equal(t, name == "directory", errors.Is(err, syscall.EISDIR))
			if tt.want == osfile.ErrNotAFile {
				require.ErrorAs(t, err, new(*fs.PathError))
			}
		})
	}
}

// Ensure that Open waits for another program as long as it is told to.
func TestOpen_wait(t *testing.T) {
	path := testfile.New(t)
	db := testfile.OpenSQL(t, path)
	testfile.MustExec(t, db, "BEGIN IMMEDIATE")
	f := NewFile(path, new(history), false)
	f.Wait = 0
	_, err := f.Open(bg, new(memSink))
	require.ErrorIs(t, err, sqlitefile.ErrBusy)

	f = NewFile(path, new(history), false)
	f.Wait = time.Hour
	go func() {
		time.Sleep(2 * loadPoll)
		_, _ = db.Exec("COMMIT")
	}()
	_, err = f.Open(bg, new(memSink))
	require.NoError(t, err)
	require.NoError(t, f.Close(false))
}

// Ensure that only a lasting cause makes a file read-only. A failure that passes is reported
// as itself.
func TestOpen_writing(t *testing.T) {
	for cause, readOnly := range map[syscall.Errno]bool{
		syscall.EACCES: true, syscall.EPERM: true, syscall.EROFS: true,
		syscall.EMFILE: false, syscall.ENFILE: false, syscall.EIO: false, syscall.ENOMEM: false, syscall.EINTR: false,
	} {
		for _, b := range [][]byte{image(t, 3).b, nil} {
			path := filepath.Join(t.TempDir(), "x.db")
			testfile.Write(t, path, b)
			f := NewFile(path, new(history), false)
			f.fs = noWriting{osfile.OS{}, cause}
			_, err := f.Open(bg, new(memSink))
			require.ErrorIs(t, err, cause)
			require.Equal(t, readOnly, errors.Is(err, osfile.ErrReadOnly), cause)
			require.True(t, strings.Contains(err.Error(), path))
		}
	}
}

// noWriting opens no file for writing.
type noWriting struct {
	osfile.OS
	err error
}

func (n noWriting) OpenWrite(name string) (osfile.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: n.err}
}

// Ensure that Open and FoldLog refuse a file that is itself a mount point. They name the
// remedy and change nothing. FoldLog accepts such a file when there is no log.
func TestOpen_mountPoint(t *testing.T) {
	path, _ := logged(t, 2)
	dir := filepath.Dir(path)
	fs := &osfiletest.PlantedFS{FS: osfile.OS{}, OnMounted: func(name string) (bool, error) { return name == path, nil }}
	before := testfile.Contents(t, dir)
	f := NewFile(path, new(history), true)
	f.fs = fs
	_, err := f.Open(bg, new(memSink))
	require.ErrorIs(t, err, osfile.ErrMountPoint)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "mount the directory")
	fold := func() error {
		_, err := recoverer{loader: loader{fs: fs, wait: loadWait, poll: loadPoll}}.run(bg, path)
		return err
	}
	require.ErrorIs(t, fold(), osfile.ErrMountPoint)
	require.Equal(t, before, testfile.Contents(t, dir))

	require.NoError(t, os.Remove(pagelog.Name(path)))
	require.NoError(t, fold())
}
