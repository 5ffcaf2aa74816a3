package live

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A value is one item of CBOR (RFC 8949), written and read here without
// reflection, as a row may have thousands:
//
//	nil         null         int64, int   integer
//	bool        false, true  float64      float of 64 bits, every NaN as it is
//	[]byte      byte string; a nil one: undefined
//	string      text string, not checked to be UTF-8
//	time.Time   tag 1099 of an array: seconds, nanoseconds, offset, zone, location
//
// No other item is accepted, so nothing is nested in a value, and the memory that
// decoding takes is in proportion to the bytes received.
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorTag   = 6 << 5

	itemFalse     = 0xf4
	itemTrue      = 0xf5
	itemNull      = 0xf6
	itemUndefined = 0xf7
	itemFloat64   = 0xfb

	timeTag = 1099
)

// appendHead appends the head of an item.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendInt(b []byte, i int64) []byte {
	if i < 0 {
		return appendHead(b, majorNeg, uint64(^i))
	}
	return appendHead(b, majorUint, uint64(i))
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// appendValue appends a value.
func appendValue(b []byte, v driver.Value) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return append(b, itemNull), nil
	case int64:
		return appendInt(b, x), nil
	case int:
		return appendInt(b, int64(x)), nil
	case bool:
		if x {
			return append(b, itemTrue), nil
		}
		return append(b, itemFalse), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, itemFloat64), math.Float64bits(x)), nil
	case string:
		return appendText(b, x), nil
	case []byte:
		if x == nil {
			return append(b, itemUndefined), nil
		}
		return append(appendHead(b, majorBytes, uint64(len(x))), x...), nil
	case time.Time:
		return appendTime(b, x), nil
	}
	return b, fmt.Errorf("sqlite-mem: a value of type %T cannot be sent over a live connection", v)
}

func appendTime(b []byte, t time.Time) []byte {
	zone, offset := t.Zone()
	b = appendHead(b, majorTag, timeTag)
	b = appendHead(b, majorArray, 5)
	b = appendInt(b, t.Unix())
	b = appendInt(b, int64(t.Nanosecond()))
	b = appendInt(b, int64(offset))
	b = appendText(b, zone)
	return appendText(b, t.Location().String())
}

// sizeOf is about how many bytes a value takes, never less.
func sizeOf(v driver.Value) int {
	switch x := v.(type) {
	case string:
		return len(x) + 9
	case []byte:
		return len(x) + 9
	case time.Time:
		return 512
	}
	return 9
}

// head reads the head of an item.
func head(b []byte) (major byte, n uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, errValue
	}
	major, n = b[0]&0xe0, uint64(b[0]&0x1f)
	b = b[1:]
	if n < 24 {
		return major, n, b, nil
	}
	size := 1 << (n - 24)
	if n > 27 || len(b) < size {
		return 0, 0, nil, errValue
	}
	n = 0
	for _, c := range b[:size] {
		n = n<<8 | uint64(c)
	}
	return major, n, b[size:], nil
}

var errValue = fmt.Errorf("%w: a value that is none", errProtocol)

// readValue reads a value. A []byte is part of b.
func readValue(b []byte) (driver.Value, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errValue
	}
	switch b[0] {
	case itemNull:
		return nil, b[1:], nil
	case itemUndefined:
		return []byte(nil), b[1:], nil
	case itemFalse, itemTrue:
		return b[0] == itemTrue, b[1:], nil
	case itemFloat64:
		if len(b) < 9 {
			return nil, nil, errValue
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b[1:])), b[9:], nil
	}
	switch b[0] & 0xe0 {
	case majorUint, majorNeg:
		return unwrap(readInt(b))
	case majorText:
		return unwrap(readText(b))
	case majorBytes:
		return unwrap(readBytes(b, majorBytes))
	case majorTag:
		return unwrap(readTime(b))
	}
	return nil, nil, errValue
}

func unwrap[T any](v T, rest []byte, err error) (driver.Value, []byte, error) {
	if err != nil {
		return nil, nil, err
	}
	return v, rest, nil
}

