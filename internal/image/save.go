package image

import (
	"context"
	"errors"
)

// Saved is what a Save has done.
type Saved struct {
	Bytes   int64  // length of the file
	Version uint64 // of the state that is in it

	// NotKept is why the state that the file had before is not kept, though File.Keep
	// asks for it; the file has been replaced all the same. It is set after an error
	// too. Nil: that state is kept, or there was none.
	NotKept error
}

// Save puts the last commit in the place of the file, or creates it. The new
// file has the owner, group and permissions of the old as far as this process
// may give them, 0600 if there was none; access control lists, extended
// attributes and hard links are not carried over. The old file is kept if Keep asks for
// it: under another name, or as a copy that only its owner can read (0600) where there
// are no hard links. An empty database becomes a
// file of no bytes, which SQLite takes for one. A log is replaced by one of what
// was committed meanwhile, or removed, if none is asked for.
//
// See [Pace] for its priority.
//
// If the file is no longer the one that was read or written last, or another
// program is using it, the error is a [*ForeignChangeError] and the state is
// kept beside the file. The check is made anew each time: when the cause is
// gone, the next Save succeeds.
//
// Every other error is an [*Error]. Then the file is as it was, or the new one
// is in place, but could not be made to survive a power failure, which may
// bring the old one back, with its log. A temporary file that could not be
// removed is named in the error. The end of ctx ends the save until the moment
// of the rename.
func (f *File) Save(ctx context.Context, pace Pace) (Saved, error) {
	// More than once only if VACUUM changes the page size during a save, or
	// the database becomes empty.
	for range 3 {
		saved, err := f.save(ctx, pace)
		if err != errOutdated {
			return saved, err
		}
	}
	return Saved{}, saveErr(f.path, errOutdated)
}

// errOutdated: something has happened during the save that no log can tell, so
// that none would reach from the file as it was saved to what was committed.
var errOutdated = errors.New("the page size has changed meanwhile, or the database has become empty")

func (f *File) save(ctx context.Context, pace Pace) (Saved, error) {
	img, err := f.beginSave()
	if err != nil {
		return Saved{}, saveErr(f.path, err)
	}
	options := writeOptions{pace: pace, hash: f.log || f.present, keep: f.Keep, side: f.side, owned: f.Owned}
	if img.Version() == f.placed {
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
			// Also when it is not durable. Nothing depends on the close of a file
			// that was only read.
			_ = f.current.Unpin()
			f.current, f.placed = res.Pinned, p.img.version
		}
	}
	var foreign *ForeignChangeError
	if errors.As(err, &foreign) {
		f.keepSide(foreign.copy)
		foreign.logged = f.present
		f.foreign = err
	}
	if err != nil {
		return Saved{NotKept: res.notKept}, err
	}
	f.keepSide(sideCopy{})
	f.foreign = nil
	return Saved{Bytes: res.bytes, Version: p.img.version, NotKept: res.notKept}, nil
}

// keepSide notes the side copy there is now.
func (f *File) keepSide(side sideCopy) {
	if f.side.File != side.File {
		_ = f.side.Unpin() // only read
	}
	f.side = side
}

// beginSave pins the state that is to be saved, and begins to note what changes
// from then on.
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
