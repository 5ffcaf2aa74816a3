package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// keptName is where the state is kept that the file had n saves ago.
func keptName(target string, n int) string { return target + ".kept-" + strconv.Itoa(n) }

// setAside gives the state that the file has now a temporary name of its own, ""
// if there is no file. After an error it returns the name only if there is a file
// to remove.
func (w writer) setAside(ctx context.Context, target string) (tmp string, err error) {
	now, err := w.fs.stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch last, err := w.fs.stat(keptName(target, 1)); {
	case err == nil && os.SameFile(now, last):
		return "", nil // a save has failed, or was broken off, after it had kept it
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	tmp = tempName(target)
	err = w.fs.link(target, tmp)
	if err == nil {
		return tmp, nil
	}
	// Not all file systems have hard links.
	if cerr := (loader{fs: w.fs}).copyFile(ctx, tmp, target); cerr != nil {
		return tmp, fmt.Errorf("%w (nor does copying it work: %w)", err, cerr)
	}
	return tmp, nil
}

// keep makes the file called tmp the last of those that are kept, n at most. At
// each moment all but the oldest are there under one name, at least.
func (w writer) keep(target, tmp string, n int) error {
	free := 1 // or the place of the oldest
	for free < n {
		_, err := w.fs.stat(keptName(target, free))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		free++
	}
	for ; free > 1; free-- {
		if err := w.fs.rename(keptName(target, free-1), keptName(target, free)); err != nil {
			return err
		}
	}
	return w.fs.rename(tmp, keptName(target, 1))
}
