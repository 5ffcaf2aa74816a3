//go:build linux || darwin || freebsd

package live

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The socket is for its owner alone, whatever the umask is.
func TestSocket_mode(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	f := newFake()
	s := serve(t, f, nil)
	info, err := os.Lstat(SocketName(s.cfg.Path))
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
}

// A process trusts its own user, root and the owner of the database, and nobody else.
func TestTrusts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	own := uint32(os.Geteuid())
	for _, exists := range []bool{false, true} {
		if exists {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		require.True(t, trusts(own, path))
		require.True(t, trusts(0, path))
		require.False(t, trusts(own+1, path))
	}
}

// A socket that a crash has left is replaced; nothing else is.
func TestSocket_place(t *testing.T) {
	for name, make := range map[string]func(name string) error{
		"a file":          func(name string) error { return os.WriteFile(name, []byte("precious"), 0o600) },
		"a directory":     func(name string) error { return os.Mkdir(name, 0o700) },
		"a link":          func(name string) error { return os.Symlink("elsewhere", name) },
		"a link to one":   func(name string) error { return os.Symlink(leave(name+".other"), name) },
		"a FIFO":          func(name string) error { return unix.Mkfifo(name, 0o600) },
		"left by a crash": func(name string) error { leave(name); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			cfg := f.config(t)
			require.NoError(t, make(SocketName(cfg.Path)))
			before, err := os.Lstat(SocketName(cfg.Path))
			require.NoError(t, err)
			s, err := Listen(cfg)
			if name == "left by a crash" {
				require.NoError(t, err)
				require.NoError(t, one(t, cfg.Path).Ping(ctx))
				stop(t, s)
				return
			}
			require.ErrorContains(t, err, "it is no socket and was left alone")
			after, err := os.Lstat(SocketName(cfg.Path))
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
		})
	}
}

// leave makes a socket that nobody listens to.
func leave(name string) string {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
		_ = unix.Close(fd)
	}
	if err != nil {
		panic(err)
	}
	return name
}

// Close removes the socket only if it is still the server's.
func TestSocket_replaced(t *testing.T) {
	f := newFake()
	cfg := f.config(t)
	a, err := Listen(cfg)
	require.NoError(t, err)
	b, err := Listen(cfg) // the process lock would forbid it
	require.NoError(t, err)
	stop(t, a)
	require.NoError(t, one(t, cfg.Path).Ping(ctx), "the second is still there")
	stop(t, b)
	require.NoFileExists(t, SocketName(cfg.Path))
}

// Check makes a socket again that somebody has removed or replaced, as long as the server
// is not closed. The connections so far go on. Nothing but a socket is replaced.
func TestSocket_again(t *testing.T) {
	f := newFake()
	s := serve(t, f, nil)
	name := SocketName(s.cfg.Path)
	before := one(t, s.cfg.Path)
	require.NoError(t, before.Ping(ctx))
	was, err := os.Lstat(name)
	require.NoError(t, err)
	owned := func() error { return nil }
	require.NoError(t, s.Check(owned))
	now, err := os.Lstat(name)
	require.NoError(t, err)
	require.True(t, os.SameFile(was, now), "a socket that is there stays")

	require.NoError(t, os.Remove(name))
	require.ErrorIs(t, s.Check(func() error { return errFake }), errFake)
	require.NoFileExists(t, name, "it may be another process's")
	require.NoError(t, s.Check(owned))
	require.NoError(t, one(t, s.cfg.Path).Ping(ctx))
	require.NoError(t, os.Rename(name, name+"-away"))
	leave(name)
	require.NoError(t, s.Check(owned))
	require.NoError(t, one(t, s.cfg.Path).Ping(ctx))
	require.NoError(t, os.Remove(name+"-away"))

	require.NoError(t, os.Remove(name))
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.ErrorContains(t, s.Check(owned), "it is no socket and was left alone")
	require.NoError(t, os.Remove(name))
	require.NoError(t, s.Check(owned))
	require.NoError(t, one(t, s.cfg.Path).Ping(ctx))
	require.NoError(t, before.Ping(ctx))

	stop(t, s)
	require.NoError(t, s.Check(owned))
	require.NoFileExists(t, name)
}

// On Linux a path that is too long for an address works, and so does such a name.
// The working directory is not changed. On other systems the error says that it is
// too long.
func TestSocket_long(t *testing.T) {
	wd, err := os.Getwd()
	require.NoError(t, err)
	for _, name := range []string{
		filepath.Join(strings.Repeat("long/", 60), "app.db"),
		strings.Repeat("n", 200),
		filepath.Join(strings.Repeat("d", 200), strings.Repeat("n", 250)),
		strings.Repeat("s", maxAddress)[:1] + ".db",
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		f := newFake()
		cfg := f.config(t)
		cfg.Path = path
		s, err := Listen(cfg)
		if runtime.GOOS != "linux" && len(SocketName(path)) > maxAddress {
			require.ErrorContains(t, err, "a socket's has at most")
			continue
		}
		require.NoError(t, err)
		info, err := os.Lstat(SocketName(path))
		require.NoError(t, err)
		require.Equal(t, os.ModeSocket|0o600, info.Mode())
		c := one(t, path)
		require.NoError(t, c.Ping(ctx))
		stop(t, s)
		left, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, left)
		_, err = (&Dialer{Path: path}).Connect(ctx)
		require.ErrorIs(t, err, ErrNoServer)
		require.ErrorContains(t, err, SocketName(path), "the error names the socket, not a descriptor")
		require.NotContains(t, err.Error(), "/proc/")
	}
	now, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, wd, now)
}

// A directory that may not be written, or is not there, is an error that names the
// socket.
func TestSocket_error(t *testing.T) {
	f := newFake()
	cfg := f.config(t)
	cfg.Path = filepath.Join(t.TempDir(), "missing", "app.db")
	_, err := Listen(cfg)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, SocketName(cfg.Path)+": cannot serve tools")
	require.Equal(t, 1, strings.Count(err.Error(), cfg.Path), err)
}

// A socket that root cannot give to the owner of the database is an error, and its name is
// removed. The server then goes on without tools.
func TestSocket_noOwner(t *testing.T) {
	f := newFake()
	cfg := f.config(t)
	require.NoError(t, os.Symlink(cfg.Path, cfg.Path)) // its owner cannot be found out
	s, err := Listen(cfg)
	if os.Geteuid() == 0 {
		require.ErrorContains(t, err, SocketName(cfg.Path)+": cannot serve tools")
	} else { // nobody else gives sockets away
		require.NoError(t, err)
		stop(t, s)
	}
	require.NoFileExists(t, SocketName(cfg.Path))
}
