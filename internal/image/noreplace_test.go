//go:build cgo

package image

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile/osfiletest"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// Ensure that saves, logs, kept states, folds and recoveries work where no file can be replaced
// while it is open, as on Windows.
func TestNoReplace(t *testing.T) {
	defer setSystem(&osfiletest.NoReplaceFS{FS: system})()
	sqlitefile.Pins = false
	defer func() { sqlitefile.Pins = true }()
	for name, test := range map[string]func(*testing.T){
		"round trip":   TestLog_roundTrip,
		"goes on":      TestLog_goesOn,
		"damaged":      TestLog_damaged,
		"fold":         TestLog_fold,
		"broken":       brokenLog,
		"other base":   TestLog_otherBase,
		"gone":         TestLog_gone,
		"left is gone": TestLog_leftIsGone,
		"new is gone":  TestLog_newIsGone,
		"keep":         TestKeep,
		"keep, log":    TestKeep_log,
	} {
		t.Run(name, test)
	}
}

// brokenLog replaces a log whose last write has failed.
func brokenLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	h, next := newHistory(t, path)
	f := openLogged(t, path, h)
	for range 3 {
		next()
		require.NoError(t, f.Flush())
		f.writing.Broken = true
	}
	require.NoError(t, f.Close(false))
	got, _, err := reload(path)
	require.NoError(t, err)
	requireState(t, h.last(), got)
}
