package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// keptName returns the name of the state that the file had n saves ago. Place 0 is for the
// state that is being replaced, until that is done.
func keptName(target string, n int) string {
	if n == 0 {
		return target + ".kept-new"
	}
	return target + ".kept-" + strconv.Itoa(n)
}

// setPending gives the present state of the file, prev, the name in place 0 as well. It
// returns false if there is no file. When the file has been replaced, shift moves the state
// on. If it has not, discard removes the name.
//
// A crash may have left a state in place 0, before or after the file was replaced.
func (w writer) setPending(ctx context.Context, target string, prev sqlitefile.Pinned, n int) (_ bool, err error) {
	if prev.ID.IsZero() {
		return false, nil
	}
	// A pinned file is read by its own descriptor: see sqlitefile.Pinned.
	now := prev.File
	if now == nil {
		if now, err = w.fs.Open(target); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, now.Close()) }()
	}
	pending := keptName(target, 0)
	info, err := w.fs.Stat(pending)
	if err == nil {
		if err := osfile.Regular(pending, info); err != nil {
			return false, err
		}
		same, err := w.sameAs(ctx, pending, now)
		if err != nil || same {
			return same, err
		}
		if err := w.finishShift(ctx, target, n); err != nil {
			return false, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	err = w.fs.Link(target, pending)
	if err == nil {
		return true, nil
	}
	// Not all file systems have hard links.
	tmp := tempName(target)
	cerr := osfile.Copy(ctx, w.fs, tmp, now)
	if cerr == nil {
		if cerr = w.fs.Rename(tmp, pending); cerr == nil {
			return true, nil
		}
	}
	return false, fmt.Errorf("%w (nor does a copy work: %w)", err, errors.Join(cerr, w.discard(tmp)))
}

// finishShift is shift after a crash, perhaps in the middle of one.
func (w writer) finishShift(ctx context.Context, target string, n int) error {
	if _, err := w.fs.Stat(keptName(target, 1)); err == nil {
		same, err := w.same(ctx, keptName(target, 0), keptName(target, 1))
		if err != nil {
			return err
		}
		if same {
			return w.fs.Remove(keptName(target, 0))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return w.shift(target, n)
}

// shift moves the states that are kept one place on each, up to the first empty place. If there
// is none before place n, the state in place n is lost.
func (w writer) shift(target string, n int) error {
	last := 0 // the place to be filled
	for last < n {
		name := keptName(target, last)
		info, err := w.fs.Stat(name)
		if errors.Is(err, fs.ErrNotExist) && last > 0 {
			break
		}
		if err == nil {
			err = osfile.Regular(name, info)
		}
		if err != nil {
			return err
		}
		last++
	}
	// A journal or -wal that another program has left is a part of a state.
	for i := range last + 1 {
		name := keptName(target, i)
		j, err := sqlitefile.ReadJournal(w.fs, name)
		if err != nil {
			return err
		}
		wal, err := sqlitefile.ReadWAL(w.fs, name)
		if err != nil {
			return err
		}
		if j.Live || wal.Frames {
			return fmt.Errorf("%s has been written to by another program: a -journal or -wal is beside it", name)
		}
	}
	for ; last > 0; last-- {
		if err := w.fs.Rename(keptName(target, last-1), keptName(target, last)); err != nil {
			return err
		}
	}
	return nil
}

// same reports whether two files have the same bytes.
func (w writer) same(ctx context.Context, a, b string) (same bool, err error) {
	y, err := w.fs.Open(b)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, y.Close()) }()
	return w.sameAs(ctx, a, y)
}

// sameAs is same for a file that is open.
func (w writer) sameAs(ctx context.Context, a string, y osfile.File) (same bool, err error) {
	x, err := w.fs.Open(a)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	xi, err := x.Stat()
	if err != nil {
		return false, err
	}
	yi, err := y.Stat()
	if err != nil || os.SameFile(xi, yi) || xi.Size() != yi.Size() {
		return err == nil && os.SameFile(xi, yi), err
	}
	p, q := make([]byte, osfile.Piece), make([]byte, osfile.Piece)
	for off := int64(0); ; off += osfile.Piece {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := x.ReadAt(p, off)
		if err != nil && err != io.EOF {
			return false, err
		}
		m, err := y.ReadAt(q, off)
		if err != nil && err != io.EOF {
			return false, err
		}
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
	}
}
