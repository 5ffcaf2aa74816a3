package snapshot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// ioRun is how many bytes are read, hashed or copied at a time.
	ioRun = 1 << 20

	// flushRun is how many bytes are written before the kernel is told to
	// start with them. The dirty memory stays below twice that, where else
	// gigabytes would pile up, to be written while the final sync, and
	// everybody else's, waits.
	flushRun = 32 << 20
)

// saveRun is how many bytes of an image a save asks for and writes at a time.
// Between two of these its thread runs Go code, for which it needs one of the few
// processors of Go's scheduler, and who has that waits until the kernel lets the
// thread run: at its low priority that can take a tick of the kernel, milliseconds,
// in which the statements that the processor was to run next wait too. So it is
// large, but small beside a database that is large enough for this to matter.
var saveRun = 4 << 20 // a variable for the tests, which need less

// writeOptions are optional: the zero value is a plain save.
type writeOptions struct {
	// pace is how the save shares the processors.
	pace Pace

	// hash: the hash of the new file is wanted, for a log.
	hash bool

	// keep is how many of the states that the file had before are kept.
	keep int

	// owned, if not nil, is File.Owned.
	owned func() error

	// side is the copy of the last ForeignChangeError for this path, the
	// zero value if there was none. If the change is still there, the new
	// state replaces that copy, unless somebody has edited it; if it holds
	// this very version already, nothing is written. If the copy has been
	// moved to path, the file counts as ours again.
	side sideCopy
}

// result of a write.
type result struct {
	bytes  int64 // length of the file that was written
	pinned       // that file, for the next write; zero if it is not in place

	notKept error // why the state that was replaced is not kept, though that was asked for
}

type writer struct{ fs fsys }

// prepared is a new state of a database, whole and synced, in a temporary file
// beside the one whose place it is to take.
type prepared struct {
	writer
	path    string // for errors
	target  string // the file, symbolic links resolved
	tmp     string // "": there is no temporary file any more
	new     pinned // that file
	aside   bool   // the state that is to be replaced is set aside
	notKept error  // why it is not
	img     imageInfo
	prev    pinned
	options writeOptions
}

// imageInfo is what is to be known of an image when it is written.
type imageInfo struct {
	version  uint64
	size     int64
	pageSize int
	hash     baseHash // of its bytes, if it was asked for
}

func saveErr(path string, err error) error { return &Error{Op: "save", Path: path, Err: err} }

// prepare writes img, which is to take the place of the file at target, which is
// resolved. prev is what that file has to be, zero if there has to be none. Its error
// is an [*Error], or a [*ForeignChangeError] if the file is another and the copy
// that options.side tells of holds this state already. After an error there is
// nothing to clear away, unless it says so.
func (w writer) prepare(ctx context.Context, path, target string, img Image, prev pinned, options writeOptions) (_ *prepared, err error) {
	// Looked at first only to save the work: it is the second look that counts.
	reason, err := w.foreign(target, prev, options)
	if err != nil {
		return nil, saveErr(path, err)
	}
	if reason != "" && w.sideCopyHolds(options.side, img.Version()) {
		return nil, &ForeignChangeError{Path: target, Reason: reason, SavedAs: options.side.path, copy: options.side}
	}
	p := &prepared{writer: w, path: path, target: target, prev: prev, options: options}
	like, err := prev.like(w.fs, target)
	if err != nil {
		return nil, saveErr(path, err)
	}
	p.tmp, p.new, p.img, err = w.writeTemp(ctx, target, img, like, options)
	if err != nil {
		return nil, saveErr(path, errors.Join(err, p.discard()))
	}
	if options.keep > 0 && reason == "" {
		options.pace.do(func(bool) { p.aside, p.notKept = w.setAside(ctx, target, prev, options.keep) })
	}
	return p, nil
}

