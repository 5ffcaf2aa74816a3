package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// HeaderSize is the length of the database header in bytes
// (https://sqlite.org/fileformat2.html#the_database_header).
const HeaderSize = 100

const magic = "SQLite format 3\x00"

// Offsets in the header.
const (
	offPageSize      = 16 // two bytes; 1 stands for 65536
	OffWriteVersion  = 18 // 1: rollback journal, 2: WAL
	OffReadVersion   = 19
	offReserved      = 20
	offFractions     = 21 // three bytes, always 64, 32, 32
	OffChangeCounter = 24
	offPageCount     = 28 // valid only if the next equals the change counter
	offSchemaFormat  = 44 // 1 to 4, or 0 while there is no schema
	offEncoding      = 56
	OffValidFor      = 92
)

// Header is the part of a database header that a load and a save need.
type Header struct {
	PageSize int
	pages    int64 // of the database, which the file may exceed
	counter  uint32
	WAL      bool // the header says WAL mode
}

// Size returns the size of the database in bytes.
func (h Header) Size() int64 { return h.pages * int64(h.PageSize) }

// ParseHeader judges the first bytes of a file. The length of the file in bytes is
// size, which is over 0. In b are the first HeaderSize bytes, or all of them if there are
// fewer. An error wraps ErrNotADatabase or ErrTruncated.
func ParseHeader(b []byte, size int64) (Header, error) {
	var h Header
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return h, ErrNotADatabase
	}
	if len(b) < HeaderSize {
		return h, fmt.Errorf("%w: %d bytes, less than a header", ErrTruncated, size)
	}
	h.PageSize = pageSize(b)
	if !ValidPageSize(h.PageSize) {
		return h, fmt.Errorf("%w: page size %d", ErrNotADatabase, binary.BigEndian.Uint16(b[offPageSize:]))
	}
	// SQLite opens a file of a later write version read-only, and refuses one of a later
	// read version. A load rewrites both bytes, so both are refused.
	if b[OffWriteVersion] > 2 || b[OffReadVersion] > 2 {
		return h, fmt.Errorf("%w: file format version %d/%d is later than this library knows",
			ErrNotADatabase, b[OffWriteVersion], b[OffReadVersion])
	}
	if n := binary.BigEndian.Uint32(b[offSchemaFormat:]); n > 4 {
		return h, fmt.Errorf("%w: schema format %d is later than this library knows", ErrNotADatabase, n)
	}
	if !bytes.Equal(b[offFractions:offFractions+3], []byte{64, 32, 32}) || h.PageSize-int(b[offReserved]) < 480 {
		return h, fmt.Errorf("%w: bad payload fractions or reserved space", ErrNotADatabase)
	}
	h.WAL = b[OffReadVersion] == 2
	h.counter = binary.BigEndian.Uint32(b[OffChangeCounter:])

	ps := int64(h.PageSize)
	if size%ps != 0 {
		return h, fmt.Errorf("%w: %d bytes are not a whole number of pages of %d", ErrTruncated, size, ps)
	}
	h.pages = size / ps
	if n := int64(binary.BigEndian.Uint32(b[offPageCount:])); n != 0 && binary.BigEndian.Uint32(b[OffValidFor:]) == h.counter {
		if n > h.pages {
			return h, fmt.Errorf("%w: %d of %d pages", ErrTruncated, h.pages, n)
		}
		// SQLite ignores what follows the last page. It is space that was allocated ahead, or
		// that a crash has left.
		h.pages = n
	}
	return h, nil
}

// pageSize is the page size in a header, which may be invalid.
func pageSize(b []byte) int { return int(b[offPageSize])<<8 | int(b[offPageSize+1])<<16 }

// ParseStream is [ParseHeader] for a database whose length is not known. Its size is that of the
// header. An error wraps ErrNotADatabase or ErrTruncated.
func ParseStream(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return ParseHeader(b, int64(len(b)))
	}
	pages := int64(binary.BigEndian.Uint32(b[offPageCount:]))
	known := pages > 0 && binary.BigEndian.Uint32(b[OffValidFor:]) == binary.BigEndian.Uint32(b[OffChangeCounter:])
	h, err := ParseHeader(b, max(pages, 1)*int64(pageSize(b)))
	if err == nil && !known {
		err = fmt.Errorf("%w: its header does not tell its size, as SQLite before 3.7.0 wrote it: restore it from a file", ErrTruncated)
	}
	return h, err
}

// SetSize writes the size of the database, in bytes, to the header in b, which is valid.
func SetSize(b []byte, size int64) {
	binary.BigEndian.PutUint32(b[offPageCount:], uint32(size/int64(pageSize(b))))
	copy(b[OffValidFor:OffValidFor+4], b[OffChangeCounter:OffChangeCounter+4])
}

// EmptyHeader returns the beginning of a database of one page without any table: its header,
// and that of the root of its schema
// (https://sqlite.org/fileformat2.html#b_tree_pages).
func EmptyHeader(pageSize int) []byte {
	b := make([]byte, HeaderSize+8)
	copy(b, magic)
	binary.BigEndian.PutUint16(b[offPageSize:], uint16(pageSize&0xffff|pageSize>>16))
	b[OffWriteVersion], b[OffReadVersion] = 1, 1
	copy(b[offFractions:], []byte{64, 32, 32})
	binary.BigEndian.PutUint32(b[offPageCount:], 1)
	b[HeaderSize] = 0x0d                                           // a leaf of a table
	binary.BigEndian.PutUint16(b[HeaderSize+5:], uint16(pageSize)) // where its cells begin; 0 stands for 65536
	return b
}

// Encoding returns the text encoding in a header: 1 for UTF-8, 2 and 3 for UTF-16. A database
// without a table has none, and counts as UTF-8.
func Encoding(b []byte) int {
	return max(int(b[offEncoding+3]&3), 1)
}

// ValidPageSize reports whether a database may have pages of n bytes.
func ValidPageSize(n int) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }
