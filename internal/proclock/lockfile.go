package proclock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// lockName returns the name of the lock file of the database at path.
func lockName(path string) string { return path + ".lock" }

// lockFile is a locked lock file.
type lockFile struct {
	name  string
	flock *flock.Flock
	file  *os.File // a second descriptor of the same file, for the record
}

// manner is how lockOnce locks.
type manner int

const (
	exclusive manner = iota
	shared
	probe // shared; makes no lock file
)

// lockOnce tries to lock the lock file of the database at path. It returns nil without an
// error if another has it; the refusal then says what is known of the holder. The error is
// that of unavailable, and wraps fs.ErrNotExist if there is no file to probe.
func lockOnce(path string, how manner) (*lockFile, refusal, error) {
	name := lockName(path)
	for i := 0; ; i++ {
		file, flag, err := openLock(path, name, how)
		if err != nil {
			return nil, refusal{}, unavailable(name, err)
		}
		if how == exclusive {
			step("opened")
		}
		l, by, err := lockOpen(name, file, flag, how)
		if l == nil {
			err = errors.Join(err, file.Close())
		}
		switch {
		case errors.Is(err, errReplaced) && i < maxReplaced:
			continue
		case err != nil:
			return nil, refusal{}, unavailable(name, err)
		}
		if l != nil && how != probe {
			adopt(file, path)
		}
		return l, by, nil
	}
}

// maxReplaced is how often lockOnce starts over.
const maxReplaced = 100

// errReplaced: when the file was locked, its name was that of another file, or of none.
var errReplaced = errors.New("replaced meanwhile")

// openLock opens the lock file, and makes it if there is none, except for a probe. It never
// follows a symbolic link. It also returns the flags of the open.
func openLock(path, name string, how manner) (*os.File, int, error) {
	for {
		info, err := os.Lstat(name)
		if err == nil && !info.Mode().IsRegular() {
			return nil, 0, notALock(name, info.Mode().Type().String())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
		if err == nil || how == probe {
			file, flag, err := openThere(name, how)
			if errors.Is(err, fs.ErrNotExist) && how != probe {
				continue
			}
			return file, flag, err
		}
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|openFlags, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		giveAway(file, path)
		return file, os.O_RDWR | openFlags, nil
	}
}

// openThere opens a lock file that exists. It opens it for writing, because NFS grants an
// exclusive lock only then.
func openThere(name string, how manner) (*os.File, int, error) {
	flag := os.O_RDWR | openFlags
	if how == probe {
		flag = os.O_RDONLY | openFlags
	}
	file, err := os.OpenFile(name, flag, 0)
	if how == shared && ReadOnly(err) {
		flag = os.O_RDONLY | openFlags
		file, err = os.OpenFile(name, flag, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notALock(name, info.Mode().Type().String())
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, flag, nil
}

// lockOpen locks the lock file, of which file is a descriptor, opened with flag.
func lockOpen(name string, file *os.File, flag int, how manner) (*lockFile, refusal, error) {
	l := &lockFile{name: name, file: file, flock: flock.New(name, flock.SetFlag(flag))}
	lock := l.flock.TryRLock
	if how == exclusive {
		lock = l.flock.TryLock
	}
	ok, err := lock()
	if errors.Is(err, fs.ErrNotExist) {
		err = errReplaced
	}
	if err != nil {
		return nil, refusal{}, err
	}
	r, err := l.read()
	if !ok {
		by := refusal{exclusive: true, owner: r.owner}
		if err == nil && how == exclusive {
			// There may be no owner. Tools share the lock. OwnerOf shares it for a moment,
			// as no portable call asks about a flock without taking it. If a shared lock is
			// granted here too, there is no owner.
			if ok, err = l.flock.TryRLock(); ok {
				by = refusal{}
				err = l.flock.Unlock()
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = errReplaced
			}
		}
		return nil, by, err
	}
	if err == nil {
		var there bool
		if there, err = l.hasName(); !there && err == nil {
			err = errReplaced
		}
	}
	if err != nil {
		return nil, refusal{}, errors.Join(err, l.flock.Unlock())
	}
	return l, refusal{}, nil
}

// hasName reports whether the locked file has the name.
func (l *lockFile) hasName() (bool, error) {
	now, err := os.Lstat(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(l.name, err)
	}
	mine, err := l.file.Stat()
	if err != nil {
		return false, unavailable(l.name, err)
	}
	locked, err := l.flock.Stat()
	if err != nil {
		return false, unavailable(l.name, err)
	}
	return os.SameFile(mine, now) && os.SameFile(mine, locked), nil
}

// close unlocks the file.
func (l *lockFile) close() error {
	return errors.Join(l.flock.Unlock(), l.file.Close())
}

// read returns the record. The error wraps ErrNotALock if the content is not ours.
func (l *lockFile) read() (record, error) {
	var before []byte
	for i := 0; ; i++ {
		b, err := l.content()
		if err != nil {
			return record{}, err
		}
		if r, ok := parseContent(b); ok {
			return r, nil
		}
		// A read beside an owner's write can return parts of both records. Content that
		// stays the same is another program's.
		if i > 0 && bytes.Equal(b, before) || i == maxReplaced {
			return record{}, notALock(l.name, "its content is another program's")
		}
		before = b
		time.Sleep(rand.N(maxPause))
	}
}

// content returns the beginning of the file. If the first byte cannot be read, it is zero:
// see recordOffset.
func (l *lockFile) content() ([]byte, error) {
	b := make([]byte, recordOffset+maxRecord+1)
	_, _ = l.file.ReadAt(b[:recordOffset], 0)
	n, err := l.file.ReadAt(b[recordOffset:], recordOffset)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return b[:recordOffset+n], nil
}

// write makes r the content of the file. It writes the new record over the old one in one
// piece, padded with empty lines to the old length. A process that is killed meanwhile
// leaves one of the two.
func (l *lockFile) write(r record) error {
	b := []byte(r.String())
	size := int64(len(b))
	if size == 0 {
		return l.file.Truncate(0)
	}
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	for int64(len(b)) < info.Size()-recordOffset {
		b = append(b, '\n')
	}
	if _, err := l.file.WriteAt(b, recordOffset); err != nil {
		// No owner is better than a wrong one.
		return errors.Join(err, l.file.Truncate(0))
	}
	step("written")
	// A blank looks better than the zero byte of a hole. On Windows the zero stays.
	_, _ = l.file.WriteAt([]byte(" "), 0)
	return l.file.Truncate(recordOffset + size)
}

// unavailable wraps err and ErrUnavailable, and names the lock file.
func unavailable(name string, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		err = &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func notALock(name, what string) error {
	return &fs.PathError{Op: "lock", Path: name, Err: fmt.Errorf("%w (%s)", ErrNotALock, what)}
}