// publish puts the new state in the place of the file. The directory is synced
// then. If the file is not what it has to be, or another program is using it,
// the error is a [*ForeignChangeError] and the state is kept beside the file.
// Every other error is an [*Error]: the file is as it was, unless result.id is
// not zero, in which case the new file is in place, but could not be made to
// survive a power failure, which may bring the old one back. What is open in prev is
// for the caller to close.
//
// The state that the file had is kept, if that is asked for. Should that fail, the
// new one counts for more: result.notKept tells why.
//
// The end of ctx ends the save until the moment of the rename.
func (p *prepared) publish(ctx context.Context) (result, error) {
	if err := p.admit(ctx); err != nil {
		return result{}, err
	}
	// SQLite does not sync the directory when it has removed a journal or
	// a -wal. Should the power fail and the removal be lost, but not our
	// rename, it would be applied to the new file. And a new log (see
	// File.publishLocked) must not be lost beside the file it belongs to. And
	// what is kept must have its name before it loses the one it had.
	err := p.fs.syncDir(filepath.Dir(p.target))
	if err == nil {
		err = p.fs.rename(p.tmp, p.target)
	}
	if err != nil {
		return result{}, saveErr(p.path, errors.Join(err, p.discard()))
	}
	p.tmp = ""
	res := result{bytes: p.new.id.Size(), pinned: p.new, notKept: p.notKept}
	p.new = pinned{}
	if err := p.fs.syncDir(filepath.Dir(p.target)); err != nil {
		return res, saveErr(p.path,
			fmt.Errorf("the new file is in place, but a power failure may bring the old one back: %w", err))
	}
	if p.aside {
		// Not before the new file is there for good, and not synced: should that
		// be undone, the next save does it again.
		res.notKept = errors.Join(res.notKept, p.shift(p.target, p.options.keep))
	}
	return res, nil
}

// admit returns nil if the file is still ours to replace. After an error the new state is
// given up, or kept beside the file: see publish.
func (p *prepared) admit(ctx context.Context) error {
	reason, err := p.foreign(p.target, p.prev, p.options)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return saveErr(p.path, errors.Join(err, p.discard()))
	}
	if reason == "" {
		return nil
	}
	err = p.keepAside(reason)
	if derr := p.discard(); derr != nil {
		err = errors.Join(err, derr)
	}
	return err
}

// discard gives the new state up.
func (p *prepared) discard() error {
	err := errors.Join(p.new.unpin(), p.writer.discard(p.tmp))
	if p.aside {
		err = errors.Join(err, p.writer.discard(keptName(p.target, 0)))
	}
	p.tmp, p.aside = "", false
	return err
}

// writeTemp writes img to a temporary file beside target, synced and checked, with the
// owner and permissions of like, if that is not nil. After an error it returns the name
// only if there is a file to remove.
func (w writer) writeTemp(ctx context.Context, target string, img Image, like os.FileInfo, options writeOptions) (name string, new pinned, info imageInfo, err error) {
	info = imageInfo{version: img.Version(), size: img.Size()}
	if info.size != 0 {
		info.pageSize = img.PageSize()
		if !validPageSize(info.pageSize) || info.size < 0 || info.size%int64(info.pageSize) != 0 {
			return "", new, info, fmt.Errorf("image of %d bytes in pages of %d", info.size, info.pageSize)
		}
	}
	name = tempName(target)
	f, err := w.fs.create(name, 0o600)
	if err != nil {
		return "", new, info, err
	}
	c := imageCopy{img: img, size: info.size, to: f}
	if options.hash {
		c.sum = xxhash.New()
	}
	if like != nil {
		err = copyOwner(f, like) // before there is anything in it to read
	}
	for err == nil && c.off < c.size {
		options.pace.do(func(low bool) { err = c.run(ctx, func() bool { return low && !options.pace.low() }) })
	}
	options.pace.do(func(bool) {
		// A descriptor whose sync failed is not synced again: the kernel reports
		// a lost page once and then calls it clean.
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			new, err = w.verify(name, info.size, info.pageSize)
		}
	})
	if err == nil && options.hash {
		info.hash = baseHash(c.sum.Sum64())
	}
	return name, new, info, err
}

// imageCopy writes an image to a file, in pieces.
type imageCopy struct {
	img  Image
	size int64
	to   file
	sum  *xxhash.Digest // of what is written; nil: not wanted

	off     int64 // how far it has come
	flushed int64 // and how far the kernel has been told to write
	buf     []byte
}

// run goes on until the end, or until pause says so after a piece.
func (c *imageCopy) run(ctx context.Context, pause func() bool) error {
	if c.buf == nil {
		c.buf = make([]byte, min(int64(saveRun), c.size))
	}
	for c.off < c.size && !pause() {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := c.buf[:min(int64(len(c.buf)), c.size-c.off)]
		if n, err := c.img.ReadAt(p, c.off); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the image at %d: %w", c.off, err)
		}
		if n, err := c.to.Write(p); err != nil {
			return err
		} else if n < len(p) {
			return io.ErrShortWrite
		}
		if c.sum != nil {
			_, _ = c.sum.Write(p) // never fails
		}
		c.off += int64(len(p))
		if c.off-c.flushed >= flushRun {
			if err := c.to.startFlush(c.flushed, c.off-c.flushed); err != nil {
				return err
			}
			c.flushed = c.off
		}
	}
	return nil
}

