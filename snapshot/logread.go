package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// logState is what a log says.
type logState struct {
	name    string
	head    walHeader
	pages   map[uint32]int64 // offset of the content of each page, as of the last transaction
	dbPages uint32           // of the database after it; 0: there is none
	commits int              // transactions
	end     int64            // where the last one ends
	size    int64            // of the file
	torn    int64            // bytes behind end, if they are not the zeros that are written ahead
}

// readLog reads a log to the end of its last whole transaction. Nil: there is
// none of that name. An error that wraps ErrLogDamaged comes with what was read
// up to the damage, unless that is in the header.
//
// What may stand behind the last transaction, and is ignored, is a part of one
// more: each is appended only when the one before is on the disk, so after a
// crash at most one is torn, and nothing is behind it. A frame that does not fit
// although another transaction was appended later is damage, and the log is
// refused: to cut it there would silently undo what was promised to be durable.
// (Damage in the header of the frame that ends the last transaction but one can
// look like a torn end, if the last one has a single frame.)
func readLog(fsx fsys, name string) (_ *logState, err error) {
	info, err := fsx.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = regular(name, info)
	}
	if err != nil {
		return nil, err
	}
	f, err := fsx.open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()

	r := logReader{f: f}
	l := &logState{name: name, pages: make(map[uint32]int64), size: info.Size()}
	b, err := r.next(walHeaderSize)
	if err != nil {
		return nil, err
	}
	var ok bool
	if l.head, ok = parseWALHeader(b); !ok {
		return nil, fmt.Errorf("%w: the header of %s", ErrLogDamaged, name)
	}
	type place struct {
		pgno uint32
		off  int64
	}
	var open []place // pages of the transaction that has not ended yet
	l.end = walHeaderSize
	ps := l.head.pageSize
	sum := l.head.sum
	for {
		off := r.off
		if b, err = r.next(frameSize + ps); err != nil {
			return nil, err
		}
		if b == nil { // perhaps in the middle of a transaction, or of a frame
			l.torn = l.size - l.end
			return l, nil
		}
		h := parseFrame(b)
		next := sum.add(b[:8]).add(b[frameSize:])
		if h.pgno == 0 || h.base != l.head.base || h.sum != next {
			if h != (frame{}) || off > l.end {
				l.torn = l.size - l.end
			}
			return l, l.checkTail(&r, h, off)
		}
		sum = next
		open = append(open, place{h.pgno, off + frameSize})
		if h.size == 0 {
			continue
		}
		for _, p := range open {
			l.pages[p.pgno] = p.off
		}
		open = open[:0]
		l.dbPages = h.size
		l.commits++
		l.end = r.off
	}
}

// checkTail looks at what is behind the frame at off, which does not fit and
// begins with h. A frame can be judged without its predecessors: its checksum
// continues the one that its predecessor says it has.
func (l *logState) checkTail(r *logReader, h frame, off int64) error {
	ended := false // a transaction ends at the bad frame or behind it
	for {
		ended = ended || h.base == l.head.base && h.size != 0
		b, err := r.next(frameSize + l.head.pageSize)
		if err != nil || b == nil {
			return err
		}
		next := parseFrame(b)
		fits := next.pgno != 0 && next.base == l.head.base && next.sum == h.sum.add(b[:8]).add(b[frameSize:])
		if ended && fits {
			return fmt.Errorf("%w: %s at byte %d, before its last transactions", ErrLogDamaged, l.name, off)
		}
		h = next
	}
}

// logReader reads a file from front to back, in large pieces.
type logReader struct {
	f    file
	off  int64 // of what next returns next
	buf  []byte
	have []byte // of buf, read and not returned
}

