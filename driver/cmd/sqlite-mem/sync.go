//go:build cgo

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
)

var syncCommand = command{
	name:     "sync",
	operands: "FILE",
	summary:  "have the server save, so that the file holds every commit",
	details: `
Asks the server that has FILE in memory to save it, and waits for the end. With
exit status 0 every commit made before is in the file and on the disk. That is
also so if no server has the file: then there is nothing to save. A log that a
crash has left is written into the file first.

If a server has the file and does not answer tools, nothing is saved, and the
exit status is 1.
`,
	setUp: func(*flag.FlagSet) func(context.Context, []string, stdio) error {
		return func(ctx context.Context, operands []string, std stdio) error {
			name, err := one(operands, "FILE")
			if err != nil {
				return err
			}
			return syncServer(ctx, name, std.out)
		}
	},
}

func syncServer(ctx context.Context, name string, stdout io.Writer) (err error) {
	db, err := openTarget(name, access{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, before, err := db.view(ctx)
	if err != nil {
		return err
	}
	switch {
	case !v.live && v.owner != nil:
		return fmt.Errorf("%s: %s has it in memory and does not answer tools, so nothing was saved; it saves on its interval and when it ends", db.path, process(*v.owner))
	case !v.live:
		// The first connection has written the log of a crash into the file, unless this
		// process may not write there. Nobody may have the file open for the next look.
		if err := db.Close(); err != nil {
			return err
		}
		log, err := readLog(ctx, db.path)
		if err != nil {
			return err
		}
		if log.pending() {
			return fmt.Errorf("%s: a crash has left commits in its log that the file does not have; run sqlite-mem recover as a user who may write to it", db.path)
		}
		return say(stdout, "No server has %s in memory: the file holds every commit.\n", db.path)
	}
	if err := driver.Sync(ctx, db.DB); err != nil {
		return err
	}
	after, err := driver.ReadStats(db.DB)
	if err != nil {
		return err
	}
	return say(stdout, "%s", synced(db.path, before, after))
}

// synced reports a save, by the server's counters before and after it.
func synced(path string, before, after driver.Stats) string {
	if after.Saves.Count == before.Saves.Count {
		return fmt.Sprintf("%s holds every commit: nothing had changed since the last save.\n", path)
	}
	return fmt.Sprintf("%s holds every commit: %s saved in %s.\n", path, show.Size(after.LastBytes), show.Duration(after.LastDuration))
}
