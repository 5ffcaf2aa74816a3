// Package proclock is the process lock of a database file: it tells which process works
// on the file, and how.
//
// The process lock is a kernel lock (flock, LockFileEx) on a file of its own, the
// database's name with ".lock" added. It is never on the database file, for two reasons.
// Where kernel locks are POSIX locks, a process loses its locks on a file when it closes
// any descriptor of it. And a save renames a new file over the database. Only this package
// opens the lock file.
//
//   - The owner holds it exclusively. That is a server, for its life, or a recovery, while
//     it folds a log into the file.
//   - A tool shares it, for one write transaction on the file itself.
//   - A reader of the file does not hold it.
//
// Only the kernel lock decides. It is released when its process ends, in whatever way. The
// content of the lock file, the record, names the owner for messages: see record.go. An
// empty, torn or stale record does no harm.
//
// This package never removes the lock file. Another process may have opened it and be about
// to lock it. It would then own a file without a name, and a third process a new file of
// that name. If somebody else removes the lock file, [Lock.Check] makes it again.
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

// ErrUnavailable is wrapped by the error for a lock file that cannot be made, opened or
// locked. Causes are a read-only directory, no free descriptors, a full disk, or a file
// system without locks. The error also wraps the cause, an [*fs.PathError] with the lock
// file's name. [ReadOnly] tells lasting causes from passing ones.
var ErrUnavailable = errors.New("process lock unavailable")

// ErrNotALock is wrapped, with ErrUnavailable, if something else has the lock file's name.
// That is a symbolic link, a directory, a device, or a file with content of another
// program. It is left as it is.
var ErrNotALock = errors.New("not a lock file of sqlite-mem; it was left alone, move it away")

// ErrLost is wrapped by the error of [Lock.Check] if the lock file was removed or
// replaced, and another process has locked the new one.
var ErrLost = errors.New("the process lock is lost")

// ReadOnly reports whether err is a lasting refusal to write: no permission, or a
// read-only file system. Every other cause may pass.
func ReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// OwnedError is the error for a database that has an exclusive owner.
type OwnedError struct {
	Path  string    // the database, as given
	PID   int       // of the owner; 0: not known, see Acquire
	Since time.Time // UTC; zero when PID is 0
	Role  Role      // empty when PID is 0
	Live  bool      // see Owner
}

func (e *OwnedError) Error() string {
	return e.Path + " " + e.owner().doing()
}

// MayBeLive is [Owner.MayBeLive].
func (e *OwnedError) MayBeLive() bool { return e.owner().MayBeLive() }

func (e *OwnedError) owner() Owner {
	return Owner{PID: e.PID, Since: e.Since, Role: e.Role, Live: e.Live}
}

// BusyError is the error of an [Acquire] whose wait ended without the lock.
type BusyError struct {
	Path string // the database, as given
	By   Owner  // a recovery; the zero value: tools that write to the file, or an owner without a record
	Err  error  // of the context
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
	// patience is how long Acquire waits for the record of an owner. To write it takes
	// microseconds; a second is for a loaded machine.
	patience = time.Second

	// settle is how long the record of a process that is not seen to be alive must stay,
	// before it counts as the owner's. It may be a dead predecessor's, and the owner about
	// to write its own. Or the owner is in another container.
	settle = 50 * time.Millisecond

	// grace is how long Acquire waits for a shared lock after the end of its context.
	// OwnerOf holds one for microseconds.
	grace = 10 * time.Millisecond

	// maxPause is the longest pause between two attempts. Pauses are random, so that two
	// processes do not refuse each other in step.
	maxPause = time.Millisecond
)

// step is called after each step of Acquire, Check and Release, with its name. Tests kill
// the process there.
var step = func(name string) {}

// Lock is the process lock on one database, exclusive or shared. Release ends it.
type Lock struct {
	path   string // the database, as given
	role   Role   // empty: shared
	before Owner  // the server before, if it ended uncleanly; zero: none
	saved  Owner  // the last live server that ended with everything saved; zero: none

	mu   sync.Mutex // guards the fields below it
	file *lockFile  // nil once released
	self Owner      // as in the record
}

