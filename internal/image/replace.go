package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// writeOptions are optional: the zero value is a plain save.
type writeOptions struct {
	// pace is how the save shares the processors.
	pace Pace

	// hash: the hash of the new file is wanted, for a log.
	hash bool

	// keep is how many of the states that the file had before are kept.
	keep int

	// owned, if not nil, is File.Owned.
	owned func() error

	// side is the copy of the last ForeignChangeError for this path, the
	// zero value if there was none. If the change is still there, the new
	// state replaces that copy, unless somebody has edited it; if it holds
	// this very version already, nothing is written. If the copy has been
	// moved to path, the file counts as ours again.
	side sideCopy
}

// result of a write.
type result struct {
	bytes             int64 // length of the file that was written
	sqlitefile.Pinned       // that file, for the next write; zero if it is not in place

	notKept error // why the state that was replaced is not kept, though that was asked for
}

type writer struct{ fs osfile.FS }

// prepared is a new state of a database, whole and synced, in a temporary file
// beside the one whose place it is to take.
type prepared struct {
	writer
	path    string            // for errors
	target  string            // the file, symbolic links resolved
	tmp     string            // "": there is no temporary file any more
	new     sqlitefile.Pinned // that file
	aside   bool              // the state that is to be replaced is set aside
	notKept error             // why it is not
	img     imageInfo
	prev    sqlitefile.Pinned
	options writeOptions
}

func saveErr(path string, err error) error { return &Error{Op: "save", Path: path, Err: err} }

// prepare writes img, which is to take the place of the file at target, which is
// resolved. prev is what that file has to be, zero if there has to be none. Its error
// is an [*Error], or a [*ForeignChangeError] if the file is another and the copy
// that options.side tells of holds this state already. After an error there is
// nothing to clear away, unless it says so.
func (w writer) prepare(ctx context.Context, path, target string, img Image, prev sqlitefile.Pinned, options writeOptions) (_ *prepared, err error) {
	// Looked at first only to save the work: it is the second look that counts.
	reason, err := w.foreign(target, prev, options)
	if err != nil {
		return nil, saveErr(path, err)
	}
	if reason != "" && w.sideCopyHolds(options.side, img.Version()) {
		return nil, &ForeignChangeError{Path: target, Reason: reason, SavedAs: options.side.path, copy: options.side}
	}
	p := &prepared{writer: w, path: path, target: target, prev: prev, options: options}
	like, err := prev.Like(w.fs, target)
	if err != nil {
		return nil, saveErr(path, err)
	}
	p.tmp, p.new, p.img, err = w.writeTemp(ctx, target, img, like, options)
	if err != nil {
		return nil, saveErr(path, errors.Join(err, p.discard()))
	}
	if options.keep > 0 && reason == "" {
		options.pace.do(func(bool) { p.aside, p.notKept = w.setAside(ctx, target, prev, options.keep) })
	}
	return p, nil
}

// publish puts the new state in the place of the file. The directory is synced
// then. If the file is not what it has to be, or another program is using it,
// the error is a [*ForeignChangeError] and the state is kept beside the file.
// Every other error is an [*Error]: the file is as it was, unless result.id is
// not zero, in which case the new file is in place, but could not be made to
// survive a power failure, which may bring the old one back. What is open in prev is
// for the caller to close.
//
// The state that the file had is kept, if that is asked for. Should that fail, the
// new one counts for more: result.notKept tells why.
//
// The end of ctx ends the save until the moment of the rename.
func (p *prepared) publish(ctx context.Context) (result, error) {
	if err := p.admit(ctx); err != nil {
		return result{}, err
	}
	// SQLite does not sync the directory when it has removed a journal or
	// a -wal. Should the power fail and the removal be lost, but not our
	// rename, it would be applied to the new file. And a new log (see
	// File.publishLocked) must not be lost beside the file it belongs to. And
	// what is kept must have its name before it loses the one it had.
	err := p.fs.SyncDir(filepath.Dir(p.target))
	if err == nil {
		err = p.fs.Rename(p.tmp, p.target)
	}
	if err != nil {
		return result{}, saveErr(p.path, errors.Join(err, p.discard()))
	}
	p.tmp = ""
	res := result{bytes: p.new.ID.Size(), Pinned: p.new, notKept: p.notKept}
	p.new = sqlitefile.Pinned{}
	if err := p.fs.SyncDir(filepath.Dir(p.target)); err != nil {
		return res, saveErr(p.path,
			fmt.Errorf("the new file is in place, but a power failure may bring the old one back: %w", err))
	}
	if p.aside {
		// Not before the new file is there for good, and not synced: should that
		// be undone, the next save does it again.
		res.notKept = errors.Join(res.notKept, p.shift(p.target, p.options.keep))
	}
	return res, nil
}

// admit returns nil if the file is still ours to replace. After an error the new state is
// given up, or kept beside the file: see publish.
func (p *prepared) admit(ctx context.Context) error {
	reason, err := p.foreign(p.target, p.prev, p.options)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return saveErr(p.path, errors.Join(err, p.discard()))
	}
	if reason == "" {
		return nil
	}
	err = p.keepAside(reason)
	if derr := p.discard(); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}

// discard gives the new state up.
func (p *prepared) discard() error {
	err := errors.Join(p.new.Unpin(), p.writer.discard(p.tmp))
	if p.aside {
		err = errors.Join(err, p.writer.discard(keptName(p.target, 0)))
	}
	p.tmp, p.aside = "", false
	return err
}

// discard removes a file of ours, if there is a name.
func (w writer) discard(name string) error {
	if name == "" {
		return nil
	}
	if err := w.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("and %s could not be removed: %w", name, err)
	}
	return nil
}