func readInt(b []byte) (int64, []byte, error) {
	major, n, rest, err := head(b)
	if err != nil || n > math.MaxInt64 || major > majorNeg {
		return 0, nil, errValue
	}
	if major == majorNeg {
		return ^int64(n), rest, nil
	}
	return int64(n), rest, nil
}

func readBytes(b []byte, want byte) ([]byte, []byte, error) {
	major, n, rest, err := head(b)
	if err != nil || major != want || n > uint64(len(rest)) {
		return nil, nil, errValue
	}
	return rest[:n:n], rest[n:], nil
}

func readText(b []byte) (string, []byte, error) {
	s, rest, err := readBytes(b, majorText)
	return string(s), rest, err
}

func readTime(b []byte) (t time.Time, rest []byte, err error) {
	major, tag, b, err := head(b)
	if err != nil || major != majorTag || tag != timeTag {
		return t, nil, errValue
	}
	if major, n, rest, err := head(b); err != nil || major != majorArray || n != 5 {
		return t, nil, errValue
	} else {
		b = rest
	}
	var n [3]int64
	for i := range n {
		if n[i], b, err = readInt(b); err != nil {
			return t, nil, err
		}
	}
	zone, b, err := readText(b)
	if err != nil {
		return t, nil, err
	}
	location, b, err := readText(b)
	if err != nil {
		return t, nil, err
	}
	const day = 24 * 60 * 60
	if n[1] < 0 || n[1] > 999_999_999 || n[2] < -2*day || n[2] > 2*day {
		return t, nil, errValue
	}
	return located(time.Unix(n[0], n[1]), int(n[2]), zone, location), b, nil
}

// located returns t in a location of this process. UTC stays UTC, and Local stays
// Local where it agrees. Any other becomes its offset at that time. A location is
// not looked up by a name that another process has sent.
func located(t time.Time, offset int, zone, location string) time.Time {
	switch location {
	case "UTC":
		if offset == 0 {
			return t.UTC()
		}
	case "Local":
		if z, o := t.Local().Zone(); z == zone && o == offset {
			return t.Local()
		}
	}
	return t.In(time.FixedZone(zone, offset))
}

// maxArgs bounds the arguments of a statement. SQLite allows 32,766 for each
// statement of a text. argsWeight is the memory that they take.
const maxArgs = 1 << 16

// appendArgs appends the number of arguments, then the ordinal, name and value of
// each.
func appendArgs(b []byte, args []driver.NamedValue) ([]byte, error) {
	if len(args) > maxArgs {
		return b, fmt.Errorf("sqlite-mem: %d arguments; a live connection takes %d", len(args), maxArgs)
	}
	size := 0
	for i := range args {
		if size += sizeOf(args[i].Value); size > messageLimit {
			return b, fmt.Errorf("sqlite-mem: the arguments are larger than %d bytes, the most that a live connection takes", messageLimit)
		}
	}
	b = appendHead(b, majorUint, uint64(len(args)))
	var err error
	for i := range args {
		b = appendInt(b, int64(args[i].Ordinal))
		b = appendText(b, args[i].Name)
		if b, err = appendValue(b, args[i].Value); err != nil {
			return b, err
		}
	}
	return b, nil
}

// readArgs reads arguments, which must be all of b.
func readArgs(b []byte) ([]driver.NamedValue, error) {
	major, n, b, err := head(b)
	if err != nil || major != majorUint || n > maxArgs || n > uint64(len(b))/3 {
		return nil, errValue
	}
	if n == 0 && len(b) == 0 {
		return nil, nil
	}
	args := make([]driver.NamedValue, n) // of which each has three items at least
	for i := range args {
		var ordinal int64
		if ordinal, b, err = readInt(b); err != nil {
			return nil, err
		}
		args[i].Ordinal = int(ordinal)
		if args[i].Name, b, err = readText(b); err != nil {
			return nil, err
		}
		if args[i].Value, b, err = readValue(b); err != nil {
			return nil, err
		}
	}
	if len(b) > 0 {
		return nil, errValue
	}
	return args, nil
}
