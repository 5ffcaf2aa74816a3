package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
)

// Ensure that a report of everything, small, has its tables and plots, says nothing
// about where it was made, and that each line of raw.txt is one that benchstat
// reads.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	o := options{dir: dir, goroutines: []int{1, 8}, contenders: "madmail"}
	r := &results{Rounds: 2, Accounts: 2000, Cell: time.Millisecond}
	var err error
	r.Machine, err = readMachine(dir)
	require.NoError(t, err)
	require.NoError(t, throughput(r, o, &progress{start: time.Now()}))
	for _, c := range r.Cells {
		require.Empty(t, c.failed(), c.Workload)
		require.Len(t, c.Samples, 2)
	}
	for i, name := range []string{contender.Reference, "madmail"} {
		j := job{Contender: name, MB: 4, Seconds: 0.1, SizesMB: []int{2, 4}, Commits: 50, Dir: filepath.Join(dir, name)}
		require.NoError(t, os.Mkdir(j.Dir, 0o700))
		s := &snapshotRun{Contender: name, MB: j.MB}
		require.NoError(t, s.run(j))
		require.Positive(t, s.LoadedSave)
		require.Len(t, s.With, 4)
		r.Snapshots = append(r.Snapshots, s)
		j.Dir += "-growth"
		require.NoError(t, os.Mkdir(j.Dir, 0o700))
		g := &growthRun{Contender: name}
		require.NoError(t, g.run(j))
		require.Len(t, g.Points, 2)
		require.Greater(t, g.Points[1].DataBytes, g.Points[0].DataBytes)
		r.Growth = append(r.Growth, g)
		if i == 0 {
			j.Dir += "-load"
			require.NoError(t, os.Mkdir(j.Dir, 0o700))
			l := &loadSaveRun{MB: j.MB}
			require.NoError(t, l.run(j))
			for _, x := range l.times() {
				require.Positive(t, x.took, x.name)
			}
			r.LoadSave = append(r.LoadSave, l)
		}
	}
	r.Snapshots = append(r.Snapshots, &snapshotRun{Contender: "mattn-memdb", MB: 4, Err: "too large"})

	out := filepath.Join(dir, "out")
	require.NoError(t, write(r, out))
	names, err := os.ReadDir(out)
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	for _, n := range names {
		text, err := os.ReadFile(filepath.Join(out, n.Name()))
		require.NoError(t, err)
		require.NotEmpty(t, text, n.Name())
		for _, secret := range []string{dir, host, home + "/", os.TempDir() + "/"} {
			if len(secret) > 4 {
				require.False(t, bytes.Contains(text, []byte(secret)), "%s contains %s", n.Name(), secret)
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	for _, want := range []string{"## Contenders", "### PointRead", "### GormDeliver", "## A snapshot under load", "## Load and save", "## Growth", "failed: too large",
		"throughput-Deliver.svg", "snapshot-4MB.svg", "growth-pin.svg"} {
		require.Contains(t, string(page), want)
	}
	raw, err := os.ReadFile(filepath.Join(out, "raw.txt"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")[4:]
	require.NotEmpty(t, lines)
	for _, line := range lines {
		fields := strings.Fields(line)
		require.True(t, strings.HasPrefix(fields[0], "Benchmark"), line)
		require.Zero(t, len(fields)%2, "values and units: %s", line)
	}
}

// Ensure that the page tells who was faster, by the ratio of each round.
func TestPage_losses(t *testing.T) {
	sampled := func(values ...float64) (all []sample) {
		for _, v := range values {
			all = append(all, sample{NsPerOp: v, Percentiles: []float64{v, v, v, v}})
		}
		return all
	}
	r := &results{Rounds: 3, Cells: []*cell{
		{Workload: "PointRead", Contender: contender.Reference, Goroutines: 8, Samples: sampled(100, 1000, 110)},
		{Workload: "PointRead", Contender: "madmail", Goroutines: 8, Samples: sampled(200, 2000, 220)},
		{Workload: "PointRead", Contender: "mattn-memdb", Goroutines: 8, Samples: sampled(50, 500, 55)},
		{Workload: "PointRead", Contender: "ncruces-mvcc", Goroutines: 8, Samples: []sample{{Err: "broken"}, {Err: "broken"}, {Err: "broken"}}},
	}}
	text := page(r, nil)
	require.Contains(t, text, "| madmail | 2.00 |")
	require.Contains(t, text, "| mattn-memdb | **0.50** |")
	require.Contains(t, text, "| PointRead | background | 8 | mattn-memdb | 0.50 | 3 of 3 |")
	require.Contains(t, text, "failed: broken")
	require.Contains(t, text, "1 of 1 loads")
}
