package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// loadWait is how long Open waits for another program to let go of the file,
	// unless it is told otherwise: as long as go-sqlite3 does by default.
	loadWait = 5 * time.Second

	// loadPoll is how often it looks again.
	loadPoll = 50 * time.Millisecond

	// loadRun is how many bytes are read at a time, at most: a multiple of
	// every page size, large enough to keep a disk busy, small enough that
	// the end of a context is seen soon.
	loadRun = 4 << 20

	// lockByte is the offset of the bytes that SQLite locks. The page with
	// them is never used.
	lockByte = 1 << 30
)

type loader struct {
	fs   fsys
	wait time.Duration // for another program to let go
	poll time.Duration // between two looks
}

// loaded is what load has found.
type loaded struct {
	pinned           // the file, zero if there is none
	base   imageInfo // of the file; its hash only if it was asked for, or there is a log
	log    *logState // that was laid over it; nil: none
}

// load reads the database file at path, which is resolved, and the log that
// belongs to it, into sink. Who calls it owns the process lock: what a crash
// has left of a log is completed or cleared away.
func (l loader) load(ctx context.Context, path string, sink Sink, hash bool) (loaded, error) {
	deadline := time.Now().Add(l.wait)
	kind, err := l.judge(ctx, path, deadline)
	if err != nil {
		return loaded{}, err
	}
	if kind != sound {
		// A log cannot belong to a file without pages, so if there is one this
		// says so, or clears it away if it is empty.
		found := loaded{base: imageInfo{hash: hashOfNothing}}
		if found.log, err = pickLog(l.fs, path, found.base.hash); err != nil {
			return loaded{}, err
		}
		if kind == empty {
			// SQLite has nothing to recover, and would create a header only to
			// hold a lock on the file.
			found.pinned, err = l.openEmpty(path)
		}
		return found, err
	}
	h, err := l.acquire(ctx, path, deadline)
	if err != nil {
		return loaded{}, err
	}
	found := loaded{base: imageInfo{size: h.size, pageSize: h.header.pageSize}}
	found.log, err = h.openLog(ctx, l.fs, path)
	if err == nil {
		found.id, found.base.hash, err = h.copyTo(ctx, sink, hash)
	}
	// SQLite goes first: closing our descriptor of the file would drop the
	// lock under which SQLite cleans up.
	if err := errors.Join(err, h.closeSQLite(), h.closeLog()); err != nil {
		return loaded{}, errors.Join(err, h.close())
	}
	// Nobody could write until SQLite was closed. If somebody has written
	// since, say so now and not at the first save.
	d, err := pinned{found.id, h.f}.changed(l.fs, path)
	if err == nil && d != "" {
		err = fmt.Errorf("%w: %s while it was loaded", ErrBusy, d)
	}
	var w wal
	if err == nil {
		w, err = readWAL(l.fs, path)
	}
	if err == nil && w.frames {
		err = fmt.Errorf("%w: it has written %s-wal while it was loaded", ErrBusy, path)
	}
	if err != nil {
		return loaded{}, errors.Join(err, h.close())
	}
	found.pinned, err = pin(h.f, found.id)
	return found, err
}

// openForWriting opens the database file at path, which only that decides to be one
// that this process may write to. The error wraps ErrReadOnly if it is not.
func openForWriting(fsx fsys, path string) (file, error) {
	f, err := fsx.openWrite(path)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return f, err
}

// openEmpty pins a file that has no bytes.
func (l loader) openEmpty(path string) (pinned, error) {
	f, err := openForWriting(l.fs, path)
	if err != nil {
		return pinned{}, err
	}
	id, err := identifyOpen(f)
	if err == nil && id.Size() > 0 {
		err = fmt.Errorf("%w: it has written to it while it was loaded", ErrBusy)
	}
	if err != nil {
		return pinned{}, errors.Join(err, f.Close())
	}
	return pin(f, id)
}

// kind is what judge finds.
type kind int

