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
)

const (
	// writeRun is how many bytes of an image are asked for at a time.
	writeRun = 1 << 20

	// flushRun is how many bytes are written before the kernel is told to
	// start with them. The dirty memory stays below twice that, where else
	// gigabytes would pile up, to be written while the final sync, and
	// everybody else's, waits.
	flushRun = 32 << 20
)

// WriteOptions are optional: the zero value is a plain save.
type WriteOptions struct {
	// Background lets the save run at a low CPU priority, so that it
	// does not delay the statements that run meanwhile. It takes longer on a
	// busy machine. Linux only; elsewhere it has no effect.
	Background bool

	// SideCopy is the Copy of the last ForeignChangeError for this path, the
	// zero value if there was none. If the change is still there, the new
	// state replaces that copy, unless somebody has edited it; if it holds
	// this very version already, nothing is written. If the copy has been
	// moved to path, the file counts as ours again.
	SideCopy SideCopy
}

// Result of a Write.
type Result struct {
	Path   string // the file that was written, symbolic links resolved
	Bytes  int64  // its length
	FileID FileID // its identity, prev for the next Write
}

// Write puts the database in img in the place of the file at path, or creates
// it. Symbolic links are followed, also to a file that does not exist yet. The
// new file has the owner, group and permissions of the old as far as this
// process may give them, 0600 if there was none; access control lists,
// extended attributes and hard links are not carried over. An empty database
// becomes a file of no bytes, which SQLite takes for one.
//
// prev is what Load or the last Write returned, zero if there was no file. If
// the file is no longer that, or another program is using it, the error is a
// [*ForeignChangeError] and the state is kept beside the file. The check is
// made anew each time: when the cause is gone, the next Write succeeds.
//
// Every other error is an [*Error]. Then the file is as it was, unless
// Result.FileID is not zero: in that case the new file is in place, but could
// not be made to survive a power failure, which may bring the old one back.
// Pass that FileID to the next Write, and count the save as failed. A
// temporary file that could not be removed is named in the error.
//
// The end of ctx ends the save until the moment of the rename. Write does not
// release img. Only one Write may run for one path at a time.
func Write(ctx context.Context, path string, img Image, prev FileID, opts WriteOptions) (Result, error) {
	w := writer{fs: system}
	if !opts.Background {
		return w.write(ctx, path, img, prev, opts)
	}
	var res Result
	var err error
	inBackground(func() { res, err = w.write(ctx, path, img, prev, opts) })
	return res, err
}

type writer struct{ fs fsys }

func (w writer) write(ctx context.Context, path string, img Image, prev FileID, opts WriteOptions) (Result, error) {
	fail := func(err error) (Result, error) {
		return Result{}, &Error{Op: "save", Path: path, Err: err}
	}
	target, err := Resolve(path)
	if err != nil {
		return fail(err)
	}
	// Looked at first only to save the work: it is the second look that counts.
	reason, err := w.foreign(target, prev, opts.SideCopy)
	if err != nil {
		return fail(err)
	}
	if reason != "" && w.sideCopyHolds(opts.SideCopy, img.Version()) {
		return Result{}, &ForeignChangeError{Path: target, Reason: reason, SavedAs: opts.SideCopy.Path, Copy: opts.SideCopy}
	}

	tmp, id, err := w.writeTemp(ctx, target, img)
	if err == nil {
		reason, err = w.foreign(target, prev, opts.SideCopy)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && reason == "" {
		// SQLite does not sync the directory when it has removed a journal or
		// a -wal. Should the power fail and the removal be lost, but not our
		// rename, it would be applied to the new file.
		err = w.fs.syncDir(filepath.Dir(target))
	}
	if err == nil && reason == "" {
		if err = w.fs.rename(tmp, target); err == nil {
			tmp = ""
		}
	}
	if err != nil {
		return fail(errors.Join(err, w.discard(tmp)))
	}
	if reason != "" {
		return Result{}, w.keepAside(target, tmp, id, img.Version(), reason, opts.SideCopy)
	}
	res := Result{Path: target, Bytes: id.Size(), FileID: id}
	if err := w.fs.syncDir(filepath.Dir(target)); err != nil {
		return res, &Error{Op: "save", Path: path,
			Err: fmt.Errorf("the new file is in place, but a power failure may bring the old one back: %w", err)}
	}
	return res, nil
}

// writeTemp writes img to a temporary file beside target, synced and checked.
// After an error it returns the name only if there is a file to remove.
func (w writer) writeTemp(ctx context.Context, target string, img Image) (name string, id FileID, err error) {
	size, ps := img.Size(), int64(0)
	if size != 0 {
		ps = int64(img.PageSize())
		if !validPageSize(int(ps)) || size < 0 || size%ps != 0 {
			return "", id, fmt.Errorf("image of %d bytes in pages of %d", size, ps)
		}
	}
	name = tempName(target)
	f, err := w.fs.create(name, 0o600)
	if err != nil {
		return "", id, err
	}
	err = w.fill(ctx, f, target, img, size)
	// A descriptor whose sync failed is not synced again: the kernel reports
	// a lost page once and then calls it clean.
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return name, id, err
	}
	id, err = w.verify(name, size, int(ps))
	return name, id, err
}

