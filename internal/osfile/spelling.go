package osfile

import (
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Spelled returns path, which is absolute and clean, with each name in it as its directory
// lists it. Where directories ignore case, a file has many names, and this is the one that all
// of them lead to. What does not exist, or cannot be listed, stays as it is. Links are not
// followed.
func Spelled(path string) string { return spelled(OS{}, path) }

func spelled(fsx FS, path string) string {
	dir, base := filepath.Split(path)
	parent := filepath.Clean(dir)
	if base == "" || parent == path {
		return path
	}
	return spelledIn(fsx, spelled(fsx, parent), base)
}

// spelledIn is spelled for one name in a directory.
func spelledIn(fsx FS, dir, base string) string {
	path := filepath.Join(dir, base)
	swapped := swapCase(base)
	if swapped == base {
		return path
	}
	// Most directories tell case apart: there is nothing of the other name.
	other, err := fsx.Lstat(filepath.Join(dir, swapped))
	if err != nil {
		return path
	}
	mine, err := fsx.Lstat(path)
	if err != nil || !sameFile(mine, other) {
		return path
	}
	entries, err := fsx.ReadDir(dir)
	if err != nil {
		return path
	}
	found := base
	for _, e := range entries {
		if e.Name() == base {
			return path
		}
		if strings.EqualFold(e.Name(), base) {
			found = e.Name()
		}
	}
	return filepath.Join(dir, found)
}

// sameFile is os.SameFile, or equality of all else where inode numbers do not last.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) || a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime())
}

// swapCase returns name with the case of each letter changed.
func swapCase(name string) string {
	return strings.Map(func(r rune) rune {
		if u := unicode.ToUpper(r); u != r {
			return u
		}
		return unicode.ToLower(r)
	}, name)
}
