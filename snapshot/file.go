package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Source is a database in memory that a [File] keeps.
type Source interface {
	// Pin pins the last commit, in constant time.
	Pin() (Image, error)

	// Track has every commit from now on note the pages that it changes.
	Track()

	// PinChanges is Pin, and adds to pages those that may differ from the
	// state pinned by the call before, or from that of Track: page 1 is bit 0
	// of the first word. It returns pages, grown if need be. all: the page
	// size has changed meanwhile. After an error nothing is lost.
	PinChanges(pages []uint64) (img Image, _ []uint64, all bool, err error)
}

// File is the file of a database that is in memory, and its log. The log,
// <file>-memwal, holds what was committed since the file was written, in the
// format of SQLite's own (see logformat.go); there is none if it is not asked
// for.
//
// Open comes first, Close last, and Save is for one goroutine at a time. Who
// calls them owns the process lock of the file exclusively, and Owned says that it
// still does. While Open runs, no connection of this process has the file open: see
// "Locks of this process" above.
//
// # What a log belongs to
//
// The salts in the header of a log are the hash of the whole file that it
// belongs to, its base. A base and a log are a pair by that alone, whatever they
// are called, which makes it safe to replace both: see publishLocked.
//
// # What is promised
//
// When Flush has returned nil, every commit made before the call survives:
// Durable says up to which. What a crash leaves is read by Open, whether a log
// is asked for or not, and by SQLite itself, if the log is renamed to
// <file>-wal: a whole prefix of the history.
type File struct {
	// Keep is how many of the states that the file had before are kept beside it, as
	// <file>.kept-1, which is the one before the last save, <file>.kept-2 and so on:
	// each a whole database. While a save replaces the file, and until the next one when
	// a crash or an error comes in between, the last is called <file>.kept-new. Keep is
	// set before the first Save. Fewer than before leaves those beyond it where they
	// are. 0: none is kept.
	Keep int

	// Wait is how long Open waits while another program holds the file. It is set before
	// Open; NewFile sets 5 seconds. 0: not at all.
	Wait time.Duration

	// Owned, if not nil, returns nil if this process owns the database, and else an error,
	// which wraps ErrNotOwner if another may own it. It is asked before each flush, and
	// before a file takes the place of another, or is removed. It is set before the first
	// Save or Flush, and may be called at the same time.
	Owned func() error

	// CloseLater, if not nil, is given the file by Close, to be closed when no SQLite
	// connection of this process has it open: to close it drops their locks. Nil: Close
	// closes it.
	CloseLater func(io.Closer)

	fs     fsys
	path   string // as given
	target string // the file, symbolic links resolved; set by Open, and for good
	source Source
	log    bool // a log is asked for

	// side is Save's alone: where a save went that found the file changed by somebody
	// else.
	side sideCopy

	// placed is the version that a Save has put in the place of the file, though it
	// may have failed after that; 0: none has. Save's alone. The next one, of the same
	// version, replaces no other state.
	placed uint64

	// durable is the version up to which all survives. Stored under mu, or
	// before the first Flush; atomic for those who ask.
	durable atomic.Uint64

	// logSize is the length of the log. Stored under mu; atomic for those who ask.
	logSize atomic.Int64

	// mu guards the fields below, and what they say of the disk. It is held
	// across the I/O of a flush, and of the last steps of a save; a commit
	// never takes it. Save, which alone changes current, reads that without it.
	mu      sync.Mutex
	current pinned    // the file as it was read or written last
	base    imageInfo // of the file that the log belongs to
	writing *logFile  // nil: the log on the disk, if there is one, is not to be appended to
	present bool      // there is a log on the disk, or may be
	left    int64     // when writing is nil: the length of the log that Open has read, if there is something in it
	foreign error     // of the last save, if somebody else has changed the file: the log is of no use then
	dirty   pageSet   // pages that have changed and are not in the log
	since   pageSet   // pages that have changed since the base was written
	all     bool      // the page size has changed since the base was written: no log can tell it
	saving  bool      // a save is writing a new base
	next    pageSet   // when saving: pages that have changed since the state of that
	nextAll bool      // when saving: the page size has changed since the state of that
	fresh   pageSet   // pinLocked's own, empty between two calls
}

