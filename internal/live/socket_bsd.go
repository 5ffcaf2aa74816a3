//go:build darwin || freebsd

package live

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// credentials are those of the process that connected, or that listened.
func credentials(fd int) (Peer, error) {
	const solLocal = 0
	c, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: c.Uid, PID: pidOf(fd)}, nil
}

func bindName(fd int, name string) error {
	if _, _, err := addressOf(name); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
}

// restrict gives the socket of the database at path its mode, and its owner if root
// makes it. It follows no link that was put in its place.
func restrict(path, name string) error {
	if err := unix.Fchmodat(unix.AT_FDCWD, name, 0o600, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("fchmodat", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerFor(path)
	if err != nil {
		return err
	}
	return os.Lchown(name, uid, gid)
}

// addressOf is the address to connect to. There is no other way to a name that is
// too long.
func addressOf(name string) (address string, done func(), err error) {
	if len(name) > maxAddress {
		return "", nil, fmt.Errorf("the path has %d bytes, a socket's has at most %d", len(name), maxAddress)
	}
	return name, func() {}, nil
}
