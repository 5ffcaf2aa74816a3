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

static int diskLock(const char *z, int create, sqlite3 *db){ return memvfsGoDiskLock((char*)z, create, db); }
static void diskUnlock(const char *z){ memvfsGoDiskUnlock((char*)z); }
static int diskCreate(const char *z, int create, int *pError){ return memvfsGoDiskCreate((char*)z, create, pError); }

static int registerVFS(void){
  memvfs_hooks h = { memvfsGoLock, memvfsGoUnlock, memvfsGoCancelled, memvfsGoAttach, memvfsGoDetached, diskLock, diskUnlock, diskCreate };
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

// minVersion is the oldest SQLite whose functions are all used here: 3.37 has
// sqlite3_changes64. It matters for programs built with go-sqlite3's
// libsqlite3 tag, which use the system's library.
const minVersion = 3037000

// ErrInUse is the error of closing a store that is open.
var ErrInUse = errors.New("memvfs: store is in use")

// register makes the VFS known to SQLite, once in a process.
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

// Store is one database in memory. Its methods may be called at the same time,
// except that Close must be the last.
type Store struct {
	c      *C.memvfs_store
	path   string
	number int64
	owner  cgo.Handle // 0: none
}

// NewStore creates an empty store that stands for the file at path, which
// need not exist; a relative path is made absolute and symbolic links are
// followed, as SQLite does it. maxBytes is the cap on the database's size, 0
// for none. It is an error if there is a store for that path.
//
// An owner that is not nil is what Hooks.Attach is given, and has the store to
// itself until Loaded.
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

// nameOf registers the VFS and returns the absolute path of path, also as a C string for
// the caller to free.
func nameOf(path string) (full string, name *C.char, err error) {
	if err = register(); err == nil {
		full, err = fullPathname(path)
	}
	if err != nil {
		return "", nil, err
	}
	return full, C.CString(full), nil
}

// fullPathname returns path as SQLite's default VFS makes it absolute.
func fullPathname(path string) (string, error) {
	const size = 4096
	in := C.CString(path)
	defer C.free(unsafe.Pointer(in))
	out := (*C.char)(C.malloc(size))
	defer C.free(unsafe.Pointer(out))
	// The low byte is the code; above it SQLite tells here that it has
	// followed a symbolic link.
	if rc := C.memvfs_full_pathname(in, size, out); rc&0xff != C.SQLITE_OK {
		return "", fmt.Errorf("memvfs: path %q: %w", path, sqlite3.ErrNo(rc&0xff))
	}
	return C.GoString(out), nil
}

// Param is the name of a URI parameter, and Param() its value, by which a
// connection asks for this very store. When the store is closed, such an open
// fails with SQLITE_CANTOPEN, where an open by Path alone is one of the file on
// the disk.
const Param = C.MEMVFS_PARAM

// Param is the value of the URI parameter [Param].
func (s *Store) Param() string { return strconv.FormatInt(s.number, 10) }

// Path is the absolute path by which SQLite opens the store through this VFS.
func (s *Store) Path() string { return s.path }

// Close frees the store. It is an error, and nothing is done, while a
// connection or a snapshot of it is open.
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

// Epoch is the number of the last commit that changed something. It starts
// at 1 and only grows.
func (s *Store) Epoch() uint64 { return uint64(C.memvfs_store_epoch(s.c)) }

// Drain frees what no reader needs. It waits for nobody, and nobody for it.
func (s *Store) Drain() { C.memvfs_store_drain(s.c) }

// Reserve begins the filling of a store that was never opened: size bytes in
// pages of pageSize will follow by Next, and then Loaded.
func (s *Store) Reserve(pageSize int, size int64) error {
	if rc := C.memvfs_load_begin(s.c, C.uint32_t(pageSize), C.uint64_t(size)); rc != C.SQLITE_OK {
		return fmt.Errorf("memvfs: load %s: %w", s.path, sqlite3.ErrNo(rc))
	}
	return nil
}

// Next returns memory for the next bytes of the database being loaded: whole
// pages, at least one, at most limit bytes. The caller fills it before it calls
// again.
func (s *Store) Next(limit int) ([]byte, error) {
	var p unsafe.Pointer
	var n C.size_t
	if rc := C.memvfs_load_next(s.c, C.size_t(limit), &p, &n); rc != C.SQLITE_OK {
		return nil, fmt.Errorf("memvfs: load %s: %w", s.path, sqlite3.ErrNo(rc))
	}
	return unsafe.Slice((*byte)(p), int(n)), nil
}

// Loaded ends the filling: connections may open the store.
func (s *Store) Loaded() { C.memvfs_load_end(s.c) }

// Stats are sizes in bytes as they are now.
type Stats struct {
	Epoch        uint64 // number of the last commit that changed something
	Size         int64  // of the database
	PageSize     int    // 0 when nothing was ever written
	Live         int64  // page versions that are current, or being written
	Held         int64  // superseded page versions: held by readers, or not yet freed
	Free         int64  // kept for reuse
	OldestReader int64  // milliseconds since the oldest active reader began, 0 without one
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

// Snapshot is the last commit at the time of Pin, for reading by one goroutine
// at a time.
type Snapshot struct {
	c *C.memvfs_snapshot
}

// Pin takes a snapshot, in constant time. Pages that are rewritten while it
// is held cost memory, each once. Release it.
func (s *Store) Pin() (*Snapshot, error) {
	c := C.memvfs_snapshot_open(s.c)
	if c == nil {
		return nil, fmt.Errorf("memvfs: pin a snapshot of %s: %w", s.path, sqlite3.ErrNomem)
	}
	return &Snapshot{c}, nil
}

// Track has every commit from now on note the pages that it changes, for
// PinChanges.
func (s *Store) Track() { C.memvfs_store_track(s.c) }

// PinChanges is Pin, and adds to pages (page 1 is bit 0 of the first word)
// those that may differ from the state pinned by the call before, or from that
// of Track; it returns pages, grown if need be. all: the page size has changed
// meanwhile, and the numbers of before mean nothing. After an error nothing was
// added, and nothing is lost for the next call.
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
			// A writer is between noting its pages and publishing them: some
			// microseconds, but for the commit of a VACUUM.
			time.Sleep(50 * time.Microsecond)
		default:
			return nil, pages, false, fmt.Errorf("memvfs: pin a snapshot of %s: %w", s.path, sqlite3.ErrNo(rc))
		}
	}
}

// Version is the Epoch that was pinned.
func (p *Snapshot) Version() uint64 { return uint64(C.memvfs_snapshot_epoch(p.c)) }

// Size is the size of the database in bytes, a multiple of PageSize.
func (p *Snapshot) Size() int64 { return int64(C.memvfs_snapshot_size(p.c)) }

// PageSize is the page size of the database in bytes.
func (p *Snapshot) PageSize() int { return int(C.memvfs_snapshot_page_size(p.c)) }

// ReadAt copies len(b) bytes of the database from off on. What lies behind its
// end is zero; there is no error.
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
