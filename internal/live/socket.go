//go:build linux || darwin || freebsd

package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether live connections work on this system: Unix sockets,
// and a kernel that tells the user at the other end.
const Supported = true

// SocketName is the name of the socket of a database.
func SocketName(path string) string { return path + ".sock" }

// maxAddress is the longest address of a Unix socket; a zero byte ends it.
const maxAddress = len(unix.RawSockaddrUnix{}.Path) - 1

// backlog is how many tools may wait to be accepted.
const backlog = unix.SOMAXCONN

// socket is a socket with a name.
type socket struct {
	*net.UnixListener
	name string
	info fs.FileInfo // of the name, to tell it from a later one
}

// bind makes the socket of the database at path. A socket of that name, left by a
// crash, is replaced. The caller has the process lock, so nobody serves it. Nothing
// else is replaced.
func bind(path string) (s *socket, err error) {
	name := SocketName(path)
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite-mem: %s: cannot serve tools: %w", name, err)
		}
	}()
	if err := removeSocket(name, nil); err != nil {
		return nil, err
	}
	fd, err := newSocket()
	if err != nil {
		return nil, err
	}
	// f closes the descriptor, also after net has its own copy.
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := bindName(fd, name); err != nil {
		// A file system without sockets may have made a file before it failed (exFAT by FUSE).
		info, lerr := os.Lstat(name)
		if lerr == nil && info.Mode().IsRegular() && info.Size() == 0 && !errors.Is(err, syscall.EADDRINUSE) {
			err = errors.Join(err, os.Remove(name))
		}
		return nil, err
	}
	bound, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	defer func() { // s is nil if err is not
		if err != nil {
			err = errors.Join(err, removeSocket(name, bound))
		}
	}()
	// Nobody can connect before listen.
	if err := restrict(path, name); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	s = &socket{UnixListener: l.(*net.UnixListener), name: name, info: bound}
	s.SetUnlinkOnClose(false) // remove does, if it is still ours
	return s, nil
}

// newSocket makes a socket whose name will have the mode 0600, where the system
// lets a socket have a mode before its name.
func newSocket() (fd int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	_ = unix.Fchmod(fd, 0o600) // restrict does it elsewhere
	return fd, nil
}

// ownerFor returns the owner that root gives the socket of the database at path. It is
// the owner of the database, who can then connect, too. Without a database it is the
// owner of the directory.
func ownerFor(path string) (uid, gid int, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return 0, 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid), nil
}

// close ends the listening, and removes the name if it is still this socket's.
func (s *socket) close() error {
	return errors.Join(removeSocket(s.name, s.info), s.Close())
}

// hasName reports whether the name is still this socket's. The system gives its inode to
// no other file while it is open.
func (s *socket) hasName() bool {
	info, err := os.Lstat(s.name)
	return err == nil && os.SameFile(info, s.info)
}

// removeSocket removes a socket, if like is not nil only that very one. Nothing but
// a socket is ever removed.
func removeSocket(name string, like fs.FileInfo) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case like != nil && !os.SameFile(info, like):
		return nil
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("it is no socket and was left alone; move it away")
	}
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// dial connects to the socket of the database at path.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	name := SocketName(path)
	address, done, err := addressOf(name)
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", address)
		if err == nil {
			return c.(*net.UnixConn), nil
		}
		if !errors.Is(err, unix.EAGAIN) || ctx.Err() != nil {
			return nil, cause(err)
		}
		// More tools wait to be accepted than the system keeps.
		timer := time.NewTimer(10 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// isNobody reports whether err, of dial, says that nobody listens. Then there is no
// socket, or one that a crash has left.
func isNobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// quiet reports whether a connection has nothing to be read and is not at its end.
func quiet(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		nothing = err == unix.EAGAIN || err == unix.EINTR
		return true
	})
	return err == nil && nothing
}

// ownerOf is the user who owns the database at path.
func ownerOf(path string) (uid uint32, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	return info.Sys().(*syscall.Stat_t).Uid, true
}

// trusts reports whether uid is this process's own user, root, or the owner of the
// database at path.
func trusts(uid uint32, path string) bool {
	if uid == 0 || uid == uint32(os.Geteuid()) {
		return true
	}
	owner, ok := ownerOf(path)
	return ok && uid == owner
}

// peerOf asks the kernel who is at the other end.
func peerOf(c *net.UnixConn) (p Peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	err2 := raw.Control(func(fd uintptr) { p, err = credentials(int(fd)) })
	if err = errors.Join(err, err2); err != nil {
		return p, fmt.Errorf("sqlite-mem: the system does not tell who is at the other end of a live connection: %w", err)
	}
	p.Trusted = p.UID == 0 || p.UID == uint32(os.Geteuid())
	return p, nil
}