const (
	missing kind = iota // there is no file
	empty               // it has no bytes, and nothing waits to be recovered
	sound               // SQLite may open it
)

// judge decides, without writing anything, what stands at path, and whether
// SQLite may open it. It has to come first because SQLite recovers before it
// looks: a file that is no database, with a journal or -wal beside it, would be
// overwritten from these, or they would be deleted.
func (l loader) judge(ctx context.Context, path string, deadline time.Time) (kind, error) {
	for {
		before, err := l.survey(path)
		if err != nil {
			return 0, err
		}
		k, err := l.judgeOnce(ctx, path, before[0])
		if err == nil {
			return k, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		// No lock is held: another program may be half way through a commit.
		// A verdict counts when nothing moves.
		if err := sleep(ctx, l.poll); err != nil {
			return 0, err
		}
		after, serr := l.survey(path)
		if serr != nil {
			return 0, serr
		}
		if after == before || time.Now().After(deadline) {
			return k, err
		}
	}
}

// trace is enough of a file to see that it is being written to.
type trace struct {
	exists bool
	size   int64
	mtime  int64
	mode   fs.FileMode
}

// survey looks at the file, its journal and its -wal.
func (l loader) survey(path string) (traces [3]trace, err error) {
	for i, suffix := range []string{"", "-journal", "-wal"} {
		info, err := l.fs.stat(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return traces, err
		}
		traces[i] = trace{true, info.Size(), info.ModTime().UnixNano(), info.Mode()}
	}
	return traces, nil
}

func (l loader) judgeOnce(ctx context.Context, path string, t trace) (kind, error) {
	var head []byte
	var size int64 = -1
	if t.exists {
		var err error
		// The header is read before the side files: a change between the two
		// journal modes can then not look like a -wal that does not belong.
		if head, size, err = readStart(l.fs, path, headerSize); err != nil {
			return 0, err
		}
	}
	j, err := readJournal(l.fs, path)
	if err != nil {
		return 0, err
	}
	w, err := readWAL(l.fs, path)
	if err != nil {
		return 0, err
	}

	switch {
	case size < 0:
		// SQLite would create the database and delete these. They may be all
		// that is left of one that was moved or deleted by mistake.
		switch {
		case w.valid:
			return 0, fmt.Errorf("%w: there is no %s, but %s-wal holds changes to it: put the database back, or move the -wal away",
				ErrSideFile, path, path)
		case j.valid:
			return 0, fmt.Errorf("%w: there is no %s, but %s-journal holds pages of it: put the database back, or move the journal away",
				ErrSideFile, path, path)
		}
		return missing, nil

	case size == 0:
		// A -wal comes to be after the first page of the file is synced, and
		// a journal that saved pages speaks of a file that had some. SQLite
		// would delete both and call the database empty.
		switch {
		case w.valid:
			return 0, fmt.Errorf("%w: the file is empty, but %s-wal holds changes to it", ErrTruncated, path)
		case j.valid && j.pages > 0:
			return 0, fmt.Errorf("%w: the file is empty, but by %s-journal it had %d pages", ErrTruncated, path, j.pages)
		case j.live:
			return sound, nil // the first transaction of all was cut short
		}
		return empty, nil
	}

	h, err := parseHeader(head, size)
	if err != nil {
		if !j.valid && !w.valid {
			return 0, err // nothing there can mend it
		}
		// The recovery may be just what mends it: a transaction that was cut
		// short leaves anything in the file. Try it on a copy.
		if rerr := l.rehearse(ctx, path); rerr != nil {
			return 0, fmt.Errorf("%w (and recovering it, tried on a copy, does not mend it: %w)", err, rerr)
		}
		return sound, nil
	}
	if !h.wal && w.valid {
		// SQLite sets WAL mode in the file before it creates a -wal, and
		// removes the -wal before it sets rollback mode. So this one is from
		// another file that was called the same. SQLite would replay it, and
		// put old rows, or another database's, in the place of these.
		return 0, fmt.Errorf("%w: %s is not in WAL mode, so %s-wal is a leftover of another file of that name: move the -wal away",
			ErrSideFile, path, path)
	}
	return sound, nil
}

// rehearse recovers a copy of the file, its journal and its -wal, and reports
// whether a database comes of it. The copy stands beside the file, where there
// is a chance of room for it, under the name of a temporary file.
func (l loader) rehearse(ctx context.Context, path string) (err error) {
	tmp := tempName(path)
	// -shm is made by SQLite in WAL mode.
	defer func() {
		for _, suffix := range leftoverSuffixes {
			if rerr := l.fs.remove(tmp + suffix); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	for _, suffix := range []string{"", "-journal", "-wal"} {
		if err := l.copyFile(ctx, tmp+suffix, path+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	h, err := l.tryAcquire(tmp, nil)
	if err != nil {
		return err
	}
	return h.close()
}

func (l loader) copyFile(ctx context.Context, to, from string) error {
	src, err := l.fs.open(from)
	if err != nil {
		return err
	}
	return errors.Join(l.copyFrom(ctx, to, src), src.Close())
}

// copyFrom copies src to a new file.
func (l loader) copyFrom(ctx context.Context, to string, src file) error {
	dst, err := l.fs.create(to, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, ioRun)
	for off := int64(0); err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = src.ReadAt(buf, off)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		off += int64(n)
	}
	if err == io.EOF {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// held is a database file under SQLite's lock: recovered, nothing left in a
// journal or -wal, and nobody else can write to it. POSIX drops the lock when
// any descriptor of the file is closed, so f is closed last.
type held struct {
	f      file
	shared bool  // f is for somebody else to close
	db     *disk // nil once closed

	header header // zero if size is 0
	size   int64  // of the file, in bytes

	log     *logState // whose pages stand for those of the file; nil: none
	logFile file      // nil without log
}

func (h *held) closeSQLite() error {
	if h.db == nil {
		return nil
	}
	// The transaction has written nothing; closing ends it, and deletes the
	// -wal and -shm in WAL mode.
	err := h.db.close()
	h.db = nil
	return err
}

func (h *held) closeLog() error {
	f := h.logFile
	h.logFile = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

func (h *held) close() error {
	err := errors.Join(h.closeSQLite(), h.closeLog())
	if h.shared {
		return err
	}
	return errors.Join(err, h.f.Close())
}

// acquire is tryAcquire, waiting while the file is busy.
func (l loader) acquire(ctx context.Context, path string, deadline time.Time) (*held, error) {
	for {
		h, err := l.tryAcquire(path, nil)
		if err == nil || !errors.Is(err, ErrBusy) {
			return h, err
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		if err := sleep(ctx, l.poll); err != nil {
			return nil, err
		}
	}
}

// tryAcquire takes SQLite's lock on the file, which f is; nil: it is opened. It is opened
// for writing first: that decides whether this process may write, and where a file system
// makes a copy of a file that is written to (overlayfs), that copy is what is read.
func (l loader) tryAcquire(path string, f file) (_ *held, err error) {
	h := &held{f: f, shared: f != nil}
	if f == nil {
		if h.f, err = openForWriting(l.fs, path); err != nil {
			return nil, err
		}
	}
	var w wal
	defer func() {
		if w.foreign && isCantOpen(err) {
			err = fmt.Errorf("%w: %s-wal has a format that this SQLite does not know: %w", ErrSideFile, path, err)
		}
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()

	// A -wal with anything in it puts SQLite into WAL mode whatever the header
	// says.
	if w, err = readWAL(l.fs, path); err != nil {
		return nil, err
	}
	isWAL := w.open
	var head [headerSize]byte
	if n, err := h.f.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return nil, err
	} else if n > offReadVersion {
		isWAL = isWAL || head[offReadVersion] == 2
	}

	// mode=rw: never create. FULL, because what is recovered must be on the
	// disk before its journal is gone. We do the waiting.
	params := "mode=rw&_busy_timeout=0&_synchronous=FULL"
	if isWAL {
		// In WAL mode everybody who has the file open holds a shared lock, so
		// an exclusive one is proof that nobody else has, and lasts from the
		// recovery to the end of the copy. In rollback mode, where readers
		// do no harm, a reserved lock is enough: no need to wait for them.
		params += "&_locking_mode=EXCLUSIVE"

		// In this locking mode SQLite leaves a journal where it is that it can
		// make nothing of, and every save would take it for a transaction of
		// another program. Without, it deletes it. Whether it can is not to be
		// seen from the first bytes: the sizes in its header may be nonsense.
		if j, err := readJournal(l.fs, path); err != nil {
			return nil, err
		} else if j.live {
			if err := readOnce(path); err != nil {
				return nil, err
			}
		}
	}
	if h.db, err = openDisk(path, params); err != nil {
		return nil, err
	}
	// The first read recovers.
	if _, err := h.db.queryInt("PRAGMA schema_version"); err != nil {
		return nil, err
	}
	if isWAL {
		busy, err := h.db.queryInt("PRAGMA wal_checkpoint(TRUNCATE)")
		if err != nil {
			return nil, err
		}
		if busy != 0 {
			return nil, fmt.Errorf("%w: its -wal cannot be emptied", ErrBusy)
		}
	}
	info, err := h.f.Stat()
	if err != nil {
		return nil, err
	}
	if h.size = info.Size(); h.size == 0 {
		return h, nil // BEGIN IMMEDIATE would create a header
	}
	if err = h.db.exec("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}

	// From here on nobody else writes. What could have changed before?
	now, err := l.fs.stat(path)
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, now) {
		return nil, fmt.Errorf("%w: it was replaced while it was opened", ErrBusy)
	}
	if w, err = readWAL(l.fs, path); err != nil {
		return nil, err
	}
	if w.frames || w.open && !isWAL {
		return nil, fmt.Errorf("%w: it has %s-wal open", ErrBusy, path)
	}
	h.size = now.Size()
	n, err := h.f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if h.header, err = parseHeader(head[:n], h.size); err != nil {
		return nil, err
	}
	if h.header.wal && !isWAL {
		return nil, fmt.Errorf("%w: it has just changed the journal mode", ErrBusy)
	}
	return h, nil
}

// readOnce opens the file and reads from it, as any program might, for what
// SQLite does first.
func readOnce(path string) error {
	d, err := openDisk(path, "mode=rw&_busy_timeout=0&_synchronous=FULL")
	if err != nil {
		return err
	}
	_, err = d.queryInt("PRAGMA schema_version")
	return errors.Join(err, d.close())
}

// openLog finds the log of the file, if there is one, and lays it over it.
func (h *held) openLog(ctx context.Context, fsx fsys, path string) (*logState, error) {
	there, err := logThere(fsx, path)
	if err != nil || !there {
		return nil, err
	}
	hash, err := h.hash(ctx)
	if err != nil {
		return nil, err
	}
	log, err := pickLog(fsx, path, hash)
	if err != nil || log == nil {
		return nil, err
	}
	return log, h.layOver(fsx, log)
}

// layOver has the pages of a log stand for those of the file.
func (h *held) layOver(fsx fsys, log *logState) (err error) {
	if log.commits > 0 && log.head.pageSize != h.header.pageSize {
		return fmt.Errorf("%w: %s has pages of %d bytes, and its database of %d", ErrLogDamaged, log.name, log.head.pageSize, h.header.pageSize)
	}
	h.log = log
	h.logFile, err = fsx.open(log.name)
	return err
}

func (h *held) hash(ctx context.Context) (baseHash, error) {
	sum := xxhash.New()
	err := h.hashFrom(ctx, sum, 0)
	return baseHash(sum.Sum64()), err
}

// hashFrom adds the bytes of the file from off on to sum.
func (h *held) hashFrom(ctx context.Context, sum *xxhash.Digest, off int64) error {
	buf := make([]byte, min(ioRun, h.size-off))
	for off < h.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), h.size-off)]
		if err := h.read(p, off); err != nil {
			return err
		}
		_, _ = sum.Write(p) // never fails
		off += int64(len(p))
	}
	return nil
}

// imageSize is the size of the database, log included.
func (h *held) imageSize() int64 {
	if h.log != nil && h.log.commits > 0 {
		return int64(h.log.dbPages) * int64(h.header.pageSize)
	}
	return h.header.size()
}

// readBase fills p, whole pages, with what the file has there. What it does not
// have is zero.
func (h *held) readBase(p []byte, off int64) (n int, err error) {
	n = int(max(min(int64(len(p)), h.header.size()-off), 0))
	clear(p[n:])
	return n, h.read(p[:n], off)
}

// readLog lays the pages that the log has over those in p.
func (h *held) readLog(p []byte, off int64) error {
	if h.log == nil {
		return nil
	}
	ps := h.header.pageSize
	for pgno := uint32(off/int64(ps)) + 1; len(p) > 0; pgno++ {
		if at, ok := h.log.pages[pgno]; ok {
			if n, err := h.logFile.ReadAt(p[:ps], at); n < ps {
				return fmt.Errorf("%s at %d: %w", h.log.name, at, err)
			}
		}
		p = p[ps:]
	}
	return nil
}

// copyTo reads the database into sink and returns the identity of its file
// under the lock, and its hash, if it was asked for.
func (h *held) copyTo(ctx context.Context, sink Sink, hash bool) (FileID, baseHash, error) {
	id, err := identifyOpen(h.f)
	if err != nil || h.size == 0 {
		return id, hashOfNothing, err
	}
	if h.log != nil { // found by the hash
		return id, h.log.head.base, h.copyPages(ctx, sink, nil)
	}
	if !hash {
		return id, 0, h.copyPages(ctx, sink, nil)
	}
	sum := xxhash.New()
	if err = h.copyPages(ctx, sink, sum); err == nil {
		err = h.hashFrom(ctx, sum, h.header.size())
	}
	return id, baseHash(sum.Sum64()), err
}

// copyPages reads the database into sink and adds the bytes of the file to sum,
// if that is not nil.
func (h *held) copyPages(ctx context.Context, sink Sink, sum *xxhash.Digest) error {
	ps, size := h.header.pageSize, h.imageSize()
	if err := sink.Reserve(ps, size); err != nil {
		return err
	}
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := int(min(loadRun, size-off))
		p, err := sink.Next(want)
		if err != nil {
			return err
		}
		if len(p) == 0 || len(p) > want || len(p)%ps != 0 {
			return fmt.Errorf("sink gave %d bytes for at most %d, page size %d", len(p), want, ps)
		}
		n, err := h.readBase(p, off)
		if err != nil {
			return err
		}
		if sum != nil {
			_, _ = sum.Write(p[:n]) // never fails
		}
		if err := h.readLog(p, off); err != nil {
			return err
		}
		if off == 0 {
			p[offWriteVersion], p[offReadVersion] = 1, 1
		}
		off += int64(len(p))
	}
	return nil
}

// read fills p from the file at off.
func (h *held) read(p []byte, off int64) error {
	// On Windows the lock that our own SQLite connection holds also keeps
	// this descriptor from reading the locked bytes. Nothing is in them.
	if end := off + int64(len(p)); runtime.GOOS == "windows" && off <= lockByte && lockByte < end {
		ps := int64(h.header.pageSize)
		hole := lockByte - off
		if err := h.read(p[:hole], off); err != nil {
			return err
		}
		clear(p[hole : hole+ps])
		return h.read(p[hole+ps:], lockByte+ps)
	}
	n, err := h.f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: it ends at %d", ErrTruncated, off+int64(n))
	}
	return err
}

// sleep waits for d, or for the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
