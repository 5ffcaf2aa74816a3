package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
)

// Backup writes img to a new database file at path, and returns when that is on the
// disk, at a low CPU priority, as [File.Save] does in the background. It does not
// release img. The file is readable and writable for its owner alone (0600). An
// empty database becomes a file of no bytes, which SQLite takes for one.
//
// Nothing is replaced: if there is a file at path, or beside it one that SQLite or
// this package would take for a part of the database (-journal, -wal, -memwal), the
// error wraps [fs.ErrExist]. So it does if path is a name by which a file of a database
// that is there goes: see [DatabaseOf]. Of several backups to one path at once, one is
// made.
//
// Errors are an [*Error]. Then there is no file at path, unless the error says that it
// is in place and only its name may not survive a power failure. A temporary file
// that could not be removed is named in the error; a crash can leave one, too, and an
// empty file at path where there is neither a rename that replaces nothing nor a hard
// link. The end of ctx ends the backup until the moment of the rename.
func Backup(ctx context.Context, path string, img Image) (err error) {
	osfile.InBackground(func() {
		err = writer{system}.backup(ctx, path, ofImage(ctx, img))
	})
	return err
}

// BackupFrom is [Backup] of a database that fill writes into an empty file, whose name
// it is told. When it returns, nobody has that file open.
func BackupFrom(ctx context.Context, path string, fill func(name string) error) error {
	return writer{system}.backup(ctx, path, ofFile(fill))
}

// A content makes a temporary file beside target, synced. After an error it returns
// the name only if there is a file to remove.
type content func(w writer, target string) (tmp string, err error)

func ofImage(ctx context.Context, img Image) content {
	return func(w writer, target string) (string, error) {
		tmp, file, _, err := w.writeTemp(ctx, target, img, nil, writeOptions{})
		return tmp, errors.Join(err, file.Unpin())
	}
}

func ofFile(fill func(name string) error) content {
	return func(w writer, target string) (string, error) {
		tmp := tempName(target)
		f, err := w.fs.Create(tmp, 0o600)
		if err != nil {
			return "", err
		}
		if err = fill(tmp); err == nil {
			err = f.Sync()
		}
		return tmp, errors.Join(err, f.Close())
	}
}

// backup gives the file that from makes its name.
func (w writer) backup(ctx context.Context, path string, from content) error {
	fail := func(err error) error { return &Error{Op: "back up to", Path: path, Err: err} }
	target, err := osfile.Resolve(path)
	if err == nil {
		err = w.vacant(target)
	}
	if err != nil {
		return fail(err)
	}
	tmp, err := from(w, target)
	if err == nil {
		// Looked at first only to save the work: it is the second look that counts.
		err = w.vacant(target)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		tmp, err = w.placeNew(tmp, target)
	}
	if err != nil {
		return fail(errors.Join(err, w.discard(tmp)))
	}
	if err := w.discard(tmp); err != nil {
		return fail(fmt.Errorf("the backup is in place, %w", err))
	}
	if err := w.fs.SyncDir(filepath.Dir(target)); err != nil {
		return fail(fmt.Errorf("the backup is in place, but a power failure may take it away: %w", err))
	}
	return nil
}

// placeNew gives the file from the name to, and replaces nothing. It returns the name
// that it still has besides; "": none.
func (w writer) placeNew(from, to string) (left string, err error) {
	err = w.fs.RenameNew(from, to)
	if err == nil {
		return "", nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return from, err
	}
	if w.fs.Link(from, to) == nil {
		return from, nil
	}
	// Nor are there hard links, or the name is taken. Who makes the file has the name.
	f, err := w.fs.Create(to, 0o600)
	if err != nil {
		return from, err
	}
	if err = f.Close(); err == nil {
		err = w.fs.Rename(from, to)
	}
	if err != nil {
		return from, errors.Join(err, w.discard(to))
	}
	return "", nil
}

// vacant returns an error if a new database at target would not be all that is there, or
// would be taken for a part of another.
func (w writer) vacant(target string) error {
	if db, is := DatabaseOf(target); is {
		_, err := w.fs.Stat(db)
		if err == nil {
			err = fmt.Errorf("%w: a file of the database %s has that name", fs.ErrExist, db)
			return &fs.PathError{Op: "create", Path: target, Err: err}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range []string{target, target + "-journal", target + "-wal", pagelog.Name(target), pagelog.NewName(target)} {
		_, err := w.fs.Lstat(name)
		if err == nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// partNames are what follows a database's name in those of its files. Some file systems
// ignore case.
var partNames = regexp.MustCompile(`(?i)^(.+)(-journal|-wal|-shm|-memwal|-memwal-new|\.lock|\.sock|\.kept-(new|[0-9]+))$`)

// tempNames are the names of temporary files.
var tempNames = regexp.MustCompile(`(?i)^\.(.+)\.sqlite-mem-[0-9a-f]{16}\.tmp(-journal|-wal|-shm)?$`)

// DatabaseOf returns the database of which a file called path would be a part: SQLite's
// journal or log, the log of this package, its lock, a state that is kept, a temporary
// file. false: it is no such name. Nothing is looked at.
func DatabaseOf(path string) (database string, is bool) {
	dir, base := filepath.Split(path)
	for _, names := range []*regexp.Regexp{tempNames, partNames} {
		if m := names.FindStringSubmatch(base); m != nil {
			return dir + m[1], true
		}
	}
	return "", false
}
