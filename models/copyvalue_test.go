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
		kind  columnKind
		value any
		want  any // nil: an error
	}{
		{intKind, int64(5), int64(5)}, {intKind, int32(5), int64(5)}, {intKind, uint64(5), int64(5)}, {intKind, "-5", int64(-5)}, {intKind, []byte("5"), int64(5)},
		{intKind, true, int64(1)}, {intKind, false, int64(0)}, {intKind, 5.0, int64(5)},
		{intKind, 5.5, nil}, {intKind, 1e300, nil}, {intKind, math.NaN(), nil}, {intKind, "5.0", nil}, {intKind, "", nil}, {intKind, uint64(math.MaxUint64), nil}, {intKind, at, nil},
		{floatKind, 5.5, 5.5}, {floatKind, float32(0.5), 0.5}, {floatKind, int64(5), 5.0}, {floatKind, "5.5", 5.5}, {floatKind, int64(1<<53 + 1), nil}, {floatKind, "x", nil},
		{textKind, "a", "a"}, {textKind, []byte("a"), "a"}, {textKind, int64(5), "5"}, {textKind, 5.5, nil}, {textKind, true, nil}, {textKind, at, nil},
		{blobKind, []byte("a\x00"), blob("a\x00")}, {blobKind, "a", blob("a")}, {blobKind, []byte{}, blob("")}, {blobKind, int64(5), nil},
		{boolKind, true, true}, {boolKind, int64(0), false}, {boolKind, int64(1), true}, {boolKind, "false", false}, {boolKind, []byte("1"), true},
		{boolKind, int64(2), nil}, {boolKind, "yes", nil}, {boolKind, 1.0, nil},
		{timeKind, at, at.Truncate(time.Microsecond)}, {timeKind, at.String(), at.Truncate(time.Microsecond)}, {timeKind, []byte("2025-01-31 09:04:56"), at.Truncate(time.Second)},
		{timeKind, "tomorrow", nil}, {timeKind, 1.5, nil},
		{anyKind, int64(5), int64(5)}, {anyKind, "5", "5"}, {anyKind, []byte("5"), blob("5")}, {anyKind, 5.5, 5.5},
	} {
		got, err := convert(c.value, c.kind, 6)
		if c.want == nil {
			require.Error(t, err, "%#v as %s", c.value, c.kind)
			continue
		}
		require.NoError(t, err, "%#v as %s", c.value, c.kind)
		require.True(t, c.want == got, "%#v as %s is %#v", c.value, c.kind, got)
	}
	for kind := anyKind; kind <= otherKind; kind++ {
		got, err := convert(nil, kind, 6)
		require.NoError(t, err)
		require.Nil(t, got)
		require.NotEmpty(t, kind.String())
	}
}

// Ensure that the digests of rows are equal if the values are, and only then.
func TestDigest(t *testing.T) {
	rows := [][]any{{nil}, {""}, {"<nil>"}, {int64(1)}, {"1"}, {1.0}, {blob("1")}, {true}, {"a", "b"}, {"ab", ""}, {"a 3 string b"}, {time.Unix(1, 0).UTC()}, {time.Unix(1, 1).UTC()}}
	for i, a := range rows {
		for j, b := range rows {
			require.Equal(t, i == j, digest(a) == digest(b), "%v %v", a, b)
		}
	}
}
