package osfiletest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// Recording is a record of the operations in a directory.
type Recording struct {
	root string

	mu    sync.Mutex
	first map[string]int // at the beginning: name below root to file
	names map[string]int // now
	files [][]byte       // contents now, by number
	kept  [][]byte       // contents at the beginning; nil for files made later
	ops   []powerOp
	begin int // number of ops; PowerStates passes over what comes before
}

type powerKind int

const (
	opWrite powerKind = iota
	opTruncate
	opSync
	opRewrite // past the seam: data is all of the file, synced
	opCreate
	opLink
	opRename
	opRemove
	opSyncDir
	opTell
)

type powerOp struct {
	kind     powerKind
	file     int
	off      int64 // of a write; the new length of a truncation
	data     []byte
	name, to string // below root
}

func (o powerOp) String() string {
	verb := [...]string{"write", "truncate", "sync", "rewrite", "create", "link", "rename", "remove", "syncDir", "tell"}[o.kind]
	switch o.kind {
	case opTell:
		return verb
	case opWrite:
		return fmt.Sprintf("write %s %d+%d", o.name, o.off, len(o.data))
	case opTruncate:
		return fmt.Sprintf("truncate %s %d", o.name, o.off)
	case opLink, opRename:
		return fmt.Sprintf("%s %s %s", verb, o.name, o.to)
	}
	return verb + " " + o.name
}

// Record begins a recording of what happens in the directory root. What is in
// it counts as synced. Its directories must be there already.
func Record(t testing.TB, root string) *Recording {
	t.Helper()
	root, err := filepath.EvalSymlinks(root)
	require.NoError(t, err)
	r := &Recording{root: root, names: map[string]int{}}
	contents, err := r.scan()
	require.NoError(t, err)
	for name, b := range contents {
		r.names[name] = len(r.files)
		r.files = append(r.files, b)
	}
	r.first = make(map[string]int)
	for name, i := range r.names {
		r.first[name] = i
	}
	r.kept = slices.Clone(r.files)
	return r
}

// FS returns a file system that passes operations on to fsx and records them.
func (r *Recording) FS(fsx osfile.FS) PowerFS { return PowerFS{fsx, r} }

// Tell notes that the work so far was acknowledged: PowerState.Told counts it.
func (r *Recording) Tell() { r.do(powerOp{kind: opTell}, func() error { return nil }) }

// Pass makes PowerStates begin here.
func (r *Recording) Pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin = len(r.ops)
}

// steps are the operations, for a test of their order.
func (r *Recording) steps() (steps []string) {
	for _, o := range r.ops {
		steps = append(steps, o.String())
	}
	return steps
}

// rel is name as the recording has it.
func (r *Recording) rel(name string) string {
	rel, err := filepath.Rel(r.root, name)
	if err != nil || strings.HasPrefix(rel, "..") {
		panic("outside of the recording: " + name)
	}
	return rel
}

// scan reads everything below root.
func (r *Recording) scan() (map[string][]byte, error) {
	contents := map[string][]byte{}
	err := filepath.WalkDir(r.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		contents[r.rel(path)] = b
		return err
	})
	return contents, err
}

// look notes the changes made past the seam. The caller holds r.mu.
func (r *Recording) look() {
	contents, err := r.scan()
	if err != nil {
		panic(err)
	}
	for _, name := range sorted(r.names) {
		i := r.names[name]
		b, ok := contents[name]
		if !ok {
			r.apply(powerOp{kind: opRemove, name: name})
		} else if !bytes.Equal(b, r.files[i]) {
			r.apply(powerOp{kind: opRewrite, file: i, data: b, name: name})
		}
		delete(contents, name)
	}
	for _, name := range sorted(contents) {
		r.apply(powerOp{kind: opCreate, name: name})
		r.apply(powerOp{kind: opRewrite, file: r.names[name], data: contents[name], name: name})
	}
}

// apply notes an operation that has been done. The caller holds r.mu.
func (r *Recording) apply(o powerOp) {
	switch o.kind {
	case opWrite:
		f := r.files[o.file]
		if end := int(o.off) + len(o.data); end > len(f) {
			f = append(slices.Clip(f), make([]byte, end-len(f))...)
		} else {
			f = slices.Clone(f)
		}
		copy(f[o.off:], o.data)
		r.files[o.file] = f
	case opTruncate:
		r.files[o.file] = resized(r.files[o.file], o.off)
	case opRewrite:
		r.files[o.file] = o.data
	case opCreate:
		o.file = len(r.files)
		r.names[o.name] = o.file
		r.files = append(r.files, nil)
		r.kept = append(r.kept, nil)
	case opLink:
		o.file = r.names[o.name]
		r.names[o.to] = o.file
	case opRename:
		o.file = r.names[o.name]
		delete(r.names, o.name)
		r.names[o.to] = o.file
	case opRemove:
		delete(r.names, o.name)
	}
	r.ops = append(r.ops, o)
}

// do runs f, which is the operation o, and notes it if it works.
func (r *Recording) do(o powerOp, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	err := f()
	if err == nil {
		r.apply(o)
	}
	return err
}