// FileInfo is what Open has found.
type FileInfo struct {
	// Links is how many names the file has (hard links). A save replaces what one name
	// stands for, and the others keep the file as it was. 0: there is no file, or the
	// number is not known.
	Links int

	// Recovered: a log was found that holds what the file does not. Save
	// writes it into the file.
	Recovered bool
	LogBytes  int64 // up to the end of the last transaction in the log
	Commits   int   // transactions in the log
	Torn      int64 // bytes behind that, if there is part of one more, which a crash has cut short
}

// NewFile makes a File for the database at path, kept in source. With log
// set, Flush can be called.
func NewFile(path string, source Source, log bool) *File {
	return &File{fs: system, path: path, source: source, log: log, Wait: loadWait}
}

// Open reads the file and the log that belongs to it into sink, which fills
// the source. Symbolic links are followed, once: from then on File works on the file
// that was found, wherever its links lead later.
//
// If there is no file, or it is an empty database (it has no pages), sink gets
// nothing. Else it gets every page of the database, as it is but for header
// bytes 18 and 19, which are set to rollback mode: a WAL-mode image cannot be
// opened from memory.
//
// What another program left unfinished, a hot journal or a -wal, is recovered
// first, by SQLite, as any program would that opens the file. No other program
// can write to the file while it is read. If one holds it, Open waits as long
// as Wait says, then fails with [ErrBusy]. A file in WAL mode must be open nowhere
// else: a program that keeps it open would go on using the -wal, unaware of
// later saves.
//
// Errors are an [*Error] and wrap [ErrNotAFile], [ErrReadOnly], [ErrMountPoint],
// [ErrNotADatabase], [ErrTruncated], [ErrCorrupt], [ErrSideFile], [ErrLogDamaged],
// [ErrLogBase], [ErrBusy], the
// error of ctx or sink, or that of SQLite or the operating system. After each of the
// first nine neither the file nor what is beside it has been touched, unless
// SQLite found the damage after it had recovered a file that looked sound.
// After any error sink may hold part of a database and must be thrown away.
// Open looks at the header only: see [Check] for the rest.
func (f *File) Open(ctx context.Context, sink Sink) (FileInfo, error) {
	l := loader{fs: f.fs, wait: f.Wait, poll: loadPoll}
	info, err := f.open(ctx, l, sink)
	if err != nil {
		return FileInfo{}, &Error{Op: "load", Path: f.path, Err: err}
	}
	return info, nil
}

func (f *File) open(ctx context.Context, l loader, sink Sink) (info FileInfo, err error) {
	if f.target, err = Resolve(f.path); err != nil {
		return info, err
	}
	if err := notMounted(f.target); err != nil {
		return info, err
	}
	found, err := l.load(ctx, f.target, sink, f.log)
	if err != nil {
		return info, err
	}
	f.current, f.base = found.pinned, found.base
	if log := found.log; log != nil {
		f.present = true
		for pgno := range log.pages {
			f.since.add(pgno)
		}
		if log.commits > 0 {
			f.left = log.size
		}
		info = FileInfo{Recovered: log.commits > 0, LogBytes: log.end, Commits: log.commits, Torn: log.torn}
	}
	info.Links = f.links()
	return info, nil
}

// links counts the names of the file, but for that of a state which is set aside.
func (f *File) links() int {
	n := linksOf(f.current.id.info)
	if kept, err := f.fs.lstat(keptName(f.target, 0)); n > 1 && err == nil && os.SameFile(kept, f.current.id.info) {
		n--
	}
	return n
}

// Start is called when the source is filled, before anything is written to it:
// version is the one that Open has read. From now on Flush may be called.
func (f *File) Start(version uint64) {
	f.durable.Store(version)
	if f.log {
		f.source.Track()
	}
}

// Durable is the version up to which every commit survives a crash of the
// machine.
func (f *File) Durable() uint64 { return f.durable.Load() }

