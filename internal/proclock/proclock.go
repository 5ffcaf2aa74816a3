// Package proclock says which process works on a database file, and how.
//
// It is a kernel lock (flock, LockFileEx) on a file of its own, the database's
// name with ".lock" added. Never on the database file: where locks are POSIX
// locks, closing any descriptor of a file drops the process's locks on it, and a
// save renames a new file into its place. Nothing but this package opens the
// lock file.
//
//	exclusive   a server, for its life; a recovery, while it folds a log into
//	            the file
//	shared      a tool that works on the file itself, for one write transaction
//	none        a reader of the file
//
// The kernel lock alone decides, and dies with its process, whatever kind of
// death. The content of the lock file, the record, names the exclusive owner for
// people and for messages: see record.go. An empty, torn or stale record does no
// harm.
//
// This package never removes the lock file. Another process may have opened it
// and be about to lock it: it would then own a file without a name, and the next
// one a new file, both believing that they own the database. Should somebody
// else remove it, [Lock.Check] makes it again.
package proclock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrUnavailable is wrapped by the errors that say that a lock file cannot be
// made, opened or locked: a read-only directory, no descriptors left, a full
// disk, a file system without locks. The cause, an [*fs.PathError] with the lock
// file's name, is wrapped as well. [ReadOnly] tells the lasting causes from the
// passing ones.
var ErrUnavailable = errors.New("process lock unavailable")

// ErrNotALock is wrapped, beside ErrUnavailable, by the error for a file that has
// the lock file's name and is none: a symbolic link, a directory, a device, or a
// file with content of another program. It is left as it is.
var ErrNotALock = errors.New("not a lock file of sqlite-mem; it was left alone, move it away")

// ErrLost is wrapped by the error of [Lock.Check] when the lock file was removed
// or replaced, and another process has locked the new one.
var ErrLost = errors.New("the process lock is lost")

// ReadOnly reports whether err says that this process may not write here at all:
// no permission, or a read-only file system. Everything else may pass.
func ReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// OwnedError is the error for a database that has an exclusive owner.
type OwnedError struct {
	Path  string    // the database, as given
	PID   int       // the owner; 0: it has not said, see Acquire
	Since time.Time // UTC, in whole seconds; zero when PID is 0
	Role  Role      // empty when PID is 0
}

func (e *OwnedError) Error() string {
	return e.Path + " " + e.owner().doing()
}

func (e *OwnedError) owner() Owner { return Owner{PID: e.PID, Since: e.Since, Role: e.Role} }

// BusyError is the error of an [Acquire] that has waited in vain.
type BusyError struct {
	Path string // the database, as given
	By   Owner  // a recovery; the zero value: tools that write to the file, or an owner that has not said who it is
	Err  error  // that of the context
}

