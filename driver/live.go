//go:build cgo

package driver

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/image"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
	"github.com/sqlite-mem/sqlite-mem/internal/memconn"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// The controls of a live connection.
const (
	controlSync    = "sync"    // Sync
	controlDurable = "durable" // SyncAll
	controlStats   = "stats"   // ReadStats, as JSON
	controlBackup  = "backup"  // Backup, as a stream
	controlWatch   = "watch"   // Watch, as a stream of JSON: see live_watch.go
	controlRestore = "restore" // Restore, of a stream; with liveRestore as JSON
)

// live reports whether a tool may use the server's memory. Go code of this process cannot
// run in the server.
func (c *Config) live() bool {
	return live.Supported && c.Live != Off && len(c.Extensions) == 0 && c.ConnectHook == nil
}

// liveAnswer is how long a tool waits for a server at least. One that has loaded answers
// sooner, so _busy_timeout=0 does not shut the tool out.
const liveAnswer = time.Second

// serve is store.Options.Serve.
func (c *Config) serve(s *store.Store, loaded <-chan struct{}) (store.Serving, error) {
	wait := func(ctx context.Context) error {
		select {
		case <-loaded:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	info, err := json.Marshal(liveServer{Owner: s.Owner(), Logged: s.WAL() == store.WALCommit})
	if err != nil {
		return nil, err
	}
	server, err := live.Listen(live.ServerConfig{
		Path:        s.Path(),
		Info:        string(info),
		EncodeError: connerr.Encode,
		Limit:       c.liveLimit(),
		Idle:        c.liveIdle(),
		Logger:      c.logger(),
		Waits: func(dc driver.Conn) bool {
			return dc.(interface{ KeepsWaiting() bool }).KeepsWaiting()
		},
		Connect: func(ctx context.Context, peer live.Peer, params map[string]string, end func(string)) (driver.Conn, error) {
			cfg, err := guestConfig(params)
			if err == nil {
				err = wait(ctx)
			}
			if err != nil {
				return nil, err
			}
			cfg.SlowWriter, cfg.SlowReader = c.SlowWriter, c.SlowReader
			cfg.Extensions, cfg.ConnectHook = c.Extensions, c.ConnectHook
			opts := memoryConnections(cfg, store.Options{})
			opts.Guest, opts.NoFiles, opts.End = peer.PID, !peer.Trusted, end
			if opts.Guest == 0 {
				opts.Guest = memconn.GuestUnknown
			}
			opts.StatsJSON = func(s *store.Store) (string, error) {
				st := storeStats(s)
				st.Role = RoleLive
				return st.json()
			}
			db := memconn.OfGuest(s, opts)
			db.Acquire()
			return db.Connect(ctx)
		},
		Control: func(ctx context.Context, peer live.Peer, name string, data []byte, body io.Reader, w io.Writer) ([]byte, error) {
			if err := wait(ctx); err != nil {
				return nil, err
			}
			switch name {
			case controlSync:
				_, err := s.Sync(ctx)
				return nil, err
			case controlDurable:
				return nil, s.MakeDurable(ctx)
			case controlStats:
				st := storeStats(s)
				st.Role = RoleLive
				return json.Marshal(st)
			case controlBackup:
				_, err := s.WriteTo(ctx, w)
				return nil, err
			case controlWatch:
				return nil, sendChanges(ctx, s.Watch(), w)
			case controlRestore:
				return nil, restoreLive(ctx, s, peer, data, body)
			}
			return nil, fmt.Errorf("sqlite-mem: the server has no %q", name)
		},
	})
	if err != nil {
		return nil, err // not a *live.Server that is nil
	}
	return server, nil
}

// guestConfig is the Config of a tool's connections, of the parameters that it has sent.
func guestConfig(params map[string]string) (*Config, error) {
	c := &Config{Params: make(map[string]string)}
	for key, value := range params {
		if key == pragmaKey {
			if err := c.addPragmas(strings.Split(value, "\n")); err != nil {
				return nil, err
			}
			continue
		}
		p := ownParams[key]
		if p == nil {
			c.Params[key] = value
			continue
		}
		if err := p.set(c, value); err != nil {
			return nil, paramErr(key, value, err.Error())
		}
	}
	return c, c.validateParams()
}

// guestParams are the parameters that a tool sends. Its sqlite_* options do not reach
// the server, nor does _loc, which is about times as the tool sees them.
func (c *Config) guestParams() map[string]string {
	params := make(map[string]string)
	for key, value := range c.Params {
		params[key] = value
	}
	delete(params, "_loc")
	if c.Params["mode"] != "ro" {
		delete(params, "mode") // checked here
	}
	for _, key := range []string{"_busy_timeout", "_stmt_cache_size"} {
		if v := ownParams[key].get(c); v != "" {
			params[key] = v
		}
	}
	params["_txlock"] = string(c.txLock())
	if len(c.Pragmas) > 0 {
		params[pragmaKey] = strings.Join(c.Pragmas, "\n") // none has a line break
	}
	return params
}

// liveBackend is a database in the memory of another process.
type liveBackend struct {
	cfg  *Config
	path string
}

var _ backend = (*liveBackend)(nil)

// openLive returns the live backend for the server of path. It is the one so far, or a
// new one.
func openLive(cfg *Config, path string, now backend) *liveBackend {
	if b, ok := now.(*liveBackend); ok {
		return b
	}
	if options := cfg.memoryOptions(); len(options) > 0 {
		cfg.logger().Info("sqlite-mem: "+path+": options without effect, because another process serves the database", "path", path, "options", options)
	}
	return &liveBackend{cfg: cfg, path: path}
}

// Connect connects to the server. It waits for one that is loading as long as
// _busy_timeout allows. The connection's Close releases the backend, and logs the error, which
// database/sql drops.
func (b *liveBackend) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := b.dial(ctx, false)
	if err != nil {
		return nil, err // not a *live.Conn that is nil
	}
	liveCommits.settle(b.path, c.Info())
	c.OnClose(func() error {
		err := b.Release()
		if err != nil {
			b.cfg.logger().Error("sqlite-mem: close of a live connection", "path", b.path, "error", err)
		}
		return err
	})
	return c, nil
}

func (b *liveBackend) dial(ctx context.Context, control bool) (*live.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, max(b.cfg.busyTimeout(), liveAnswer))
	defer cancel()
	d := live.Dialer{
		Path:        b.path,
		Params:      b.cfg.guestParams(),
		Control:     control,
		Location:    sqltime.Location(b.cfg.Params),
		DecodeError: connerr.Decode,
		Committed:   func(info string) { liveCommits.add(b, info) },
	}
	c, err := d.Connect(wait)
	if err != nil && wait.Err() != nil {
		err = connerr.Waited(b.cfg.Path, err, ctx.Err())
	}
	return c, err
}

