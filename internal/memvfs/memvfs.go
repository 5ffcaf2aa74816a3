//go:build cgo

package memvfs

/*
#cgo CFLAGS: -std=gnu11 -O2
#include <stdlib.h>
#include "memvfs.h"

extern int memvfsGoLock(uintptr_t);
extern void memvfsGoUnlock(uintptr_t);
extern int memvfsGoCancelled(uintptr_t);
extern uintptr_t memvfsGoAttach(uintptr_t, uintptr_t, memvfs_conn*);
extern void memvfsGoDetached(uintptr_t);
extern int memvfsGoDiskLock(char*, int, sqlite3*);
extern void memvfsGoDiskUnlock(char*);
extern int memvfsGoDiskCreate(char*, int, int*);
extern void memvfsGoCommit(uintptr_t, uint64_t, char*, int, int);
extern void memvfsGoSpell(char*, int);

static int diskLock(const char *z, int tool, sqlite3 *db){ return memvfsGoDiskLock((char*)z, tool, db); }
static void diskUnlock(const char *z){ memvfsGoDiskUnlock((char*)z); }
static int diskCreate(const char *z, int tool, int *pError){ return memvfsGoDiskCreate((char*)z, tool, pError); }

static void commit(uintptr_t owner, uint64_t epoch, const char *z, int n, int all){ memvfsGoCommit(owner, epoch, (char*)z, n, all); }

static int registerVFS(void){
  memvfs_hooks h = { memvfsGoLock, memvfsGoUnlock, memvfsGoCancelled, memvfsGoAttach, memvfsGoDetached, diskLock, diskUnlock, diskCreate, commit, memvfsGoSpell };
  return memvfs_register(h);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/mattn/go-sqlite3"
)

// Name is the name of the VFS, for the vfs parameter of a SQLite URI.
const Name = C.MEMVFS_NAME

// minVersion is the oldest SQLite with all functions used here: 3.37 has
// sqlite3_changes64. Programs built with go-sqlite3's libsqlite3 tag use the system's
// library, which may be older.
const minVersion = 3037000

// ErrInUse is the error of Close while a connection or a snapshot is open.
var ErrInUse = errors.New("memvfs: store is in use")

// register registers the VFS with SQLite, once in a process.
var register = sync.OnceValue(func() error {
	if v := int(C.sqlite3_libversion_number()); v < minVersion {
		return fmt.Errorf("memvfs: SQLite %d is too old, %d is needed", v, minVersion)
	}
	if C.sqlite3_threadsafe() == 0 {
		return errors.New("memvfs: SQLite is built without threads (SQLITE_THREADSAFE=0)")
	}
	if rc := C.registerVFS(); rc != C.SQLITE_OK {
		return fmt.Errorf("memvfs: register the VFS: %w", sqlite3.ErrNo(rc))
	}
	return nil
})

// Store is one database in memory. Its methods may be called concurrently, but no method
// may be called after Close.
type Store struct {
	c      *C.memvfs_store
	path   string
	number int64
	owner  cgo.Handle // 0: none
}

// NewStore creates an empty store for the file at path, which need not exist. As in SQLite,
// a relative path is made absolute and symbolic links are followed. maxBytes limits the size
// of the database; 0 means no limit. It is an error if there is a store for that path.
//
// Hooks.Attach gets owner. If owner is not nil, the store cannot be opened until Loaded.
func NewStore(path string, maxBytes int64, owner any) (*Store, error) {
	full, name, err := nameOf(path)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(name))
	s := &Store{path: full}
	if owner != nil {
		s.owner = cgo.NewHandle(owner)
	}
	if rc := C.memvfs_store_create(name, C.uint64_t(max(maxBytes, 0)), C.uintptr_t(s.owner), &s.c); rc != C.SQLITE_OK {
		s.deleteOwner()
		return nil, fmt.Errorf("memvfs: create the store of %s: %w", full, sqlite3.ErrNo(rc))
	}
	s.number = int64(C.memvfs_store_number(s.c))
	return s, nil
}

// nameOf registers the VFS and returns the absolute path of path, also as a C string, which
// the caller frees.
func nameOf(path string) (full string, name *C.char, err error) {
	if err = register(); err == nil {
		full, err = fullPathname(path)
	}
	if err != nil {
		return "", nil, err
	}
	return full, C.CString(full), nil
}

// fullPathname returns the absolute path that SQLite's default VFS makes of path.
func fullPathname(path string) (string, error) {
	const size = 4096
	in := C.CString(path)
	defer C.free(unsafe.Pointer(in))
	out := (*C.char)(C.malloc(size))
	defer C.free(unsafe.Pointer(out))
	// The low byte is the code. A higher bit says that SQLite has followed a symbolic link.
	if rc := C.memvfs_full_pathname(in, size, out); rc&0xff != C.SQLITE_OK {
		return "", fmt.Errorf("memvfs: path %q: %w", path, sqlite3.ErrNo(rc&0xff))
	}
	return C.GoString(out), nil
}

// Param is a URI parameter. With the value of Param() a connection opens this store only.
// After the store is closed, such an open is SQLITE_CANTOPEN; an open by Path alone would
// then be one of the file on the disk.
const Param = C.MEMVFS_PARAM

// Param is the value of the URI parameter [Param].
func (s *Store) Param() string { return strconv.FormatInt(s.number, 10) }

// Path is the absolute path by which this VFS opens the store.
func (s *Store) Path() string { return s.path }

// Close frees the store. While a connection or a snapshot of it is open, it does nothing and
// returns ErrInUse.
func (s *Store) Close() error {
	if rc := C.memvfs_store_destroy(s.c); rc != C.SQLITE_OK {
		return ErrInUse
	}
	s.c = nil
	s.deleteOwner()
	return nil
}

func (s *Store) deleteOwner() {
	if s.owner != 0 {
		s.owner.Delete()
	}
}

// Epoch is the number of the last commit that changed something. It begins at 1 and only
// grows.
func (s *Store) Epoch() uint64 { return uint64(C.memvfs_store_epoch(s.c)) }

// Drain frees what no reader needs. It delays nobody else. Transactions that write do the same
// for what was superseded before them, if it is much.
func (s *Store) Drain() { C.memvfs_store_drain(s.c) }

// Reserve begins a load into a store that was never opened: size bytes in pages of
// pageSize. Calls of Next follow, then Loaded.
func (s *Store) Reserve(pageSize int, size int64) error {
	if rc := C.memvfs_load_begin(s.c, C.uint32_t(pageSize), C.uint64_t(size)); rc != C.SQLITE_OK {
		return fmt.Errorf("memvfs: load %s: %w", s.path, sqlite3.ErrNo(rc))
	}
	return nil
}

// Next returns memory for the next bytes of the load: whole pages, at least one, at most
// limit bytes. The caller fills it before the next call.
func (s *Store) Next(limit int) ([]byte, error) {
	var p unsafe.Pointer
	var n C.size_t
	if rc := C.memvfs_load_next(s.c, C.size_t(limit), &p, &n); rc != C.SQLITE_OK {
		return nil, fmt.Errorf("memvfs: load %s: %w", s.path, sqlite3.ErrNo(rc))
	}
	return unsafe.Slice((*byte)(p), int(n)), nil
}

// Loaded ends the load: connections may open the store.
func (s *Store) Loaded() { C.memvfs_load_end(s.c) }

// Replace publishes the database that from was loaded with as the next commit. from has a
// page, was never written, and nobody has it open. It is closed afterwards. The caller keeps
// writers away. Readers go on with what they have pinned. Page 1 gets a change counter and a
// schema cookie above all that s ever had, so connections look at the new database afresh.
// Drain frees what is superseded.
// wrapped is true if there are no greater numbers. Then no connection that is open may be used
// any more.
//
// After an error s is as it was. It wraps a sqlite3.Error: ErrFull at the limit of the size,
// ErrNomem, or ErrBusy if somebody writes to s or has from open.
func (s *Store) Replace(from *Store) (wrapped bool, err error) {
	var w C.int
	if rc := C.memvfs_store_replace(s.c, from.c, &w); rc != C.SQLITE_OK {
		return false, fmt.Errorf("memvfs: replace the database of %s: %w", s.path, sqlite3.Error{Code: sqlite3.ErrNo(rc & 0xff), ExtendedCode: sqlite3.ErrNoExtended(rc)})
	}
	return w != 0, nil
}

// Stats are sizes in bytes as they are now.
type Stats struct {
	Epoch        uint64 // number of the last commit that changed something
	Size         int64  // of the database
	PageSize     int    // 0 if the database is empty
	Live         int64  // page versions that are current or not committed yet
	Held         int64  // superseded page versions: held by readers, or not freed yet
	Free         int64  // memory kept for reuse
	OldestReader int64  // milliseconds since the oldest active reader began; 0: no reader
	Files        int    // open connections and snapshots
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	var c C.memvfs_stats
	C.memvfs_store_stats(s.c, &c)
	return Stats{
		Epoch:        uint64(c.epoch),
		Size:         int64(c.size),
		PageSize:     int(c.pageSize),
		Live:         int64(c.liveBytes),
		Held:         int64(c.heldBytes),
		Free:         int64(c.freeBytes),
		OldestReader: int64(c.oldestReader),
		Files:        int(c.nFile),
	}
}

// Snapshot is the last commit at the time of Pin. One goroutine at a time may read it.
type Snapshot struct {
	c *C.memvfs_snapshot
}

// Pin takes a snapshot, in constant time. Each page that is rewritten before Release costs
// the memory of one page.
func (s *Store) Pin() (*Snapshot, error) {
	c := C.memvfs_snapshot_open(s.c)
	if c == nil {
		return nil, fmt.Errorf("memvfs: pin a snapshot of %s: %w", s.path, sqlite3.ErrNomem)
	}
	return &Snapshot{c}, nil
}

// Track makes every commit from now on note the pages that it changes, for PinChanges.
func (s *Store) Track() { C.memvfs_store_track(s.c) }

// PinChanges is Pin, and adds to pages each page that may differ from the state of the call
// before, or of Track. Page 1 is bit 0 of the first word. It returns pages, which it may
// enlarge. all is true if the page size has changed since, or after Replace: the earlier page
// numbers are void.
// After an error nothing was added, and the next call returns the same changes.
func (s *Store) PinChanges(pages []uint64) (p *Snapshot, _ []uint64, all bool, err error) {
	for {
		var c *C.memvfs_snapshot
		var need C.size_t
		var call C.int
		var first *C.uint64_t
		if len(pages) > 0 {
			first = (*C.uint64_t)(unsafe.Pointer(&pages[0]))
		}
		switch rc := C.memvfs_snapshot_changes(s.c, first, C.size_t(len(pages)), &need, &call, &c); rc {
		case C.SQLITE_OK:
			return &Snapshot{c}, pages, call != 0, nil
		case C.SQLITE_TOOBIG:
			pages = append(pages, make([]uint64, int(need)-len(pages))...)
		case C.SQLITE_BUSY:
			// A writer has noted its pages and not published them yet. That takes some
			// microseconds, or longer for the commit of a VACUUM.
			time.Sleep(50 * time.Microsecond)
		default:
			return nil, pages, false, fmt.Errorf("memvfs: pin a snapshot of %s: %w", s.path, sqlite3.ErrNo(rc))
		}
	}
}

// Version is the pinned Epoch.
func (p *Snapshot) Version() uint64 { return uint64(C.memvfs_snapshot_epoch(p.c)) }

// Size is the size of the database in bytes, a multiple of PageSize.
func (p *Snapshot) Size() int64 { return int64(C.memvfs_snapshot_size(p.c)) }

// PageSize is the page size of the database in bytes.
func (p *Snapshot) PageSize() int { return int(C.memvfs_snapshot_page_size(p.c)) }

// ReadAt copies len(b) bytes of the database from off on. Bytes past its end are zero. It
// never returns an error.
func (p *Snapshot) ReadAt(b []byte, off int64) (int, error) {
	if len(b) > 0 {
		C.memvfs_snapshot_read(p.c, unsafe.Pointer(&b[0]), C.size_t(len(b)), C.uint64_t(off))
	}
	return len(b), nil
}

// Release ends the snapshot. It may be called again.
func (p *Snapshot) Release() {
	if p.c != nil {
		C.memvfs_snapshot_close(p.c)
		p.c = nil
	}
}