// LogSize is the length of the log in bytes; 0: there is none that this process
// writes.
func (f *File) LogSize() int64 { return f.logSize.Load() }

// pinLocked pins the last commit and takes note of what has changed since it
// was called before.
func (f *File) pinLocked() (Image, error) {
	img, fresh, all, err := f.source.PinChanges(f.fresh)
	f.fresh = fresh
	if err != nil {
		return nil, err
	}
	f.dirty.addAll(fresh)
	f.since.addAll(fresh)
	f.all = f.all || all
	if f.saving {
		f.next.addAll(fresh)
		f.nextAll = f.nextAll || all
	}
	clear(fresh)
	return img, nil
}

// ErrNeedsSave is returned by [File.Flush] when a log cannot tell what has
// changed: there is no file yet, or VACUUM has changed the page size. Save
// makes it durable.
var ErrNeedsSave = errors.New("sqlite-mem: only a save can make this durable")

// Flush brings all that is committed to the log, as one transaction of it, and
// returns when it is on the disk. It returns at once if it is there already.
//
// First it makes sure that this process owns the database, and that file and log are
// where they were: a log that was removed or replaced is written anew. So nothing is
// called durable that is in a log without its name.
//
// Errors are an [*Error], or ErrNeedsSave; one of them, while the last Save has
// found that somebody else has changed the file, and the cause has not gone, is that
// error of Save, since a log
// is of use only beside the file that it belongs to. Then what was committed since the
// last Flush that returned nil may survive a crash or not, in either case in
// whole; the next Flush tries all of it again, in a new log.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.foreign != nil && !f.oursAgainLocked() {
		return f.foreign
	}
	err := f.flushLocked()
	if err != nil && err != ErrNeedsSave {
		err = &Error{Op: "log", Path: f.path, Err: err}
	}
	return err
}

// oursAgainLocked makes sure that the cause for which the last save was refused has gone,
// and the file is the base of the log again.
func (f *File) oursAgainLocked() bool {
	reason, err := writer{f.fs}.foreign(f.target, f.current, writeOptions{owned: f.Owned})
	if err != nil || reason != "" {
		return false
	}
	f.foreign = nil
	return true
}

// ErrChanged is wrapped by the error of [File.Check] for a file that is not the one
// that was read or written last. The next Save tells more, in a [*ForeignChangeError].
var ErrChanged = errors.New("somebody else has changed the database file")

// Check makes sure, without a commit that asks for it, that what was called durable is:
// that this process owns the database, and that file and log are where they were. A log
// that was removed or replaced is written anew. It is to be called now and then.
//
// Errors are an [*Error], which wraps ErrChanged if the file is another, or
// ErrNeedsSave if only a save can make up for the log that is gone.
func (f *File) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.checkLocked()
	if err != nil && err != ErrNeedsSave {
		err = &Error{Op: "watch", Path: f.path, Err: err}
	}
	return err
}

func (f *File) checkLocked() error {
	if err := f.ownedLocked(); err != nil {
		return err
	}
	reason, err := f.current.changed(f.fs, f.target)
	if err == nil && reason != "" {
		err = fmt.Errorf("%w: %s", ErrChanged, reason)
	}
	if err != nil {
		return err
	}
	gone, err := f.logGoneLocked()
	if err != nil || !gone {
		return err
	}
	if !f.log {
		return ErrNeedsSave
	}
	return f.flushLocked()
}

func (f *File) ownedLocked() error {
	if f.Owned == nil {
		return nil
	}
	return f.Owned()
}

// logGoneLocked reports whether the log that says what is durable has lost its name, or
// has not got it.
func (f *File) logGoneLocked() (bool, error) {
	switch {
	case f.writing != nil && !f.writing.placed:
		return true, nil // it has no name yet
	case f.writing != nil:
		there, err := f.writing.there(logName(f.target))
		return !there, err
	case f.writing == nil && f.left > 0:
		// Nobody has it open, so its length stands for it.
		info, err := f.fs.lstat(logName(f.target))
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return err == nil && (!info.Mode().IsRegular() || info.Size() != f.left), err
	}
	return false, nil
}

