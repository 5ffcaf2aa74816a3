package show

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that on a terminal a line takes the whole place of the one before, and
// that elsewhere each is a line of its own.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{w: &out, terminal: true}
	s.Live("a long line")
	s.Live("short µ")
	s.Line("done")
	require.Equal(t, "a long line\rshort µ    \rdone   \n", out.String())
	out.Reset()
	s = NewScreen(&out)
	s.Live("one")
	s.Line("two")
	require.Equal(t, "one\ntwo\n", out.String())
}

// Ensure that numbers are written with three digits and their unit.
func TestUnits(t *testing.T) {
	for want, got := range map[string]string{
		"0": Count(0), "999": Count(999), "1,000": Count(1000), "-1,234,567": Count(-1234567),
		"0 bytes": Size(0), "1 byte": Size(1), "999 bytes": Size(999), "1.00 kB": Size(1000),
		"999 kB": Size(999_499), "1.00 MB": Size(999_500), "9.99 MB": Size(9_994_000),
		"10.0 MB": Size(9_995_000), "99.9 MB": Size(99_949_000), "100 MB": Size(99_950_000), "1.00 GB": Size(999_500_000), "1,234 GB": Size(1_234e9),
		"0 ns": Duration(0), "999 ns": Duration(999), "1.00 µs": Duration(1000),
		"1.00 ms": Duration(999_500), "12.3 ms": Duration(12_345_678), "1.00 s": Duration(999_500_000), "100 s": Duration(100 * time.Second),
		"1 index": Plural(1, "index"), "2 indexes": Plural(2, "index"), "0 queries": Plural(0, "query"),
	} {
		require.Equal(t, want, got)
	}
}