// control runs a control on a connection of its own. info is that of the server that did it.
func (b *liveBackend) control(ctx context.Context, name string, w io.Writer) (data []byte, info string, err error) {
	c, err := b.dial(ctx, true)
	if err != nil {
		return nil, "", err
	}
	data, err = c.Control(ctx, name, nil, w)
	if errors.Is(err, driver.ErrBadConn) {
		err = live.ErrNoServer // it went before it began
	}
	return data, c.Info(), connerr.Join(err, c.Close())
}

// upload runs a control with a stream of this process, as control does.
func (b *liveBackend) upload(ctx context.Context, name string, data []byte, body func(io.Writer) error) error {
	c, err := b.dial(ctx, true)
	if err != nil {
		return err
	}
	_, err = c.Upload(ctx, name, data, body)
	if errors.Is(err, driver.ErrBadConn) {
		err = live.ErrNoServer // it went before it began
	}
	return connerr.Join(err, c.Close())
}

// Sync saves the database in the server.
func (b *liveBackend) Sync(ctx context.Context) error { return b.durable(ctx, controlSync) }

// durable runs a control that makes commits durable. While the server is on its way out it
// waits: the last save is not done yet, and may fail. A server that is lost in the middle of
// the control may be such a one. Then it judges what became of the commits of this process in
// servers that have ended.
func (b *liveBackend) durable(ctx context.Context, name string) error {
	wait, cancel := context.WithTimeout(ctx, b.cfg.busyTimeout())
	defer cancel()
	n := liveCommits.count()
	for {
		_, info, err := b.control(ctx, name, nil)
		if err == nil {
			liveCommits.saved(b.path, info, n)
			return liveCommits.judge(b.path, info, n)
		}
		if !errors.Is(err, live.ErrNoServer) && !errors.Is(err, live.ErrLost) {
			return err
		}
		by, owned, ownerErr := proclock.OwnerOf(b.path)
		switch {
		case ownerErr != nil:
			return connerr.Join(err, ownerErr)
		case !owned || !by.MayBeLive():
			return liveCommits.judge(b.path, "", n)
		case wait.Err() != nil:
			return connerr.Waited(b.cfg.Path, err, ctx.Err())
		}
		timer := time.NewTimer(liveRetry)
		select {
		case <-timer.C:
		case <-wait.Done():
			timer.Stop()
		}
	}
}

// Backup has the server send its last commit, and writes it to a new file.
func (b *liveBackend) Backup(ctx context.Context, path string) error {
	return image.BackupFrom(ctx, path, func(name string) error {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, _, err = b.control(ctx, controlBackup, f)
		return connerr.Join(err, f.Close())
	})
}

// BackupTo has the server send its last commit to w.
func (b *liveBackend) BackupTo(ctx context.Context, w io.Writer) error {
	_, _, err := b.control(ctx, controlBackup, w)
	return err
}

func (b *liveBackend) stats(ctx context.Context) (s Stats, err error) {
	data, _, err := b.control(ctx, controlStats, nil)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

func (b *liveBackend) settled() bool { return false }

// Acquire counts a user of the connector, who may commit. A connection that is being opened is
// one.
func (b *liveBackend) Acquire() { liveCommits.join(b.cfg) }

// Release ends the use. If it is the last one of a connector that has closed, what was committed
// since is made durable.
func (b *liveBackend) Release() error { return endLive(liveCommits.part(b.cfg)) }

// Close looks what became of the commits, as the role of this process has changed.
func (b *liveBackend) Close() error {
	liveCommits.settle(b.path, "")
	return nil
}

// CloseWithLast is Close.
func (b *liveBackend) CloseWithLast() error { return b.Close() }