func (f *File) flushLocked() error {
	if err := f.ownedLocked(); err != nil {
		return err
	}
	if err := f.placeLocked(); err != nil && err != errLogGone {
		return err
	}
	gone, err := f.logGoneLocked()
	if err != nil {
		return err
	}
	img, err := f.pinLocked()
	if err != nil {
		return err
	}
	version := img.Version()
	if version == f.durable.Load() && !gone {
		img.Release()
		return nil
	}
	if f.all || f.base.size == 0 || img.Size() == 0 {
		img.Release()
		return ErrNeedsSave
	}
	// The log is of use only beside the file that it belongs to. If that has gone, a
	// save finds out what is to be done.
	if reason, err := f.current.changed(f.fs, f.target); err != nil || reason != "" {
		img.Release()
		if err == nil {
			err = ErrNeedsSave
		}
		return err
	}
	if f.writing != nil && !f.writing.broken && !gone {
		err = f.writing.append(img, f.dirty)
		img.Release() // a pin costs what is rewritten meanwhile, and a sync takes long
		if err == nil {
			err = f.writing.sync()
		}
	} else {
		err = f.rewriteLocked(img)
		img.Release()
	}
	if err != nil {
		return err
	}
	clear(f.dirty)
	f.logSize.Store(f.writing.size)
	f.durable.Store(version)
	return nil
}

// placeLocked puts a log in its place that a save could not. Until that has
// worked nothing can be durable, and no other log may be made: it may be the one
// that fits the file. Unless somebody has removed it: then another may, and must.
func (f *File) placeLocked() error {
	if f.writing == nil || f.writing.placed {
		return nil
	}
	return f.writing.place()
}

// rewriteLocked puts a new log, of all that has changed since the base was
// written, in the place of the log there is: one that a crash or an error has
// left, whose end nobody knows. Both belong to the base, so whichever of them a
// crash leaves, it has all that was durable before.
func (f *File) rewriteLocked(img Image) error {
	like, err := f.current.like(f.fs, f.target)
	if err != nil {
		return err
	}
	log, err := createLog(f.fs, f.target, like, f.base.pageSize, f.base.hash, img, f.since)
	if err != nil {
		return err
	}
	log.unsynced = f.writing != nil && f.writing.unsynced
	f.present = true
	if err := log.place(); err != nil {
		log.broken = true // what it has is not known to be durable
		if !log.renamed {
			return errors.Join(err, log.discard())
		}
		return errors.Join(err, f.replaceLocked(log))
	}
	return f.replaceLocked(log)
}

