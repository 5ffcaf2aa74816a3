//go:build cgo

package main

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// resolve is osfile.Resolve with errors that name the file.
func resolve(name string) (string, error) {
	path, err := osfile.Resolve(name)
	if _, named := errors.AsType[*fs.PathError](err); err != nil && !named {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return path, err
}

// savedFlag defines the flag that asks for the file itself.
func savedFlag(flags *flag.FlagSet) *bool {
	return flags.Bool("saved", false, "look at the file as saved last, though a server answers")
}

// target is a database that a command has opened in the role of a tool: the server's
// memory, or the file itself.
type target struct {
	*sql.DB
	path     string // absolute, symbolic links resolved
	opened   *opened
	readOnly bool
}

// access says how a database is opened.
type access struct {
	saved    bool              // the file itself, whether a server answers or not
	readOnly bool              // no write is possible
	params   map[string]string // further parameters
}

// openTarget opens a database that is there, or that a server has and has not saved yet.
func openTarget(name string, how access) (*target, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, err
	}
	// The environment may have other defaults, but the flag decides.
	params := url.Values{"sqlite_role": {"tool"}, "sqlite_in_memory": {"yes"}, "sqlite_live": {"yes"}}
	if how.saved {
		params = url.Values{"sqlite_in_memory": {"no"}}
	}
	for key, value := range how.params {
		params.Set(key, value)
	}
	_, err = os.Stat(path)
	switch {
	case err == nil && how.readOnly:
		params.Set("mode", "ro")
	case err == nil:
		params.Set("mode", "rw") // SQLite would make a file if this one went away
	case errors.Is(err, fs.ErrNotExist) && !how.saved && ownerOf(path) != nil:
		if how.readOnly {
			params.Set("_query_only", "yes")
		}
	default:
		return nil, err
	}
	db, err := openPath(path, params)
	if err != nil {
		return nil, err
	}
	db.readOnly = how.readOnly
	return db, nil
}

// openPath opens the database at path, which is absolute.
func openPath(path string, params url.Values) (*target, error) {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: params.Encode()}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path // a drive of Windows
	}
	connector, err := (&driver.Driver{Logger: slog.New(warnings{slog.Default().Handler()})}).OpenConnector(u.String())
	if err != nil {
		return nil, err
	}
	o := &opened{Connector: connector}
	return &target{DB: sql.OpenDB(o), path: path, opened: o}, nil
}

// warnings leaves out what is no warning: that defaults of the environment for a server have
// no effect here.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// opened counts the connections that a pool opens.
type opened struct {
	sqldriver.Connector
	n atomic.Int64
}

func (o *opened) Connect(ctx context.Context) (sqldriver.Conn, error) {
	c, err := o.Connector.Connect(ctx)
	if err == nil {
		o.n.Add(1)
	}
	return c, err
}

// Close is called by DB.Close.
func (o *opened) Close() error {
	if c, ok := o.Connector.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// view says whether a command sees the server's memory or the file.
type view struct {
	live  bool
	owner *proclock.Owner // the server that has it in memory; nil: none
}

// view opens a connection, and says how it sees the database.
func (t *target) view(ctx context.Context) (view, driver.Stats, error) {
	if err := t.PingContext(ctx); err != nil {
		return view{}, driver.Stats{}, err
	}
	return t.look()
}

// look is view after a connection was opened.
func (t *target) look() (view, driver.Stats, error) {
	st, err := driver.ReadStats(t.DB)
	return view{live: st.Role == driver.RoleLive, owner: ownerOf(t.path)}, st, err
}

// ownerOf returns the server that has the database at path in memory, or nil if none is
// known.
func ownerOf(path string) *proclock.Owner {
	owner, owned, err := proclock.OwnerOf(path)
	if err != nil || !owned || owner.Role == proclock.Recovery {
		return nil
	}
	return &owner
}

// word is the view in one word, for prompts and JSON.
func (v view) word() string {
	switch {
	case v.live:
		return "live"
	case v.owner != nil:
		return "saved"
	}
	return "file"
}

// sentence names what the command sees.
func (v view) sentence() string {
	switch {
	case v.live && v.owner != nil:
		return "the memory of " + process(*v.owner) + " (live)"
	case v.live:
		return "the memory of the server (live)"
	case v.owner != nil:
		return "the file as " + process(*v.owner) + " saved it last"
	}
	return "the file, which no server has in memory"
}

// process names the owner of a database.
func process(owner proclock.Owner) string {
	if owner.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", owner.PID)
}
