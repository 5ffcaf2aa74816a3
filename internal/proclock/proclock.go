// Package proclock lets one process at a time own a database file.
//
// Ownership is an exclusive kernel lock (flock, LockFileEx) on a file of its
// own, the database's name with ".lock" added. Never on the database file:
// where locks are POSIX locks, closing any descriptor of a file drops the
// process's locks on it, and a save renames a new file into its place. Nothing
// but this package opens the lock file.
//
// The kernel lock alone decides who owns the database, and dies with its
// process, whatever kind of death. The lock file's content names the owner for
// people and for messages; it decides nothing, so an empty, torn or stale one
// does no harm.
//
// The lock file is never removed. Another process may have opened it and be
// about to lock it: it would then own a file without a name, and the next one
// a new file, both believing that they own the database.
package proclock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// ErrUnavailable is wrapped by the errors that say that a lock file cannot be
// made, opened, locked or written: a read-only directory, missing permission, a
// full disk, a file system without locks. The cause, an [*fs.PathError] with
// the lock file's name, is wrapped as well: [fs.ErrPermission], EROFS and the
// like are found by [errors.Is].
var ErrUnavailable = errors.New("process lock unavailable")

// OwnedError is returned by [Acquire] when the database is owned already.
type OwnedError struct {
	Path  string    // the database, as given to Acquire
	PID   int       // the owner; 0 when it has not said, see Acquire
	Since time.Time // UTC, in whole seconds; zero when PID is 0
}

func (e *OwnedError) Error() string {
	if e.PID == 0 {
		return e.Path + " is owned by another process"
	}
	return fmt.Sprintf("%s is owned by process %d since %s", e.Path, e.PID, e.Since.Format(time.RFC3339))
}

const (
	// patience is how long Acquire insists when the lock is refused and no
	// owner named. What it waits for takes microseconds; a second is for a
	// loaded machine.
	patience = time.Second

	// maxPause is the longest pause between two attempts. It is random, so
	// that two processes do not keep refusing each other in step.
	maxPause = time.Millisecond
)

// step is called between the steps of Acquire and Release, with the name of the
// one that is done. Tests kill the process there.
var step = func(name string) {}

// Lock is the ownership of one database. It must be given back by Release.
type Lock struct {
	mu    sync.Mutex   // guards the fields below it
	flock *flock.Flock // unlocked once released
	file  *os.File     // a second descriptor of the lock file, for the record; nil once released
}

// Acquire makes this process the owner of the database at path, which need not
// exist, and writes its process id and the time into the lock file. A new lock
// file has mode 0600.
//
// Two names of one file are two locks: path has to be the resolved one. Within
// one process a second Acquire of a path fails like that of another process,
// with our own process id. (Except on AIX and Oracle Solaris, where it drops
// the first lock, as does Owner: their locks belong to the process.)
//
// The error is an [*OwnedError] when the database is owned, and wraps
// [ErrUnavailable] when the lock cannot be taken for another reason. An owner
// that has not written its process id within a second is reported with PID 0:
// it is stopped, its disk is full, or it is another program.
func Acquire(path string) (*Lock, error) {
	name := lockName(path)
	// Write access, because NFS grants an exclusive lock to nothing less.
	fl := flock.New(name, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))

	for deadline := time.Now().Add(patience); ; {
		ok, err := fl.TryLock()
		if err != nil {
			return nil, unavailable(name, err)
		}
		if ok {
			return newLock(name, fl)
		}

		// Refused, but perhaps not by an owner. Owner has to take a shared
		// lock, as no portable call asks about a flock without taking it; an
		// owner's lock is exclusive. So if we are given a shared one too, it
		// was only somebody asking, and we try again. Only when that is
		// refused as well does the record say who the owner is: with nobody's
		// name in it, the owner is just coming or going.
		//
		// What remains is the instant between a new owner's lock and its
		// record, in which the record of a killed predecessor is still read:
		// a wrong name in a right refusal.
		if ok, err = fl.TryRLock(); err != nil {
			return nil, unavailable(name, err)
		}
		if ok {
			if err := fl.Unlock(); err != nil {
				return nil, unavailable(name, err)
			}
		} else if pid, since := readRecord(name); pid != 0 {
			return nil, &OwnedError{Path: path, PID: pid, Since: since}
		}
		if time.Now().After(deadline) {
			return nil, &OwnedError{Path: path}
		}
		time.Sleep(rand.N(maxPause))
	}
}

