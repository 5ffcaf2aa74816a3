package image

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

const (
	tempSuffix  = ".tmp"
	tempRandom  = 8   // bytes: twice as many digits
	tempBaseMax = 160 // bytes: the whole name stays below 255
)

// leftoverSuffixes may follow a temporary name. SQLite makes side files for the copy on which a
// load rehearses a recovery.
var leftoverSuffixes = []string{"", "-journal", "-wal", "-shm"}

// tempPrefix is the beginning of the names of the temporary files of target.
func tempPrefix(target string) string {
	base := filepath.Base(target)
	if len(base) > tempBaseMax {
		sum := sha256.Sum256([]byte(base))
		base = base[:tempBaseMax] + "~" + hex.EncodeToString(sum[:8])
	}
	return "." + base + ".sqlite-mem-"
}

// tempName returns a new name for a temporary file beside target.
func tempName(target string) string {
	var b [tempRandom]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(filepath.Dir(target), tempPrefix(target)+hex.EncodeToString(b[:])+tempSuffix)
}

// isTempName reports whether name is a name by tempName, or that of a side file of one.
func isTempName(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(rest) < 2*tempRandom {
		return false
	}
	for _, c := range []byte(rest[:2*tempRandom]) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	for _, suffix := range leftoverSuffixes {
		if rest[2*tempRandom:] == tempSuffix+suffix {
			return true
		}
	}
	return false
}

// RemoveLeftovers removes the temporary files that a killed process has left beside path. It
// returns the names of those that it has removed, also with an error. It touches only regular
// files whose name has exactly the form that Save makes for path. Errors are an [*Error].
//
// The caller owns the process lock of path exclusively, and no Open or Save of path runs, as
// its temporary file would look the same.
func RemoveLeftovers(path string) ([]string, error) {
	removed, err := writer{fs: system}.removeLeftovers(path)
	if err != nil {
		err = &Error{Op: "remove leftovers", Path: path, Err: err}
	}
	return removed, err
}

func (w writer) removeLeftovers(path string) (removed []string, err error) {
	target, err := osfile.Resolve(path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(target)
	entries, err := w.fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	prefix := tempPrefix(target)
	for _, e := range entries {
		if !e.Type().IsRegular() || !isTempName(e.Name(), prefix) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if rerr := w.fs.Remove(name); rerr == nil {
			removed = append(removed, name)
		} else if !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return removed, err
}
