//go:build cgo

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

var backupCommand = command{
	name:     "backup",
	operands: "FILE NEW",
	summary:  "write what is committed to a new file, while the server serves",
	details: `
NEW becomes a database like any other, readable by its owner alone. It is one
state of FILE: every commit made before, if a server has FILE in memory and
answers tools; what was saved last, if it does not answer, or with -saved; or
what the file holds, if there is no server. The last line says which it was.

Nothing is replaced: if NEW is there, it is an error. After an error or Ctrl-C
there is no NEW.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		saved := savedFlag(flags)
		return func(ctx context.Context, operands []string, std stdio) error {
			if len(operands) == 1 {
				return usageError("NEW is missing")
			}
			name, err := one(operands[:min(1, len(operands))], "FILE")
			if err != nil {
				return err
			}
			if len(operands) > 2 {
				return tooMany(operands[2])
			}
			return backup(ctx, name, operands[1], access{saved: *saved}, std.out)
		}
	},
}

func backup(ctx context.Context, name, to string, how access, stdout io.Writer) (err error) {
	db, err := openTarget(name, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, st, err := db.view(ctx)
	if err != nil {
		return err
	}
	screen := show.NewScreen(stdout)
	start := time.Now()
	stop := func() {}
	if screen.Terminal() {
		stop = watch(screen, newGrowth(to, st.DataBytes))
	}
	err = driver.Backup(ctx, db.DB, to)
	stop()
	if err != nil {
		return backupError(ctx, to, err)
	}
	took := time.Since(start)
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	return say(stdout, "%s: %s in %s, from %s\n", to, show.Size(info.Size()), show.Duration(took), v.sentence())
}

// backupError rewords the common errors so that they name the remedy.
func backupError(ctx context.Context, to string, err error) error {
	_, there := os.Lstat(to)
	_, noDir := os.Stat(filepath.Dir(to))
	switch {
	case ctx.Err() != nil && errors.Is(there, fs.ErrNotExist):
		return fmt.Errorf("interrupted: there is no %s", to)
	case errors.Is(err, fs.ErrExist) && there == nil:
		return fmt.Errorf("%s is there already, and a backup replaces nothing: remove it, or choose another name", to)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w; choose another name", err)
	case errors.Is(noDir, fs.ErrNotExist):
		return fmt.Errorf("the directory %s is not there: make it first", filepath.Dir(to))
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of %s is full: there is no backup (%w)", to, err)
	}
	return err
}

// growth is the progress of a backup, told by the temporary file that grows beside it.
type growth struct {
	target string
	total  int64           // how large it will be, at most
	old    map[string]bool // temporary files that were there before
	start  time.Time
}

func newGrowth(to string, total int64) *growth {
	g := &growth{total: total, old: make(map[string]bool), start: time.Now()}
	var err error
	if g.target, err = osfile.Resolve(to); err != nil {
		g.target = to // the backup will tell
	}
	for _, name := range g.files() {
		g.old[name] = true
	}
	return g
}

// files are the temporary files beside the target.
func (g *growth) files() (names []string) {
	entries, err := os.ReadDir(filepath.Dir(g.target))
	if err != nil {
		return nil // there is no progress to see then
	}
	for _, e := range entries {
		name := filepath.Join(filepath.Dir(g.target), e.Name())
		of, is := image.DatabaseOf(name)
		if is && of == g.target && strings.HasSuffix(name, ".tmp") {
			names = append(names, name)
		}
	}
	return names
}

// line returns the progress of the backup, or "" if it is not known.
func (g *growth) line(now time.Time) string {
	for _, name := range g.files() {
		if g.old[name] {
			continue
		}
		info, err := os.Stat(name)
		if err != nil || info.Size() == 0 {
			continue
		}
		done := info.Size()
		rate := int64(float64(done) / max(now.Sub(g.start).Seconds(), 1e-3))
		return fmt.Sprintf("%s of %s, %d %%, %s a second", show.Size(done), show.Size(g.total), 100*done/max(g.total, done, 1), show.Size(rate))
	}
	return ""
}

// watch shows the progress until the function that it returns has returned.
func watch(screen *show.Screen, g *growth) (stop func()) {
	var shown sync.WaitGroup
	over := make(chan struct{})
	shown.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				screen.Clear()
				return
			case now := <-tick.C:
				if line := g.line(now); line != "" {
					screen.Live("%s", line)
				}
			}
		}
	})
	return func() {
		close(over)
		shown.Wait()
	}
}
