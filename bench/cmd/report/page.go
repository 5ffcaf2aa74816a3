package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// write writes results.json, raw.txt, the plots and the page into dir.
func write(r *results, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	raw, err := os.Create(filepath.Join(dir, "raw.txt"))
	if err != nil {
		return err
	}
	if err := errors.Join(writeRaw(raw, r), raw.Close()); err != nil {
		return err
	}
	svgs, err := plots(r, dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(page(r, svgs)), 0o644)
}

func medianOf(c *cell, pick func(sample) float64) float64 {
	return measure.Median(present(c.values(pick)))
}

// present leaves out the rounds that failed.
func present(values []float64) []float64 {
	return slices.DeleteFunc(values, func(v float64) bool { return v == 0 })
}

func (r *results) goroutines() []int {
	var all []int
	for _, c := range r.Cells {
		if !slices.Contains(all, c.Goroutines) {
			all = append(all, c.Goroutines)
		}
	}
	slices.Sort(all)
	return all
}

func (r *results) workloads() []string {
	var all []string
	for _, c := range r.Cells {
		if !slices.Contains(all, c.Workload) {
			all = append(all, c.Workload)
		}
	}
	return all
}

func (r *results) snapshotSizes() []int {
	var all []int
	for _, s := range r.Snapshots {
		if s.Err == "" && !slices.Contains(all, s.MB) {
			all = append(all, s.MB)
		}
	}
	return all
}

// builder writes Markdown.
type builder struct{ strings.Builder }

func (b *builder) line(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }

func (b *builder) row(cells ...string) { b.line("| %s |", strings.Join(cells, " | ")) }

// head writes the head of a table whose columns behind the first are numbers.
func (b *builder) head(cells ...string) {
	b.line("")
	b.row(cells...)
	b.line("|---|%s", strings.Repeat("---:|", len(cells)-1))
}

func page(r *results, svgs []string) string {
	b := &builder{}
	b.line("# sqlite-mem and its peers, %s", r.Machine.Date)
	b.line("")
	b.line("Written by `cmd/report`; what is measured and how is in [bench/README.md](../../README.md). Every round is in [raw.txt](raw.txt), for")
	b.line("benchstat, and in [results.json](results.json).")
	b.machine(r)
	b.contenders()
	if len(r.Cells) > 0 {
		b.throughput(r, svgs)
	}
	if len(r.Snapshots) > 0 {
		b.snapshots(r)
	}
	if len(r.LoadSave) > 0 {
		b.loadSave(r)
	}
	if len(r.Growth) > 0 {
		b.growth(r)
	}
	return b.String()
}