func (e *BusyError) Error() string {
	if e.By == (Owner{}) {
		return fmt.Sprintf("%s: another process is writing to it: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Path, e.By.doing(), e.Err)
}

// Unwrap returns the error of the context.
func (e *BusyError) Unwrap() error { return e.Err }

const (
	// patience is how long Acquire insists when an exclusive owner has not
	// said who it is. What it waits for takes microseconds; a second is for a
	// loaded machine.
	patience = time.Second

	// settle is how long a record must stay when its process is not seen to be
	// alive: it is that of a dead predecessor, whose successor has the lock and
	// is about to write; or the owner lives in another container.
	settle = 50 * time.Millisecond

	// grace is how long a shared lock is waited for after the end of the
	// context, since OwnerOf holds one for microseconds.
	grace = 10 * time.Millisecond

	// maxPause is the longest pause between two attempts. It is random, so
	// that two processes do not keep refusing each other in step.
	maxPause = time.Millisecond
)

// step is called between the steps of Acquire, Check and Release, with the name
// of the one that is done. Tests kill the process there.
var step = func(name string) {}

// Lock is a lock on one database. It must be given back by Release.
type Lock struct {
	path   string // the database, as given
	role   Role   // empty: shared
	before Owner  // the server that ended uncleanly; zero: none

	mu   sync.Mutex // guards the fields below it
	file *lockFile  // nil once released
	self Owner      // what the record says
}

// Acquire makes this process the exclusive owner of the database at path, which
// need not exist, and records role, process id and time in the lock file. A new
// lock file has the permissions of the database, but for execution (0600 if
// there is none); if root makes it, it has its owner too, or that of the
// directory.
//
// Two names of one file are two locks: path has to be the resolved one. Within
// one process a second Acquire of a path fails like that of another process,
// with our own process id. (Except on AIX and Oracle Solaris, where it drops
// the first lock, as does OwnerOf: their locks belong to the process.)
//
// If a server owns the database, the error is an [*OwnedError], at once. An owner
// that has not said who it is within a second is reported with PID 0: it is
// stopped, its disk is full, or it is another program. While a recovery or tools
// hold the lock, Acquire waits; at the end of ctx the error is a [*BusyError]. It
// tries at least once, and once more after 10 ms, even if ctx has ended before.
// Every other error wraps [ErrUnavailable].
func Acquire(ctx context.Context, path string, role Role) (*Lock, error) {
	w := waiter{path: path}
	for {
		file, by, err := lockOnce(path, exclusive)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return newLock(path, role, file), nil
		}
		if err := w.refused(ctx, by); err != nil {
			return nil, err
		}
	}
}

// waiter decides whether an attempt is made again.
type waiter struct {
	path  string
	last  refusal
	since time.Time // of the first refusal like last, in a row
	ended time.Time // when the context was first seen to have ended; zero: not yet
}

// refused pauses, or returns the error with which the waiting ends.
func (w *waiter) refused(ctx context.Context, by refusal) error {
	now := time.Now()
	if w.since.IsZero() || by != w.last {
		w.last, w.since = by, now
	}
	if err := by.final(w.path, now.Sub(w.since)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		if w.ended.IsZero() {
			w.ended = now
		}
		if by.named() || now.Sub(w.ended) >= grace {
			return &BusyError{Path: w.path, By: by.owner, Err: err}
		}
		time.Sleep(rand.N(maxPause))
		return nil
	}
	timer := time.NewTimer(rand.N(maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// refusal is why a lock was refused.
type refusal struct {
	exclusive bool  // there is an exclusive owner
	owner     Owner // what the record says of it; the zero value: nothing
}

func (r refusal) named() bool { return r.exclusive && r.owner.PID != 0 }

// final is the error for a refusal that will last, after it has been the same for
// a time; nil: try again.
func (r refusal) final(path string, same time.Duration) error {
	switch {
	case !r.exclusive:
		return nil
	case r.named() && r.owner.Role == Recovery:
		return nil
	case r.named() && (same >= settle || alive(r.owner.PID)), same >= patience:
		return ownedError(path, r.owner)
	}
	return nil
}

func ownedError(path string, o Owner) *OwnedError {
	return &OwnedError{Path: path, PID: o.PID, Since: o.Since, Role: o.Role}
}

// newLock records the owner in the lock file.
func newLock(path string, role Role, file *lockFile) *Lock {
	step("locked")
	l := &Lock{path: path, role: role, file: file, self: newOwner(role)}
	r, _ := file.read() // lockOnce has read it
	l.before = r.uncleanEnd()
	l.write(file)
	step("recorded")
	return l
}

func newOwner(role Role) Owner {
	return Owner{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second), Role: role}
}

// write records the owner. The lock is what counts, and it is ours. When the
// record cannot be written, others are refused all the same and only not told by
// whom: a disk that is full must not keep a server from starting.
func (l *Lock) write(file *lockFile) {
	r := record{owner: l.self}
	if l.role == Recovery {
		r.unclean = l.before
	}
	_ = file.write(r)
}

// AcquireShared takes the lock together with others that share it, and leaves the
// content of the lock file alone. If there is no lock file, it makes one, as Acquire
// does, or without create returns a Lock that holds nothing: there has never been a
// server. It does not wait for an owner to go: the error is an [*OwnedError] when
// there is one. (To learn who it is takes up to 50 ms; an owner that has not said it
// by then has PID 0 and no Role.) Every other error wraps [ErrUnavailable].
func AcquireShared(path string, create bool) (*Lock, error) {
	if !create {
		if _, err := os.Lstat(lockName(path)); errors.Is(err, fs.ErrNotExist) {
			return &Lock{path: path}, nil
		}
	}
	for start := time.Now(); ; {
		file, by, err := lockOnce(path, shared)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return &Lock{path: path, file: file}, nil
		}
		if by.named() && (by.owner.Role == Recovery || alive(by.owner.PID)) || time.Since(start) >= settle {
			return nil, ownedError(path, by.owner)
		}
		time.Sleep(rand.N(maxPause))
	}
}

// OwnerOf tells the exclusive owner of the database at path, this process
// included. false: there is none. The Owner is zero if its record cannot be read.
// Nothing is created. OwnerOf may be called at any time: it holds a shared lock
// for a moment when there is no owner, which no Acquire takes for one. It takes up to
// 50 ms to tell an owner whose process is not seen to be alive. An error wraps
// [ErrUnavailable].
func OwnerOf(path string) (Owner, bool, error) {
	for start := time.Now(); ; {
		file, by, err := lockOnce(path, probe)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Owner{}, false, nil
		case err != nil:
			return Owner{}, false, err
		case file != nil:
			return Owner{}, false, file.close()
		}
		if !by.named() || alive(by.owner.PID) || time.Since(start) >= settle {
			return by.owner, true, nil
		}
		time.Sleep(rand.N(maxPause))
	}
}

// Previous tells the server that owned the database before, if it ended
// uncleanly: it has left its record. A recovery in between leaves it, too.
func (l *Lock) Previous() (Owner, bool) { return l.before, l.before.PID != 0 }

// Check makes sure that the lock file is still the one that is locked. If it was
// removed or replaced, Check makes it again, or takes the new one, and locks it.
//
// After an error nobody knows who owns the database: do not write to it, nor to
// anything beside it, until a later Check returns nil. The error wraps [ErrLost]
// if another process has locked the new file, or was a server with it and ended
// uncleanly; with an [*OwnedError] if that process is known. Every other error
// wraps [ErrUnavailable].
func (l *Lock) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("process lock of " + l.path + " is released")
	}
	if there, err := l.file.hasName(); there || err != nil {
		return err
	}
	how := exclusive
	if l.role == "" {
		how = shared
	}
	for start := time.Now(); ; {
		file, by, err := lockOnce(l.path, how)
		switch {
		case err != nil:
			return err
		case file != nil:
			return l.replace(file)
		case by.exclusive:
			return l.lost(ownedError(l.path, by.owner))
		case time.Since(start) >= grace:
			return l.lost(errors.New("another process is writing to the database"))
		}
		time.Sleep(rand.N(maxPause))
	}
}

