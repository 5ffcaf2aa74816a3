//go:build cgo

package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests here plant known faults behind the seam, and require that the
// sweeps find them: a sweep that finds nothing in a sound product proves
// nothing by itself.

// plantedFS does what the functions that are set do in place of the real thing.
type plantedFS struct {
	fsys
	onCreate    func(name string, perm os.FileMode) (file, error)
	onOpen      func(name string) (file, error)
	onRename    func(from, to string) error
	onRenameNew func(from, to string) error
	onLink      func(name, also string) error
	onSyncDir   func(name string) error
	onLstat     func(name string) (os.FileInfo, error)
	onFile      func(name string, f *plantedFile) // sets functions of a new file
}

func (p *plantedFS) create(name string, perm os.FileMode) (file, error) {
	create := p.fsys.create
	if p.onCreate != nil {
		create = p.onCreate
	}
	f, err := create(name, perm)
	if err != nil || p.onFile == nil {
		return f, err
	}
	x := &plantedFile{file: f}
	p.onFile(name, x)
	return x, nil
}

func (p *plantedFS) open(name string) (file, error) {
	if p.onOpen != nil {
		return p.onOpen(name)
	}
	return p.fsys.open(name)
}

func (p *plantedFS) openWrite(name string) (file, error) {
	if p.onOpen != nil {
		return p.onOpen(name)
	}
	return p.fsys.openWrite(name)
}

func (p *plantedFS) lstat(name string) (os.FileInfo, error) {
	if p.onLstat != nil {
		return p.onLstat(name)
	}
	return p.fsys.lstat(name)
}

func (p *plantedFS) rename(from, to string) error {
	if p.onRename != nil {
		return p.onRename(from, to)
	}
	return p.fsys.rename(from, to)
}

func (p *plantedFS) renameNew(from, to string) error {
	if p.onRenameNew != nil {
		return p.onRenameNew(from, to)
	}
	return p.fsys.renameNew(from, to)
}

func (p *plantedFS) link(name, also string) error {
	if p.onLink != nil {
		return p.onLink(name, also)
	}
	return p.fsys.link(name, also)
}

func (p *plantedFS) syncDir(name string) error {
	if p.onSyncDir != nil {
		return p.onSyncDir(name)
	}
	return p.fsys.syncDir(name)
}

type plantedFile struct {
	file
	onReadAt   func(p []byte, off int64) (int, error)
	onWrite    func(p []byte) (int, error)
	onWriteAt  func(p []byte, off int64) (int, error)
	onSync     func() error
	onSyncData func() error
}

func (f *plantedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.onReadAt != nil {
		return f.onReadAt(p, off)
	}
	return f.file.ReadAt(p, off)
}

func (f *plantedFile) Write(p []byte) (int, error) {
	if f.onWrite != nil {
		return f.onWrite(p)
	}
	return f.file.Write(p)
}

func (f *plantedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.onWriteAt != nil {
		return f.onWriteAt(p, off)
	}
	return f.file.WriteAt(p, off)
}

func (f *plantedFile) Sync() error {
	if f.onSync != nil {
		return f.onSync()
	}
	return f.file.Sync()
}

func (f *plantedFile) syncData() error {
	if f.onSyncData != nil {
		return f.onSyncData()
	}
	return f.file.syncData()
}

func nothing() error { return nil }

// inPlace writes a file anew instead of renaming another to it.
func inPlace(f fsys) fsys {
	return &plantedFS{fsys: f, onRename: func(from, to string) error {
		b, err := os.ReadFile(from)
		if err == nil {
			err = f.remove(to)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		x, err := f.create(to, 0o600)
		if err != nil {
			return err
		}
		_, err = x.Write(b)
		return errors.Join(err, x.Sync(), x.Close(), f.remove(from))
	}}
}

// Ensure that the states of a power failure show each fault of the order of
// operations, and that they show it where it is to be expected.
func TestPlanted_power(t *testing.T) {
	tests := map[string]struct {
		plant func(f fsys) fsys
		run   string // of powerRuns
	}{
		"the file is never synced": {func(f fsys) fsys {
			return &plantedFS{fsys: f, onFile: func(_ string, x *plantedFile) { x.onSync = nothing }}
		}, "save over a save"},

		"the file is synced after the rename": {func(f fsys) fsys {
			return &plantedFS{fsys: f,
				onFile: func(_ string, x *plantedFile) { x.onSync = nothing },
				onRename: func(from, to string) error {
					if err := f.rename(from, to); err != nil {
						return err
					}
					x, err := f.open(to)
					if err != nil {
						return err
					}
					return errors.Join(x.Sync(), x.Close())
				}}
		}, "save over a save"},

		"the directory is never synced": {func(f fsys) fsys {
			return &plantedFS{fsys: f, onSyncDir: func(string) error { return nil }}
		}, "save over a save"},

		"the directory is not synced after the rename": {func(f fsys) fsys {
			renamed := false
			return &plantedFS{fsys: f,
				onRename: func(from, to string) error { renamed = true; return f.rename(from, to) },
				onSyncDir: func(name string) error {
					if renamed {
						return nil
					}
					return f.syncDir(name)
				}}
		}, "first save"},

		"the directory is not synced before the rename": {func(f fsys) fsys {
			renamed := false
			return &plantedFS{fsys: f,
				onRename: func(from, to string) error { renamed = true; return f.rename(from, to) },
				onSyncDir: func(name string) error {
					if !renamed {
						return nil
					}
					renamed = false
					return f.syncDir(name)
				}}
		}, "after a hot journal"},

		"the file is written in place": {inPlace, "save over a save"},

		"the copy beside a foreign change is not synced": {func(f fsys) fsys {
			return &plantedFS{fsys: f, onFile: func(_ string, x *plantedFile) { x.onSync = nothing }}
		}, "beside a foreign change"},

		"nor its directory": {func(f fsys) fsys {
			return &plantedFS{fsys: f, onSyncDir: func(string) error { return nil }}
		}, "beside a foreign change"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			errs, states := powerRuns[tt.run].bad(t, tt.plant)
			require.NotEmpty(t, errs, "not found in %d states", states)
			require.Less(t, len(errs), states, "found in every state: that is another fault")
		})
	}
}

