package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Version is the version of the protocol. It changes with every change of a
// message. Server and tool are builds of one program, and the older build is told
// to be replaced.
const Version = 2

// hello is the first message of a tool. Its key 1 is the version in every version
// of the protocol.
type hello struct {
	Version int               `cbor:"1,keyasint"`
	Params  map[string]string `cbor:"2,keyasint,omitempty"`
	Control bool              `cbor:"3,keyasint,omitempty"` // no SQL, only opControl
}

// welcome is the answer to hello.
type welcome struct {
	Err     *wireError `cbor:"1,keyasint,omitempty"`
	Version int        `cbor:"2,keyasint"`
	Info    string     `cbor:"3,keyasint,omitempty"` // ServerConfig.Info
}

// op is the kind of a request.
type op uint8

const (
	opExec op = iota + 1
	opQuery
	opPrepare
	opStmtExec
	opStmtQuery
	opStmtClose
	opFetch
	opRowsClose
	opBegin
	opCommit
	opRollback
	opReset
	opPing
	opControl
)

// request is a request of a tool. Arguments stand behind it.
type request struct {
	N         uint64 `cbor:"1,keyasint"` // greater than that of the one before
	Op        op     `cbor:"2,keyasint"`
	ID        uint64 `cbor:"3,keyasint,omitempty"` // of a prepared statement, or of rows
	Text      string `cbor:"4,keyasint,omitempty"` // SQL, or the name of a control
	Isolation int    `cbor:"5,keyasint,omitempty"`
	ReadOnly  bool   `cbor:"6,keyasint,omitempty"`
	Data      []byte `cbor:"7,keyasint,omitempty"` // of a control
	Upload    bool   `cbor:"8,keyasint,omitempty"` // a stream follows: see upload.go

	args   []driver.NamedValue
	body   func(io.Writer) error // of the stream, in the tool
	stream *io.PipeReader        // the stream, in the server
	unhook func() bool           // keeps the end of the session from ending the stream
}

// answer is the answer to a request. The values of Rows rows stand behind it.
type answer struct {
	N    uint64     `cbor:"1,keyasint"`
	Err  *wireError `cbor:"2,keyasint,omitempty"`
	InTx bool       `cbor:"3,keyasint,omitempty"` // the connection is in a transaction now

	ID    uint64 `cbor:"4,keyasint,omitempty"` // of a prepared statement, or of rows
	Input int    `cbor:"5,keyasint,omitempty"` // parameters of a prepared statement

	LastID     int64      `cbor:"6,keyasint,omitempty"`
	LastIDErr  *wireError `cbor:"7,keyasint,omitempty"`
	Changes    int64      `cbor:"8,keyasint,omitempty"`
	ChangesErr *wireError `cbor:"9,keyasint,omitempty"`

	Columns  []column   `cbor:"10,keyasint,omitempty"`
	Rows     int        `cbor:"11,keyasint,omitempty"`
	Done     bool       `cbor:"12,keyasint,omitempty"` // these are the last, and the rows are closed
	RowsErr  *wireError `cbor:"13,keyasint,omitempty"` // behind the rows; nil: their end
	CloseErr *wireError `cbor:"14,keyasint,omitempty"` // of closing them

	Data []byte `cbor:"15,keyasint,omitempty"` // of a control
}

// bye is the last message of a server. No request after Last has begun.
type bye struct {
	Reason string `cbor:"1,keyasint"`
	Last   uint64 `cbor:"2,keyasint"`
}

// column describes a column of rows.
type column struct {
	Name       string   `cbor:"1,keyasint,omitempty"`
	Type       string   `cbor:"2,keyasint,omitempty"` // ColumnTypeDatabaseTypeName
	Nullable   bool     `cbor:"3,keyasint,omitempty"`
	NullableOK bool     `cbor:"4,keyasint,omitempty"`
	Scan       scanType `cbor:"5,keyasint,omitempty"`
}

