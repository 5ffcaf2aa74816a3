package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
)

// TestMain lets the test binary be a worker, like the command.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-worker" {
		if err := serve(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Ensure that a small report of everything has its tables and plots, and no name of
// this machine. Each line of raw.txt must be one that benchstat reads.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	o := options{short: true, dir: dir, only: "throughput,users,commits,memory,mail,live,snapshot,loadsave,growth",
		contenders: "madmail,mattn-disk-wal-normal,zombiezen-memdb,crawshaw-memory-shared,C,null"}
	o.sizes()
	o.rounds, o.userRounds, o.growthMB, o.snapshotMB, o.loadMB = 2, 2, []int{2, 4}, []int{4}, 4
	p := &progress{start: time.Now()}
	var r *results
	parts := 0
	require.NoError(t, measureAll(o, p, func(now *results) error {
		parts++
		r = now
		return nil
	}))
	require.Equal(t, 10, parts, "the results are saved after each part")
	require.Empty(t, r.Failures)
	for _, c := range slices.Concat(r.Cells, r.Users, r.Mail, r.Live) {
		require.Empty(t, c.failed(), c.Workload)
		require.Len(t, c.Samples, 2, "%s of %s", c.Workload, c.Contender)
	}
	for _, c := range r.Cells {
		known, err := contender.Named(c.Contender)
		require.NoError(t, err)
		require.False(t, c.Cancellable && known.Bypass != "", "%s takes no context", c.Contender)
	}
	for _, name := range []string{contender.Reference, "madmail", "zombiezen-memdb", "crawshaw-memory-shared", "C", "null"} {
		require.NotNil(t, find(r.Cells, "PointRead", name, false, 8), name)
		for _, l := range []loadAt{{"UsersInsert", 1}, {"UsersScan", 2}, {"UsersScan", 4}, {"UsersScan", 8}, {"BlogInsert", 1}, {"BulkJoin", 1}, {"Query1000", 1}} {
			require.NotNil(t, find(r.Users, l.work, name, false, l.goroutines), "%s of %s", l.work, name)
		}
	}
	require.Equal(t, int64(8), find(r.Users, "UsersScan", "crawshaw-memory-shared", false, 8).Samples[0].Ops)
	for _, name := range []string{contender.Reference, besideTool, liveTool} {
		require.NotNil(t, find(r.Live, "PointWrite", name, false, 8), name)
	}
	require.Equal(t, postgresPrograms() != "", find(r.Live, "PointRead", postgreSQL, false, 1) != nil)
	require.Len(t, r.Memory, 2, "sqlite-mem and madmail")
	for _, m := range r.Memory {
		require.Positive(t, m.After)
		require.GreaterOrEqual(t, m.Peak, m.Before)
	}
	require.Len(t, r.Snapshots, 2, "sqlite-mem and madmail")
	for _, s := range r.Snapshots {
		require.Positive(t, s.LoadedSave)
		require.Len(t, s.With, 4)
	}
	for _, s := range r.LoadSave {
		for _, x := range s.times() {
			require.Positive(t, x.took, x.name)
		}
	}
	require.Greater(t, r.growthOf(contender.Reference, 4)[0].DataBytes, r.growthOf(contender.Reference, 2)[0].DataBytes)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "a worker has left its files")
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
	for _, want := range []string{"## Aims", "its figures mean nothing", "## Contenders", "### PointRead", "### GormDeliver", "## Users, articles and comments", "### BulkJoin", "| C † |", "| null ‡ |", "| zombiezen-memdb † |", "| crawshaw-memory-shared † |", "## Commits", "## Memory of 64 writers", "### MailDeliverFiles", "## Live connections", "| live-connection |", "## A snapshot under load", "## Load and save", "## Growth",
		"failed: too large"} {
		require.Contains(t, string(page), want)
	}
	links := regexp.MustCompile(`\]\(([a-zA-Z0-9.-]+)\)`).FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(links), 15)
	for _, link := range links {
		require.FileExists(t, filepath.Join(out, link[1]))
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

	text, err := os.ReadFile(filepath.Join(out, "results.json"))
	require.NoError(t, err)
	var again results
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, r, &again, "the page can be written again")
}