// probe is a test that only notes whether it failed.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Errorf(string, ...any) { p.failed = true }
func (p *probe) FailNow()              { p.failed = true; panic(p) }
func (p *probe) Fatalf(string, ...any) { p.FailNow() }

// finds reports whether f fails its test.
func finds(t *testing.T, f func(t testing.TB)) (failed bool) {
	p := &probe{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(p) {
			panic(r)
		}
		failed = p.failed
	}()
	f(p)
	return p.failed
}

// Ensure that the sweep of faults shows a save that takes a failure for a
// success, or leaves things behind.
func TestPlanted_faults(t *testing.T) {
	tests := map[string]func(f fsys) fsys{
		// The rest of the file is missing: the save may not go on.
		"a short write is ignored": func(f fsys) fsys {
			return &plantedFS{fsys: f, onFile: func(_ string, x *plantedFile) {
				x.onWrite = func(p []byte) (int, error) { _, _ = x.file.Write(p); return len(p), nil }
			}}
		},
		"a failed sync is ignored": func(f fsys) fsys {
			return &plantedFS{fsys: f, onFile: func(_ string, x *plantedFile) {
				x.onSync = func() error { _ = x.file.Sync(); return nil }
			}}
		},
		"a failed sync of the directory is ignored": func(f fsys) fsys {
			return &plantedFS{fsys: f, onSyncDir: func(name string) error { _ = f.syncDir(name); return nil }}
		},
		"a failed rename is ignored": func(f fsys) fsys {
			return &plantedFS{fsys: f, onRename: func(from, to string) error { _ = f.rename(from, to); return nil }}
		},
		"a failed rename leaves the old file gone": func(f fsys) fsys {
			return &plantedFS{fsys: f, onRename: func(from, to string) error {
				return errors.Join(os.RemoveAll(to), f.rename(from, to))
			}}
		},
	}
	oldImg, newImg, nextImg := image(t, 5), image(t, 40), image(t, 7)
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				ffs := &faultFS{fsys: osFS{}, failAt: n, err: syscall.ENOSPC, short: true}
				if finds(t, func(t testing.TB) { faultySave(t, ffs, plant(ffs), oldImg, newImg, nextImg) }) {
					return
				}
				require.NotEmpty(t, ffs.fault, "not found")
			}
		})
	}
}

// Ensure that a file that is made without making sure that there is none is
// seen to overwrite what is there.
func TestPlanted_notExclusive(t *testing.T) {
	overwrites := func(f fsys) bool {
		path := filepath.Join(t.TempDir(), "x.db")
		writeFile(t, path, nil)
		// A file of the user's under each name that a copy could get.
		begin := time.Now().UTC()
		for i := range 120 {
			writeFile(t, path+".sqlite-mem-"+begin.Add(time.Duration(i)*time.Second).Format("20060102T150405Z"), []byte("mine"))
		}
		_, err := writer{f}.write(bg, path, image(t, 5), FileID{}, writeOptions{})
		var fe *ForeignChangeError
		require.ErrorAs(t, err, &fe)
		require.NoError(t, fe.Err)
		mine := 0
		for _, b := range dirContents(t, filepath.Dir(path)) {
			if b == "mine" {
				mine++
			}
		}
		return mine < 120
	}
	require.False(t, overwrites(osFS{}))
	require.True(t, overwrites(&plantedFS{fsys: osFS{}, onCreate: func(name string, perm os.FileMode) (file, error) {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, perm)
		return osFile{f}, err
	}}))
}