// Acquire makes this process the owner of the database at path, which need not exist. It
// records role, process id and time in the lock file. A new lock file has the permissions
// of the database without those for execution, or 0600 if there is no database. If root
// makes it, it also has the owner of the database, or of the directory.
//
// Two names of one file are two locks, so path must be the resolved one. A second Acquire
// in one process fails like that of another process, with our own process id. (On AIX and
// Oracle Solaris it drops the first lock, as does OwnerOf. Locks belong to the process
// there.)
//
// If a server owns the database, the error is an [*OwnedError], at once. An owner without a
// record after a second is reported with PID 0. It is stopped, its disk is full, or it is
// another program. While a recovery or tools hold the lock, Acquire waits; at the end of
// ctx the error is a [*BusyError]. Acquire tries at least once, and once more after 10 ms,
// even if ctx has ended before. Every other error wraps [ErrUnavailable].
func Acquire(ctx context.Context, path string, role Role) (*Lock, error) {
	return acquire(ctx, path, role, false)
}

// AcquireLive is [Acquire] for a server that is about to serve tools. Its record says so
// from the first moment, so no tool takes the file for all there is. If it cannot serve
// them, it calls [Lock.SetLive].
func AcquireLive(ctx context.Context, path string) (*Lock, error) {
	return acquire(ctx, path, Server, true)
}

func acquire(ctx context.Context, path string, role Role, live bool) (*Lock, error) {
	w := waiter{path: path}
	for {
		file, by, err := lockOnce(path, exclusive)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return newLock(path, role, live, file), nil
		}
		if err := w.refused(ctx, by); err != nil {
			return nil, err
		}
	}
}

// waiter decides whether there is another attempt.
type waiter struct {
	path  string
	last  refusal
	since time.Time // of the first of the refusals in a row that are like last
	ended time.Time // when the end of the context was seen; zero: not yet
}

// refused pauses, or returns the error that ends the wait.
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
	exclusive bool  // there is an owner
	owner     Owner // of the record; the zero value: there is none
}

func (r refusal) named() bool { return r.exclusive && r.owner.PID != 0 }

// final is the error for a refusal that lasts, after it has been the same for a time. nil
// means to try again.
func (r refusal) final(path string, same time.Duration) error {
	switch {
	case !r.exclusive:
		return nil
	case r.named() && r.owner.Role == Recovery:
		return nil
	case r.named() && (same >= settle || alive(r.owner.PID)), same >= patience:
		return r.owner.Owned(path)
	}
	return nil
}

// Owned returns the error for the database at path, which the owner has.
func (o Owner) Owned(path string) *OwnedError {
	return &OwnedError{Path: path, PID: o.PID, Since: o.Since, Role: o.Role, Live: o.Live}
}

// newLock records the owner in the lock file.
func newLock(path string, role Role, live bool, file *lockFile) *Lock {
	step("locked")
	l := &Lock{path: path, role: role, file: file, self: newOwner(role)}
	l.self.Live = live
	r, _ := file.read() // lockOnce has read it
	l.before, l.saved = r.uncleanEnd(), r.saved
	l.write(file)
	step("recorded")
	return l
}

func newOwner(role Role) Owner {
	return Owner{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Microsecond), Role: role}
}

// write records the owner. An error is ignored, because the kernel lock decides. Others
// are refused, but their errors do not name the owner. A full disk must not keep a server
// from starting.
func (l *Lock) write(file *lockFile) {
	r := record{owner: l.self, saved: l.saved}
	if l.role == Recovery {
		r.unclean = l.before
	}
	_ = file.write(r)
}

// AcquireShared takes a shared lock and leaves the content of the lock file alone. If
// there is no lock file, it makes one, as Acquire does. Without create it then returns a
// Lock that holds nothing, as there has never been a server.
//
// AcquireShared does not wait for an owner to end. The error is then an [*OwnedError]. (It
// takes up to 50 ms to read its record; without one, PID is 0 and Role is empty.) Every
// other error wraps [ErrUnavailable].
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
			return nil, by.owner.Owned(path)
		}
		time.Sleep(rand.N(maxPause))
	}
}

// Holds reports whether the lock is held. It is not after Release, nor if AcquireShared
// found no lock file and made none.
func (l *Lock) Holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file != nil
}

