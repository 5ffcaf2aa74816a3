package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// ownCopy is a copy of the state in memory, which a save has made beside a file that somebody
// else has changed. The zero value means that there is none.
type ownCopy struct {
	sqlitefile.Pinned        // as it was written: a copy that somebody has edited since is not replaced
	path              string // absolute
	version           uint64 // Image.Version of the state in it

	unsynced bool // a power failure may remove it
}

// ownCopyHolds reports whether the copy is there, is durable, and has that version.
func (w writer) ownCopyHolds(side ownCopy, version uint64) bool {
	return side.version == version && !side.unsynced && w.ownCopyIntact(side)
}

// ownCopyIntact reports whether the copy is there as it was written.
func (w writer) ownCopyIntact(side ownCopy) bool {
	if side.path == "" || side.ID.IsZero() {
		return false
	}
	changed, err := side.Changed(w.fs, side.path)
	return err == nil && changed == ""
}

// putBeside renames the temporary file, which is whole and synced. The new name is beside the
// file and says what it is. The error is always a [*ForeignChangeError].
func (p *prepared) putBeside(reason string) error {
	ferr := &ForeignChangeError{Path: p.target, Reason: reason}
	name, reserved := p.options.side.path, false
	if p.ownCopyIntact(p.options.side) {
		ferr.copy = p.options.side // if the rename fails, this older state is still there
	} else {
		var err error
		if name, err = p.reserveName(p.target + ".sqlite-mem-"); err != nil {
			ferr.Err = errors.Join(err, p.discard())
			return ferr
		}
		reserved = true
	}
	if err := p.fs.Rename(p.tmp, name); err != nil {
		ferr.Err = errors.Join(err, p.discard())
		if reserved {
			ferr.Err = errors.Join(ferr.Err, p.writer.discard(name))
		}
		return ferr
	}
	ferr.SavedAs = name
	ferr.copy = ownCopy{Pinned: p.new, path: name, version: p.img.version}
	p.tmp, p.new = "", sqlitefile.Pinned{}
	if err := p.fs.SyncDir(filepath.Dir(p.target)); err != nil {
		ferr.Err = err
		ferr.copy.unsynced = true // the next save makes it again
	}
	return ferr
}

// reserveName makes an empty file with a new name, which is prefix and the time. A rename
// then replaces this empty file, and so overwrites nothing that was there before.
func (w writer) reserveName(prefix string) (string, error) {
	stamp := prefix + time.Now().UTC().Format("20060102T150405Z")
	for i := 0; ; i++ {
		name := stamp
		if i > 0 {
			name = fmt.Sprintf("%s-%d", stamp, i)
		}
		f, err := w.fs.Create(name, 0o600)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := f.Close(); err != nil {
			return "", errors.Join(err, w.discard(name))
		}
		return name, nil
	}
}