func (b *builder) machine(r *results) {
	m := r.Machine
	b.head("machine", "")
	b.row("processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores))
	b.row("memory", fmt.Sprintf("%.1f GB", float64(m.MemoryMB)/1024))
	b.row("system", fmt.Sprintf("%s, kernel %s, %s", m.OS, m.Kernel, m.FileSystem))
	b.row("Go", m.Go)
	b.row("sqlite-mem", m.Revision)
	for _, l := range m.Libraries {
		name, version, _ := strings.Cut(l, " ")
		b.row(name, version)
	}
	for _, s := range m.SQLite {
		name, version, _ := strings.Cut(s, ": ")
		b.row("SQLite of "+name, version)
	}
	b.row("load average before", m.LoadBefore)
	b.row("rounds", fmt.Sprintf("%d of %s each, %d accounts", r.Rounds, r.Cell, r.Accounts))
	b.row("took", r.Took.String())
}

func (b *builder) contenders() {
	b.line("\n## Contenders")
	b.line("")
	b.line("| contender | data source name | pool | durability |")
	b.line("|---|---|---|---|")
	for _, c := range contender.All() {
		b.row(c.Name, "`"+c.DSN+"`", c.Pool, c.Durability)
	}
}

// what says in words what a workload does.
func what(name string) string {
	for _, w := range slices.Concat(workload.All(), workload.Gorm(nil)) {
		if w.Name == name {
			return w.What
		}
	}
	return name
}

// overview is the table of ratios that is read first.
func (b *builder) overview(r *results) {
	goroutines := 8
	if !slices.Contains(r.goroutines(), goroutines) {
		goroutines = r.goroutines()[0]
	}
	for _, g := range slices.Compact([]int{1, goroutines}) {
		b.line("\n### Overview: %d goroutine(s), background context", g)
		b.line("")
		b.line("Time of each contender divided by that of sqlite-mem: above 1 sqlite-mem is faster, below 1 (**bold**) it is slower.")
		works := r.workloads()
		b.head(append([]string{"contender"}, works...)...)
		for _, c := range contender.All() {
			cells := []string{c.Name}
			for _, w := range works {
				cells = append(cells, r.ratio(w, c.Name, false, g))
			}
			b.row(cells...)
		}
	}
}

// ratio is the median over the rounds of a contender's time divided by the
// reference's.
func (r *results) ratio(work, name string, cancellable bool, goroutines int) string {
	v := r.ratioValue(work, name, cancellable, goroutines)
	switch {
	case v == 0:
		if c := r.find(work, name, cancellable, goroutines); c != nil && c.failed() != "" {
			return "failed"
		}
		return ""
	case v < 0.995:
		return fmt.Sprintf("**%.2f**", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *results) ratioValue(work, name string, cancellable bool, goroutines int) float64 {
	c, ref := r.find(work, name, cancellable, goroutines), r.find(work, contender.Reference, cancellable, goroutines)
	if c == nil || ref == nil {
		return 0
	}
	return measure.Ratio(c.values(nsPerOp), ref.values(nsPerOp))
}

// roundsFaster is in how many of the rounds that both have a contender was faster
// than the reference.
func (r *results) roundsFaster(work, name string, cancellable bool, goroutines int) (faster, rounds int) {
	values := r.find(work, name, cancellable, goroutines).values(nsPerOp)
	reference := r.find(work, contender.Reference, cancellable, goroutines).values(nsPerOp)
	for i := range min(len(values), len(reference)) {
		if values[i] > 0 && reference[i] > 0 {
			rounds++
			if values[i] < reference[i] {
				faster++
			}
		}
	}
	return faster, rounds
}

func (b *builder) throughput(r *results, svgs []string) {
	b.line("\n## Throughput and latency")
	b.overview(r)
	b.losses(r)
	for _, w := range r.workloads() {
		b.line("\n### %s: %s", w, what(w))
		for _, cancellable := range []bool{false, true} {
			context := "background"
			if cancellable {
				context = "cancellable"
			}
			b.line("\n%s context: nanoseconds for each operation (time of the run by operations), median of the rounds, ± half the distance of the quartiles; in brackets the ratio to sqlite-mem",
				strings.ToUpper(context[:1])+context[1:])
			cells := []string{"contender"}
			for _, g := range r.goroutines() {
				cells = append(cells, fmt.Sprintf("%d goroutine(s)", g))
			}
			b.head(cells...)
			for _, c := range contender.All() {
				cells := []string{c.Name}
				any := false
				for _, g := range r.goroutines() {
					found := r.find(w, c.Name, cancellable, g)
					text := ""
					if found != nil {
						any = true
						values := present(found.values(nsPerOp))
						if len(values) == 0 {
							text = "failed: " + found.failed()
						} else {
							text = fmt.Sprintf("%.0f ±%.0f%% (%s)", measure.Median(values), 100*measure.Spread(values), r.ratio(w, c.Name, cancellable, g))
						}
					}
					cells = append(cells, text)
				}
				if any {
					b.row(cells...)
				}
			}
		}
		b.latencies(r, w)
		if name := "throughput-" + w + ".svg"; slices.Contains(svgs, name) {
			b.line("\n![%s by goroutines](%s)", w, name)
		}
	}
}

// latencies is the table of percentiles at the most goroutines and at eight.
func (b *builder) latencies(r *results, w string) {
	for _, g := range []int{8, 64} {
		if !slices.Contains(r.goroutines(), g) {
			continue
		}
		b.line("\nLatency of single operations in microseconds, %d goroutines, background context, median of the rounds", g)
		b.head("contender", "p50", "p99", "p99.9", "max", "retries/op")
		for _, c := range contender.All() {
			found := r.find(w, c.Name, false, g)
			if found == nil || len(present(found.values(nsPerOp))) == 0 {
				continue
			}
			cells := []string{c.Name}
			for i := range measure.Percentiles {
				cells = append(cells, fmt.Sprintf("%.1f", medianOf(found, percentile(i))/1e3))
			}
			var retries []float64
			for _, s := range found.Samples {
				if s.Err == "" {
					retries = append(retries, s.Retries)
				}
			}
			b.row(append(cells, fmt.Sprintf("%.4g", measure.Median(retries)))...)
		}
	}
}

// losses lists where another contender is faster.
func (b *builder) losses(r *results) {
	type loss struct {
		text  string
		ratio float64
	}
	var all []loss
	cells := 0
	for _, w := range r.workloads() {
		for _, cancellable := range []bool{false, true} {
			for _, g := range r.goroutines() {
				if r.find(w, contender.Reference, cancellable, g) == nil {
					continue
				}
				cells++
				best, by := 1.0, ""
				for _, c := range contender.All() {
					if v := r.ratioValue(w, c.Name, cancellable, g); v > 0 && v < best {
						best, by = v, c.Name
					}
				}
				if by != "" && best < 0.995 {
					context := "background"
					if cancellable {
						context = "cancellable"
					}
					faster, rounds := r.roundsFaster(w, by, cancellable, g)
					all = append(all, loss{fmt.Sprintf("| %s | %s | %d | %s | %.2f | %d of %d |", w, context, g, by, best, faster, rounds), best})
				}
			}
		}
	}
	b.line("\n### Where sqlite-mem is not the fastest")
	b.line("")
	b.line("%d of %d loads; the fastest contender, its time divided by that of sqlite-mem, and in how many rounds it was faster.", len(all), cells)
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b loss) int {
		switch {
		case a.ratio < b.ratio:
			return -1
		case a.ratio > b.ratio:
			return 1
		}
		return 0
	})
	b.head("load", "context", "goroutines", "fastest", "ratio", "rounds")
	for _, l := range all {
		b.line("%s", l.text)
	}
}

func ms(ns float64) string { return fmt.Sprintf("%.2f", ns/1e6) }

func mb(bytes float64) string { return fmt.Sprintf("%.0f", bytes/(1<<20)) }

// over is the median over runs of a figure.
func over[T any](runs []T, pick func(T) float64) float64 {
	var v []float64
	for _, r := range runs {
		v = append(v, pick(r))
	}
	return measure.Median(v)
}

func (b *builder) snapshots(r *results) {
	b.line("\n## A snapshot under load")
	b.line("")
	b.line("Four goroutines, each of which begins a statement every 500 µs, one in ten of which writes; each contender in a process of its own. Medians of")
	b.line("the rounds. “Statement” is how long it took; “response” counts from when it should have begun, so that a database that stands still is seen in")
	b.line("all that it held up.")
	for _, size := range r.snapshotSizes() {
		b.line("\n### %d MB", size)
		b.head("contender", "save", "statement, ms: p50", "p99", "p99.9", "max", "max of all rounds", "response, ms: p99", "p99.9", "max")
		for _, c := range contender.All() {
			runs, failed := r.snapshotsOf(c.Name, size)
			if failed != "" {
				b.row(c.Name, "failed: "+failed, "", "", "", "", "", "", "", "")
			}
			if len(runs) == 0 {
				continue
			}
			for _, x := range []struct {
				name                string
				statement, response func(*snapshotRun) []float64
			}{
				{"without", func(s *snapshotRun) []float64 { return s.Without }, func(s *snapshotRun) []float64 { return s.WithoutResponse }},
				{"with", func(s *snapshotRun) []float64 { return s.With }, func(s *snapshotRun) []float64 { return s.WithResponse }},
			} {
				cells := []string{c.Name, x.name}
				for i := range measure.Percentiles {
					cells = append(cells, ms(over(runs, func(s *snapshotRun) float64 { return x.statement(s)[i] })))
				}
				worst := 0.0
				for _, s := range runs {
					worst = max(worst, x.statement(s)[3])
				}
				cells = append(cells, ms(worst))
				for _, i := range []int{1, 2, 3} {
					cells = append(cells, ms(over(runs, func(s *snapshotRun) float64 { return x.response(s)[i] })))
				}
				b.row(cells...)
			}
		}
		b.head("contender", "how it saves", "save under load, s", "save at rest, s", "data, MB", "resident / data", "peak beyond resident while saving, MB")
		for _, c := range contender.All() {
			runs, _ := r.snapshotsOf(c.Name, size)
			if len(runs) == 0 {
				continue
			}
			b.row(c.Name, c.Save,
				fmt.Sprintf("%.2f", over(runs, func(s *snapshotRun) float64 { return s.LoadedSave.Seconds() })),
				fmt.Sprintf("%.2f", over(runs, func(s *snapshotRun) float64 { return s.QuietSave.Seconds() })),
				mb(over(runs, func(s *snapshotRun) float64 { return float64(s.DataBytes) })),
				fmt.Sprintf("%.2f", over(runs, func(s *snapshotRun) float64 { return float64(s.Resident) / float64(s.DataBytes) })),
				mb(over(runs, func(s *snapshotRun) float64 { return float64(s.PeakExtra) })))
		}
		b.line("\n![latency through a snapshot of %d MB](snapshot-%dMB.svg)", size, size)
	}
	for _, s := range r.Snapshots {
		if s.Err != "" && !slices.Contains(r.snapshotSizes(), s.MB) {
			b.line("\n%s, %d MB: failed: %s", s.Contender, s.MB, s.Err)
		}
	}
}

func (r *results) snapshotsOf(name string, size int) (runs []*snapshotRun, failed string) {
	for _, s := range r.Snapshots {
		if s.Contender == name && s.MB == size {
			if s.Err != "" {
				failed = s.Err
			} else {
				runs = append(runs, s)
			}
		}
	}
	return runs, failed
}

func (b *builder) loadSave(r *results) {
	b.line("\n## Load and save")
	b.line("")
	b.line("sqlite-mem beside what can be done with the file alone, which is in the page cache unless it says otherwise; nothing else runs. Load is `sql.Open` and the first statement,")
	b.line("its check of the file included; save is `driver.Sync` after one row was changed: all pages, checked, fsync, rename. “Again”: in a process that")
	b.line("has had that memory before.")
	var sizes []int
	for _, s := range r.LoadSave {
		if s.Err != "" {
			b.line("\n%d MB: failed: %s", s.MB, s.Err)
		} else if !slices.Contains(sizes, s.MB) {
			sizes = append(sizes, s.MB)
		}
	}
	for _, size := range sizes {
		var runs []*loadSaveRun
		for _, s := range r.LoadSave {
			if s.MB == size && s.Err == "" {
				runs = append(runs, s)
			}
		}
		bytes := runs[0].FileBytes
		b.line("\n### A file of %s MB", mb(float64(bytes)))
		b.head("what", "s", "MB/s")
		for i, x := range runs[0].times() {
			took := time.Duration(over(runs, func(s *loadSaveRun) float64 { return float64(s.times()[i].took) }))
			b.row(x.name, fmt.Sprintf("%.3f", took.Seconds()), fmt.Sprintf("%.0f", mbPerSecond(bytes, took)))
		}
		b.head("ratio of speeds", "")
		ratio := func(name string, pick func(*loadSaveRun) (time.Duration, time.Duration)) {
			b.row(name, fmt.Sprintf("%.2f", over(runs, func(s *loadSaveRun) float64 {
				a, b := pick(s)
				return b.Seconds() / a.Seconds()
			})))
		}
		ratio("load to reading the file", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Load, s.Read })
		ratio("load to reading the file into fresh memory", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Load, s.ReadFresh })
		ratio("load again to reading the file", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.LoadAgain, s.Read })
		ratio("load again to reading the file, both from the disk", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.LoadCold, s.ReadCold })
		ratio("save to cp and fsync", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Save, s.Copy })
		ratio("save to VACUUM INTO and fsync", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Save, s.Vacuum })
		b.head("memory", "")
		b.row("resident after load / file", fmt.Sprintf("%.3f", over(runs, func(s *loadSaveRun) float64 { return float64(s.Resident) / float64(s.FileBytes) })))
		b.row("resident after saves / file", fmt.Sprintf("%.3f", over(runs, func(s *loadSaveRun) float64 { return float64(s.ResidentAfterSave) / float64(s.FileBytes) })))
	}
}