// verify makes sure that the file is the database it should be, so that no
// mistake of ours, or of the memory it came from, replaces a good file: its
// size, its header, and that SQLite opens it and understands its schema.
func (w writer) verify(name string, size int64, pageSize int) (pinned, error) {
	f, err := w.fs.open(name)
	if err != nil {
		return pinned{}, err
	}
	id, err := w.verifyOpen(f, size, pageSize)
	if err == nil && size > 0 {
		// immutable: no locks and no side files.
		var db *disk
		if db, err = openDisk(name, "mode=ro&immutable=1"); err == nil {
			_, err = db.queryInt("SELECT count(*) FROM sqlite_schema")
			err = errors.Join(err, db.close())
		}
		if err != nil {
			err = fmt.Errorf("the new file fails its check: %w", err)
		}
	}
	if err != nil {
		return pinned{}, errors.Join(err, f.Close())
	}
	return pin(f, id)
}

func (w writer) verifyOpen(f file, size int64, pageSize int) (FileID, error) {
	id, err := identifyOpen(f)
	if err != nil {
		return id, err
	}
	if id.Size() != size {
		return id, fmt.Errorf("the new file has %d bytes instead of %d", id.Size(), size)
	}
	if size == 0 {
		return id, nil
	}
	var head [headerSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return id, err
	}
	h, err := parseHeader(head[:], size)
	if err != nil {
		return id, fmt.Errorf("the new file fails its check: %w", err)
	}
	if h.pageSize != pageSize {
		return id, fmt.Errorf("the new file fails its check: %w: page size %d instead of %d", ErrCorrupt, h.pageSize, pageSize)
	}
	return id, nil
}

// foreign says in words why target, which is to be prev, is not ours to replace, "" if
// it is.
func (w writer) foreign(target string, prev pinned, options writeOptions) (string, error) {
	if options.owned != nil {
		err := options.owned()
		if errors.Is(err, ErrNotOwner) {
			return err.Error(), nil
		}
		if err != nil {
			return "", err
		}
	}
	// A side file is no part of our saves: whoever made it has opened the
	// database. Under a new file of the same name SQLite would apply it.
	j, err := readJournal(w.fs, target)
	if err != nil {
		return "", err
	}
	if j.live {
		return "another program has begun a transaction on it (" + target + "-journal)", nil
	}
	// An empty journal or one with its header zeroed stays: SQLite takes it
	// for no journal at all, whatever database is beside it. And it may not
	// be removed: a program that keeps its journal (the journal modes
	// TRUNCATE and PERSIST) may be about to write to it, and would crash
	// without one.
	wal, err := readWAL(w.fs, target)
	if err != nil {
		return "", err
	}
	if wal.frames {
		return "another program has written to it in WAL mode (" + target + "-wal)", nil
	}
	ours, reason, err := w.whichOfOurs(target, prev, options.side)
	if err != nil || reason != "" {
		return reason, err
	}
	if wal.present && ours.id.Size() > 0 {
		// A -wal without frames is harmless unless somebody has it open, who
		// might yet write to it. That cannot be seen from outside, and
		// removing it under a program that uses it would be the harm we fear.
		// So let SQLite find out: if the file is in WAL mode, or the -wal has
		// a header, it is opened exclusively, which fails if anybody else has
		// it open, and closing removes the -wal. The file is not changed.
		// What is left is an empty -wal beside a file in rollback mode, which
		// SQLite takes for none.
		h, err := loader{fs: w.fs}.tryAcquire(target, ours.file)
		if err == nil {
			err = h.close()
		}
		if errors.Is(err, ErrBusy) {
			return "another program has it open in WAL mode (" + target + "-wal)", nil
		}
		if err != nil {
			return "", err
		}
		_, reason, err = w.whichOfOurs(target, prev, options.side)
		return reason, err
	}
	return "", nil
}

// whichOfOurs finds the file that is called target: prev, or the side copy of ours, if
// it was moved there. reason says in words what is there else.
func (w writer) whichOfOurs(target string, prev pinned, side sideCopy) (ours pinned, reason string, err error) {
	reason, err = prev.changed(w.fs, target)
	if err != nil || reason == "" || side.id.IsZero() {
		return prev, reason, err
	}
	other, err := side.changed(w.fs, target)
	if err == nil && other == "" {
		return side.pinned, "", nil
	}
	return prev, reason, err
}

func (w writer) sideCopyHolds(side sideCopy, version uint64) bool {
	return side.version == version && !side.unsynced && w.sideCopyIntact(side)
}