func resized(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return slices.Clip(b[:n])
	}
	return append(slices.Clip(b), make([]byte, n-int64(len(b)))...)
}

func (p PowerFS) Create(name string, perm os.FileMode) (x osfile.File, err error) {
	err = p.Rec.do(powerOp{kind: opCreate, name: p.Rec.rel(name)}, func() error {
		x, err = p.FS.Create(name, perm)
		return err
	})
	return p.wrap(x, name, err)
}

func (p PowerFS) Open(name string) (osfile.File, error) {
	x, err := p.FS.Open(name)
	return p.wrap(x, name, err)
}

func (p PowerFS) OpenWrite(name string) (osfile.File, error) {
	x, err := p.FS.OpenWrite(name)
	return p.wrap(x, name, err)
}

// wrap makes x, which was opened under name, a recorded file. Its writes begin
// at its start.
func (p PowerFS) wrap(x osfile.File, name string, err error) (osfile.File, error) {
	if err != nil {
		return nil, err
	}
	p.Rec.mu.Lock()
	defer p.Rec.mu.Unlock()
	rel := p.Rec.rel(name)
	i, ok := p.Rec.names[rel]
	if !ok { // made past the seam
		p.Rec.look()
		i = p.Rec.names[rel]
	}
	return &powerFile{File: x, rec: p.Rec, i: i, name: rel}, nil
}

func (p PowerFS) Stat(name string) (os.FileInfo, error) { return p.FS.Stat(name) }

func (p PowerFS) Lstat(name string) (os.FileInfo, error) { return p.FS.Lstat(name) }

func (p PowerFS) ReadDir(name string) ([]os.DirEntry, error) { return p.FS.ReadDir(name) }

func (p PowerFS) IsMountPoint(name string) (bool, error) { return p.FS.IsMountPoint(name) }

func (p PowerFS) Rename(from, to string) error {
	return p.Rec.do(powerOp{kind: opRename, name: p.Rec.rel(from), to: p.Rec.rel(to)},
		func() error { return p.FS.Rename(from, to) })
}

func (p PowerFS) RenameNew(from, to string) error {
	return p.Rec.do(powerOp{kind: opRename, name: p.Rec.rel(from), to: p.Rec.rel(to)},
		func() error { return p.FS.RenameNew(from, to) })
}

func (p PowerFS) Link(name, also string) error {
	return p.Rec.do(powerOp{kind: opLink, name: p.Rec.rel(name), to: p.Rec.rel(also)},
		func() error { return p.FS.Link(name, also) })
}

func (p PowerFS) Remove(name string) error {
	return p.Rec.do(powerOp{kind: opRemove, name: p.Rec.rel(name)},
		func() error { return p.FS.Remove(name) })
}

func (p PowerFS) SyncDir(name string) error {
	return p.Rec.do(powerOp{kind: opSyncDir, name: p.Rec.rel(name)},
		func() error { return p.FS.SyncDir(name) })
}

// powerFile records what changes a file: writes at an offset, truncations and syncs. A new
// method of osfile.File is a call of rec.do, or is passed on if it changes nothing. It
// embeds no File, and PowerFS no FS, so that none is forgotten.
type powerFile struct {
	File osfile.File
	rec  *Recording
	i    int // its number
	name string
	pos  int64 // of the next Write
}

func (f *powerFile) Write(p []byte) (n int, err error) {
	n, err = f.write(p, f.pos, f.File.Write)
	f.pos += int64(n)
	return n, err
}

func (f *powerFile) WriteAt(p []byte, off int64) (n int, err error) {
	return f.write(p, off, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *powerFile) write(p []byte, off int64, write func([]byte) (int, error)) (n int, err error) {
	f.rec.mu.Lock()
	defer f.rec.mu.Unlock()
	f.rec.look()
	n, err = write(p)
	if n > 0 { // one that fails may have written
		f.rec.apply(powerOp{kind: opWrite, file: f.i, off: off, data: bytes.Clone(p[:n]), name: f.name})
	}
	return n, err
}

func (f *powerFile) Sync() error {
	return f.rec.do(powerOp{kind: opSync, file: f.i, name: f.name}, f.File.Sync)
}

func (f *powerFile) SyncData() error {
	return f.rec.do(powerOp{kind: opSync, file: f.i, name: f.name}, f.File.SyncData)
}

func (f *powerFile) Truncate(size int64) error {
	return f.rec.do(powerOp{kind: opTruncate, file: f.i, off: size, name: f.name}, func() error { return f.File.Truncate(size) })
}

func (f *powerFile) StartFlush(off, n int64) error { return f.File.StartFlush(off, n) }

func (f *powerFile) ReadAt(p []byte, off int64) (int, error) { return f.File.ReadAt(p, off) }

func (f *powerFile) Stat() (os.FileInfo, error) { return f.File.Stat() }

func (f *powerFile) Chmod(m os.FileMode) error { return f.File.Chmod(m) }

func (f *powerFile) Chown(uid, gid int) error { return f.File.Chown(uid, gid) }

func (f *powerFile) Close() error { return f.File.Close() }
