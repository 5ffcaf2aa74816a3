package models

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that the times of SQLite, go-sqlite3 and modernc.org/sqlite are read, in UTC,
// and that any other text is an error.
func TestStamp(t *testing.T) {
	at := time.Date(2025, 1, 31, 9, 4, 56, 789123456, time.UTC)
	for text, want := range map[string]time.Time{
		at.In(time.FixedZone("", 12600)).String():    at, // "… +0330 +0330"
		at.In(time.FixedZone("CEST", 7200)).String(): at,
		at.String(): at,
		at.In(time.FixedZone("", 12600)).String() + " m=+3600.966212585": at,
		"2025-01-31 04:04:56.789123456 -0500 EST m=-0.000000001":         at,
		"2025-01-31 12:34:56.789123456+03:30":                            at, // go-sqlite3
		"2025-01-31 09:04:56.789123456+00:00":                            at,
		"2025-01-31T09:04:56.789123456Z":                                 at,
		"2025-01-31T12:34:56.789123456+03:30":                            at,
		"2025-01-31 09:04:56":                                            at.Truncate(time.Second), // CURRENT_TIMESTAMP
		"2025-01-31 09:04:56.789":                                        at.Truncate(time.Millisecond),
		"2025-01-31T09:04":                                               time.Date(2025, 1, 31, 9, 4, 0, 0, time.UTC),
		"2025-01-31":                                                     time.Date(2025, 1, 31, 0, 0, 0, 0, time.UTC),
		"1738314296":                                                     at.Truncate(time.Second),
		"1738314296789":                                                  at.Truncate(time.Millisecond),
		"0001-01-01 00:00:00 +0000 UTC":                                  {},
		"":                                                               {},
	} {
		var s stamp
		require.NoError(t, s.Scan(text), text)
		require.Equal(t, want, s.Time, text)
		require.NoError(t, s.Scan([]byte(text)), text)
		require.Equal(t, want, s.Time, text)
	}
	for _, text := range []string{"tomorrow", "2025-01-31 09:04:56 tea time", "2025-13-01", "2025-01-31 09:04:56x", " "} {
		require.ErrorContains(t, new(stamp).Scan(text), "as a time", text)
	}
	var s stamp
	require.NoError(t, s.Scan(at.In(time.FixedZone("", 12600))))
	require.Equal(t, at, s.Time)
	require.NoError(t, s.Scan(int64(1738314296)))
	require.Equal(t, at.Truncate(time.Second), s.Time)
	require.NoError(t, s.Scan(nil))
	require.Nil(t, s.pointer())
	require.Error(t, s.Scan(1.5))
}
