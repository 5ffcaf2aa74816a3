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

// Backup writes img to a new database file at path, which is durable on return. It does not
// release img. It runs at a low CPU priority, as a save in the background does. Only the
// owner can read and write the file (0600). An empty database becomes a file of no bytes,
// which SQLite takes for one.
//
// Backup replaces nothing. The error wraps [fs.ErrExist] if there is a file at path, or a
// -journal, -wal or -memwal beside it. It also does if path names a part of another database
// that is there: see [DatabaseOf]. Of several backups to one path at once, one is made.
//
// Errors are an [*Error]. Then there is no file at path, with two exceptions. Either the error
// says that the file is in place, and also if a power failure may take it away. Or the error
// names an empty file at path, or a temporary file, that could not be removed. A crash can
// leave a temporary file too. Where there is neither a rename that replaces nothing nor a hard
// link, a crash can also leave an empty file at path. The end of ctx ends the backup, until
// the file gets its name.
func Backup(ctx context.Context, path string, img Image) (err error) {
	osfile.InBackground(func() {
		err = writer{system}.backup(ctx, path, ofImage(ctx, img))
	})
	return err
}

// BackupFrom is [Backup] of a database that fill writes into the empty file called name. When
// fill returns, nobody may have that file open.
func BackupFrom(ctx context.Context, path string, fill func(name string) error) error {
	return writer{system}.backup(ctx, path, ofFile(fill))
}

// content makes a temporary file beside target, and syncs it. After an error tmp is "" if there
// is no file to remove.
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

// backup gives the file that from makes the name path.
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
		// The first look only saves work; this one counts.
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
	err = w.discard(tmp)
	if serr := w.fs.SyncDir(filepath.Dir(target)); serr != nil {
		return fail(fmt.Errorf("the backup is in place, but a power failure may take it away: %w", errors.Join(serr, err)))
	}
	if err != nil {
		return fail(fmt.Errorf("the backup is in place, %w", err))
	}
	return nil
}

// placeNew gives the file from the name to, and replaces nothing. It returns the other name that
// the file still has, or "".
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
	// There are no hard links either, or the name is taken. The process that creates the file
	// has the name.
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

// vacant returns an error if there is a file at target, or a side file of one. It also
// returns one if target is the name of a part of another database that is there.
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

// partNames matches the names of the files of a database, but for temporary ones. Some file
// systems ignore case.
var partNames = regexp.MustCompile(`(?i)^(.+)(-journal|-wal|-shm|-memwal|-memwal-new|\.lock|\.sock|\.kept-(new|[0-9]+))$`)

// tempNames matches the names of temporary files.
var tempNames = regexp.MustCompile(`(?i)^\.(.+)\.sqlite-mem-[0-9a-f]{16}\.tmp(-journal|-wal|-shm)?$`)

// DatabaseOf returns the database that a file called path would belong to. Such a file is a
// journal, a -wal, a log, a lock file, an earlier state or a temporary file. DatabaseOf
// returns false if path is no such name. It looks at the name only.
func DatabaseOf(path string) (database string, is bool) {
	dir, base := filepath.Split(path)
	for _, names := range []*regexp.Regexp{tempNames, partNames} {
		if m := names.FindStringSubmatch(base); m != nil {
			return dir + m[1], true
		}
	}
	return "", false
}
