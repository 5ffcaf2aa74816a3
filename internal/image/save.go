package image

import (
	"context"
	"errors"
)

// Saved is the result of a Save.
type Saved struct {
	Bytes   int64  // length of the file that was written; 0 after an error
	Version uint64 // of the state in it; 0 after an error

	// NotKept is why the earlier state of the file is not kept, although File.Keep asks
	// for it. The file has been replaced all the same. It may be set after an error too.
	// Nil: the state is kept, or there was none to keep.
	NotKept error
}

// Save replaces the file by the last commit, or creates it. The new file has the owner, group
// and permissions of the old one, as far as this process may give them. If there was no file,
// the mode is 0600. The new file does not get the access control lists, extended attributes
// and further hard links of the old one. If Keep asks for it, the old file gets another name.
// Where there are no hard links, a copy of it with mode 0600 gets that name. An empty
// database becomes a file of no bytes, which SQLite takes for one. A log of the commits made
// meanwhile replaces the log. If no log is wanted, the log is removed.
//
// [Pace] is the priority of the save.
//
// The error is a [*ForeignChangeError] if the file is not the one that was read or written
// last, or if another program is using it. Then the new state is kept beside the file. Each
// Save looks again. When the cause has gone, the next Save succeeds.
//
// Every other error is an [*Error]. Then the file is the old one; or the new one is in place,
// and a power failure may bring the old one back, with its log. The error names a temporary
// file that could not be removed. The end of ctx ends the save, until the rename.
func (f *File) Save(ctx context.Context, pace Pace) (Saved, error) {
	// It takes more than one try only if VACUUM changes the page size during a save, a
	// restore replaces the database, or it becomes empty.
	for range 3 {
		saved, err := f.save(ctx, pace)
		if err != errOutdated {
			return saved, err
		}
	}
	return Saved{}, saveErr(f.path, errOutdated)
}

// errOutdated: something has happened during the save that no log can express. So no log
// leads from the saved state to the last commit.
var errOutdated = errors.New("the page size has changed meanwhile, or the whole database, or it has become empty")

func (f *File) save(ctx context.Context, pace Pace) (Saved, error) {
	img, err := f.beginSave()
	if err != nil {
		return Saved{}, saveErr(f.path, err)
	}
	options := writeOptions{pace: pace, hash: f.log || f.present, keep: f.Keep, side: f.side, owned: f.Owned}
	if img.Version() == f.published {
		options.keep = 0
	}
	p, err := writer{f.fs}.prepare(ctx, f.path, f.target, img, f.current, options)
	img.Release()

	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		f.saving, f.next, f.nextAll = false, nil, false
	}()
	var res result
	if err == nil {
		if res, err = f.publishLocked(ctx, p); !res.ID.IsZero() {
			// This counts even if it is not durable. An error of the close does not: the
			// file was only read.
			_ = f.current.Unpin()
			f.current, f.published = res.Pinned, p.img.version
		}
	}
	var foreign *ForeignChangeError
	if errors.As(err, &foreign) {
		f.setOwnCopy(foreign.copy)
		foreign.logged = f.present
		f.foreign = err
	}
	if err != nil {
		return Saved{NotKept: res.notKept}, err
	}
	f.setOwnCopy(ownCopy{})
	f.foreign = nil
	return Saved{Bytes: res.bytes, Version: p.img.version, NotKept: res.notKept}, nil
}

// setOwnCopy notes the copy that there is now beside the file.
func (f *File) setOwnCopy(side ownCopy) {
	if f.side.File != side.File {
		_ = f.side.Unpin() // only read
	}
	f.side = side
}

// beginSave pins the state that is to be saved. With a log it begins to note what changes after
// that.
func (f *File) beginSave() (Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.log {
		return f.source.Pin()
	}
	img, err := f.pinLocked()
	f.saving = err == nil
	return img, err
}
