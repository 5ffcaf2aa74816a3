//go:build cgo

package memconn

import (
	"database/sql/driver"
	"fmt"
	"time"
	"unsafe"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// CheckNamedValue takes the types that bind knows as they are. That saves database/sql a
// look at each value, and an int its conversion. database/sql converts all other types.
func (c *conn) CheckNamedValue(nv *driver.NamedValue) error {
	switch nv.Value.(type) {
	case nil, int64, int, float64, bool, []byte, string, time.Time:
		return nil
	}
	return driver.ErrSkip
}

// bindPart binds the arguments of one statement of a string. They are the arguments
// from first on, and all that have a name.
func (s *statement) bindPart(args []driver.NamedValue, first int) error {
	n := s.Params()
	if len(args)-first < n {
		return fmt.Errorf("not enough args to execute query: want %d got %d", n, len(args)-first)
	}
	if n == 0 {
		return nil
	}
	return s.bind(args, first, first+n)
}

// bind binds args[first:end], and every other argument that has a name.
func (s *statement) bind(args []driver.NamedValue, first, end int) error {
	s.ClearArgs()
	values := s.Args()
	for i := range args {
		if args[i].Name != "" || args[i].Ordinal != i+1 {
			return s.bindNamed(args, first, end)
		}
	}
	if end-first != len(values) {
		return s.bindNamed(args, first, end)
	}
	for i := range values {
		if err := s.set(&values[i], args[first+i].Value); err != nil {
			return err
		}
	}
	return nil
}

// bindNamed is bind for arguments that have names, or whose number is not that of
// the parameters. A parameter without an argument is NULL.
func (s *statement) bindNamed(args []driver.NamedValue, first, end int) error {
	values := s.Args()
	for i := range values {
		values[i].SetNull()
	}
	for i := first; i < end; i++ {
		if args[i].Name != "" {
			continue
		}
		at := args[i].Ordinal - first
		if at < 1 || at > len(values) {
			return sqlite3.Error{Code: sqlite3.ErrRange, ExtendedCode: sqlite3.ErrNoExtended(sqlite3.ErrRange)}
		}
		if err := s.set(&values[at-1], args[i].Value); err != nil {
			return err
		}
	}
	// The arguments of other statements of the string come last.
	for _, own := range []bool{true, false} {
		for i := range args {
			if args[i].Name == "" || own != (i >= first && i < end) {
				continue
			}
			for _, prefix := range ":@$" {
				if at, ok := s.named()[string(prefix)+args[i].Name]; ok {
					if err := s.set(&values[at], args[i].Value); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// named returns the parameters that have a name, by that name.
func (s *statement) named() map[string]int {
	if s.params == nil {
		s.params = make(map[string]int)
		for i := range s.Params() {
			if name := s.ParamName(i); name != "" {
				s.params[name] = i
			}
		}
	}
	return s.params
}

// set sets an argument.
func (s *statement) set(v *memvfs.Value, arg any) error {
	code := 0
	switch x := arg.(type) {
	case nil:
		v.SetNull()
	case int64:
		v.SetInt(x)
	case int:
		v.SetInt(int64(x))
	case string:
		code = s.SetText(v, x)
	case []byte:
		if x == nil {
			v.SetNull()
		} else {
			code = s.SetBlob(v, x)
		}
	case bool:
		v.SetInt(0)
		if x {
			v.SetInt(1)
		}
	case float64:
		v.SetFloat(x)
	case time.Time:
		if s.times != nil {
			return s.set(v, s.times.Write(x, sqlite3.SQLiteTimestampFormats[0]))
		}
		var buf [64]byte
		b := x.AppendFormat(buf[:0], sqlite3.SQLiteTimestampFormats[0])
		code = s.SetText(v, unsafe.String(unsafe.SliceData(b), len(b)))
	default:
		return fmt.Errorf("sqlite3: unsupported bind type %T", arg) // as go-sqlite3 has it
	}
	if code != 0 {
		return sqlite3.Error{Code: sqlite3.ErrNo(code), ExtendedCode: sqlite3.ErrNoExtended(code)}
	}
	return nil
}
