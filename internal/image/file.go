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

// File is the file of a database that is in memory, and its log, if one is wanted. The log,
// <file>-memwal, holds what was committed since the file was written. Package pagelog has its
// format.
//
// Open comes first and Close last. Save is for one goroutine at a time. The caller owns the
// process lock of the file exclusively, and Owned says that it still does. While Open runs,
// no connection of this process has the file open: see "Locks of this process" above.
//
// # The base of a log
//
// The salts in the header of a log are a hash of the whole file that the log belongs to, its
// base. By that alone a base and a log are a pair, whatever their names are. So it is safe to
// replace both: see publishLocked.
//
// # The promise
//
// When Flush has returned nil, every commit made before the call survives a crash; Durable
// tells up to which version. A crash leaves a whole prefix of the history. Open reads it,
// whether a log is wanted or not. SQLite itself reads it if the log is renamed to <file>-wal.
type File struct {
	// Keep is how many earlier states of the file are kept beside it. Each is a whole
	// database. The state before the last save is <file>.kept-1, the one before that is
	// <file>.kept-2, and so on. While a save replaces the file, its state is called
	// <file>.kept-new. After a crash or an error it has that name until the next save. If
	// Keep is less than before, the states beyond it stay where they are. 0: none is kept.
	// Keep is set before the first Save.
	Keep int

	// Wait is how long Open waits while another program holds the file. NewFile sets 5 s.
	// 0: it does not wait. Wait is set before Open.
	Wait time.Duration

	// Owned, if not nil, returns nil if this process owns the database. Otherwise it
	// returns an error, which wraps ErrNotOwner if another process may own it. It is
	// called before each flush, and before a file is replaced or removed; perhaps by
	// several goroutines at a time. It is set before the first Save or Flush.
	Owned func() error

	// CloseLater, if not nil, gets the open file from Close. It has to close it when no
	// SQLite connection of this process has the file open, as that drops their locks.
	// Nil: Close closes the file.
	CloseLater func(io.Closer)

	fs     osfile.FS
	path   string // as given
	target string // the file, symbolic links resolved; set by Open and never changed
	source Source
	log    bool // a log is wanted

	// side is the copy of the state in memory that the last save has made, if it has found
	// a foreign change. Only Save uses it.
	side ownCopy

	// published is the version that a Save has put in the place of the file, even if it
	// failed after that; 0: none yet. The next Save of that version replaces no other
	// state, and so keeps none. Only Save uses it.
	published uint64

	// durable is the version up to which every commit is durable. It is stored under mu,
	// or before the first Flush. It is atomic for Durable.
	durable atomic.Uint64

	// logSize is the length of the log in bytes. It is stored under mu, and is atomic for
	// LogSize.
	logSize atomic.Int64

	// mu guards the fields below and the state of the disk that they describe. It is held
	// across the I/O of a flush and of the last steps of a save. A commit never takes it.
	// Save reads current without it, as only Save changes current.
	mu      sync.Mutex
	current sqlitefile.Pinned // the file, as it was read or written last
	base    imageInfo         // of the file that the log belongs to
	writing *pagelog.Writer   // the log that is appended to; nil: a log on the disk must be replaced first
	present bool              // there may be a log on the disk
	left    int64             // while writing is nil: length of the log that Open has read, if it has transactions
	foreign error             // the error of the last save, if somebody else has changed the file: then the log is of no use
	dirty   pagelog.PageSet   // pages that have changed and are not in the log
	since   pagelog.PageSet   // pages that have changed since the base was written
	all     bool              // the page size, or the whole database, has changed since the base was written: no log can express that
	saving  bool              // a save is writing a new base
	next    pagelog.PageSet   // while saving: pages that have changed since the state that is saved
	nextAll bool              // while saving: as all, since the state that is saved
	fresh   pagelog.PageSet   // only for pinLocked; empty between two calls
}

