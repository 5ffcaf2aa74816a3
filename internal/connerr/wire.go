//go:build cgo

package connerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"unsafe"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// wire is an error on its way to a live connection: its text, and what errors.Is and
// errors.As find in it.
type wire struct {
	Text   string
	SQLite *sqliteError `json:",omitempty"`
	Bare   bool         `json:",omitempty"` // it is the sqlite3.Error itself

	NotDurable *notDurable `json:",omitempty"` // it is or wraps a *store.NotDurableError
	Sentinels  []int       `json:",omitempty"` // places in sentinels
}

type sqliteError struct {
	Code, Extended int
	Errno          int    `json:",omitempty"`
	Text           []byte `json:",omitempty"` // not always UTF-8
}

type notDurable struct {
	Path      string
	Committed bool
	Err       string
}

// sentinels are the errors that keep their identity. Their order is part of the
// protocol.
var sentinels = []error{ErrTxOver, store.ErrNoFile, store.ErrNotDurable, proclock.ErrLost}

// Encode encodes err for Decode. It returns nil if err has nothing but its text.
func Encode(err error) []byte {
	w := wire{Text: err.Error()}
	var e sqlite3.Error
	if errors.As(err, &e) {
		text := reflect.ValueOf(e).FieldByName("err")
		w.SQLite = &sqliteError{Code: int(e.Code), Extended: int(e.ExtendedCode), Errno: int(e.SystemErrno), Text: []byte(text.String())}
		_, w.Bare = err.(sqlite3.Error)
	}
	if n, ok := errors.AsType[*store.NotDurableError](err); ok {
		w.NotDurable = &notDurable{Path: n.Path, Committed: n.Committed, Err: fmt.Sprint(n.Err)}
	}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			w.Sentinels = append(w.Sentinels, i)
		}
	}
	if w.SQLite == nil && w.NotDurable == nil && w.Sentinels == nil {
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
	if s := w.SQLite; s != nil {
		e := sqlite3.Error{Code: sqlite3.ErrNo(s.Code), ExtendedCode: sqlite3.ErrNoExtended(s.Extended), SystemErrno: syscall.Errno(s.Errno)}
		// go-sqlite3 has no function that sets the text. TestWire checks the name of the
		// field.
		text := reflect.ValueOf(&e).Elem().FieldByName("err")
		*(*string)(unsafe.Pointer(text.UnsafeAddr())) = string(s.Text)
		if w.Bare {
			return e
		}
		parts = append(parts, e)
	}
	if n := w.NotDurable; n != nil {
		e := &store.NotDurableError{Path: n.Path, Committed: n.Committed, Err: errors.New(n.Err)}
		if e.Error() == w.Text {
			return e
		}
		parts = append(parts, e)
	}
	for _, i := range w.Sentinels {
		if i < 0 || i >= len(sentinels) {
			continue
		}
		if sentinels[i].Error() == w.Text {
			return sentinels[i]
		}
		parts = append(parts, sentinels[i])
	}
	if len(parts) == 0 {
		return nil
	}
	return &wrapped{w.Text, parts}
}

// wrapped is an error that was sent as its text and some of the errors that it
// wraps.
type wrapped struct {
	text  string
	parts []error
}

func (e *wrapped) Error() string   { return e.text }
func (e *wrapped) Unwrap() []error { return e.parts }
