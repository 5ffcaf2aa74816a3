package osfile

import "os"

// Same reports whether the file called name is f, and the size of f. It does not follow a
// symbolic link. On Linux it asks for no times, as Lstat and Stat do: see sameNow.
func Same(fsx FS, name string, f File) (same bool, size int64, err error) {
	if file, ok := f.(osFile); ok && fsx == (OS{}) {
		return sameNow(name, file.File)
	}
	return sameByStat(fsx, name, f)
}

func sameByStat(fsx FS, name string, f File) (same bool, size int64, err error) {
	now, err := fsx.Lstat(name)
	if err != nil {
		return false, 0, err
	}
	mine, err := f.Stat()
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(mine, now), mine.Size(), nil
}
