package pagelog

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// The log is in the format of SQLite's write-ahead log
// (https://sqlite.org/fileformat2.html#walformat): a header, then frames, each
// a page with a header of its own. The last frame of a transaction tells the
// size of the database. Numbers are big-endian, checksums are taken over
// little-endian words, as the magic number says.
//
// FrameSize is the length of a frame's header in bytes.
const FrameSize = 24

// Sum is the checksum of a log up to some frame: that of each frame
// continues the one before, from the header on.
type Sum [2]uint32

// add continues the checksum over b, whose length is a multiple of 8.
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

// BaseHash is the hash of all bytes of a database file (xxHash, 64 bits). A log
// carries it as its salts, and so belongs to that very file and to no other.
type BaseHash uint64

// HashOfNothing is that of a file without bytes, and of none.
var HashOfNothing = BaseHash(xxhash.Sum64(nil))

// Header is the header of a log.
type Header struct {
	PageSize int
	Base     BaseHash // the two salts
	Sum      Sum      // with which the frames go on
}

// encode makes the header, and sets its sum.
func (h *Header) encode() []byte {
	b := make([]byte, sqlitefile.WALHeaderSize)
	binary.BigEndian.PutUint32(b, sqlitefile.WALMagicLittle)
	binary.BigEndian.PutUint32(b[4:], sqlitefile.WALFormat)
	binary.BigEndian.PutUint32(b[8:], uint32(h.PageSize))
	// b[12:16] is SQLite's number of the checkpoint, which means nothing here.
	binary.BigEndian.PutUint64(b[16:], uint64(h.Base))
	h.Sum = Sum{}.add(b[:24])
	h.Sum.put(b[24:])
	return b
}

// ParseHeader reads what encode made. False: it is none, or damaged.
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

// frame is the header of a frame.
type frame struct {
	Pgno uint32
	Size uint32 // pages of the database after the transaction that ends here; 0: it goes on
	Base BaseHash
	Sum  Sum // up to the end of the frame
}

func ParseFrame(b []byte) frame {
	return frame{
		Pgno: binary.BigEndian.Uint32(b),
		Size: binary.BigEndian.Uint32(b[4:]),
		Base: BaseHash(binary.BigEndian.Uint64(b[8:])),
		Sum:  getSum(b[16:]),
	}
}

// PutFrame makes the header in b, whose rest is the page, and returns the sum
// with which the next frame goes on.
func PutFrame(b []byte, pgno, size uint32, base BaseHash, sum Sum) Sum {
	binary.BigEndian.PutUint32(b, pgno)
	binary.BigEndian.PutUint32(b[4:], size)
	binary.BigEndian.PutUint64(b[8:], uint64(base))
	sum = sum.add(b[:8]).add(b[FrameSize:])
	sum.put(b[16:])
	return sum
}