// replaceLocked goes on with another log.
func (f *File) replaceLocked(log *logFile) error {
	old := f.writing
	f.writing, f.left = log, 0
	if log == nil {
		f.logSize.Store(0)
	} else {
		f.logSize.Store(log.size)
	}
	if old == nil {
		return nil
	}
	return old.close()
}

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
		if res, err = f.publishLocked(ctx, p); !res.id.IsZero() {
			// Also when it is not durable. Nothing depends on the close of a file
			// that was only read.
			_ = f.current.unpin()
			f.current, f.placed = res.pinned, p.img.version
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
	if f.side.file != side.file {
		_ = f.side.unpin() // only read
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

// publishLocked puts a new base in the place of the file and a new log in the
// place of the log. In this order:
//
//  1. the new base, p, is whole and synced, under a temporary name
//  2. a new log with what was committed since is written and synced, under the
//     name that it has only for this
//  3. the directory is synced; the new base is renamed over the old one; the
//     directory is synced
//  4. the new log is renamed over the old one; the directory is synced
//
// A crash before the rename of 3 leaves the old base and the old log, which fit
// each other; so it does if the rename does not survive a power failure. Then
// what is in the new log was not promised to anybody: Flush has not returned
// since. A crash after it leaves the new base and, under one name or the other,
// the new log, which fits it as the old one does not. Step 4 begins when step 3
// is durable, so the new log never has the log's name beside the old base.
//
// When it is not known whether step 3 is durable, nothing that is committed
// from then on is, until both directories' syncs have worked: the new log is
// not placed, and flushLocked begins with that.
func (f *File) publishLocked(ctx context.Context, p *prepared) (result, error) {
	if !f.log && !f.present {
		res, err := p.publish(ctx)
		if err == nil {
			f.durable.Store(p.img.version)
		}
		return res, err
	}
	// Before anything is done to the log: it may be another's by now.
	if err := p.admit(ctx); err != nil {
		return result{}, err
	}
	now, err := f.sinceSaveLocked(p)
	if err != nil {
		if derr := p.discard(); derr != nil || err != errOutdated {
			err = saveErr(f.path, errors.Join(err, derr))
		}
		return result{}, err
	}
	version := p.img.version
	if now != nil {
		defer now.Release()
		version = now.Version()
	}
	pageSize := p.img.pageSize
	if pageSize == 0 {
		pageSize = 4096 // of a log without pages
	}
	like, err := f.current.like(f.fs, f.target)
	var log *logFile
	if err == nil {
		log, err = createLog(f.fs, f.target, like, pageSize, p.img.hash, now, f.next)
	}
	if err != nil {
		return result{}, saveErr(f.path, fmt.Errorf("the log of the new file: %w", errors.Join(err, p.discard())))
	}
	f.present = true
	res, err := p.publish(ctx)
	if res.id.IsZero() {
		return res, errors.Join(err, log.discard())
	}
	log.unsynced = err != nil
	f.base, f.since, f.all = p.img, f.next, false
	f.next = nil
	clear(f.dirty)
	if cerr := f.replaceLocked(log); cerr != nil && err == nil {
		err = saveErr(f.path, fmt.Errorf("closing the old log: %w", cerr))
	}
	if err != nil {
		return res, err
	}
	if err := log.place(); err != nil {
		return res, saveErr(f.path, fmt.Errorf("the new file is in place, its log %s is not: %w", newLogName(f.target), err))
	}
	f.durable.Store(version)
	if f.log && p.img.size > 0 {
		return res, nil
	}
	if err := f.removeLogLocked(); err != nil {
		return res, saveErr(f.path, err)
	}
	return res, nil
}

// sinceSaveLocked pins the state that the log of a new base has to reach; nil:
// it is that of the base itself. errOutdated: no log of that base can reach it.
// An older state would not do: the old log may have reached further.
func (f *File) sinceSaveLocked(p *prepared) (Image, error) {
	// A log that is gone is made up for by the one that comes now.
	if err := f.placeLocked(); err != nil && err != errLogGone {
		return nil, err
	}
	if !f.log {
		return nil, nil
	}
	now, err := f.pinLocked()
	if err != nil {
		return nil, err
	}
	same := now.Version() == p.img.version
	// An empty base has no log, and an empty database no size that a log could
	// tell.
	if !same && !f.nextAll && p.img.size > 0 && now.Size() > 0 {
		return now, nil
	}
	now.Release()
	if same {
		return nil, nil
	}
	return nil, errOutdated
}

func (f *File) removeLogLocked() error {
	err := f.replaceLocked(nil)
	if rerr := removeLogs(f.fs, f.target); rerr != nil {
		return errors.Join(err, rerr)
	}
	f.present = false
	return err
}

// Close ends the log. saved: the file has everything, so that the log is
// removed; otherwise it stays, to be read by the next Open. Nothing else may be
// called after it.
func (f *File) Close(saved bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.CloseLater != nil && f.current.file != nil {
		f.CloseLater(f.current.file)
		f.current.file = nil
	}
	_ = f.current.unpin() // only read
	f.keepSide(sideCopy{})
	// A log that stays fits the file, or is another's.
	if !saved || !f.present || f.ownedLocked() != nil {
		return f.replaceLocked(nil)
	}
	if err := f.removeLogLocked(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: "log", Path: f.path, Err: fmt.Errorf("everything is saved, but the log is still there: %w", err)}
	}
	return nil
}
