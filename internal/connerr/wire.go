//go:build cgo

package connerr

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"syscall"
	"unsafe"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// wire is an error on its way to a live connection: its text, and what errors.Is and
// errors.As find in it.
type wire struct {
	Text   string
	SQLite *sqliteError `json:",omitempty"`
	Bare   bool         `json:",omitempty"` // it is the sqlite3.Error itself

	// These are set if it is such an error, or wraps one.
	Owned      *owned      `json:",omitempty"` // *OwnedError
	Foreign    *foreign    `json:",omitempty"` // *image.ForeignChangeError
	File       *file       `json:",omitempty"` // *image.Error
	NotDurable *notDurable `json:",omitempty"` // *store.NotDurableError
	Errno      int         `json:",omitempty"` // syscall.Errno; both processes are on one machine

	Sentinels []int `json:",omitempty"` // places in sentinels
}

type sqliteError struct {
	Code, Extended int
	Errno          int    `json:",omitempty"`
	Text           []byte `json:",omitempty"` // not always UTF-8
}

type owned struct {
	proclock.OwnedError
	Creates bool
}

type foreign struct{ Path, Reason, SavedAs, Err string }

type file struct{ Op, Path, Err string }

type notDurable struct {
	Path      string
	Committed bool
	Err       string
}

// sentinels are the errors that keep their identity. Their order is part of the
// protocol.
var sentinels = []error{
	ErrTxOver, store.ErrNoFile, store.ErrNotDurable, proclock.ErrLost, proclock.ErrUnavailable, image.ErrNotOwner,
	osfile.ErrNotAFile, osfile.ErrReadOnly, osfile.ErrMountPoint, fs.ErrExist, fs.ErrNotExist, fs.ErrPermission,
	sqlitefile.ErrNotADatabase, sqlitefile.ErrTruncated, sqlitefile.ErrCorrupt, sqlitefile.ErrSideFile, sqlitefile.ErrBusy,
	pagelog.ErrDamaged, pagelog.ErrBase,
}

// Encode encodes err for Decode. It returns nil if err has nothing but its text.
func Encode(err error) []byte {
	w := wire{Text: err.Error()}
	some := false
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		text := reflect.ValueOf(e).FieldByName("err")
		w.SQLite = &sqliteError{Code: int(e.Code), Extended: int(e.ExtendedCode), Errno: int(e.SystemErrno), Text: []byte(text.String())}
		_, w.Bare = err.(sqlite3.Error)
		some = true
	}
	if e, ok := errors.AsType[*OwnedError](err); ok {
		w.Owned = &owned{OwnedError: *e.ownedBy(), Creates: e.creates}
		some = true
	}
	if e, ok := errors.AsType[*image.ForeignChangeError](err); ok {
		w.Foreign = &foreign{Path: e.Path, Reason: e.Reason, SavedAs: e.SavedAs, Err: textOf(e.Err)}
		some = true
	}
	if e, ok := errors.AsType[*image.Error](err); ok {
		w.File = &file{Op: e.Op, Path: e.Path, Err: textOf(e.Err)}
		some = true
	}
	if e, ok := errors.AsType[*store.NotDurableError](err); ok {
		w.NotDurable = &notDurable{Path: e.Path, Committed: e.Committed, Err: textOf(e.Err)}
		some = true
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		w.Errno = int(e)
		some = true
	}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			w.Sentinels = append(w.Sentinels, i)
			some = true
		}
	}
	if !some {
		return nil
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil // it is of plain data, so this does not happen
	}
	return b
}

// Decode returns the error that Encode has encoded, nil if there is none.
func Decode(b []byte) error {
	var w wire
	if json.Unmarshal(b, &w) != nil {
		return nil
	}
	var parts []error
	var refusal error // by SQLite
	if s := w.SQLite; s != nil {
		e := sqlite3.Error{Code: sqlite3.ErrNo(s.Code), ExtendedCode: sqlite3.ErrNoExtended(s.Extended), SystemErrno: syscall.Errno(s.Errno)}
		// go-sqlite3 has no function that sets the text. TestWire checks the name of the
		// field.
		text := reflect.ValueOf(&e).Elem().FieldByName("err")
		*(*string)(unsafe.Pointer(text.UnsafeAddr())) = string(s.Text)
		if w.Bare {
			return e
		}
		refusal = e
		parts = append(parts, e)
	}
	if o := w.Owned; o != nil {
		e := NewOwned(&o.OwnedError, refusal)
		e.creates = o.Creates && refusal != nil
		parts = append(parts, e)
	}
	if f := w.Foreign; f != nil {
		parts = append(parts, &image.ForeignChangeError{Path: f.Path, Reason: f.Reason, SavedAs: f.SavedAs, Err: errorOf(f.Err)})
	}
	if f := w.File; f != nil {
		parts = append(parts, &image.Error{Op: f.Op, Path: f.Path, Err: errorOf(f.Err)})
	}
	if n := w.NotDurable; n != nil {
		parts = append(parts, &store.NotDurableError{Path: n.Path, Committed: n.Committed, Err: errorOf(n.Err)})
	}
	if w.Errno != 0 {
		parts = append(parts, syscall.Errno(w.Errno))
	}
	for _, i := range w.Sentinels {
		if i >= 0 && i < len(sentinels) {
			parts = append(parts, sentinels[i])
		}
	}
	// The error itself, if it says all.
	for _, e := range parts {
		if e.Error() == w.Text && !slices.ContainsFunc(parts, func(other error) bool { return !errors.Is(e, other) }) {
			return e
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &wrapped{w.Text, parts}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func errorOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// wrapped is an error that was sent as its text and some of the errors that it
// wraps.
type wrapped struct {
	text  string
	parts []error
}

func (e *wrapped) Error() string   { return e.text }
func (e *wrapped) Unwrap() []error { return e.parts }
