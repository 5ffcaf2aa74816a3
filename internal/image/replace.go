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

// writeOptions are the options of a save. The zero value is a plain one.
type writeOptions struct {
	// pace is the priority of the save.
	pace Pace

	// hash: the hash of the new file is wanted, for a log.
	hash bool

	// keep is File.Keep.
	keep int

	// owned, if not nil, is File.Owned.
	owned func() error

	// side is the copy of the last ForeignChangeError for this file, zero if there was none.
	// While the change is there, the new state replaces that copy, unless somebody has edited
	// the copy. If the copy has this version already, nothing is written. If the copy was
	// moved to the place of the file, the file counts as ours again.
	side ownCopy
}

// result is the result of a publish.
type result struct {
	bytes             int64 // length of the file that was written
	sqlitefile.Pinned       // that file, for the next save; zero if it is not in place

	notKept error // why the state that was replaced is not kept, although options.keep asks for it
}

// writer writes files of databases.
type writer struct{ fs osfile.FS }

// prepared is a new state of a database, whole and synced, in a temporary file beside the file
// that it is to replace.
type prepared struct {
	writer
	path    string            // for errors
	target  string            // the file, symbolic links resolved
	tmp     string            // the temporary file; "": there is none any more
	new     sqlitefile.Pinned // that file
	pending bool              // the state that is to be replaced has the name in place 0 too: see setPending
	notKept error             // why it has not
	img     imageInfo
	prev    sqlitefile.Pinned
	options writeOptions
}

// saveErr is the error of a save.
func saveErr(path string, err error) error { return &Error{Op: "save", Path: path, Err: err} }

// prepare writes img to a temporary file, which is to replace the file at target. The path
// target is resolved. The file there should be prev, zero for none. The error is a
// [*ForeignChangeError] if the file is another and options.side holds this state already.
// Otherwise it is an [*Error]. After an error nothing is left, unless the error says so.
func (w writer) prepare(ctx context.Context, path, target string, img Image, prev sqlitefile.Pinned, options writeOptions) (_ *prepared, err error) {
	// This look only saves work; the one of admit counts.
	reason, err := w.foreign(target, prev, options)
	if err != nil {
		return nil, saveErr(path, err)
	}
	if reason != "" && w.ownCopyHolds(options.side, img.Version()) {
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
		options.pace.do(func(bool) { p.pending, p.notKept = w.setPending(ctx, target, prev, options.keep) })
	}
	return p, nil
}

// publish replaces the file by the new state, and syncs the directory. The caller closes prev.
//
// The error is a [*ForeignChangeError] if the file is not what it should be, or another program
// is using it. Then the new state is kept beside the file. Every other error is an [*Error]. If
// result.ID is zero then, the file is as it was. Otherwise the new file is in place, and a power
// failure may bring the old one back.
//
// The old state is kept if options.keep asks for it. If that fails, the new state is
// published all the same, and result.notKept tells why.
//
// The end of ctx ends the save, until the rename.
func (p *prepared) publish(ctx context.Context) (result, error) {
	if err := p.admit(ctx); err != nil {
		return result{}, err
	}
	// This sync has three reasons. First, SQLite does not sync the directory when it has
	// removed a journal or a -wal. A power failure could undo that removal and not the
	// rename. SQLite would then apply the old journal or -wal to the new file. Second, a new
	// log (see File.publishLocked) must not be lost beside its base. Third, a state that is
	// kept must have its new name before it loses the old one.
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
	if p.pending {
		// Not before the new file is durable. It need not be synced: if a power failure
		// undoes it, the next save does it again.
		res.notKept = errors.Join(res.notKept, p.shift(p.target, p.options.keep))
	}
	return res, nil
}

// admit returns nil if the save may replace the file. After an error the new state has been
// removed, or is kept beside the file: see publish.
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
	err = p.putBeside(reason)
	if derr := p.discard(); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}

// discard removes the new state.
func (p *prepared) discard() error {
	err := errors.Join(p.new.Unpin(), p.writer.discard(p.tmp))
	if p.pending {
		err = errors.Join(err, p.writer.discard(keptName(p.target, 0)))
	}
	p.tmp, p.pending = "", false
	return err
}

// discard removes a file of ours; nothing if name is empty. Its error names the file.
func (w writer) discard(name string) error {
	if name == "" {
		return nil
	}
	if err := w.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("and %s could not be removed: %w", name, err)
	}
	return nil
}
