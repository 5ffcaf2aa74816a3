package live

import (
	"database/sql/driver"
	"unsafe"
)

// values are the values of an answer. Those of a large row are not copied: the answer
// refers to them until it is sent. The row is the last of its batch, so it stays valid.
type values struct {
	size int      // bytes in all
	done [][]byte // in order
	from int      // where the bytes of buf begin that are not in done
	buf  []byte
}

// referSize is the size beyond which a value of a large row is not copied.
const referSize = 512

// row adds a row. After an error it has added nothing.
func (v *values) row(row []driver.Value, large bool) (err error) {
	before := *v
	for _, x := range row {
		b, major := bytesOf(x)
		n := len(v.buf)
		if large && len(b) > referSize {
			v.buf = appendHead(v.buf, major, uint64(len(b)))
			v.done = append(v.done, v.buf[v.from:len(v.buf):len(v.buf)], b)
			v.from = len(v.buf)
			v.size += len(v.buf) - n + len(b)
			continue
		}
		if v.buf, err = appendValue(v.buf, x); err != nil {
			*v = before
			return err
		}
		v.size += len(v.buf) - n
	}
	return nil
}

// bytesOf returns the bytes of a text or blob, and its major type.
func bytesOf(v driver.Value) (b []byte, major byte) {
	switch x := v.(type) {
	case string:
		return unsafe.Slice(unsafe.StringData(x), len(x)), majorText // it is only read
	case []byte:
		return x, majorBytes
	}
	return nil, 0
}

// parts are the bytes of all values.
func (v *values) parts() [][]byte { return append(v.done, v.buf[v.from:]) }

// reset forgets all values. The memory of a usual batch is kept.
func (v *values) reset() {
	buf := v.buf[:0]
	if cap(buf) > 2*batchBytes {
		buf = nil
	}
	*v = values{buf: buf}
}
