// Package show writes numbers, progress and values of databases for people.
package show

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Count writes a number with commas: 1,234,567.
func Count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Plural writes a number and what it counts: "1 row", "2 rows".
func Plural[T int | int64 | uint64](n T, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		what = strings.TrimSuffix(what, "y") + "ie"
	case strings.HasSuffix(what, "x"):
		what += "e"
	}
	return Count(n) + " " + what + "s"
}

// Size writes bytes in units of 1000, to three digits.
func Size(n int64) string {
	switch v := float64(n); {
	case n < 1000:
		return Plural(n, "byte")
	case n < 999_500:
		return digits3(v/1e3) + " kB"
	case n < 999_500_000:
		return digits3(v/1e6) + " MB"
	default:
		return digits3(v/1e9) + " GB"
	}
}

// Duration writes a duration to three digits.
func Duration(d time.Duration) string {
	switch v := float64(d); {
	case d < 1000*time.Nanosecond:
		return strconv.FormatInt(int64(d), 10) + " ns"
	case v < 999.5*1e3:
		return digits3(v/1e3) + " µs"
	case v < 999.5*1e6:
		return digits3(v/1e6) + " ms"
	default:
		return digits3(v/1e9) + " s"
	}
}

func digits3(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	default:
		return Count(int64(v + 0.5))
	}
}
