package image

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/pagelog"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Recovery is the result of [Recover] or [FoldLog].
type Recovery struct {
	// Transactions is how many transactions of the log are in the file now.
	Transactions int

	// Torn is the length in bytes of one more, which a crash had cut short; 0: none.
	Torn int64

	// Problem is the error of the log; nil: the log was in order.
	Problem error

	// Aside are the files that Recover has kept under another name, unchanged. If there is a
	// Problem, Aside has the log. If something of that log was written into the file, Aside
	// also has a copy of the file as it was. After an error it has the files that were kept
	// before.
	Aside []string

	// NotKept is why the earlier state of the file is not kept, although FoldLog was asked
	// to keep it. It may be set after an error too; see [Saved].
	NotKept error
}

// FoldLog writes the log that a crash has left into the file at path, and removes the log. If
// there is none, it does nothing. keep is as [File.Keep]. The caller owns the process lock of
// the file exclusively, and no connection of this process has the file open (see "Locks of
// this process").
//
// Errors are those of [File.Open] and [File.Save]. After an error there are two cases. Either
// file and log are as they were, or all is in the file and a log that holds no more is still
// there.
func FoldLog(ctx context.Context, path string, keep int) (Recovery, error) {
	r := recoverer{loader: loader{fs: system, wait: loadWait, poll: loadPoll}, keep: keep}
	return r.run(ctx, path)
}

// Recover is FoldLog, and also resolves what FoldLog and [File.Open] refuse. If a log does
// not belong to the file, Recover moves it aside. If a log is damaged, Recover writes what is
// before the damage into the file. In both cases it deletes nothing: see [Recovery.Aside].
// After an error the log may be aside already.
func Recover(ctx context.Context, path string) (Recovery, error) {
	r := recoverer{loader: loader{fs: system, wait: loadWait, poll: loadPoll}, resolve: true}
	return r.run(ctx, path)
}

// recoverer folds logs.
type recoverer struct {
	loader
	keep    int  // as File.Keep
	resolve bool // as Recover does and FoldLog does not
}

func (r recoverer) run(ctx context.Context, path string) (Recovery, error) {
	target, err := osfile.Resolve(path)
	var there bool
	if err == nil {
		there, err = pagelog.There(r.fs, target)
	}
	var rec Recovery
	if err == nil && there {
		err = osfile.NotMounted(r.fs, target)
	}
	if err == nil && there {
		rec, err = r.fold(ctx, target)
	}
	if err != nil {
		var own *Error
		var foreign *ForeignChangeError
		if !errors.As(err, &own) && !errors.As(err, &foreign) {
			err = &Error{Op: "recover", Path: path, Err: err}
		}
		return Recovery{Aside: rec.Aside, NotKept: rec.NotKept}, err
	}
	return rec, nil
}

func (r recoverer) fold(ctx context.Context, target string) (rec Recovery, err error) {
	deadline := time.Now().Add(r.wait)
	kind, err := r.judge(ctx, target, deadline)
	if err != nil {
		return rec, err
	}
	if kind != sound {
		if _, err = pagelog.Pick(r.fs, target, pagelog.HashOfNothing); r.resolve && isLogProblem(err) {
			rec.Problem = err
			rec.Aside, err = r.moveAside(target)
		}
		return rec, err
	}
	h, err := r.acquire(ctx, target, deadline)
	if err != nil {
		return rec, err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, h.close())
		}
	}()
	log, err := h.openLog(ctx, r.fs, target)
	if r.resolve && isLogProblem(err) {
		rec.Problem = err
		log, err = r.salvage(ctx, h, target)
	}
	if err != nil {
		return rec, err
	}
	id, err := sqlitefile.IdentifyOpen(h.f)
	// SQLite is closed first, as in load. The save notices whoever writes to the file from
	// here on.
	if err = errors.Join(err, h.closeSQLite()); err != nil {
		return rec, err
	}
	if log != nil && log.Commits > 0 {
		rec.Transactions, rec.Torn = log.Commits, log.Torn
		if rec.Problem != nil {
			kept, err := r.keepCopy(ctx, target)
			if kept != "" {
				rec.Aside = append(rec.Aside, kept)
			}
			if err != nil {
				return rec, err
			}
		}
		f := &File{fs: r.fs, path: target, target: target, source: heldSource{h}, current: sqlitefile.Pinned{ID: id}, present: rec.Problem == nil}
		f.Keep = r.keep
		if sqlitefile.Pins {
			h.shared, f.current.File = true, h.f // Save closes it, or Close does
		}
		saved, err := f.Save(ctx, Pace{})
		rec.NotKept = saved.NotKept
		if err = errors.Join(err, f.Close(false)); err != nil {
			return rec, err
		}
	}
	closed = true
	if err := h.close(); err != nil {
		return rec, err
	}
	if rec.Problem != nil {
		moved, err := r.moveAside(target)
		rec.Aside = append(rec.Aside, moved...)
		return rec, err
	}
	return rec, pagelog.Remove(r.fs, target)
}