func (w writer) sideCopyIntact(side sideCopy) bool {
	if side.path == "" || side.id.IsZero() {
		return false
	}
	changed, err := side.changed(w.fs, side.path)
	return err == nil && changed == ""
}

// keepAside gives the temporary file, which is whole and synced, a name beside
// the file that says what it is.
func (p *prepared) keepAside(reason string) error {
	ferr := &ForeignChangeError{Path: p.target, Reason: reason}
	name, reserved := p.options.side.path, false
	if p.sideCopyIntact(p.options.side) {
		ferr.copy = p.options.side // still there, an older state, should the rename fail
	} else {
		var err error
		if name, err = p.reserveAside(p.target + ".sqlite-mem-"); err != nil {
			ferr.Err = errors.Join(err, p.discard())
			return ferr
		}
		reserved = true
	}
	if err := p.fs.rename(p.tmp, name); err != nil {
		ferr.Err = errors.Join(err, p.discard())
		if reserved {
			ferr.Err = errors.Join(ferr.Err, p.writer.discard(name))
		}
		return ferr
	}
	ferr.SavedAs = name
	ferr.copy = sideCopy{pinned: p.new, path: name, version: p.img.version}
	p.tmp, p.new = "", pinned{}
	if err := p.fs.syncDir(filepath.Dir(p.target)); err != nil {
		ferr.Err = err
		ferr.copy.unsynced = true // so the next save makes it again
	}
	return ferr
}

// reserveAside makes an empty file under a new name, prefix and the time, for a
// rename to replace: so nothing that was there before is overwritten.
func (w writer) reserveAside(prefix string) (string, error) {
	stamp := prefix + time.Now().UTC().Format("20060102T150405Z")
	for i := 0; ; i++ {
		name := stamp
		if i > 0 {
			name = fmt.Sprintf("%s-%d", stamp, i)
		}
		f, err := w.fs.create(name, 0o600)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := f.Close(); err != nil {
			return "", errors.Join(err, w.discard(name))
		}
		return name, nil
	}
}

// discard removes a file of ours, if there is a name.
func (w writer) discard(name string) error {
	if name == "" {
		return nil
	}
	if err := w.fs.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("and %s could not be removed: %w", name, err)
	}
	return nil
}

const (
	tempSuffix  = ".tmp"
	tempRandom  = 8   // bytes, twice as many digits
	tempBaseMax = 160 // bytes: with the rest the name stays below 255
)

// leftoverSuffixes are what may follow a temporary name: SQLite makes side
// files for the copy that a load tries a recovery on.
var leftoverSuffixes = []string{"", "-journal", "-wal", "-shm"}

// tempPrefix is how the names of the temporary files of target begin.
func tempPrefix(target string) string {
	base := filepath.Base(target)
	if len(base) > tempBaseMax {
		sum := sha256.Sum256([]byte(base))
		base = base[:tempBaseMax] + "~" + hex.EncodeToString(sum[:8])
	}
	return "." + base + ".sqlite-mem-"
}

// tempName is a new name for a temporary file beside target.
func tempName(target string) string {
	var b [tempRandom]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(filepath.Dir(target), tempPrefix(target)+hex.EncodeToString(b[:])+tempSuffix)
}

// isTempName reports whether tempName could have made name, side files
// included.
func isTempName(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(rest) < 2*tempRandom {
		return false
	}
	for _, c := range []byte(rest[:2*tempRandom]) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	for _, suffix := range leftoverSuffixes {
		if rest[2*tempRandom:] == tempSuffix+suffix {
			return true
		}
	}
	return false
}

// RemoveLeftovers removes the temporary files that a killed process left
// beside path, and returns the names of those removed, also with an error.
// Only plain files are touched whose name is exactly of the form that Save
// makes for path.
//
// It may be called only by the exclusive owner of the process lock of path, while no
// Open or Save of path runs: the temporary file of a running one looks the
// same.
func RemoveLeftovers(path string) ([]string, error) {
	removed, err := writer{fs: system}.removeLeftovers(path)
	if err != nil {
		err = &Error{Op: "remove leftovers", Path: path, Err: err}
	}
	return removed, err
}

func (w writer) removeLeftovers(path string) (removed []string, err error) {
	target, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(target)
	entries, err := w.fs.readDir(dir)
	if err != nil {
		return nil, err
	}
	prefix := tempPrefix(target)
	for _, e := range entries {
		if !e.Type().IsRegular() || !isTempName(e.Name(), prefix) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if rerr := w.fs.remove(name); rerr == nil {
			removed = append(removed, name)
		} else if !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return removed, err
}
