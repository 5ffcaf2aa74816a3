//go:build cgo

package connerr

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// SQLite would return these errors. They are for calls that are refused before they
// reach SQLite.
var (
	Busy     = sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrBusy)}
	Locked   = sqlite3.Error{Code: sqlite3.ErrLocked, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrLocked)}
	NoMemory = sqlite3.Error{Code: sqlite3.ErrNomem, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrNomem)}
	ReadOnly = sqlite3.Error{Code: sqlite3.ErrReadonly, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrReadonly)}
)

// Open returns the error of opening the database at path. errors.As finds SQLite's
// code in it, the one that go-sqlite3 would return for the file.
func Open(path string, err error) error {
	if owned, ok := errors.AsType[*proclock.OwnedError](err); ok {
		return NewOwned(owned, nil)
	}
	err = fmt.Errorf("sqlite-mem: open %s: %w", path, err)
	var e sqlite3.Error
	if errors.As(err, &e) {
		return err // SQLite has said it
	}
	if code := openCode(err); code != 0 {
		e.Code, e.ExtendedCode = code, sqlite3.ErrNoExtended(code)
		errors.As(err, &e.SystemErrno)
		return &openError{err, e}
	}
	return err
}

// openError is an error of opening with SQLite's code for it. It reads like the first.
type openError struct {
	error
	code sqlite3.Error
}

func (e *openError) Unwrap() []error { return []error{e.error, e.code} }

// openCode is the code that SQLite has for the error of opening a file, 0 if none.
func openCode(err error) sqlite3.ErrNo {
	var path *fs.PathError
	var errno syscall.Errno
	switch {
	case errors.Is(err, sqlitefile.ErrNotADatabase):
		return sqlite3.ErrNotADB
	case errors.Is(err, sqlitefile.ErrCorrupt), errors.Is(err, sqlitefile.ErrTruncated):
		return sqlite3.ErrCorrupt
	case IsBusy(err):
		return sqlite3.ErrBusy
	case errors.As(err, &path), errors.As(err, &errno):
		return sqlite3.ErrCantOpen
	}
	return 0
}

// Waited returns the error of a wait for the server of the database at path: SQLITE_BUSY,
// unless the caller's own context has ended.
func Waited(path string, err, ctx error) error {
	switch {
	case ctx != nil && errors.Is(err, ctx):
		return fmt.Errorf("sqlite-mem: open %s: %w", path, err)
	case ctx != nil:
		return fmt.Errorf("sqlite-mem: open %s: %w: %w", path, err, ctx)
	}
	return fmt.Errorf("sqlite-mem: open %s: %w: %w", path, err, Busy)
}

// IsBusy reports whether others used the file for longer than an open waited.
func IsBusy(err error) bool {
	_, busy := errors.AsType[*proclock.BusyError](err)
	return busy || errors.Is(err, sqlitefile.ErrBusy) || errors.Is(err, memvfs.ErrDiskInUse)
}

// Attach adds the reason to the error of an ATTACH, or of VACUUM INTO, that the engine has
// refused. The engine itself can give SQLite only a code. Other errors are returned as
// they are.
func Attach(err error) error {
	e, ok := err.(sqlite3.Error)
	if !ok || e.Code != sqlite3.ErrCantOpen {
		return err
	}
	if strings.Contains(e.Error(), "cache=shared") {
		return fmt.Errorf("sqlite-mem: ATTACH with cache=shared is refused, as SQLite does not tell the connections of a shared cache apart; leave it out, databases in memory are shared anyway: %w", e)
	}
	name, ok := strings.CutPrefix(e.Error(), "unable to open database: ")
	if !ok {
		return err
	}
	path, rerr := osfile.Resolve(fileName(name))
	if rerr != nil {
		return err
	}
	if _, serr := os.Lstat(path); !errors.Is(serr, fs.ErrNotExist) {
		return err // it was not to be created
	}
	reason := store.NotCreated(path)
	if owned, ok := errors.AsType[*proclock.OwnedError](reason); ok {
		err := NewOwned(owned, e)
		err.creates = true
		return err
	}
	if reason != nil {
		return fmt.Errorf("sqlite-mem: %w: %w", e, reason)
	}
	return err
}

// fileName is the path in the name that an ATTACH gives: a path, or a URI.
func fileName(name string) string {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "file" {
		return name
	}
	if u.Opaque == "" {
		return u.Path
	}
	if path, err := url.PathUnescape(u.Opaque); err == nil {
		return path
	}
	return u.Opaque
}
