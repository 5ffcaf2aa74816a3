package pagelog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Log is a log that has been read.
type Log struct {
	Name    string
	Head    Header
	Pages   map[uint32]int64 // page number to the offset of its content, as of the last transaction
	DBPages uint32           // size of the database in pages after the last transaction; 0: there is none
	Commits int              // whole transactions
	End     int64            // offset in bytes where the last of them ends
	Size    int64            // of the file in bytes
	Torn    int64            // bytes behind End, if they are not the zeros that are written ahead
}

// Read reads the log called name to the end of its last whole transaction. It returns nil if
// there is no such file. With an error that wraps ErrDamaged it returns what is before the
// damage, unless that is in the header.
//
// Read ignores a part of one more transaction at the end. A transaction is appended only
// when the one before is on the disk. So after a crash at most one is torn, and nothing is
// behind it. A frame that does not fit, although another transaction was appended later, is
// damage. To cut the log there would undo what was promised to be durable, without a word.
//
// One damage can look like a torn end. It is in the header of the frame that ends the last
// transaction but one, and the last transaction has a single frame.
func Read(fsx osfile.FS, name string) (_ *Log, err error) {
	info, err := fsx.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = osfile.Regular(name, info)
	}
	if err != nil {
		return nil, err
	}
	f, err := fsx.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()

	r := reader{f: f}
	l := &Log{Name: name, Pages: make(map[uint32]int64), Size: info.Size()}
	b, err := r.next(sqlitefile.WALHeaderSize)
	if err != nil {
		return nil, err
	}
	var ok bool
	if l.Head, ok = ParseHeader(b); !ok {
		return nil, fmt.Errorf("%w: the header of %s", ErrDamaged, name)
	}
	type place struct {
		pgno uint32
		off  int64
	}
	var open []place // pages of the transaction that has not ended yet
	l.End = sqlitefile.WALHeaderSize
	ps := l.Head.PageSize
	sum := l.Head.Sum
	for {
		off := r.off
		if b, err = r.next(FrameSize + ps); err != nil {
			return nil, err
		}
		if b == nil { // the file may end in the middle of a transaction, or of a frame
			l.Torn = l.Size - l.End
			return l, nil
		}
		h := ParseFrame(b)
		next := sum.add(b[:8]).add(b[FrameSize:])
		if h.Pgno == 0 || h.Base != l.Head.Base || h.Sum != next {
			if h != (Frame{}) || off > l.End {
				l.Torn = l.Size - l.End
			}
			return l, l.checkTail(&r, h, off)
		}
		sum = next
		open = append(open, place{h.Pgno, off + FrameSize})
		if h.Size == 0 {
			continue
		}
		for _, p := range open {
			l.Pages[p.pgno] = p.off
		}
		open = open[:0]
		l.DBPages = h.Size
		l.Commits++
		l.End = r.off
	}
}

// checkTail tells a torn end from damage. The frame at off does not fit, and its header is h.
// checkTail looks at what is behind that frame. A frame can be judged by itself and the one
// before, as its checksum continues the one that is in the header before.
func (l *Log) checkTail(r *reader, h Frame, off int64) error {
	ended := false // a transaction ends with the bad frame or behind it
	for {
		ended = ended || h.Base == l.Head.Base && h.Size != 0
		b, err := r.next(FrameSize + l.Head.PageSize)
		if err != nil || b == nil {
			return err
		}
		next := ParseFrame(b)
		fits := next.Pgno != 0 && next.Base == l.Head.Base && next.Sum == h.Sum.add(b[:8]).add(b[FrameSize:])
		if ended && fits {
			return fmt.Errorf("%w: %s at byte %d, before its last transactions", ErrDamaged, l.Name, off)
		}
		h = next
	}
}

// reader reads a file from front to back, in large pieces.
type reader struct {
	f    osfile.File
	off  int64 // of the bytes that next is to return
	buf  []byte
	have []byte // the part of buf that is read and not yet returned
}

// next returns the next n bytes, or nil if there are fewer. They are valid until the next
// call.
func (r *reader) next(n int) ([]byte, error) {
	if len(r.have) < n {
		if r.buf == nil {
			r.buf = make([]byte, osfile.Piece+FrameSize+65536)
		}
		k := copy(r.buf, r.have)
		m, err := r.f.ReadAt(r.buf[k:], r.off+int64(k))
		if err != nil && err != io.EOF {
			return nil, err
		}
		r.have = r.buf[:k+m]
		if len(r.have) < n {
			return nil, nil
		}
	}
	b := r.have[:n]
	r.have = r.have[n:]
	r.off += int64(n)
	return b, nil
}