func isLogProblem(err error) bool {
	return errors.Is(err, pagelog.ErrBase) || errors.Is(err, pagelog.ErrDamaged)
}

// salvage lays a log over the file, if the log belongs to it, up to its damage. It returns nil
// if neither the log nor the new log does.
func (r recoverer) salvage(ctx context.Context, h *held, target string) (*pagelog.Log, error) {
	hash, err := h.hash(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{pagelog.Name(target), pagelog.NewName(target)} {
		log, err := pagelog.Read(r.fs, name)
		if err != nil && !errors.Is(err, pagelog.ErrDamaged) {
			return nil, err
		}
		if log != nil && log.Head.Base == hash && log.Head.PageSize == h.header.PageSize {
			return log, h.layOver(r.fs, log)
		}
	}
	return nil, nil
}

// asidePrefix is between the name of a file that is kept and the time.
const asidePrefix = ".aside-"

// moveAside renames the log and the new log to names of their own.
func (r recoverer) moveAside(target string) (names []string, err error) {
	for _, name := range []string{pagelog.Name(target), pagelog.NewName(target)} {
		_, err := r.fs.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return names, err
		}
		to, err := r.rename(name, name)
		if err != nil {
			return names, err
		}
		names = append(names, to)
	}
	return names, r.fs.SyncDir(filepath.Dir(target))
}

// keepCopy copies the file to a new name. It returns the name also if only the sync of the
// directory fails.
func (r recoverer) keepCopy(ctx context.Context, target string) (string, error) {
	tmp := tempName(target)
	err := r.copyNamed(ctx, tmp, target)
	var to string
	if err == nil {
		to, err = r.rename(tmp, target)
	}
	if err != nil {
		return "", errors.Join(err, writer{r.fs}.discard(tmp))
	}
	return to, r.fs.SyncDir(filepath.Dir(target))
}

// rename gives a file a new name, which begins with like.
func (r recoverer) rename(from, like string) (string, error) {
	to, err := writer{r.fs}.reserveName(like + asidePrefix)
	if err != nil {
		return "", err
	}
	if err := r.fs.Rename(from, to); err != nil {
		return "", errors.Join(err, writer{r.fs}.discard(to))
	}
	return to, nil
}

// heldSource is a database on the disk, with its log, as a Source that never changes.
type heldSource struct{ h *held }

func (s heldSource) Pin() (Image, error) { return heldImage(s), nil }

func (s heldSource) Track() {}

func (s heldSource) PinChanges(pages []uint64) (Image, []uint64, bool, error) {
	return heldImage(s), pages, false, nil
}

type heldImage struct{ h *held }

func (i heldImage) Version() uint64 { return 1 }

func (i heldImage) Size() int64 { return i.h.imageSize() }

func (i heldImage) PageSize() int { return i.h.header.PageSize }

// Release is called when the new file has been written, and before it takes the place of the
// old one. A file that cannot be replaced while it is open is closed here, and its log with it.
func (i heldImage) Release() {
	if !sqlitefile.Pins {
		_ = i.h.close() // only read
	}
}

func (i heldImage) ReadAt(p []byte, off int64) (int, error) {
	if _, err := i.h.readBase(p, off); err != nil {
		return 0, err
	}
	return len(p), i.h.readLog(p, off)
}
