package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// sideCopy is a copy of the state in memory that a foreign change has forced.
// The zero value means that there is none.
type sideCopy struct {
	sqlitefile.Pinned        // as written: a copy that somebody has edited since is not replaced
	path              string // absolute
	version           uint64 // Image.Version of the state it holds

	unsynced bool // it may be gone after a power failure
}

func (w writer) sideCopyHolds(side sideCopy, version uint64) bool {
	return side.version == version && !side.unsynced && w.sideCopyIntact(side)
}

func (w writer) sideCopyIntact(side sideCopy) bool {
	if side.path == "" || side.ID.IsZero() {
		return false
	}
	changed, err := side.Changed(w.fs, side.path)
	return err == nil && changed == ""
}

// keepAside gives the temporary file, which is whole and synced, a name beside
// the file that says what it is.
func (p *prepared) keepAside(reason string) error {
	ferr := &ForeignChangeError{Path: p.target, Reason: reason}
	name, reserved := p.options.side.path, false
	if p.sideCopyIntact(p.options.side) {
		ferr.copy = p.options.side // still there, an older state, should the rename fail
	} else {
		var err error
		if name, err = p.reserveAside(p.target + ".sqlite-mem-"); err != nil {
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
	ferr.copy = sideCopy{Pinned: p.new, path: name, version: p.img.version}
	p.tmp, p.new = "", sqlitefile.Pinned{}
	if err := p.fs.SyncDir(filepath.Dir(p.target)); err != nil {
		ferr.Err = err
		ferr.copy.unsynced = true // so the next save makes it again
	}
	return ferr
}

// reserveAside makes an empty file under a new name, prefix and the time, for a
// rename to replace: so nothing that was there before is overwritten.
func (w writer) reserveAside(prefix string) (string, error) {
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
