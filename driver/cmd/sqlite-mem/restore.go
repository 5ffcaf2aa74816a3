//go:build cgo

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var restoreCommand = command{
	name:     "restore",
	operands: "FILE FROM",
	summary:  "replace a database by a backup of it, while the server serves",
	details: `
FROM is a database file, such as a backup or FILE.kept-1, or - for standard
input. It is checked first. A server that answers tools then takes it as its
next commit: readers finish on the old database. Without a server the file is
replaced in one step. A crash leaves the old database or the new one.

If FILE is there, -keep or -overwrite must say what becomes of the old
database. After an error or Ctrl-C it is as it was, unless the error says that
the new one is there.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		keep := flags.String("keep", "", "write the old database to a new `file`")
		overwrite := flags.Bool("overwrite", false, "replace the old database without keeping it")
		return func(ctx context.Context, operands []string, std stdio) error {
			switch {
			case len(operands) == 1:
				return usageError("FROM is missing")
			case len(operands) > 2:
				return tooMany(operands[2])
			}
			name, err := one(operands[:min(1, len(operands))], "FILE")
			if err != nil {
				return err
			}
			if *keep != "" && *overwrite {
				return usageError("-keep and -overwrite exclude each other")
			}
			return restore(ctx, name, operands[1], *keep, *overwrite, std)
		}
	},
}

func restore(ctx context.Context, name, from, keep string, overwrite bool, std stdio) (err error) {
	path, err := resolve(name)
	if err != nil {
		return err
	}
	old := there(path)
	if old && keep == "" && !overwrite {
		return fmt.Errorf("%s is there already: -keep NEW keeps the old database as NEW, -overwrite replaces it", name)
	}
	if from != "-" {
		if _, err := os.Stat(from); err != nil {
			return err
		}
	}
	// The environment may have other defaults, and decides nothing here.
	db, err := openPath(path, url.Values{"sqlite_role": {"tool"}, "sqlite_in_memory": {"yes"}, "sqlite_live": {"yes"}, "mode": {"rwc"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	start := time.Now()
	opts := &driver.RestoreOptions{Keep: keep}
	if from == "-" {
		err = driver.RestoreFrom(ctx, db.DB, std.in, opts)
	} else {
		err = driver.Restore(ctx, db.DB, from, opts)
	}
	if err != nil {
		return restoreError(ctx, path, keep, err)
	}
	took := time.Since(start)
	source, kept := from, ""
	if from == "-" {
		source = "standard input"
	}
	if old && keep != "" {
		kept = "; the old one is " + keep
	}
	v, st, err := db.look()
	if err != nil { // it is restored; its server may have ended since
		return say(std.out, "%s: restored from %s in %s%s\n", name, source, show.Duration(took), kept)
	}
	return say(std.out, "%s: %s in %s, from %s, in %s%s\n", name, show.Size(st.DataBytes), show.Duration(took), source, v.sentence(), kept)
}

// there reports whether there is a database at path that a restore would replace: a file that is
// not empty, or one that a server has not saved yet.
func there(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) || ownerOf(path) != nil
}

// restoreError rewords the common errors so that they name the remedy.
func restoreError(ctx context.Context, path, keep string, err error) error {
	if keep != "" && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Lstat(keep); statErr == nil {
			return fmt.Errorf("%w; %s is a backup of the old database: remove it, or choose another name for -keep", err, keep)
		}
	}
	var undurable *driver.NotDurableError
	switch {
	case errors.As(err, &undurable), errors.Is(err, driver.ErrCommitUnknown), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("interrupted: %s is as it was", path)
	case errors.Is(err, fs.ErrExist) && keep != "":
		return fmt.Errorf("%w; nothing was restored: choose another name for -keep", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk is full: %s is as it was (%w)", path, err)
	}
	return err
}
