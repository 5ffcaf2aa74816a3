//go:build cgo

package memvfs

/*
#include "stmt.h"

// C gets numbers instead of pointers, which cgo would check in each call. The memory is C's.
static int query(uintptr_t s, uintptr_t b, int nMax){ return memvfs_query((memvfs_stmt*)s, (memvfs_rows*)b, nMax); }
static int more(uintptr_t s, uintptr_t b, int nMax){ return memvfs_more((memvfs_stmt*)s, (memvfs_rows*)b, nMax); }
static int exec(uintptr_t s){ return memvfs_exec((memvfs_stmt*)s); }
static int reset(uintptr_t s){ return memvfs_reset((memvfs_stmt*)s); }
*/
import "C"

import (
	"math"
	"unsafe"

	"github.com/mattn/go-sqlite3"
)

// Facts are the facts of a statement, from SQLite's authorizer while it was prepared.
// Triggers and foreign keys are included.
type Facts int

const (
	// Asked means that SQLite has called the authorizer. Without it nothing is known: an
	// application has set its own authorizer, or SQLite calls none, as for VACUUM.
	Asked Facts = C.MEMVFS_ASKED

	WritesMain  Facts = C.MEMVFS_WRITES_MAIN  // it writes the main database
	WritesOther Facts = C.MEMVFS_WRITES_OTHER // it writes an attached database
	WritesTemp  Facts = C.MEMVFS_WRITES_TEMP  // it writes the temporary database
	Pragma      Facts = C.MEMVFS_PRAGMA       // it is a pragma
	Transaction Facts = C.MEMVFS_TRANSACTION  // it begins or ends a transaction or a savepoint
	Names       Facts = C.MEMVFS_NAMES        // it may change the meaning of names
	Effect      Facts = C.MEMVFS_EFFECT       // it calls a function with a side effect

	// Anything is assumed of a statement without Asked.
	Anything = WritesMain | WritesOther | WritesTemp | Pragma | Transaction | Names | Effect
)

// The types of a Value.
const (
	Integer = C.SQLITE_INTEGER
	Float   = C.SQLITE_FLOAT
	Text    = C.SQLITE_TEXT
	Blob    = C.SQLITE_BLOB
	Null    = C.SQLITE_NULL
)

// Query and More return these, or error codes.
const (
	Row  = C.SQLITE_ROW  // there may be more rows
	Done = C.SQLITE_DONE // there are no more
)

// Value is an argument or a value of a row, in C memory.
type Value struct {
	Type int32
	N    int32  // bytes of a text or blob
	bits uint64 // an integer, a float, or the address of the text or blob
}

// Int is the value of an Integer.
func (v *Value) Int() int64 { return int64(v.bits) }

// Float is the value of a Float.
func (v *Value) Float() float64 { return math.Float64frombits(v.bits) }

// Bytes are the bytes of a Text or Blob in a row. They are valid until the next call for
// its statement.
func (v *Value) Bytes() []byte { return unsafe.Slice(*(**byte)(unsafe.Pointer(&v.bits)), int(v.N)) }

// Stmt is a prepared statement. Like its connection it is used by one goroutine
// at a time.
type Stmt struct{ c *C.memvfs_stmt }

// Prepare prepares the first statement of text, which must have no zero byte. tail is the
// offset of its end in text. persistent means that it will run more than once. The error is
// one of SQLite's.
func (c *Conn) Prepare(text string, persistent bool) (s Stmt, tail int, err error) {
	if len(text) > math.MaxInt32 {
		return s, 0, sqlite3.Error{Code: sqlite3.ErrTooBig, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrTooBig)}
	}
	z := text
	if z == "" {
		z = " " // a null pointer would be misuse
	}
	if rc := C.memvfs_prepare(c.c, (*C.char)(unsafe.Pointer(unsafe.StringData(z))), C.int(len(text)), cbool(persistent), &s.c); rc != C.SQLITE_OK {
		return s, 0, c.Err(int(rc))
	}
	return s, int(s.c.nTail), nil
}

// Err is the error of a call for a statement that has just returned code. It is the error
// that go-sqlite3 makes, with SQLite's text and the system's error number.
//
// go-sqlite3 has no function for that. A file control for a database that does not exist
// fails, returns SQLite's error and does not change it. If SQLite has another error, or none,
// the code came from this package.
func (c *Conn) Err(code int) error {
	const nowhere = "sqlite-mem: no database has this name"
	if e, ok := c.inner.SetFileControlInt(nowhere, -1, 0).(sqlite3.Error); ok && int(e.Code) == code&0xff {
		return e
	}
	return sqlite3.Error{Code: sqlite3.ErrNo(code & 0xff), ExtendedCode: sqlite3.ErrNoExtended(code)}
}

// InTransaction reports whether a transaction was open after the last call for
// a statement; Autocommit asks SQLite.
func (c *Conn) InTransaction() bool { return c.c.autocommit == 0 }

// Attaches reports whether the connection has ever attached a database.
func (c *Conn) Attaches() bool { return c.c.attaches != 0 }

// Locks is the number of SHARED locks that the connection has taken on the main database and
// attached stores. To prepare a statement takes one only if SQLite has to read a schema.
func (c *Conn) Locks() uint { return uint(c.c.nShared) }

// Empty reports whether the text had only blanks and comments. Of the methods below, only
// Finalize may be called then.
func (s Stmt) Empty() bool { return s.c.p == nil }

// Finalize frees the statement. It may be running.
func (s Stmt) Finalize() { C.memvfs_finalize(s.c) }

