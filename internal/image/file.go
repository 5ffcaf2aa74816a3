package image

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

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

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

	fs     osfile.FS
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
	current sqlitefile.Pinned // the file as it was read or written last
	base    imageInfo         // of the file that the log belongs to
	writing *pagelog.Writer   // nil: the log on the disk, if there is one, is not to be appended to
	present bool              // there is a log on the disk, or may be
	left    int64             // when writing is nil: the length of the log that Open has read, if there is something in it
	foreign error             // of the last save, if somebody else has changed the file: the log is of no use then
	dirty   pagelog.PageSet   // pages that have changed and are not in the log
	since   pagelog.PageSet   // pages that have changed since the base was written
	all     bool              // the page size has changed since the base was written: no log can tell it
	saving  bool              // a save is writing a new base
	next    pagelog.PageSet   // when saving: pages that have changed since the state of that
	nextAll bool              // when saving: the page size has changed since the state of that
	fresh   pagelog.PageSet   // pinLocked's own, empty between two calls
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
	if f.target, err = osfile.Resolve(f.path); err != nil {
		return info, err
	}
	if err := osfile.NotMounted(f.target); err != nil {
		return info, err
	}
	found, err := l.load(ctx, f.target, sink, f.log)
	if err != nil {
		return info, err
	}
	f.current, f.base = found.Pinned, found.base
	if log := found.log; log != nil {
		f.present = true
		for pgno := range log.Pages {
			f.since.Add(pgno)
		}
		if log.Commits > 0 {
			f.left = log.Size
		}
		info = FileInfo{Recovered: log.Commits > 0, LogBytes: log.End, Commits: log.Commits, Torn: log.Torn}
	}
	info.Links = f.links()
	return info, nil
}

// links counts the names of the file, but for that of a state which is set aside.
func (f *File) links() int {
	n := osfile.Links(f.current.ID.Info)
	if kept, err := f.fs.Lstat(keptName(f.target, 0)); n > 1 && err == nil && os.SameFile(kept, f.current.ID.Info) {
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
	f.dirty.AddAll(fresh)
	f.since.AddAll(fresh)
	f.all = f.all || all
	if f.saving {
		f.next.AddAll(fresh)
		f.nextAll = f.nextAll || all
	}
	clear(fresh)
	return img, nil
}

// Close ends the log. saved: the file has everything, so that the log is
// removed; otherwise it stays, to be read by the next Open. Nothing else may be
// called after it.
func (f *File) Close(saved bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.CloseLater != nil && f.current.File != nil {
		f.CloseLater(f.current.File)
		f.current.File = nil
	}
	_ = f.current.Unpin() // only read
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
