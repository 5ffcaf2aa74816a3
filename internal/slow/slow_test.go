package slow

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Ensure that a use that lasts longer than the limit is reported once, while it lasts, and
// that shorter ones are not, however many there are.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ages []time.Duration
		w := New(time.Second, func(age time.Duration, lasts func() bool) {
			if lasts() {
				ages = append(ages, age)
			}
		})
		for range 100 {
			w.Begin()
			time.Sleep(990 * time.Millisecond)
			w.End()
		}
		synctest.Wait()
		require.Empty(t, ages)
		require.False(t, w.Lasts())
		for n := 1; n <= 3; n++ {
			w.Begin()
			time.Sleep(300 * time.Millisecond)
			w.Begin() // it goes on
			time.Sleep(700 * time.Millisecond)
			synctest.Wait()
			require.Len(t, ages, n)
			require.Equal(t, time.Second, ages[n-1])
			require.True(t, w.Lasts())
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Len(t, ages, n)
			w.End()
		}
		w.Begin()
		w.Close()
		time.Sleep(time.Hour)
		require.Len(t, ages, 3)
	})
}

// Ensure that a use that begins while an earlier one is reported is watched, too, and that
// the report can tell that its use is over.
func TestWatch_duringReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var lasting []bool // guarded by mu
		w := New(time.Second, func(_ time.Duration, lasts func() bool) {
			time.Sleep(10 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			lasting = append(lasting, lasts())
		})
		w.Begin()
		time.Sleep(1500 * time.Millisecond) // it is being reported
		w.End()
		w.Begin()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []bool{false, true}, lasting)
		w.Close()
	})
}

// Ensure that no limit is no Watch, and that it can be used.
func TestWatch_none(t *testing.T) {
	w := New(0, nil)
	require.Nil(t, w)
	w.Begin()
	require.False(t, w.Lasts())
	w.End()
	w.Close()
}
