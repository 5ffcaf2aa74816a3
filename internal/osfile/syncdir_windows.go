package osfile

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// syncDir flushes the directory, as far as the file system does that. FlushFileBuffers is
// documented for files and volumes alone, so an error says nothing, and is ignored. What
// counts on Windows is rename, which writes through, and NTFS. It logs the changes of its
// directories and restores them in their order, so a power failure may undo the last ones, and
// none before them.
func syncDir(name string) error {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return &fs.PathError{Op: "sync", Path: name, Err: err}
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(p, windows.GENERIC_WRITE, share, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return nil
	}
	_ = windows.FlushFileBuffers(h)
	_ = windows.CloseHandle(h)
	return nil
}

// rename is os.Rename with MOVEFILE_WRITE_THROUGH, by which the system is to return when the
// move is on the disk.
func rename(from, to string) error {
	return moveFile(from, to, windows.MOVEFILE_REPLACE_EXISTING)
}

// renameNew is rename, but fails if there is a file called to.
func renameNew(from, to string) error { return moveFile(from, to, 0) }

func moveFile(from, to string, flags uint32) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if err := windows.MoveFileEx(f, t, flags|windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