func (b *builder) growth(r *results) {
	b.line("\n## Growth")
	b.line("")
	b.line("One process for each contender, whose database grows. Commit: a point write by one goroutine. Pin: a read-only transaction of one read, where the")
	b.line("contender has such snapshots.")
	b.head("contender", "size, MB", "commit, µs: p50", "p99", "max", "pin, µs: p50", "p99", "resident / size")
	for _, g := range r.Growth {
		for _, p := range g.Points {
			pin50, pin99 := "", ""
			if p.Pin != nil {
				pin50, pin99 = fmt.Sprintf("%.1f", p.Pin[0]/1e3), fmt.Sprintf("%.1f", p.Pin[1]/1e3)
			}
			b.row(g.Contender, mb(float64(p.DataBytes)), fmt.Sprintf("%.1f", p.Commit[0]/1e3), fmt.Sprintf("%.1f", p.Commit[1]/1e3), fmt.Sprintf("%.0f", p.Commit[3]/1e3),
				pin50, pin99, fmt.Sprintf("%.2f", float64(p.Resident)/float64(p.DataBytes)))
		}
		if g.Err != "" {
			b.row(g.Contender, "failed: "+g.Err, "", "", "", "", "", "")
		}
	}
	for _, name := range []string{"commit", "pin", "memory"} {
		b.line("\n![growth: %s](growth-%s.svg)", name, name)
	}
}
