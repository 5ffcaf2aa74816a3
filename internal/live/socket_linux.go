package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// credentials are those of the process that connected, or that listened.
func credentials(fd int) (Peer, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: c.Uid, PID: int(c.Pid)}, nil
}

// bindName gives the socket its name. A name that is too long for an address is
// made in two steps. First the socket gets a short name in the same directory,
// reached by way of the directory's descriptor. Then the long name is linked to it;
// a link replaces nothing.
func bindName(fd int, name string) error {
	if len(name) <= maxAddress {
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	}
	dir, err := unix.Open(filepath.Dir(name), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(dir)
	short := ".sqlite-mem-" + strconv.Itoa(os.Getpid())
	if err := removeSocket(filepath.Join(filepath.Dir(name), short), nil); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: descriptor(dir) + "/" + short}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	err = os.NewSyscallError("link", unix.Linkat(dir, short, dir, filepath.Base(name), 0))
	return errors.Join(err, os.NewSyscallError("unlink", unix.Unlinkat(dir, short, 0)))
}

// restrict gives the socket of the database at path its mode, and its owner if root
// makes it. The owner of the directory can put another file in its place at any time,
// and root must not give that away. So it is held by a descriptor and looked at first.
func restrict(path, name string) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	names := uint32(st.Nlink)
	if names != 1 { // FUSE may still count the name that bindName has removed
		var now unix.Statx_t
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_NLINK, &now); err != nil {
			return os.NewSyscallError("statx", err)
		}
		names = now.Nlink
	}
	// A second name may be that of a socket elsewhere.
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || names != 1 {
		return errors.New("it was replaced meanwhile")
	}
	if st.Mode&0o777 != 0o600 {
		if err := os.Chmod(descriptor(fd), 0o600); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerFor(path)
	if err != nil {
		return err
	}
	return os.NewSyscallError("fchownat", unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH))
}

// addressOf is the address to connect to, valid until done is called. A name that is
// too long is reached by way of a descriptor of the socket's own.
func addressOf(name string) (address string, done func(), err error) {
	if len(name) <= maxAddress {
		return name, func() {}, nil
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return descriptor(fd), func() { _ = unix.Close(fd) }, nil
}

func descriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
