//go:build !linux && !darwin && !freebsd

package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
)

// Supported reports whether live connections work on this system: Unix sockets,
// and a kernel that tells the user at the other end.
const Supported = false

// SocketName is the name of the socket of a database.
func SocketName(path string) string { return path + ".sock" }

var errUnsupported = fmt.Errorf("sqlite-mem: live connections do not work on %s: %w", runtime.GOOS, errors.ErrUnsupported)

type socket struct{ *net.UnixListener }

func bind(string) (*socket, error) { return nil, errUnsupported }
func (*socket) close() error       { return nil }
func (*socket) hasName() bool      { return true }

func dial(context.Context, string) (*net.UnixConn, error) { return nil, errUnsupported }
func isNobody(error) bool                                 { return false }
func quiet(*net.UnixConn) bool                            { return false }
func trusts(uint32, string) bool                          { return false }
func peerOf(*net.UnixConn) (Peer, error)                  { return Peer{}, errUnsupported }
