package pagelog

import (
	"errors"
	"io"
	"io/fs"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Pending reports whether the log or the new log of the database at path may have a
// transaction. A log that is damaged or being written may have one. Pending reads only the
// beginning of each. With an error it returns true.
func Pending(fsx osfile.FS, target string) (bool, error) {
	for _, name := range []string{Name(target), NewName(target)} {
		some, err := hasTransaction(fsx, name)
		if some || err != nil {
			return true, err
		}
	}
	return false, nil
}

// hasTransaction reports whether there is a log of that name that may have a transaction.
func hasTransaction(fsx osfile.FS, name string) (_ bool, err error) {
	info, err := fsx.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = osfile.Regular(name, info)
	}
	if err != nil {
		return true, err
	}
	f, err := fsx.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [sqlitefile.WALHeaderSize + FrameSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return true, err
	}
	// It has none if the header is whole, and only the zeros written ahead, or nothing,
	// follow.
	_, ok := ParseHeader(b[:min(n, sqlitefile.WALHeaderSize)])
	return !ok || ParseFrame(append(b[sqlitefile.WALHeaderSize:n], make([]byte, FrameSize)...)) != (Frame{}), nil
}