// FileInfo is the result of Open.
type FileInfo struct {
	// Links is how many names (hard links) the file has. A save replaces the file under one
	// name; the others keep the old file. 0: there is no file, or the number is not known.
	Links int

	// Recovered: a log was read that has transactions. Save writes them into the file.
	Recovered bool
	LogBytes  int64 // length of the log up to the end of its last transaction
	Commits   int   // transactions in the log
	Torn      int64 // bytes of one more transaction, which a crash has cut short; 0: none
}

// NewFile returns a File for the database at path, which source holds. If log is set, a log is
// kept, and Flush may be called.
func NewFile(path string, source Source, log bool) *File {
	return &File{fs: system, path: path, source: source, log: log, Wait: loadWait}
}

// Open reads the file, and the log that belongs to it, into sink, which fills the source. It
// follows symbolic links once. From then on File works on the file that it has found,
// wherever the links lead later.
//
// If there is no file, or the database is empty (it has no pages), sink gets nothing.
// Otherwise it gets every page of the database. Only header bytes 18 and 19 are changed, to
// rollback mode, because an image in WAL mode cannot be opened from memory.
//
// SQLite first recovers what another program has left unfinished, a hot journal or a -wal.
// While the file is read, no other program can write to it. If one holds it, Open waits as
// long as Wait says, then fails with sqlitefile.ErrBusy. A file in WAL mode may be open
// nowhere else. Another program would go on using the -wal, and not see later saves.
//
// Errors are an [*Error]. It wraps the error of ctx or sink, that of SQLite or the operating
// system, or one of these:
//
//   - osfile.ErrNotAFile, ErrReadOnly, ErrMountPoint;
//   - sqlitefile.ErrNotADatabase, ErrTruncated, ErrCorrupt, ErrSideFile, ErrBusy;
//   - pagelog.ErrDamaged, ErrBase.
//
// After each of these but ErrBusy, the file and the files beside it are as they were. The
// exception is damage that SQLite finds after it has recovered a file that looked sound.
// After any error sink may hold a part of a database, and must be thrown away. Open looks
// only at the header: see [Check] for the rest.
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
	if err := osfile.NotMounted(f.fs, f.target); err != nil {
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

// links counts the names of the file, without that of a pending state (keptName 0).
func (f *File) links() int {
	n := osfile.Links(f.current.ID.Info)
	if kept, err := f.fs.Lstat(keptName(f.target, 0)); n > 1 && err == nil && os.SameFile(kept, f.current.ID.Info) {
		n--
	}
	return n
}

// Start is called when the source is filled, before anything is written to it. version is the
// one that Open has read. From then on Flush may be called.
func (f *File) Start(version uint64) {
	f.durable.Store(version)
	if f.log {
		f.source.Track()
	}
}

// Durable returns the version up to which every commit survives a crash of the machine.
func (f *File) Durable() uint64 { return f.durable.Load() }

// LogSize returns the length in bytes of the log that this process writes; 0: there is none.
func (f *File) LogSize() int64 { return f.logSize.Load() }

// pinLocked pins the last commit, and notes which pages have changed since the call before.
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

// Close closes the file and the log. If saved is true, the file has everything, so Close
// removes the log. Otherwise the log stays for the next Open. Nothing else may be called
// after Close. An error is an [*Error]. It means that the log is still there, or that it
// could not be closed.
func (f *File) Close(saved bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.CloseLater != nil && f.current.File != nil {
		f.CloseLater(f.current.File)
		f.current.File = nil
	}
	_ = f.current.Unpin() // only read
	f.setOwnCopy(ownCopy{})
	// A log that stays fits the file, or belongs to another process.
	if !saved || !f.present || f.ownedLocked() != nil {
		if err := f.replaceLocked(nil); err != nil {
			return &Error{Op: "log", Path: f.path, Err: err}
		}
		return nil
	}
	if err := f.removeLogLocked(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Op: "log", Path: f.path, Err: fmt.Errorf("everything is saved, but the log is still there: %w", err)}
	}
	return nil
}
