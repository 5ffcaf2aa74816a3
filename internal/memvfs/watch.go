//go:build cgo

package memvfs

/*
#include "memvfs.h"
*/
import "C"

import (
	"runtime/cgo"
	"sync"
	"unsafe"
)

// Committer is the owner of a store that hears of its commits: see BeginWatch.
type Committer interface {
	// Announce is called for each commit, in their order. The commit may have changed the
	// tables, whose names end with a zero byte each; all: any table. The connection that
	// commits calls it, from inside of its statement. So it must not wait or use SQLite.
	// tables are valid until it returns.
	Announce(epoch uint64, tables []byte, all bool)
}

// watching counts the calls of BeginWatch without their EndWatch.
var watching struct {
	mu sync.Mutex // held across memvfs_watch, which takes no lock
	n  int        // guarded by mu
	no C.uint     // guarded by mu; of the last time in which somebody watched
}

// BeginWatch makes all stores of the process tell their owners of each commit that is
// published after it returns, until EndWatch.
func BeginWatch() {
	watching.mu.Lock()
	defer watching.mu.Unlock()
	if watching.n++; watching.n > 1 {
		return
	}
	if watching.no++; watching.no == 0 { // the numbers have wrapped around; 0 is nobody
		watching.no++
	}
	C.memvfs_watch(watching.no)
}

// EndWatch ends a BeginWatch.
func EndWatch() {
	watching.mu.Lock()
	defer watching.mu.Unlock()
	if watching.n--; watching.n == 0 {
		C.memvfs_watch(0)
	}
}

// UserCode tells the engine that code of the user may write through the connection from now
// on. Its commits are announced with all tables.
func (c *Conn) UserCode() { C.memvfs_conn_user_code(c.c) }

//export memvfsGoCommit
func memvfsGoCommit(owner C.uintptr_t, epoch C.uint64_t, z *C.char, n, all C.int) {
	if o, ok := cgo.Handle(owner).Value().(Committer); ok {
		o.Announce(uint64(epoch), unsafe.Slice((*byte)(unsafe.Pointer(z)), int(n)), all != 0)
	}
}