// OwnerOf returns the owner of the database at path, this process included. false means
// that there is none. The Owner is zero if its record cannot be read. Nothing is created.
// An error wraps [ErrUnavailable].
//
// OwnerOf may be called at any time. If there is no owner, it holds a shared lock for a
// moment; no Acquire takes that for an owner. It takes up to 50 ms if the process of the
// owner is not seen to be alive.
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

// SetLive records whether the server serves tools.
func (l *Lock) SetLive(live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.self.Live = live
	if l.file != nil {
		l.write(l.file)
	}
}

// Previous returns the server that owned the database before, if it ended uncleanly and
// so left its record. A recovery in between keeps the record.
func (l *Lock) Previous() (Owner, bool) { return l.before, l.before.PID != 0 }

// Check is for an owner. It makes sure that the locked file still has the lock file's
// name. If the lock file was removed or replaced, Check makes it again, or takes the new
// one, and locks it.
//
// After an error the owner of the database is not known. Write neither to it nor to
// anything beside it until a later Check returns nil. The error wraps [ErrLost] if another
// process has locked the new file, or was a server with it and ended uncleanly. It also
// wraps an [*OwnedError] if that process is known. Every other error wraps
// [ErrUnavailable], but that of a lock that is released.
func (l *Lock) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("process lock of " + l.path + " is released")
	}
	if there, err := l.file.hasName(); there || err != nil {
		return err
	}
	for start := time.Now(); ; {
		file, by, err := lockOnce(l.path, exclusive)
		switch {
		case err != nil:
			return err
		case file != nil:
			return l.replace(file)
		case by.exclusive:
			return l.lost(by.owner.Owned(l.path))
		case time.Since(start) >= grace:
			return l.lost(errors.New("another process is writing to the database"))
		}
		time.Sleep(rand.N(maxPause))
	}
}

// replace puts another locked lock file in the place of the first.
func (l *Lock) replace(file *lockFile) error {
	step("locked again")
	// A server that left its record there has served the database meanwhile. It may have
	// left a log that this process has not read.
	r, err := file.read()
	switch {
	case err != nil:
		err = unavailable(file.name, err)
	case r.owner != l.self && r.owner.Role == Server:
		err = l.lost(r.owner.Owned(l.path))
	}
	if err != nil {
		return errors.Join(err, file.close())
	}
	l.write(file)
	step("recorded again")
	old := l.file
	l.file = file
	// The old file has no name, so no other process can lock it.
	_ = old.close()
	return nil
}

func (l *Lock) lost(to error) error {
	return fmt.Errorf("%w: %s was removed or replaced: %w", ErrLost, lockName(l.path), to)
}

// Release releases the lock and leaves the lock file in its place. A server clears its
// record. A recovery restores the record of a server that ended uncleanly. The lock is
// released even if that fails. Calls after the first do nothing and return nil.
func (l *Lock) Release() error { return l.release(l.role == Recovery) }

// ReleaseSaved is Release for a server whose file has every commit. If the server was live,
// the record says so to its tools: see [SavedLast].
func (l *Lock) ReleaseSaved() error {
	l.mu.Lock()
	if l.self.Live {
		l.saved = l.self
	}
	l.mu.Unlock()
	return l.Release()
}

// SavedLast returns the last server of the database at path that served tools and ended
// with everything saved; false: none is known. Nothing is created. An error wraps
// [ErrUnavailable].
func SavedLast(path string) (Owner, bool, error) {
	name := lockName(path)
	file, _, err := openLock(path, name, probe)
	if errors.Is(err, fs.ErrNotExist) {
		return Owner{}, false, nil
	}
	if err != nil {
		return Owner{}, false, unavailable(name, err)
	}
	// No lock is needed: a writer replaces a record in one piece.
	r, err := (&lockFile{name: name, file: file}).read()
	if err = errors.Join(err, file.Close()); err != nil {
		return Owner{}, false, unavailable(name, err)
	}
	return r.saved, r.saved.PID != 0, nil
}

// Owner is this process as the owner of the database, as in the record.
func (l *Lock) Owner() Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.self
}

// Abandon is Release for a server that could not load the database. It keeps the record of
// a server before that ended uncleanly.
func (l *Lock) Abandon() error { return l.release(true) }

func (l *Lock) release(keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	var err error
	if l.role != "" {
		// This comes before the lock is released. After that the record is the next
		// owner's.
		r := record{saved: l.saved}
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
