package models

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that a value of any type that a driver returns is converted to the kind of the
// target's column. A value that would change is an error.
func TestConvert(t *testing.T) {
	at := time.Date(2025, 1, 31, 9, 4, 56, 789123456, time.UTC)
	for _, c := range []struct {
		from, kind columnKind
		value      any
		want       any // nil: an error
	}{
		{intKind, intKind, int64(5), int64(5)}, {intKind, intKind, int32(5), int64(5)}, {intKind, intKind, uint64(5), int64(5)},
		{boolKind, intKind, true, int64(1)}, {boolKind, intKind, false, int64(0)}, {floatKind, intKind, 5.0, int64(5)}, {textKind, intKind, "-5", int64(-5)},
		{floatKind, intKind, 5.5, nil}, {floatKind, intKind, 1e300, nil}, {floatKind, intKind, math.NaN(), nil}, {textKind, intKind, "5.0", nil}, {textKind, intKind, "", nil},
		{textKind, intKind, "05", nil}, {textKind, intKind, "+5", nil}, {anyKind, intKind, "5", nil}, {blobKind, intKind, []byte("5"), nil},
		{intKind, intKind, uint64(math.MaxUint64), nil}, {timeKind, intKind, at, nil},
		{floatKind, floatKind, 5.5, 5.5}, {floatKind, floatKind, float32(0.5), 0.5}, {intKind, floatKind, int64(5), 5.0}, {textKind, floatKind, "5.5", 5.5},
		{intKind, floatKind, int64(1<<53 + 1), nil}, {textKind, floatKind, "x", nil}, {textKind, floatKind, "5.50", nil}, {textKind, floatKind, "0.1000000000000000000001", nil},
		{anyKind, floatKind, "5.5", nil}, {floatKind, floatKind, []byte("1.5"), nil}, {floatKind, floatKind, math.NaN(), nil},
		{textKind, textKind, "a", "a"}, {anyKind, textKind, "a", "a"}, {blobKind, textKind, []byte("a"), "a"}, {intKind, textKind, int64(5), "5"},
		{textKind, textKind, []byte("a"), nil}, {anyKind, textKind, []byte("a"), nil}, {anyKind, textKind, int64(5), nil}, {blobKind, textKind, int64(5), nil},
		{floatKind, textKind, 5.5, nil}, {boolKind, textKind, true, nil}, {timeKind, textKind, at, nil},
		{blobKind, blobKind, []byte("a\x00"), blob("a\x00")}, {textKind, blobKind, []byte("a"), blob("a")}, {blobKind, blobKind, []byte{}, blob("")}, {textKind, blobKind, "a", blob("a")},
		{blobKind, blobKind, "a", nil}, {anyKind, blobKind, "a", nil}, {blobKind, blobKind, int64(5), nil},
		{boolKind, boolKind, true, true}, {boolKind, boolKind, int64(0), false}, {intKind, boolKind, int64(1), true}, {textKind, boolKind, "false", false},
		{boolKind, boolKind, int64(2), nil}, {boolKind, boolKind, int64(-1), nil}, {textKind, boolKind, "yes", nil}, {floatKind, boolKind, 1.0, nil}, {anyKind, boolKind, "1", nil},
		{timeKind, timeKind, at, at.Truncate(time.Microsecond)}, {timeKind, timeKind, at.String(), at.Truncate(time.Microsecond)}, {timeKind, timeKind, int64(5), time.Unix(5, 0).UTC()},
		{timeKind, timeKind, "0001-01-01 00:00:00", time.Time{}}, {timeKind, timeKind, "tomorrow", nil}, {timeKind, timeKind, "", nil}, {timeKind, timeKind, 1.5, nil}, {timeKind, timeKind, []byte("2025-01-31"), nil},
		{anyKind, anyKind, int64(5), int64(5)}, {anyKind, anyKind, "5", "5"}, {anyKind, anyKind, []byte("5"), blob("5")}, {anyKind, anyKind, 5.5, 5.5},
		{boolKind, anyKind, true, int64(1)}, {timeKind, anyKind, at, nil},
		{numericKind, numericKind, int64(5), int64(5)}, {floatKind, numericKind, 5.0, int64(5)}, {floatKind, numericKind, 5.5, 5.5}, {floatKind, numericKind, 1e300, 1e300},
		{boolKind, numericKind, true, int64(1)}, {blobKind, numericKind, []byte("5"), blob("5")}, {textKind, numericKind, "2025-01-31", "2025-01-31"}, {textKind, numericKind, "{}", "{}"},
		{textKind, numericKind, "5", int64(5)}, {textKind, numericKind, " 5", nil}, {textKind, numericKind, "5.0", nil}, {textKind, numericKind, "1e999", nil}, {anyKind, numericKind, "5", nil},
		{timeKind, numericKind, at, nil},
	} {
		got, err := copyColumn{kind: c.kind, digits: 6, zero: true}.convert(c.value, c.from)
		if c.want == nil {
			require.Error(t, err, "%#v of a %s as %s", c.value, c.from, c.kind)
			continue
		}
		require.NoError(t, err, "%#v of a %s as %s", c.value, c.from, c.kind)
		require.True(t, c.want == got, "%#v of a %s as %s is %#v", c.value, c.from, c.kind, got)
	}
	for _, c := range []struct {
		kind        columnKind
		value, want any
	}{{textKind, []byte("a"), "a"}, {intKind, "5", int64(5)}, {textKind, int64(5), "5"}, {timeKind, []byte("2025-01-31 09:04:56"), at.Truncate(time.Second)}} {
		got, err := copyColumn{kind: c.kind, own: true}.convert(c.value, anyKind)
		require.NoError(t, err)
		require.True(t, c.want == got, "%#v as %s is %#v", c.value, c.kind, got)
	}
	for kind := anyKind; kind <= otherKind; kind++ {
		got, err := copyColumn{kind: kind}.convert(nil, kind)
		require.NoError(t, err)
		require.Nil(t, got)
		require.NotEmpty(t, kind.String())
	}
}

// Ensure that the digests of rows are equal if the values are, and only then.
func TestDigest(t *testing.T) {
	require.Equal(t, digest([]any{0.0}), digest([]any{math.Copysign(0, -1)}))
	year1170 := time.Time{}.Add(math.MaxInt64).Add(math.MaxInt64).Add(2) // 1<<64 ns later
	year1170 = year1170.Add(math.MaxInt64).Add(math.MaxInt64).Add(2)
	rows := [][]any{{time.Time{}}, {year1170}, {nil}, {""}, {"<nil>"}, {int64(1)}, {"1"}, {1.0}, {blob("1")}, {true}, {"a", "b"}, {"ab", ""}, {"a 3 string b"}, {time.Unix(1, 0).UTC()}, {time.Unix(1, 1).UTC()}}
	for i, a := range rows {
		for j, b := range rows {
			require.Equal(t, i == j, digest(a) == digest(b), "%v %v", a, b)
		}
	}
}