// scanType is the place of a type in scanTypes.
type scanType uint8

// scanTypes are the types that a column may name. The first stands for all others.
var scanTypes = [...]reflect.Type{
	reflect.TypeFor[any](),
	reflect.TypeFor[*any](),
	reflect.TypeFor[sql.NullInt64](),
	reflect.TypeFor[sql.NullString](),
	reflect.TypeFor[sql.RawBytes](),
	reflect.TypeFor[sql.NullFloat64](),
	reflect.TypeFor[sql.NullTime](),
	reflect.TypeFor[sql.NullBool](),
	reflect.TypeFor[int64](),
	reflect.TypeFor[float64](),
	reflect.TypeFor[bool](),
	reflect.TypeFor[string](),
	reflect.TypeFor[[]byte](),
	reflect.TypeFor[time.Time](),
}

func (s scanType) goType() reflect.Type {
	if int(s) >= len(scanTypes) {
		return scanTypes[0]
	}
	return scanTypes[s]
}

func scanTypeOf(t reflect.Type) scanType {
	for i, known := range scanTypes {
		if t == known {
			return scanType(i)
		}
	}
	return 0
}

// Text is not checked, because SQL and texts of errors may have bytes that are not
// UTF-8. The limits bound the map of a message. Columns are its longest list
// (SQLite allows 32,767).
var (
	encoder = must(cbor.EncOptions{}.EncMode())
	decoder = must(cbor.DecOptions{
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      256,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8DecodeInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// encode encodes the map of a message.
func encode(v any) []byte {
	return must(encoder.Marshal(v)) // of structs of this file, which can be encoded
}

// decode decodes the map in front of a message into v and returns the values behind.
func decode(b []byte, v any) (rest []byte, err error) {
	rest, err = decoder.UnmarshalFirst(b, v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return rest, nil
}

// wireError is an error on its way.
type wireError struct {
	Kind errorKind `cbor:"1,keyasint"`
	Text string    `cbor:"2,keyasint,omitempty"`
	Data []byte    `cbor:"3,keyasint,omitempty"` // of kindCoded
}

type errorKind uint8

const (
	errText     errorKind = iota // any other: its text
	errCoded                     // one that EncodeError knows
	errBadConn                   // driver.ErrBadConn: the request did not begin
	errCanceled                  // context.Canceled
	errDeadline                  // context.DeadlineExceeded
	errClosing                   // the server ends the session, and interrupted the request
)

// wrap is err, with the text if there is one.
func (e *wireError) wrap(err error) error {
	if e.Text == "" {
		return err
	}
	return &textError{e.Text, err}
}

// encodeError returns the form in which err is sent.
func encodeError(err error, code func(error) []byte) *wireError {
	switch {
	case err == nil:
		return nil
	case err == driver.ErrBadConn:
		return &wireError{Kind: errBadConn, Text: err.Error()}
	case err == context.Canceled:
		return &wireError{Kind: errCanceled}
	case err == context.DeadlineExceeded:
		return &wireError{Kind: errDeadline}
	}
	e := &wireError{Text: err.Error()}
	if code != nil {
		if e.Data = code(err); e.Data != nil {
			e.Kind = errCoded
			return e
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind = errCanceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind = errDeadline
	}
	return e
}

// textError is an error of which only the text was sent, and which of context's
// errors it wraps.
type textError struct {
	text string
	err  error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.err }

// decode is the error that was sent.
func (e *wireError) decode(code func([]byte) error) error {
	if e == nil {
		return nil
	}
	switch e.Kind {
	case errBadConn:
		return driver.ErrBadConn
	case errCanceled:
		return e.wrap(context.Canceled)
	case errDeadline:
		return e.wrap(context.DeadlineExceeded)
	case errCoded:
		if code != nil {
			if err := code(e.Data); err != nil {
				return err
			}
		}
	}
	return errors.New(e.Text)
}