// ReadOnly reports whether the statement does not change a database directly
// (sqlite3_stmt_readonly), or is an EXPLAIN.
func (s Stmt) ReadOnly() bool { return s.c.readonly != 0 }

// Facts are the facts of the statement.
func (s Stmt) Facts() Facts { return Facts(s.c.facts) }

// Reprepared is the number of times that SQLite has prepared the statement again.
func (s Stmt) Reprepared() int { return int(s.c.nReprepare) }

// Params is the number of parameters.
func (s Stmt) Params() int { return int(s.c.nParam) }

// ParamName is the name of parameter i, from 0 on, with its first character. It is empty for
// a parameter without a name.
func (s Stmt) ParamName(i int) string {
	return C.GoString(C.sqlite3_bind_parameter_name(s.c.p, C.int(i+1)))
}

// Args are the arguments of the next run, one for each parameter. Call ClearArgs first, then
// set them by the methods below.
func (s Stmt) Args() []Value {
	return unsafe.Slice((*Value)(unsafe.Pointer(s.c.aArg)), int(s.c.nParam))
}

// ClearArgs drops the texts and blobs of the arguments.
func (s Stmt) ClearArgs() { s.c.nzArg = 0 }

// SetNull, SetInt and SetFloat set an argument.
func (v *Value) SetNull()           { v.Type = Null }
func (v *Value) SetInt(i int64)     { v.Type, v.bits = Integer, uint64(i) }
func (v *Value) SetFloat(f float64) { v.Type, v.bits = Float, math.Float64bits(f) }

// SetText sets an argument to a copy of z. It returns an error code.
func (s Stmt) SetText(v *Value, z string) int { return s.set(v, Text, z) }

// SetBlob sets an argument to a copy of z. It returns an error code.
func (s Stmt) SetBlob(v *Value, z []byte) int {
	return s.set(v, Blob, unsafe.String(unsafe.SliceData(z), len(z)))
}

func (s Stmt) set(v *Value, typ int32, z string) int {
	n, at := int64(len(z)), int64(s.c.nzArg)
	if at+n > int64(s.c.mxArg) {
		if rc := C.memvfs_arg_room(s.c, C.int64_t(n)); rc != C.SQLITE_OK {
			return int(rc)
		}
	}
	if n > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(s.c.zArg), int(at))), int(n)), z)
	}
	s.c.nzArg += C.int64_t(n)
	v.Type, v.N, v.bits = typ, int32(n), uint64(at)
	return C.SQLITE_OK
}

// Columns are the names and the declared types of the columns. ok is false if memory ran
// out.
func (s Stmt) Columns() (names, types []string, ok bool) {
	if s.c.nCol == 0 {
		return nil, nil, true
	}
	if C.memvfs_columns(s.c) != C.SQLITE_OK {
		return nil, nil, false
	}
	n := int(s.c.nCol)
	all := make([]string, 2*n)
	for i, z := range unsafe.Slice(s.c.azCol, 2*n) {
		all[i] = C.GoString(z)
	}
	return all[:n:n], all[n:], true
}

// Rows is memory for a batch of fetched rows, of one query at a time.
type Rows struct{ c *C.memvfs_rows }

// NewRows allocates rows. ok is false if memory ran out.
func NewRows() (r Rows, ok bool) {
	r.c = C.memvfs_rows_new()
	return r, r.c != nil
}

// Free frees the memory.
func (r Rows) Free() { C.memvfs_rows_free(r.c) }

// Large reports whether the memory is too large to keep for another query.
func (r Rows) Large() bool { return int(r.c.nAlloc)*int(unsafe.Sizeof(Value{})) > C.MEMVFS_KEEP }

// Columns is the number of values of a row.
func (r Rows) Columns() int { return int(r.c.nCol) }

// First is the first value of the first row. The others follow in memory. n is the number of
// rows.
func (r Rows) First() (v *Value, n int) { return (*Value)(unsafe.Pointer(r.c.a)), int(r.c.nRow) }

// Next is the value n places after v.
func (v *Value) Next(n int) *Value {
	return (*Value)(unsafe.Add(unsafe.Pointer(v), n*int(unsafe.Sizeof(Value{}))))
}

func (s Stmt) number() C.uintptr_t { return C.uintptr_t(uintptr(unsafe.Pointer(s.c))) }
func (r Rows) number() C.uintptr_t { return C.uintptr_t(uintptr(unsafe.Pointer(r.c))) }

// Query binds the arguments, steps, and fetches up to limit rows into r. After Row, call
// More or Reset. After Done, or an error code, the statement is reset; the error came after
// the fetched rows.
func (s Stmt) Query(r Rows, limit int) int { return int(C.query(s.number(), r.number(), C.int(limit))) }

// More fetches the next rows after Row, and returns what Query does.
func (s Stmt) More(r Rows, limit int) int { return int(C.more(s.number(), r.number(), C.int(limit))) }

// Exec binds the arguments, steps to the end, and resets. It returns 0 or the
// code of an error.
func (s Stmt) Exec() int { return int(C.exec(s.number())) }

// Reset ends a query after Row. It returns 0 or the code of an error.
func (s Stmt) Reset() int { return int(C.reset(s.number())) }

// LastInsertRowID is the last rowid of the connection after the last Exec.
func (s Stmt) LastInsertRowID() int64 { return int64(s.c.rowid) }

// Changes is the number of changes after the last Exec: SQL's changes().
func (s Stmt) Changes() int64 { return int64(s.c.changes) }