// replace goes on with another lock file, which is locked.
func (l *Lock) replace(file *lockFile) error {
	step("locked again")
	if l.role != "" {
		// Who left a record there has served the database meanwhile, and may have
		// left a log that we know nothing of.
		r, err := file.read()
		if err == nil && r.owner != l.self && r.owner.Role == Server {
			err = l.lost(ownedError(l.path, r.owner))
		}
		if err != nil {
			return errors.Join(err, file.close())
		}
		l.write(file)
		step("recorded again")
	}
	old := l.file
	l.file = file
	// It has no name, so nothing depends on it.
	_ = old.close()
	return nil
}

func (l *Lock) lost(to error) error {
	return fmt.Errorf("%w: %s was removed or replaced: %w", ErrLost, lockName(l.path), to)
}

// Release gives the lock back and leaves the lock file where it is. A server
// clears its record. A recovery puts back what it found of a server that ended
// uncleanly. After an error of that the lock is released all the same. Calls after
// the first do nothing and return nil.
func (l *Lock) Release() error { return l.release(l.role == Recovery) }

// Abandon is Release for a server that has not served the database, because it
// could not load it: it leaves what it found of a server that ended uncleanly.
func (l *Lock) Abandon() error { return l.release(true) }

func (l *Lock) release(keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	var err error
	if l.role != "" {
		// Before the lock is free: then the record is the next owner's.
		r := record{}
		if keep {
			r.unclean = l.before
		}
		err = l.file.write(r)
		step("cleared")
	}
	err = errors.Join(err, l.file.close())
	step("released")
	l.file = nil
	return err
}
