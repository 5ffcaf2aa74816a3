package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
)

// writeRaw writes every round as a line of Go's benchmark format:
//
//	benchstat -col /contender -filter '.unit:ns/op' raw.txt
func writeRaw(w io.Writer, r *results) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "goos: %s\ngoarch: %s\npkg: github.com/sqlite-mem/sqlite-mem/bench\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, r.Machine.CPU)
	writeCells(b, r, "", r.Cells)
	writeCells(b, r, "Commit", r.Commits)
	writeCells(b, r, "", r.Users)
	writeCells(b, r, "", r.Mail)
	writeCells(b, r, "Live", r.Live)
	for _, m := range r.Memory {
		if m.Err == "" {
			fmt.Fprintf(b, "BenchmarkMemory/goroutines=%d/contender=%s-%d\t1\t%d before-bytes\t%d peak-bytes\t%d rest-bytes\t%d data-bytes\n",
				contender.MaxGoroutines, m.Contender, r.Machine.Cores, m.Before, m.Peak, m.After, m.DataBytes)
		}
	}
	for _, s := range r.Snapshots {
		if s.Err != "" {
			continue
		}
		for _, x := range []struct {
			saving              bool
			statement, response []float64
		}{{false, s.Without, s.WithoutResponse}, {true, s.With, s.WithResponse}} {
			fmt.Fprintf(b, "BenchmarkSnapshot%dMB/saving=%v/contender=%s-%d\t1", s.MB, x.saving, s.Contender, r.Machine.Cores)
			writePercentiles(b, "", x.statement)
			writePercentiles(b, "response-", x.response)
			if x.saving {
				fmt.Fprintf(b, "\t%.4f save-s\t%.4f quiet-save-s\t%d peak-extra-bytes", s.LoadedSave.Seconds(), s.QuietSave.Seconds(), s.PeakExtra)
			} else {
				fmt.Fprintf(b, "\t%d resident-bytes\t%d data-bytes", s.Resident, s.DataBytes)
			}
			fmt.Fprintln(b)
		}
	}
	for _, s := range r.LoadSave {
		if s.Err != "" {
			continue
		}
		for _, x := range s.times() {
			fmt.Fprintf(b, "Benchmark%dMB/%s-%d\t1\t%d ns/op\t%.1f MB/s\n", s.MB, strings.ReplaceAll(x.name, " ", "_"), r.Machine.Cores,
				x.took.Nanoseconds(), mbPerSecond(s.FileBytes, x.took))
		}
	}
	for _, g := range r.Growth {
		if g.Err != "" {
			continue
		}
		fmt.Fprintf(b, "BenchmarkGrowth/size=%dMB/contender=%s-%d\t1", g.MB, g.Contender, r.Machine.Cores)
		writePercentiles(b, "commit-", g.Commit)
		writePercentiles(b, "commit-same-", g.Same)
		writePercentiles(b, "pin-", g.Pin)
		fmt.Fprintf(b, "\t%d resident-bytes\t%d data-bytes\n", g.Resident, g.DataBytes)
	}
	return b.Flush()
}

func writeCells(w io.Writer, r *results, prefix string, cells []*cell) {
	for _, c := range cells {
		for _, s := range c.Samples {
			if s.Err != "" {
				continue
			}
			fmt.Fprintf(w, "Benchmark%s%s/context=%s/goroutines=%d/contender=%s-%d\t%d\t%.1f ns/op", prefix, c.Workload, contextName(c.Cancellable), c.Goroutines, c.Contender, r.Machine.Cores, s.Ops, s.NsPerOp)
			writePercentiles(w, "", s.Percentiles)
			fmt.Fprintf(w, "\t%.6f retries/op\n", s.Retries)
		}
	}
}

func writePercentiles(w io.Writer, prefix string, values []float64) {
	for i, v := range values {
		fmt.Fprintf(w, "\t%.0f %s%s", v, prefix, measure.Percentiles[i].Unit)
	}
}

type namedTime struct {
	name string
	took time.Duration
}

// times returns the steps of a run in the order of the page.
func (r *loadSaveRun) times() []namedTime {
	return []namedTime{
		{"read the file", r.Read},
		{"read the file into fresh memory", r.ReadFresh},
		{"load", r.Load},
		{"load again", r.LoadAgain},
		{"read the file from the disk", r.ReadCold},
		{"load again from the disk", r.LoadCold},
		{"cp and fsync", r.Copy},
		{"VACUUM INTO and fsync", r.Vacuum},
		{"save", r.Save},
	}
}

func mbPerSecond(bytes int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(bytes) / 1e6 / took.Seconds()
}
