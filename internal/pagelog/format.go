package pagelog

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// The log has the format of SQLite's write-ahead log
// (https://sqlite.org/fileformat2.html#walformat): a header, then frames. A frame is a page
// with a header of its own. The last frame of a transaction has the size of the database.
// Numbers are big-endian. Checksums are taken over little-endian words, as the magic number
// says.

// FrameSize is the length of the header of a frame in bytes.
const FrameSize = 24

// Sum is the checksum of a log up to the end of a frame. The checksum of each frame continues
// that of the one before; the first continues that of the header.
type Sum [2]uint32

// add returns the checksum continued over b, whose length is a multiple of 8.
func (s Sum) add(b []byte) Sum {
	s0, s1 := s[0], s[1]
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		s0 += uint32(x) + s1
		s1 += uint32(x>>32) + s0
	}
	return Sum{s0, s1}
}

func (s Sum) put(b []byte) {
	binary.BigEndian.PutUint32(b, s[0])
	binary.BigEndian.PutUint32(b[4:], s[1])
}

func getSum(b []byte) Sum {
	return Sum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// BaseHash is the hash of all bytes of a database file (xxHash, 64 bits). It makes the two
// salts of a log, so a log belongs to that very state of the file and to no other.
type BaseHash uint64

// HashOfNothing is the BaseHash of a file without bytes, and of no file.
var HashOfNothing = BaseHash(xxhash.Sum64(nil))

// Header is the header of a log.
type Header struct {
	PageSize int
	Base     BaseHash // the two salts
	Sum      Sum      // that the first frame continues
}

// encode returns the bytes of the header, and sets its Sum.
func (h *Header) encode() []byte {
	b := make([]byte, sqlitefile.WALHeaderSize)
	binary.BigEndian.PutUint32(b, sqlitefile.WALMagicLittle)
	binary.BigEndian.PutUint32(b[4:], sqlitefile.WALFormat)
	binary.BigEndian.PutUint32(b[8:], uint32(h.PageSize))
	// b[12:16] is the number of the checkpoint in SQLite. It has no meaning here.
	binary.BigEndian.PutUint64(b[16:], uint64(h.Base))
	h.Sum = Sum{}.add(b[:24])
	h.Sum.put(b[24:])
	return b
}

// ParseHeader reads the header of a log. It returns false if b is none, or a damaged one.
func ParseHeader(b []byte) (Header, bool) {
	if len(b) < sqlitefile.WALHeaderSize || binary.BigEndian.Uint32(b) != sqlitefile.WALMagicLittle || binary.BigEndian.Uint32(b[4:]) != sqlitefile.WALFormat {
		return Header{}, false
	}
	h := Header{
		PageSize: int(binary.BigEndian.Uint32(b[8:])),
		Base:     BaseHash(binary.BigEndian.Uint64(b[16:])),
		Sum:      getSum(b[24:]),
	}
	return h, sqlitefile.ValidPageSize(h.PageSize) && h.Sum == Sum{}.add(b[:24])
}

// Frame is the header of a frame.
type Frame struct {
	Pgno uint32
	Size uint32 // of the database in pages, after the transaction that ends here; 0: the transaction goes on
	Base BaseHash
	Sum  Sum // up to the end of the frame
}

// ParseFrame reads the header of a frame, without judging it.
func ParseFrame(b []byte) Frame {
	return Frame{
		Pgno: binary.BigEndian.Uint32(b),
		Size: binary.BigEndian.Uint32(b[4:]),
		Base: BaseHash(binary.BigEndian.Uint64(b[8:])),
		Sum:  getSum(b[16:]),
	}
}

// PutFrame writes the header of a frame into b, whose rest is the page. It returns the
// checksum that the next frame continues.
func PutFrame(b []byte, pgno, size uint32, base BaseHash, sum Sum) Sum {
	binary.BigEndian.PutUint32(b, pgno)
	binary.BigEndian.PutUint32(b[4:], size)
	binary.BigEndian.PutUint64(b[8:], uint64(base))
	sum = sum.add(b[:8]).add(b[FrameSize:])
	sum.put(b[16:])
	return sum
}
