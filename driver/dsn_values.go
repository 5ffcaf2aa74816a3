package driver

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/internal/store"
)

// The words of a data source name for the values of Config that switch something off.
const (
	neverWord       = "never"  // Never
	walOffWord      = "off"    // WALOff
	walCommitWord   = "commit" // WALCommit
	noWaitWord      = "nowait" // NoWait
	noStmtCacheWord = "off"    // NoStmtCache
)

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true", "on", "1":
		return true, nil
	case "no", "false", "off", "0":
		return false, nil
	}
	return false, errors.New("want yes, no, true, false, on, off, 1 or 0")
}

func parseSwitch(s string) (Switch, error) {
	on, err := parseBool(s)
	switch {
	case err != nil:
		return "", err
	case on:
		return On, nil
	}
	return Off, nil
}

// parseCount parses an integer from 0 on.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, errors.New("want an integer, 0 or more")
	}
	return int(n), nil
}

// formatCount returns no text for 0, the default.
func formatCount(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// parseDuration parses Go's durations over 0, with days in front of them.
func parseDuration(s string) (d time.Duration, ok bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, false
	}
	d = time.Duration(n) * 24 * time.Hour
	if rest != "" {
		r, err := time.ParseDuration(rest)
		if err != nil || r < 0 || d+r < d {
			return 0, false
		}
		d += r
	}
	return d, d > 0
}

// parseInterval parses a value of sqlite_sync_interval. "0" is an old way to write
// never.
func parseInterval(s string) (time.Duration, error) {
	if s == "0" || strings.EqualFold(s, neverWord) {
		return Never, nil
	}
	if d, ok := parseDuration(s); ok {
		return d, nil
	}
	return 0, errors.New("want a duration such as 30s, 20m, 1h or 1d12h, or never")
}

func formatInterval(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case Never:
		return neverWord
	}
	return d.String()
}

// parseSlow parses a value of sqlite_slow_writer or sqlite_slow_reader.
func parseSlow(s string) (time.Duration, error) {
	if strings.EqualFold(s, "off") {
		return SlowOff, nil
	}
	d, ok := parseDuration(s)
	if !ok {
		return 0, errors.New("want a duration over 0 such as 1s or 5m, or off")
	}
	return d, nil
}

func formatSlow(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case SlowOff:
		return "off"
	}
	return d.String()
}

// parseWAL parses a value of sqlite_wal.
func parseWAL(s string) (time.Duration, error) {
	switch strings.ToLower(s) {
	case walOffWord:
		return WALOff, nil
	case walCommitWord:
		return WALCommit, nil
	}
	if d, ok := parseDuration(s); ok {
		return d, nil
	}
	return 0, errors.New("want off, commit, or a duration over 0 such as 1s or 100ms")
}

// formatWAL takes the values of a Config and those of a store.
func formatWAL(d time.Duration) string {
	switch d {
	case WALOff, store.WALOff:
		return walOffWord
	case WALCommit:
		return walCommitWord
	}
	return d.String()
}

// parseBusyTimeout parses a value of _busy_timeout, in milliseconds. "0" is
// go-sqlite3's way to write nowait.
func parseBusyTimeout(s string) (time.Duration, error) {
	if strings.EqualFold(s, noWaitWord) {
		return NoWait, nil
	}
	switch ms, err := strconv.ParseInt(s, 10, 32); {
	case err != nil || ms < 0:
		return 0, errors.New("want milliseconds or nowait")
	case ms == 0:
		return NoWait, nil
	default:
		return time.Duration(ms) * time.Millisecond, nil
	}
}

func formatBusyTimeout(d time.Duration) string {
	switch d {
	case 0:
		return ""
	case NoWait:
		return noWaitWord
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// parseStmtCacheSize parses a value of _stmt_cache_size. "0" is go-sqlite3's way to
// write off.
func parseStmtCacheSize(s string) (int, error) {
	if strings.EqualFold(s, noStmtCacheWord) {
		return NoStmtCache, nil
	}
	switch n, err := strconv.ParseInt(s, 10, 32); {
	case err != nil || n < 0:
		return 0, errors.New("want a number of statements or off")
	case n == 0:
		return NoStmtCache, nil
	default:
		return int(n), nil
	}
}

func formatStmtCacheSize(n int) string {
	if n == NoStmtCache {
		return noStmtCacheWord
	}
	return formatCount(n)
}

var sizeUnits = []struct {
	suffix string
	shift  uint
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}

// parseSize parses a number of bytes, or one with a unit.
func parseSize(s string) (int64, error) {
	digits, shift := s, uint(0)
	for _, u := range sizeUnits {
		if n := len(s) - len(u.suffix); n > 0 && strings.EqualFold(s[n:], u.suffix) {
			digits, shift = s[:n], u.shift
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, errors.New("want bytes, or a number with KiB, MiB, GiB or TiB")
	}
	return int64(n << shift), nil
}

func formatSize(n int64) string {
	if n == 0 {
		return ""
	}
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		if u := sizeUnits[i]; n>>u.shift<<u.shift == n {
			return strconv.FormatInt(n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
