//go:build root

package live

import (
	"context"
	"database/sql/driver"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The mode of the socket turns away a process of another user. Where the mode allows
// it, the server turns it away, and tells the log once. The owner of the database is
// served, but not trusted, by a server of root. A server of another user is not
// believed.
func TestUsers(t *testing.T) {
	f := newFake()
	var warnings atomic.Int32
	var peer atomic.Value
	s := serve(t, f, func(cfg *ServerConfig) {
		cfg.Logger = slog.New(counting{slog.DiscardHandler, &warnings})
		connect := cfg.Connect
		cfg.Connect = func(ctx context.Context, p Peer, params map[string]string, end func(string)) (driver.Conn, error) {
			peer.Store(p)
			return connect(ctx, p, params, end)
		}
	})
	path := s.cfg.Path
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	require.NoError(t, os.Chown(path, 1001, 1001))
	require.NoError(t, os.Chown(SocketName(path), 1001, 1001)) // it was made before the file

	require.NoError(t, as(1001, func() error { return connectOnce(path) }))
	require.Equal(t, Peer{UID: 1001, PID: os.Getpid()}, peer.Load())
	require.ErrorIs(t, as(1002, func() error { return connectOnce(path) }), os.ErrPermission)
	require.NoError(t, os.Chmod(SocketName(path), 0o666))
	for range 3 {
		err := as(1002, func() error { return connectOnce(path) })
		require.ErrorContains(t, err, "the server does not serve user 1002")
	}
	require.EqualValues(t, 1, warnings.Load())
	require.NoError(t, connectOnce(path), "root")

	// The other way round: user 1002 listens in a place of its own.
	dir := filepath.Join(filepath.Dir(path), "theirs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Chown(dir, 1002, 1002))
	theirs := filepath.Join(dir, "app.db")
	require.NoError(t, os.WriteFile(theirs, nil, 0o644))
	require.NoError(t, os.Chown(theirs, 1001, 1001))
	var sock *socket
	require.NoError(t, as(1002, func() (err error) { sock, err = bind(theirs); return err }))
	require.ErrorContains(t, connectOnce(theirs), "user 1002 listens there")
	require.NoError(t, os.Chown(theirs, 1002, 1002))
	go func() {
		for {
			c, err := sock.AcceptUnix()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	require.ErrorIs(t, connectOnce(theirs), ErrNoServer, "the owner of the file is believed, and does not answer")
	require.NoError(t, sock.close())
}

// A socket that root makes belongs to the owner of the database, or of its directory.
func TestSocket_owner(t *testing.T) {
	for _, exists := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "app.db")
		if exists {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, 1234, 1235))
		} else {
			require.NoError(t, os.Chown(filepath.Dir(path), 1234, 1235))
		}
		s, err := bind(path)
		require.NoError(t, err)
		info, err := os.Lstat(s.name)
		require.NoError(t, err)
		require.EqualValues(t, 1234, info.Sys().(*syscall.Stat_t).Uid)
		require.EqualValues(t, 1235, info.Sys().(*syscall.Stat_t).Gid)
		require.NoError(t, s.close())
	}
}

func connectOnce(path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := (&Dialer{Path: path}).Connect(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// as calls f on a thread of another user, which is not used again. The kernel takes the
// credentials of the thread that connects.
func as(uid int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := setUser(uid)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// counting is a handler that counts.
type counting struct {
	slog.Handler
	n *atomic.Int32
}

func (h counting) Enabled(context.Context, slog.Level) bool { return true }
func (h counting) Handle(context.Context, slog.Record) error {
	h.n.Add(1)
	return nil
}

// setUser makes the thread that calls it one of another user.
func setUser(uid int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	return nil
}