// newLock records the owner in the lock file, which fl has locked.
func newLock(name string, fl *flock.Flock) (*Lock, error) {
	step("locked")
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, unavailable(name, errors.Join(err, fl.Unlock()))
	}
	// The lock is what counts, and it is ours. When the record cannot be
	// written, others are refused all the same and only not told by whom: a
	// disk that is full must not keep a server from starting.
	_ = writeRecord(file, os.Getpid(), time.Now())
	step("recorded")
	return &Lock{flock: fl, file: file}, nil
}

// Release gives the ownership back, after clearing the record, and leaves the
// lock file where it is. After an error of the clearing the database is
// released all the same. Calls after the first do nothing and return nil.
func (l *Lock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	// In this order: once the lock is free, the record is the next owner's.
	err := l.file.Truncate(0)
	step("cleared")
	err = errors.Join(err, l.flock.Unlock(), l.file.Close())
	step("released")
	l.file = nil
	return err
}

// Owner tells whether a process, this one included, owns the database at path,
// and which since when (UTC, in whole seconds). pid is 0 and since is zero when
// it is not owned, or when the owner's record cannot be read. Nothing is
// created. Owner may be called at any time: it holds a shared lock for a moment
// when there is no owner, which no Acquire takes for one. An error wraps
// [ErrUnavailable] and its cause.
func Owner(path string) (pid int, since time.Time, owned bool, err error) {
	name := lockName(path)
	fl := flock.New(name, flock.SetFlag(os.O_RDONLY))
	free, err := fl.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, time.Time{}, false, nil
	case err != nil:
		return 0, time.Time{}, false, unavailable(name, err)
	case free:
		if err := fl.Unlock(); err != nil {
			return 0, time.Time{}, false, unavailable(name, err)
		}
		return 0, time.Time{}, false, nil
	}
	pid, since = readRecord(name)
	return pid, since, true, nil
}

// lockName returns the name of the lock file of the database at path.
func lockName(path string) string { return path + ".lock" }

// unavailable wraps err together with ErrUnavailable, and names the lock file.
func unavailable(name string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		err = &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// recordOffset is where the record begins. On Windows the lock forbids
// everybody else, our own second descriptor included, to read or write the byte
// that is locked: the first.
const recordOffset = 1

// writeRecord makes pid and since the content of file: "1234 2026-11-23T21:00:00Z\n".
// The file is emptied first, so that a reader finds the beginning of the new
// record, but never a mixture of two; and the line's end tells a whole one.
func writeRecord(file *os.File, pid int, since time.Time) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	step("emptied")
	record := fmt.Sprintf("%d %s\n", pid, since.UTC().Format(time.RFC3339))
	if _, err := file.WriteAt([]byte(record), recordOffset); err != nil {
		return err
	}
	step("written")
	// A blank reads better than the zero byte of a hole. On Windows it stays.
	_, _ = file.WriteAt([]byte(" "), 0)
	return nil
}

// readRecord returns what writeRecord wrote, or zeros if there is no whole
// record.
func readRecord(name string) (pid int, since time.Time) {
	file, err := os.Open(name)
	if err != nil {
		return 0, time.Time{}
	}
	defer func() { _ = file.Close() }()

	const longest = 64 // more than a process id and a time take
	content, err := io.ReadAll(io.NewSectionReader(file, recordOffset, longest))
	if err != nil {
		return 0, time.Time{}
	}
	line, _, whole := strings.Cut(string(content), "\n")
	id, date, _ := strings.Cut(line, " ")
	pid, err = strconv.Atoi(id)
	if !whole || err != nil || pid <= 0 {
		return 0, time.Time{}
	}
	since, err = time.Parse(time.RFC3339, date)
	if err != nil {
		return 0, time.Time{}
	}
	return pid, since.UTC()
}