// next returns n bytes, nil when there are fewer. They are valid until the next
// call.
func (r *logReader) next(n int) ([]byte, error) {
	if len(r.have) < n {
		if r.buf == nil {
			r.buf = make([]byte, ioRun+frameSize+65536)
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

// logThere reports whether there is a log beside the database at path, or what
// was to take the place of one.
func logThere(fsx fsys, path string) (bool, error) {
	for _, name := range []string{logName(path), newLogName(path)} {
		_, err := fsx.stat(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// LogPending reports whether a log stands beside the database at path that has
// transactions, or whose state is not known: because it is damaged, or being written.
// Then the file alone is not all of the database, and who writes to the file parts the
// two: open it with [File.Open], or fold the log in with [FoldLog]. Nothing is changed,
// the database itself is not opened, and of the log only the beginning is read. An error
// is an [*Error]; true comes with it.
func LogPending(path string) (bool, error) {
	target, err := Resolve(path)
	pending := true
	if err == nil {
		pending, err = logPending(system, target)
	}
	if err != nil {
		return true, &Error{Op: "inspect the log", Path: path, Err: err}
	}
	return pending, nil
}

func logPending(fsx fsys, target string) (bool, error) {
	for _, name := range []string{logName(target), newLogName(target)} {
		some, err := hasTransaction(fsx, name)
		if some || err != nil {
			return true, err
		}
	}
	return false, nil
}

// hasTransaction reports whether there is a log of that name, unless it is sure that no
// transaction is in it.
func hasTransaction(fsx fsys, name string) (_ bool, err error) {
	info, err := fsx.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = regular(name, info)
	}
	if err != nil {
		return true, err
	}
	f, err := fsx.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [walHeaderSize + frameSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return true, err
	}
	// A whole header, and behind it nothing, or the zeros that are written ahead.
	_, ok := parseWALHeader(b[:min(n, walHeaderSize)])
	return !ok || parseFrame(append(b[walHeaderSize:n], make([]byte, frameSize)...)) != (frame{}), nil
}

// pickLog finds the log that belongs to the database at path, whose file has
// that hash; nil: there is none. It completes or clears away what a crash has
// interrupted. What is there, and what it means (see File.publishLocked):
//
//	the log fits                      it is meant; a new log was not finished
//	it does not, but a new log fits   the file was replaced, and the crash came
//	                                  before the new log had the log's name
//	only a new log, that does not     the crash came before the file was
//	                                  replaced, and there was no log yet
//	only a log, that does not         somebody has changed the file, or put
//	                                  another in its place: refused, unless
//	                                  the log is empty
func pickLog(fsx fsys, path string, hash baseHash) (*logState, error) {
	log, logErr := readLog(fsx, logName(path))
	if logErr != nil && !errors.Is(logErr, ErrLogDamaged) {
		return nil, logErr
	}
	if logErr != nil && log != nil && log.head.base == hash {
		return nil, fmt.Errorf("%w; %s", logErr, logHint(path))
	}
	if log != nil && log.head.base == hash {
		return log, removeFile(fsx, newLogName(path))
	}
	next, err := readLog(fsx, newLogName(path))
	switch {
	case err != nil && !errors.Is(err, ErrLogDamaged):
		return nil, err
	case logErr != nil && log == nil && (err != nil || next == nil || next.head.base != hash || next.commits == 0 || next.torn > 0):
		// Its header cannot be read. Only a new log that fits and is whole has
		// all that may be in it.
		return nil, fmt.Errorf("%w; %s", logErr, logHint(path))
	case err == nil && next != nil && next.head.base == hash:
		if err := fsx.rename(next.name, logName(path)); err != nil {
			return nil, err
		}
		next.name = logName(path)
		return next, fsx.syncDir(filepath.Dir(path))
	case log == nil || logErr == nil && log.commits == 0:
		if log == nil && next == nil && err == nil {
			return nil, nil
		}
		return nil, removeLogs(fsx, path)
	}
	return nil, fmt.Errorf("%w: %s holds changes to another state of %s; %s", ErrLogBase, log.name, path, logHint(path))
}

func logHint(path string) string {
	return fmt.Sprintf("put the database back to which it belongs, or run: sqlite-mem recover %s", path)
}

func removeFile(fsx fsys, name string) error {
	if err := fsx.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