// Ensure that a contender that cannot be opened and a worker that dies are reported,
// and that the others go on.
func TestReport_failures(t *testing.T) {
	dir := t.TempDir()
	p := &progress{start: time.Now()}
	g := newGroup(dir, p)
	for _, name := range []string{"nobody", contender.Reference, "madmail"} {
		require.NoError(t, g.add(name, request{Do: "open", Contender: name, Accounts: 2000}))
	}
	require.NoError(t, g.members[2].cmd.Process.Kill())
	cells := measureLoads(p, g, 2, []load{{"PointRead", 1, false}}, func(string, load) bool { return true },
		func(string) time.Duration { return time.Millisecond })
	g.stop()
	failed := map[string]string{}
	for _, c := range cells {
		require.Len(t, c.Samples, 2)
		failed[c.Contender] = c.failed()
	}
	require.Empty(t, failed[contender.Reference])
	require.Contains(t, failed["nobody"], `no "nobody"`)
	require.Contains(t, failed["madmail"], "its process ended")
	require.Contains(t, strings.Join(p.failures, "\n"), "nobody")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Ensure that an aim counts as reached if the figures reach it. It does not if they are a
// little short, or if it was not measured.
func TestAims(t *testing.T) {
	sampled := func(work, name string, cancellable bool, goroutines int, ns float64) *cell {
		return &cell{Workload: work, Contender: name, Cancellable: cancellable, Goroutines: goroutines, Samples: []sample{{NsPerOp: ns, Percentiles: []float64{ns, ns, ns, ns}}}}
	}
	// measured returns results that just reach each aim if x is 1. x scales sqlite-mem's times.
	measured := func(x float64) *results {
		r := &results{Machine: machine{FileSystem: "ext4"}}
		for _, l := range []struct {
			work        string
			cancellable bool
			goroutines  int
			others      map[string]float64
		}{
			{"PointRead", false, 8, map[string]float64{"madmail": 250, "mattn-memdb": 190, "ncruces-mvcc": 101, "null": 30, "C": 20, "zombiezen-memdb": 40}},
			{"PointRead", false, 1, map[string]float64{"madmail": 110, "mattn-memory-1conn": 111, "null": 30, "C": 20, "crawshaw-memory-shared": 40}},
			{"PointRead", true, 8, map[string]float64{"mattn-memdb": 200, "modernc-memory-1conn": 101, "null": 30}},
			{"Scan1000", false, 1, map[string]float64{"madmail": 140, "C": 10, "null": 20}},
			{"Aggregate", false, 1, map[string]float64{"madmail": 90}},
			{"GormWrite", false, 8, map[string]float64{"madmail": 100}},
			{"PointWrite", false, 1, map[string]float64{"mattn-memory-1conn": 87}},
			{"PointWrite", false, 8, map[string]float64{"madmail": 101, "mattn-memory-1conn": 50}},
			{"Mix90", false, 8, map[string]float64{"madmail": 101}},
			{"Mix50", false, 8, map[string]float64{"madmail": 101}},
			{"Mix90", false, 64, map[string]float64{"madmail": 101}},
			{"Mix50", false, 64, map[string]float64{"madmail": 101}},
		} {
			r.Cells = append(r.Cells, sampled(l.work, contender.Reference, l.cancellable, l.goroutines, 100*x))
			for name, ns := range l.others {
				r.Cells = append(r.Cells, sampled(l.work, name, l.cancellable, l.goroutines, ns))
			}
		}
		r.Users = []*cell{sampled("UsersScan", contender.Reference, false, 4, 100*x), sampled("UsersScan", "ncruces-memdb", false, 4, 101), sampled("UsersScan", "zombiezen-memdb", false, 4, 50),
			sampled("UsersInsert", contender.Reference, false, 1, 100*x), sampled("UsersInsert", "madmail", false, 1, 50)}
		for writers, full := range map[int]float64{1: 100, 8: 300, 64: 1000} {
			r.Commits = append(r.Commits, sampled("PointWrite", contender.Reference, false, writers, 91), sampled("PointWrite", "sqlite-mem-wal-1s", false, writers, 100*x),
				sampled("PointWrite", "sqlite-mem-wal-commit", false, writers, 100*x), sampled("PointWrite", durable, false, writers, full))
		}
		r.Snapshots = []*snapshotRun{{Contender: contender.Reference, MB: 1024, Without: []float64{0, 0, 0, 2.45e6}, With: []float64{0, 0, 0, 4.9e6 * x}}}
		of := func(took float64) time.Duration { return time.Duration(took * 1e9) }
		r.LoadSave = []*loadSaveRun{{MB: 1024, FileBytes: 1000, Resident: 1090, ResidentAfterSave: int64(1095 * x), Read: of(0.1), ReadFresh: of(0.81), ReadCold: of(0.1),
			LoadAgain: of(1), Load: of(x), LoadCold: of(1), Vacuum: of(0.81), Save: of(x)}}
		r.Growth = []*growthRun{{Contender: contender.Reference, MB: 10, Commit: []float64{100}, Same: []float64{100}, Pin: []float64{100}},
			{Contender: contender.Reference, MB: 4096, Commit: []float64{124 * x}, Same: []float64{124}, Pin: []float64{124}}}
		return r
	}
	for _, a := range measured(1).aims() {
		require.Empty(t, a.missing, a.work)
		require.True(t, a.reached || a.told, "%s: %s", a.work, a.measured)
	}
	for _, a := range measured(1.05).aims() {
		require.False(t, a.reached, "%s: %s", a.work, a.measured)
	}
	for _, a := range (&results{}).aims() {
		require.NotEmpty(t, a.missing, a.work)
	}
	r := measured(1)
	require.Contains(t, summary(r), "| 0.90 x madmail with 1 goroutine | – |")
	require.Contains(t, summary(r), "beside: crawshaw-memory-shared † 0.40 x, C † 0.20 x, null ‡ 0.30 x |")
	r.Machine.Go = "go1.27.1"
	require.False(t, r.aimReads1().reached, "1.1 x, with Go 1.27 of 1.2 x")
	require.False(t, r.aimScan().reached, "1.4 x, with Go 1.27 of 1.7 x")
	r.Machine.FileSystem = fileSystem("/dev/shm")
	require.Contains(t, summary(r), "a tmpfs, which syncs nothing | not measured |")
}

// Ensure that a lead counts only if it exceeds the rounds' spread, and so does a lag
// through GORM.
func TestAims_spread(t *testing.T) {
	cells := func(work string, values ...float64) []*cell {
		ours, theirs := &cell{Workload: work, Contender: contender.Reference, Goroutines: 1}, &cell{Workload: work, Contender: "madmail", Goroutines: 1}
		for _, v := range values {
			ours.Samples, theirs.Samples = append(ours.Samples, sample{NsPerOp: 100}), append(theirs.Samples, sample{NsPerOp: v})
		}
		return []*cell{ours, theirs}
	}
	for _, x := range []struct {
		values        []float64
		reading, gorm bool
	}{
		{[]float64{104, 105, 105, 105, 106}, true, true},
		{[]float64{85, 90, 105, 120, 125}, false, true},
		{[]float64{85, 90, 97, 110, 115}, false, true},
		{[]float64{96, 97, 97, 97, 98}, false, false},
	} {
		require.Equal(t, x.reading, (&results{Users: cells("Query10", x.values...)}).aimReading().reached, x.values)
		require.Equal(t, x.gorm, (&results{Cells: cells("GormRead", x.values...)}).aimGorm().reached, x.values)
	}
}

// Ensure that the page lists the contenders that were faster, by the ratios of the
// rounds.
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
		{Workload: "PointRead", Contender: "C", Goroutines: 8, Samples: sampled(10, 100, 11)},
		{Workload: "PointRead", Contender: "ncruces-mvcc", Goroutines: 8, Samples: []sample{{Err: "broken"}, {Err: "broken"}, {Err: "broken"}}},
	}}
	text := page(r, nil)
	require.Contains(t, text, "| madmail | 2.00 |")
	require.Contains(t, text, "| mattn-memdb | **0.50** |")
	require.Contains(t, text, "| PointRead | background | 8 | mattn-memdb | 0.50 | 3 of 3 |")
	require.Contains(t, text, "failed: broken")
	require.Contains(t, text, "1 of 1 loads; the fastest contender behind database/sql")
	require.Contains(t, text, "| C † | **0.10** |")
	require.Contains(t, text, "1 of 1 loads; the fastest that bypasses database/sql")
	require.Contains(t, text, "| PointRead | background | 8 | C † | 0.10 | 3 of 3 |")
}
