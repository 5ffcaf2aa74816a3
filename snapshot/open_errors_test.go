//go:build cgo

package snapshot

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
)

// Ensure that the reasons for which a database cannot be opened are told apart.
func TestOpen_errors(t *testing.T) {
	sound := image(t, 3).b
	causes := []error{ErrNotAFile, ErrReadOnly, ErrMountPoint, ErrNotADatabase, ErrTruncated, ErrCorrupt, ErrSideFile, ErrBusy, fs.ErrNotExist}
	for name, tt := range map[string]struct {
		put  func(t *testing.T, path string)
		want error
	}{
		"zeros":         {func(t *testing.T, path string) { writeFile(t, path, make([]byte, 8192)) }, ErrNotADatabase},
		"text":          {func(t *testing.T, path string) { writeFile(t, path, []byte("not a database")) }, ErrNotADatabase},
		"cut":           {func(t *testing.T, path string) { writeFile(t, path, sound[:len(sound)-4096]) }, ErrTruncated},
		"cut in a page": {func(t *testing.T, path string) { writeFile(t, path, sound[:len(sound)-100]) }, ErrTruncated},
		"only a header": {func(t *testing.T, path string) { writeFile(t, path, sound[:50]) }, ErrTruncated},
		"directory":     {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, ErrNotAFile},
		"device":        {func(t *testing.T, path string) { require.NoError(t, os.Symlink(os.DevNull, path)) }, ErrNotAFile},
		"a file in the way": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Dir(path)))
			writeFile(t, filepath.Dir(path), nil)
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
			if tt.want == ErrNotAFile {
				require.ErrorAs(t, err, new(*fs.PathError))
			}
		})
	}
}

// Ensure that Open waits for another program as long as it is told to.
func TestOpen_wait(t *testing.T) {
	path := dbFile(t)
	db := openSQL(t, path)
	mustExec(t, db, "BEGIN IMMEDIATE")
	f := NewFile(path, new(history), false)
	f.Wait = 0
	_, err := f.Open(bg, new(memSink))
	require.ErrorIs(t, err, ErrBusy)

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

// Ensure that only what lasts makes a file read-only: a failure that passes is that
// failure.
func TestOpen_writing(t *testing.T) {
	for cause, readOnly := range map[syscall.Errno]bool{
		syscall.EACCES: true, syscall.EPERM: true, syscall.EROFS: true,
		syscall.EMFILE: false, syscall.ENFILE: false, syscall.EIO: false, syscall.ENOMEM: false, syscall.EINTR: false,
	} {
		for _, b := range [][]byte{image(t, 3).b, nil} {
			path := filepath.Join(t.TempDir(), "x.db")
			writeFile(t, path, b)
			f := NewFile(path, new(history), false)
			f.fs = noWriting{osFS{}, cause}
			_, err := f.Open(bg, new(memSink))
			require.ErrorIs(t, err, cause)
			require.Equal(t, readOnly, errors.Is(err, ErrReadOnly), cause)
			require.True(t, strings.Contains(err.Error(), path))
		}
	}
}

// noWriting opens no file for writing.
type noWriting struct {
	osFS
	err error
}

func (n noWriting) openWrite(name string) (file, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: n.err}
}