func (w writer) fill(ctx context.Context, f file, target string, img Image, size int64) error {
	// Before there is anything in it to read.
	switch like, err := w.fs.stat(target); {
	case err == nil:
		if err := copyOwner(f, like); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	buf := make([]byte, min(writeRun, size))
	flushed := int64(0)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), size-off)]
		if n, err := img.ReadAt(p, off); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the image at %d: %w", off, err)
		}
		if n, err := f.Write(p); err != nil {
			return err
		} else if n < len(p) {
			return io.ErrShortWrite
		}
		off += int64(len(p))
		if off-flushed >= flushRun {
			if err := f.startFlush(flushed, off-flushed); err != nil {
				return err
			}
			flushed = off
		}
	}
	return nil
}

// verify makes sure that the file is the database it should be, so that no
// mistake of ours, or of the memory it came from, replaces a good file: its
// size, its header, and that SQLite opens it and understands its schema.
func (w writer) verify(name string, size int64, pageSize int) (FileID, error) {
	f, err := w.fs.open(name)
	if err != nil {
		return FileID{}, err
	}
	id, err := w.verifyOpen(f, size, pageSize)
	if err := errors.Join(err, f.Close()); err != nil {
		return FileID{}, err
	}
	if size == 0 {
		return id, nil
	}
	// immutable: no locks and no side files.
	db, err := openDisk(name, "mode=ro&immutable=1")
	if err == nil {
		_, err = db.queryInt("SELECT count(*) FROM sqlite_schema")
		err = errors.Join(err, db.close())
	}
	if err != nil {
		return FileID{}, fmt.Errorf("the new file fails its check: %w", err)
	}
	return id, nil
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

// foreign says in words why target is not ours to replace, "" if it is.
func (w writer) foreign(target string, prev FileID, side SideCopy) (string, error) {
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
	l := loader{fs: w.fs}
	wal, err := readWAL(w.fs, target)
	if err != nil {
		return "", err
	}
	if wal.frames {
		return "another program has written to it in WAL mode (" + target + "-wal)", nil
	}
	now, err := identify(w.fs, target)
	if err != nil {
		return "", err
	}
	if wal.present && !now.IsZero() && isOurs(now, prev, side) == "" && now.Size() > 0 {
		// A -wal without frames is harmless unless somebody has it open, who
		// might yet write to it. That cannot be seen from outside, and
		// removing it under a program that uses it would be the harm we fear.
		// So let SQLite find out: if the file is in WAL mode, or the -wal has
		// a header, it is opened exclusively, which fails if anybody else has
		// it open, and closing removes the -wal. The file is not changed.
		// What is left is an empty -wal beside a file in rollback mode, which
		// SQLite takes for none.
		h, err := l.tryAcquire(target)
		if err == nil {
			err = h.close()
		}
		if errors.Is(err, ErrBusy) {
			return "another program has it open in WAL mode (" + target + "-wal)", nil
		}
		if err != nil {
			return "", err
		}
		if now, err = identify(w.fs, target); err != nil {
			return "", err
		}
	}
	return isOurs(now, prev, side), nil
}

// isOurs compares the file with what it should be: what we loaded or saved
// last, or the side copy of ours, if it was moved there.
func isOurs(now, prev FileID, side SideCopy) string {
	d := prev.difference(now)
	if d != "" && !side.ID.IsZero() && side.ID.Same(now) {
		return ""
	}
	return d
}

func (w writer) sideCopyHolds(side SideCopy, version uint64) bool {
	return side.Version == version && !side.unsynced && w.sideCopyIntact(side)
}

func (w writer) sideCopyIntact(side SideCopy) bool {
	if side.Path == "" || side.ID.IsZero() {
		return false
	}
	id, err := identify(w.fs, side.Path)
	return err == nil && side.ID.Same(id)
}

// keepAside gives the temporary file, which is whole and synced, a name beside
// target that says what it is.
func (w writer) keepAside(target, tmp string, id FileID, version uint64, reason string, side SideCopy) error {
	ferr := &ForeignChangeError{Path: target, Reason: reason}
	name := side.Path
	if !w.sideCopyIntact(side) {
		var err error
		if name, err = w.reserveAside(target); err != nil {
			ferr.Err = errors.Join(err, w.discard(tmp))
			return ferr
		}
		side = SideCopy{}
	}
	if err := w.fs.rename(tmp, name); err != nil {
		ferr.Err = errors.Join(err, w.discard(tmp))
		if side.Path == "" {
			ferr.Err = errors.Join(ferr.Err, w.discard(name))
		} else {
			ferr.Copy = side // still there, an older state
		}
		return ferr
	}
	ferr.SavedAs = name
	ferr.Copy = SideCopy{Path: name, ID: id, Version: version}
	if err := w.fs.syncDir(filepath.Dir(target)); err != nil {
		ferr.Err = err
		ferr.Copy.unsynced = true // so the next Write makes it again
	}
	return ferr
}

// reserveAside makes an empty file under a new name, for a rename to replace:
// so nothing that was there before is overwritten.
func (w writer) reserveAside(target string) (string, error) {
	stamp := target + ".sqlite-mem-" + time.Now().UTC().Format("20060102T150405Z")
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
// Only plain files are touched whose name is exactly of the form that Write
// makes for path.
//
// It may be called only by the owner of the process lock of path, while no
// Load or Write of path runs: the temporary file of a running one looks the
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
