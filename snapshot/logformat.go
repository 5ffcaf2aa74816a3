package snapshot

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The log is in the format of SQLite's write-ahead log
// (https://sqlite.org/fileformat2.html#walformat): a header, then frames, each
// a page with a header of its own. The last frame of a transaction tells the
// size of the database. Numbers are big-endian, checksums are taken over
// little-endian words, as the magic number says.
const (
	walFormat      = 3007000
	walMagicLittle = 0x377f0682 // little-endian checksums; with bit 0 set, big-endian ones
	walHeaderSize  = 32
	frameSize      = 24 // of a frame's header
)

// walSum is the checksum of a log up to some frame: that of each frame
// continues the one before, from the header on.
type walSum [2]uint32

// add continues the checksum over b, whose length is a multiple of 8.
func (s walSum) add(b []byte) walSum {
	s0, s1 := s[0], s[1]
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		s0 += uint32(x) + s1
		s1 += uint32(x>>32) + s0
	}
	return walSum{s0, s1}
}

func (s walSum) put(b []byte) {
	binary.BigEndian.PutUint32(b, s[0])
	binary.BigEndian.PutUint32(b[4:], s[1])
}

func getSum(b []byte) walSum {
	return walSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// baseHash is the hash of all bytes of a database file (xxHash, 64 bits). A log
// carries it as its salts, and so belongs to that very file and to no other.
type baseHash uint64

// hashOfNothing is that of a file without bytes, and of none.
var hashOfNothing = baseHash(xxhash.Sum64(nil))

// walHeader is the header of a log.
type walHeader struct {
	pageSize int
	base     baseHash // the two salts
	sum      walSum   // with which the frames go on
}

// encode makes the header, and sets its sum.
func (h *walHeader) encode() []byte {
	b := make([]byte, walHeaderSize)
	binary.BigEndian.PutUint32(b, walMagicLittle)
	binary.BigEndian.PutUint32(b[4:], walFormat)
	binary.BigEndian.PutUint32(b[8:], uint32(h.pageSize))
	// b[12:16] is SQLite's number of the checkpoint, which means nothing here.
	binary.BigEndian.PutUint64(b[16:], uint64(h.base))
	h.sum = walSum{}.add(b[:24])
	h.sum.put(b[24:])
	return b
}

// parseWALHeader reads what encode made. False: it is none, or damaged.
func parseWALHeader(b []byte) (walHeader, bool) {
	if len(b) < walHeaderSize || binary.BigEndian.Uint32(b) != walMagicLittle || binary.BigEndian.Uint32(b[4:]) != walFormat {
		return walHeader{}, false
	}
	h := walHeader{
		pageSize: int(binary.BigEndian.Uint32(b[8:])),
		base:     baseHash(binary.BigEndian.Uint64(b[16:])),
		sum:      getSum(b[24:]),
	}
	return h, validPageSize(h.pageSize) && h.sum == walSum{}.add(b[:24])
}

// frame is the header of a frame.
type frame struct {
	pgno uint32
	size uint32 // pages of the database after the transaction that ends here; 0: it goes on
	base baseHash
	sum  walSum // up to the end of the frame
}

func parseFrame(b []byte) frame {
	return frame{
		pgno: binary.BigEndian.Uint32(b),
		size: binary.BigEndian.Uint32(b[4:]),
		base: baseHash(binary.BigEndian.Uint64(b[8:])),
		sum:  getSum(b[16:]),
	}
}

// putFrame makes the header in b, whose rest is the page, and returns the sum
// with which the next frame goes on.
func putFrame(b []byte, pgno, size uint32, base baseHash, sum walSum) walSum {
	binary.BigEndian.PutUint32(b, pgno)
	binary.BigEndian.PutUint32(b[4:], size)
	binary.BigEndian.PutUint64(b[8:], uint64(base))
	sum = sum.add(b[:8]).add(b[frameSize:])
	sum.put(b[16:])
	return sum
}
