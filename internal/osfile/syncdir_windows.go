package osfile

import (
	"os"
	"syscall"
	"unsafe"
)

var procMoveFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("MoveFileExW")

// syncDir does nothing: Windows cannot sync a directory. rename writes through
// instead.
func syncDir(string) error { return nil }

// rename is os.Rename with MOVEFILE_WRITE_THROUGH: it returns when the move is on the disk.
func rename(from, to string) error {
	const replaceExisting = 0x1
	return moveFile(from, to, replaceExisting)
}

// renameNew is rename, but fails if there is a file called to.
func renameNew(from, to string) error { return moveFile(from, to, 0) }

func moveFile(from, to string, flags uintptr) error {
	const writeThrough = 0x8
	f, err := syscall.UTF16PtrFromString(from)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	t, err := syscall.UTF16PtrFromString(to)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	ok, _, err := procMoveFileEx.Call(uintptr(unsafe.Pointer(f)), uintptr(unsafe.Pointer(t)), flags|writeThrough)
	if ok == 0 {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
