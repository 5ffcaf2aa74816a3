//go:build cgo

package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
)

// liveServer is what a server tells its tools of itself (live.ServerConfig.Info).
type liveServer struct {
	proclock.Owner
	Logged bool // sqlite_wal=commit: what it has acknowledged is in the log
}

// liveCommits knows the commits of this process in the memory of other processes, until they
// are known to be saved. Sync and SyncAll use it. A role may change, so it outlives backends.
var liveCommits = &commitBook{files: make(map[string]*liveFile), open: make(map[*Config]*liveConns)}

type commitBook struct {
	mu    sync.Mutex
	n     uint64               // guarded by mu; the number of the last commit
	files map[string]*liveFile // guarded by mu; by the path of the database

	// open are the connectors with users who may commit: connections, and what opens one. A
	// connector may close before them. What they commit then is made durable when the last of
	// them ends.
	open map[*Config]*liveConns // guarded by mu
}

type liveConns struct {
	n      int
	closed bool // the connector is
}

// liveFile is a database with such commits.
type liveFile struct {
	backend *liveBackend     // of the last commit
	users   map[*Config]bool // of the connectors that have committed, and are open or in commitBook.open
	servers map[string]span  // by the server's info: its commits
}

// span are the commits of a server: the numbers of the first and of the last.
type span struct{ first, last uint64 }

// add notes a commit.
func (k *commitBook) add(b *liveBackend, info string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.files[b.path]
	if f == nil {
		f = &liveFile{users: make(map[*Config]bool), servers: make(map[string]span)}
		k.files[b.path] = f
	}
	k.n++
	f.backend, f.users[b.cfg] = b, true
	commits, ok := f.servers[info]
	if !ok {
		commits.first = k.n
	}
	commits.last = k.n
	f.servers[info] = commits
}

// join counts a user of the connector of cfg.
func (k *commitBook) join(cfg *Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[cfg] == nil {
		k.open[cfg] = new(liveConns)
	}
	k.open[cfg].n++
}

// part is called when a user that join has counted ends. If it is the last one, and its
// connector has closed, part does the same as leave.
func (k *commitBook) part(cfg *Config) *liveBackend {
	k.mu.Lock()
	defer k.mu.Unlock()
	conns := k.open[cfg]
	if conns.n--; conns.n > 0 {
		return nil
	}
	delete(k.open, cfg)
	if !conns.closed {
		return nil
	}
	return k.leaveLocked(cfg)
}

// leave is called when the connector of cfg closes. It returns a backend if that has
// committed, and no other connector to the same database has.
func (k *commitBook) leave(cfg *Config) *liveBackend {
	k.mu.Lock()
	defer k.mu.Unlock()
	if conns := k.open[cfg]; conns != nil {
		conns.closed = true
	}
	return k.leaveLocked(cfg)
}

// leaveLocked is leave. The caller holds mu.
func (k *commitBook) leaveLocked(cfg *Config) *liveBackend {
	for _, f := range k.files {
		if f.users[cfg] {
			if delete(f.users, cfg); len(f.users) == 0 {
				return f.backend
			}
		}
	}
	return nil
}

// forget forgets the commits to the database at path.
func (k *commitBook) forget(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.files, path)
}

// endLive has the server of b, which leave or part has returned, make the commits durable. If
// it cannot be reached, SyncAll tries again. What is lost is reported here for the last time.
func endLive(b *liveBackend) error {
	if b == nil {
		return nil
	}
	err := b.durable(context.Background(), controlDurable)
	if errors.Is(err, ErrUnsaved) {
		liveCommits.forget(b.path)
	}
	return err
}

// count returns the number of the last commit.
func (k *commitBook) count() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

// saved notes that the commits up to n in a server are saved.
func (k *commitBook) saved(path, info string, n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.files[path]
	if f == nil {
		return
	}
	commits, ok := f.servers[info]
	if !ok {
		return
	}
	if n < commits.last {
		commits.first = max(commits.first, n+1)
		f.servers[info] = commits
		return
	}
	if delete(f.servers, info); len(f.servers) == 0 {
		delete(k.files, path)
	}
}

// judge returns nil if the servers of the commits up to n have saved them before they ended.
// alive is the server that has answered just now, which is not judged. Nor are servers with
// later commits only. They may be alive too.
func (k *commitBook) judge(path, alive string, n uint64) error {
	k.mu.Lock()
	now := k.n // a commit that comes meanwhile is not judged
	var infos []string
	if f := k.files[path]; f != nil {
		for info, commits := range f.servers {
			if info != alive && commits.first <= n {
				infos = append(infos, info)
			}
		}
	}
	k.mu.Unlock()
	var errs error
	for _, info := range infos {
		if err := unsavedBy(path, info, alive != ""); err != nil {
			errs = connerr.Join(errs, err)
			continue
		}
		k.saved(path, info, now)
	}
	return errs
}

// settle forgets the commits that are known to be saved. alive is the server that has just
// answered. FILE.lock names only the last server that has saved everything, so it is read
// before a later one, or this process, ends.
func (k *commitBook) settle(path, alive string) {
	// An error is that of a Sync, which judges again.
	_ = k.judge(path, alive, math.MaxUint64)
}

// unsavedBy returns an error if a server that has ended may not have saved everything.
// synced is true if the server that came after it has saved what it found.
func unsavedBy(path, info string, synced bool) error {
	var server liveServer
	if err := json.Unmarshal([]byte(info), &server); err != nil {
		return err
	}
	last, ok, err := proclock.SavedLast(path)
	if err != nil {
		return err
	}
	if ok && last.Same(server.Owner) {
		return nil
	}
	known := "commits of this process may be lost; those that had reached the log are recovered when the database is opened next"
	if server.Logged {
		pending, err := image.LogPending(path)
		if err != nil || !pending || synced {
			return err
		}
		known = "all that it had acknowledged is in the log (sqlite_wal=commit), and not in the file yet; open the database for writing, or run sqlite-mem recover"
	}
	return fmt.Errorf("sqlite-mem: %s: %w: process %d, which served it since %s; %s", path, ErrUnsaved, server.PID, server.Since.Format(time.RFC3339), known)
}

// syncLive makes the commits of this process in the memory of other processes durable, by a
// control. They are those to the database at path, or all if path is empty.
func syncLive(ctx context.Context, path, control string) error {
	liveCommits.mu.Lock()
	var backends []*liveBackend
	for p, f := range liveCommits.files {
		if path == "" || p == path {
			backends = append(backends, f.backend)
		}
	}
	liveCommits.mu.Unlock()
	var errs error
	for _, b := range backends {
		errs = connerr.Join(errs, b.durable(ctx, control))
	}
	return errs
}
