package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/mailstore"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// write writes results.json, raw.txt, the plots, the summary and the page into dir.
func write(r *results, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(r)
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
	if err := os.WriteFile(filepath.Join(dir, "summary.md"), []byte(summary(r)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(page(r, svgs)), 0o644)
}

func medianOf(c *cell, pick func(sample) float64) float64 {
	return measure.Median(present(c.values(pick)))
}

// present leaves out failed rounds.
func present(values []float64) []float64 {
	return slices.DeleteFunc(values, func(v float64) bool { return v == 0 })
}

// goroutinesOf returns the numbers of goroutines of a workload, or of all workloads if
// work is empty.
func goroutinesOf(cells []*cell, work string) []int {
	var all []int
	for _, c := range cells {
		if (work == "" || c.Workload == work) && !slices.Contains(all, c.Goroutines) {
			all = append(all, c.Goroutines)
		}
	}
	slices.Sort(all)
	return all
}

func workloadsOf(cells []*cell) []string {
	var all []string
	for _, c := range cells {
		if !slices.Contains(all, c.Workload) {
			all = append(all, c.Workload)
		}
	}
	return all
}

// contendersOf returns the contenders of cells in the order of the report.
func contendersOf(cells []*cell) []string {
	var all []string
	for _, c := range contender.All() {
		if slices.ContainsFunc(cells, func(x *cell) bool { return x.Contender == c.Name }) {
			all = append(all, c.Name)
		}
	}
	return all
}

func (r *results) growthSizes() []int {
	var all []int
	for _, g := range r.Growth {
		if !slices.Contains(all, g.MB) {
			all = append(all, g.MB)
		}
	}
	slices.Sort(all)
	return all
}

// growthOf returns the rounds that did not fail.
func (r *results) growthOf(name string, mb int) []*growthRun {
	var all []*growthRun
	for _, g := range r.Growth {
		if g.Contender == name && g.MB == mb && g.Err == "" {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b *growthRun) int { return a.Round - b.Round })
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

// head writes the head of a table. All columns but the first are numbers.
func (b *builder) head(cells ...string) {
	b.line("")
	b.row(cells...)
	b.line("|---|%s", strings.Repeat("---:|", len(cells)-1))
}

func page(r *results, svgs []string) string {
	b := &builder{}
	b.line("# sqlite-mem and its peers, %s", r.Machine.Date)
	b.line("")
	b.line("Written by `cmd/report`. [bench/README.md](../../README.md) describes the loads and the method. Every round is in [raw.txt](raw.txt), for")
	b.line("benchstat, and in [results.json](results.json).")
	b.machine(r)
	b.line("\n## Aims")
	b.line("")
	b.aims(r)
	b.contenders(r)
	if len(r.Cells) > 0 {
		b.throughput(r, svgs)
	}
	if len(r.Users) > 0 {
		b.users(r, svgs)
	}
	if len(r.Commits) > 0 {
		b.commits(r, svgs)
	}
	if len(r.Memory) > 0 {
		b.memory(r)
	}
	if len(r.Mail) > 0 {
		b.mail(r, svgs)
	}
	if len(r.Live) > 0 {
		b.live(r)
	}
	if len(r.Snapshots) > 0 {
		b.snapshots(r)
	}
	if len(r.LoadSave) > 0 {
		b.loadSave(r)
	}
	if len(r.Growth) > 0 {
		b.growth(r, svgs)
	}
	return b.String()
}

func (b *builder) plot(svgs []string, name, title string) {
	if slices.Contains(svgs, name) {
		b.line("\n![%s](%s)", title, name)
	}
}

// fold hides the output of fn behind a title.
func (b *builder) fold(title string, fn func()) {
	b.line("\n<details><summary>%s</summary>", title)
	fn()
	b.line("\n</details>")
}

func (b *builder) machine(r *results) {
	m := r.Machine
	b.line("\n| machine | |\n|---|---|")
	b.row("processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores))
	b.row("memory", fmt.Sprintf("%.1f GB", float64(m.MemoryMB)/1024))
	b.row("system", fmt.Sprintf("%s, kernel %s", m.OS, m.Kernel))
	b.row("file system", m.FileSystem)
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

func (b *builder) contenders(r *results) {
	b.line("\n## Contenders")
	b.line("")
	b.line("| contender | interface | data source name | pool | durability |")
	b.line("|---|---|---|---|---|")
	for _, c := range contender.All() {
		b.row(shown(c.Name), way(c), "`"+c.DSN+"`", c.Pool, c.Durability)
	}
	b.line("\n† bypasses database/sql. ‡ runs no SQL, and shows the cost of database/sql alone. The aims compare with neither.")
	if len(r.Failures) > 0 {
		b.line("\nFailures:\n")
	}
	for _, failure := range r.Failures {
		b.line("- %s", strings.ReplaceAll(failure, "\n", " "))
	}
}

// way returns the interface of a contender.
func way(c *contender.Contender) string {
	switch {
	case c.Bypass != "":
		return c.Bypass
	case c.Empty:
		return "database/sql, without SQLite"
	}
	return "database/sql"
}

// shown returns the name of a contender, with its mark if it is not a peer.
func shown(name string) string {
	c, err := contender.Named(name)
	switch {
	case err != nil:
		return name // an older report has a contender that is gone
	case c.Bypass != "":
		return name + " †"
	case c.Empty:
		return name + " ‡"
	}
	return name
}

// what describes a workload in words.
func what(name string) string {
	for _, w := range slices.Concat(workload.All(), workload.Gorm(nil)) {
		if w.Name == name {
			return w.What
		}
	}
	for _, w := range slices.Concat(mailstore.Workloads(false), mailstore.Workloads(true)) {
		if w.Name == name {
			return w.What
		}
	}
	return name
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// overview writes the tables of ratios for some numbers of goroutines. They come first.
func (b *builder) overview(cells []*cell, goroutines ...int) {
	all := goroutinesOf(cells, "")
	b.line("")
	b.line("Time of each contender divided by that of sqlite-mem, median of the rounds. Above 1 sqlite-mem is faster, below 1 (**bold**) it is slower.")
	for _, g := range all {
		if !slices.Contains(goroutines, g) {
			continue
		}
		b.line("\n### %s, background context", many(g, "goroutine"))
		var works []string
		for _, w := range workloadsOf(cells) {
			if find(cells, w, contender.Reference, false, g) != nil {
				works = append(works, w)
			}
		}
		b.head(append([]string{"contender"}, works...)...)
		for _, name := range contendersOf(cells) {
			row := []string{shown(name)}
			for _, w := range works {
				row = append(row, ratio(cells, w, name, contender.Reference, false, g))
			}
			b.row(row...)
		}
	}
}

// ratio formats ratioValue for the page.
func ratio(cells []*cell, work, name, reference string, cancellable bool, goroutines int) string {
	v := ratioValue(cells, work, name, reference, cancellable, goroutines)
	switch {
	case v == 0:
		if c := find(cells, work, name, cancellable, goroutines); c != nil && c.failed() != "" {
			return "failed"
		}
		return ""
	case v < 0.995:
		return fmt.Sprintf("**%.2f**", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// ratioValue returns the median over the rounds of a contender's time divided by the
// reference's. It tells how many times as fast the reference is.
func ratioValue(cells []*cell, work, name, reference string, cancellable bool, goroutines int) float64 {
	c, ref := find(cells, work, name, cancellable, goroutines), find(cells, work, reference, cancellable, goroutines)
	if c == nil || ref == nil {
		return 0
	}
	return measure.Ratio(c.values(nsPerOp), ref.values(nsPerOp))
}

// roundsFaster returns in how many of their common rounds a contender was faster than
// the reference.
func roundsFaster(cells []*cell, work, name string, cancellable bool, goroutines int) (faster, rounds int) {
	values := find(cells, work, name, cancellable, goroutines).values(nsPerOp)
	reference := find(cells, work, contender.Reference, cancellable, goroutines).values(nsPerOp)
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
	b.overview(r.Cells, 1, 8)
	b.losses(r.Cells)
	b.busy(r)
	for _, w := range workloadsOf(r.Cells) {
		b.line("\n### %s: %s", w, what(w))
		b.plot(svgs, "throughput-"+w+".svg", w+" by goroutines")
		b.fold("time of an operation", func() {
			b.times(r.Cells, w, false)
			b.times(r.Cells, w, true)
		})
		b.fold("latency", func() { b.latencies(r.Cells, w) })
	}
}

// times writes the table of throughput of one workload.
func (b *builder) times(cells []*cell, w string, cancellable bool) {
	all := slices.DeleteFunc(goroutinesOf(cells, w), func(g int) bool { return find(cells, w, contender.Reference, cancellable, g) == nil })
	if len(all) == 0 {
		return
	}
	b.line("\nNanoseconds per operation (time of the run divided by operations), %s context; ± half the distance of the quartiles; in brackets the ratio to sqlite-mem", contextName(cancellable))
	head := []string{"contender"}
	for _, g := range all {
		head = append(head, many(g, "goroutine"))
	}
	b.head(head...)
	for _, name := range contendersOf(cells) {
		row, any := []string{shown(name)}, false
		for _, g := range all {
			text := ""
			if found := find(cells, w, name, cancellable, g); found != nil {
				any = true
				if values := present(found.values(nsPerOp)); len(values) == 0 {
					text = "failed: " + found.failed()
				} else {
					text = fmt.Sprintf("%.0f ±%.0f%% (%s)", measure.Median(values), 100*measure.Spread(values), ratio(cells, w, name, contender.Reference, cancellable, g))
				}
			}
			row = append(row, text)
		}
		if any {
			b.row(row...)
		}
	}
}

func contextName(cancellable bool) string {
	if cancellable {
		return "cancellable"
	}
	return "background"
}

// latencies writes the tables of percentiles of one workload.
func (b *builder) latencies(cells []*cell, w string) {
	for _, cancellable := range []bool{false, true} {
		for _, g := range goroutinesOf(cells, w) {
			if find(cells, w, contender.Reference, cancellable, g) == nil {
				continue
			}
			b.line("\nLatency of single operations in microseconds, %s, %s context, medians of the rounds", many(g, "goroutine"), contextName(cancellable))
			b.head("contender", "p50", "p99", "p99.9", "max", "retries/op")
			for _, name := range contendersOf(cells) {
				if found := find(cells, w, name, cancellable, g); found != nil {
					b.latency(found)
				}
			}
		}
	}
}

func (b *builder) latency(c *cell, more ...string) {
	if len(present(c.values(nsPerOp))) == 0 {
		b.row(shown(c.Contender), "failed: "+c.failed(), "", "", "", "")
		return
	}
	row := append([]string{shown(c.Contender)}, more...)
	for i := range measure.Percentiles {
		row = append(row, fmt.Sprintf("%.1f", medianOf(c, percentile(i))/1e3))
	}
	var retries []float64
	for _, s := range c.Samples {
		if s.Err == "" {
			retries = append(retries, s.Retries)
		}
	}
	b.row(append(row, fmt.Sprintf("%.4g", measure.Median(retries)))...)
}

// commits writes the section on durable commits.
func (b *builder) commits(r *results, svgs []string) {
	b.line("\n## Commits, by the cost of a crash")
	b.line("")
	b.line("Point writes, each a commit, by 1 to 64 writers, with the files on %s. The data source names are above. The cost of a crash:", r.Machine.FileSystem)
	b.line("")
	for _, name := range contendersOf(r.Commits) {
		if c, err := contender.Named(name); err == nil {
			b.line("- %s: %s.", name, c.Durability)
		}
	}
	b.plot(svgs, "commits.svg", "commits by writers")
	for _, g := range goroutinesOf(r.Commits, "") {
		b.line("\n### %s", many(g, "writer"))
		b.line("")
		b.line("Throughput, also as a multiple of go-sqlite3 (WAL, synchronous=FULL) and of sqlite-mem without a log. Latencies in microseconds.")
		b.head("contender", "commits / s", "x WAL+FULL", "x off", "p50", "p99", "p99.9", "max", "retries/op")
		for _, name := range contendersOf(r.Commits) {
			found := find(r.Commits, "PointWrite", name, false, g)
			if found == nil {
				continue
			}
			perSecond := 0.0
			if ns := medianOf(found, nsPerOp); ns > 0 {
				perSecond = 1e9 / ns
			}
			b.latency(found, fmt.Sprintf("%.0f ±%.0f%%", perSecond, 100*measure.Spread(present(found.values(nsPerOp)))), times(r.Commits, durable, name, g), times(r.Commits, contender.Reference, name, g))
		}
	}
}

// durable is the peer of the log with sqlite_wal=commit.
const durable = "mattn-disk-wal-full"

// times returns the throughput of a contender as a multiple of another's.
func times(cells []*cell, other, name string, writers int) string {
	if v := ratioValue(cells, "PointWrite", other, name, false, writers); v > 0 {
		return fmt.Sprintf("%.2f", v)
	}
	return ""
}

// mail writes the section on go-imap-sql.
func (b *builder) mail(r *results, svgs []string) {
	b.line("\n## go-imap-sql, the mail store of maddy and Madmail")
	b.line("")
	b.line("The same library on both, by the driver name `sqlite3`. bench/README.md lists the parameters that it adds to each data source name.")
	for _, w := range workloadsOf(r.Mail) {
		b.line("\n### %s: %s", w, what(w))
		b.times(r.Mail, w, false)
		b.plot(svgs, "throughput-"+w+".svg", w+" by goroutines")
		b.fold("latency", func() { b.latencies(r.Mail, w) })
	}
}

// losses lists the loads in which another contender is faster. Contenders behind
// database/sql come first. Those that bypass it or run no SQL show the room that
// remains.
func (b *builder) losses(cells []*cell) {
	b.line("\n### Where sqlite-mem is not the fastest")
	b.lossesTo(cells, "the fastest contender behind database/sql", isPeer)
	b.lossesTo(cells, "the fastest that bypasses database/sql (†) or runs no SQL (‡)", isBeyond)
}

func (b *builder) lossesTo(cells []*cell, who string, of func(*contender.Contender) bool) {
	type loss struct {
		text  string
		ratio float64
	}
	var all []loss
	loads := 0
	for _, w := range workloadsOf(cells) {
		for _, cancellable := range []bool{false, true} {
			for _, g := range goroutinesOf(cells, w) {
				best, by := best(cells, w, cancellable, g, of)
				if by == "" {
					continue
				}
				loads++
				if best < 0.995 {
					faster, rounds := roundsFaster(cells, w, by, cancellable, g)
					all = append(all, loss{fmt.Sprintf("| %s | %s | %d | %s | %.2f | %d of %d |", w, contextName(cancellable), g, shown(by), best, faster, rounds), best})
				}
			}
		}
	}
	if loads == 0 {
		return
	}
	b.line("")
	b.line("%d of %d loads; %s, its time divided by that of sqlite-mem, and in how many rounds it was faster.", len(all), loads, who)
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b loss) int { return cmp.Compare(a.ratio, b.ratio) })
	b.head("load", "context", "goroutines", "fastest", "ratio", "rounds")
	for _, l := range all {
		b.line("%s", l.text)
	}
}

// whatUsers describes a load of workload.Users in words, with its numbers.
func whatUsers(r *results, name string) string {
	for _, u := range workload.Users(workload.UserSizesOf(r.Short), nil) {
		if u.Name == name {
			return u.What
		}
	}
	return name
}

// users writes the section on the loads of workload.Users.
func (b *builder) users(r *results, svgs []string) {
	b.line("\n## Users, articles and comments")
	b.line("")
	b.line("Loads like those of the comparison that users of SQLite in Go quote, [go-sqlite-bench](https://github.com/cvilsmeier/go-sqlite-bench), with tables and statements")
	b.line("of our own. Each runs a number of times, in %s. An operation is one transaction, or one query with all of its rows.", many(r.UserRounds, "round"))
	b.overview(r.Users, 1)
	b.losses(r.Users)
	for _, w := range workloadsOf(r.Users) {
		b.line("\n### %s: %s", w, whatUsers(r, w))
		b.plot(svgs, "users-"+w+".svg", w+" by goroutines")
		b.fold("time of an operation", func() { b.times(r.Users, w, false) })
	}
}

// busy lists the contenders with retries.
func (b *builder) busy(r *results) {
	b.line("\n### Retries")
	b.line("")
	b.line("Retries of busy statements and transactions per operation, for the load with the most.")
	b.head("contender", "retries/op", "load", "context", "goroutines")
	cells := slices.Concat(r.Cells, r.Users, r.Commits, r.Mail)
	for _, name := range contendersOf(cells) {
		var most *cell
		retries := 0.0
		for _, c := range cells {
			for _, s := range c.Samples {
				if c.Contender == name && s.Retries > retries {
					most, retries = c, s.Retries
				}
			}
		}
		if most != nil {
			b.row(name, fmt.Sprintf("%.4g", retries), most.Workload, contextName(most.Cancellable), fmt.Sprint(most.Goroutines))
		} else {
			b.row(name, "0", "", "", "")
		}
	}
}

func ms(ns float64) string { return fmt.Sprintf("%.2f", ns/1e6) }

func mb(bytes float64) string { return fmt.Sprintf("%.0f", bytes/(1<<20)) }

// over returns the median of a figure over runs.
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
	b.line("Each of four goroutines begins a statement every 500 µs, one in ten a write. Each contender has a process of its own. Medians of the")
	b.line("rounds. “Statement” is how long a statement took. “Response” counts from the time at which it should have begun, so a standstill shows in")
	b.line("every statement that it delayed.")
	for _, size := range r.snapshotSizes() {
		b.line("\n### A snapshot of %d MB", size)
		b.line("\n![latency through a snapshot of %d MB](snapshot-%dMB.svg)", size, size)
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
		b.head("contender", "how it saves", "save under load, s", "save at rest, s", "data, MB", "resident / data", "peak over resident during a save, MB")
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
	}
	for _, s := range r.Snapshots {
		if s.Err != "" && !slices.Contains(r.snapshotSizes(), s.MB) {
			b.line("\n%s, %d MB: failed: %s", s.Contender, s.MB, s.Err)
		}
	}
}

// memory has the first round beside the last, so that memory which grows is seen.
func (b *builder) memory(r *results) {
	b.line("\n## Memory of %d writers", contender.MaxGoroutines)
	b.line("")
	b.line("Resident memory, in MB, over that of the process before it opened the database. Before: each of the %d goroutines has a connection, and none has written.", contender.MaxGoroutines)
	b.line("Peak: until the end of a round of point writes. At rest: behind it, when Go has returned free memory.")
	b.head("contender", "data", "before", "peak, first round", "peak, last round", "at rest, first round", "at rest, last round")
	for _, name := range grown {
		var runs []*memoryRun
		failed := ""
		for _, m := range r.Memory {
			switch {
			case m.Contender != name:
			case m.Err != "":
				failed = m.Err
			default:
				runs = append(runs, m)
			}
		}
		if failed != "" {
			b.row(name, "failed: "+failed, "", "", "", "", "")
		} else if len(runs) > 0 {
			first, last := runs[0], runs[len(runs)-1]
			b.row(name, mb(float64(first.DataBytes)), mb(float64(first.Before)), mb(float64(first.Peak)), mb(float64(last.Peak)), mb(float64(first.After)), mb(float64(last.After)))
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
	b.line("sqlite-mem beside operations on the file alone. The file is in the page cache unless a row says otherwise. Nothing else runs. Load is `sql.Open` and the first")
	b.line("statement, with the check of the file. Save is `driver.Sync` after a change of one row: all pages, checked, fsync, rename. “Again”: in a process that")
	b.line("has had the memory before.")
	for _, s := range r.LoadSave {
		if s.Err != "" {
			b.line("\nRound %d failed: %s", s.Round+1, s.Err)
		}
	}
	if runs := r.loads(); len(runs) > 0 {
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
		ratio("load to reading the file into fresh memory, as a load does", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Load, s.ReadFresh })
		ratio("load again to reading the file through a buffer", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.LoadAgain, s.Read })
		ratio("load again to reading the file through a buffer, both from the disk", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.LoadCold, s.ReadCold })
		ratio("save to cp and fsync", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Save, s.Copy })
		ratio("save to VACUUM INTO and fsync", func(s *loadSaveRun) (time.Duration, time.Duration) { return s.Save, s.Vacuum })
		b.head("memory", "")
		b.row("resident after load / file", fmt.Sprintf("%.3f", over(runs, func(s *loadSaveRun) float64 { return float64(s.Resident) / float64(s.FileBytes) })))
		b.row("resident after saves / file", fmt.Sprintf("%.3f", over(runs, func(s *loadSaveRun) float64 { return float64(s.ResidentAfterSave) / float64(s.FileBytes) })))
	}
}

func (b *builder) growth(r *results, svgs []string) {
	b.line("\n## Growth")
	b.line("")
	b.line("Databases of all sizes take turns, each in a process of its own. Commit: a point write by one goroutine, first anywhere, then among as many accounts as the")
	b.line("smallest database has. The two differ in how much of the touched data is in the processor's caches. Pin: a read-only transaction of one read, if the")
	b.line("contender has such snapshots. “x” is the median over the rounds of the median time divided by that of the smallest size.")
	b.head("contender", "size, MB", "commit, µs: p50", "x", "p99", "max", "same accounts: p50", "x", "pin, µs: p50", "x", "p99", "resident / size")
	commit, same, pin := growthRun.commit, growthRun.same, growthRun.pin
	for _, name := range grown {
		for _, size := range r.growthSizes() {
			runs := r.growthOf(name, size)
			if len(runs) == 0 {
				for _, g := range r.Growth {
					if g.Contender == name && g.MB == size {
						b.row(name, fmt.Sprint(size), "failed: "+g.Err, "", "", "", "", "", "", "", "", "")
						break
					}
				}
				continue
			}
			us := func(pick func(growthRun) []float64, i, digits int) string {
				if pick(*runs[0]) == nil {
					return ""
				}
				return fmt.Sprintf("%.*f", digits, over(runs, func(g *growthRun) float64 { return pick(*g)[i] / 1e3 }))
			}
			x := func(pick func(growthRun) []float64) string {
				if v := r.grew(name, size, pick); v > 0 {
					return fmt.Sprintf("%.2f", v)
				}
				return ""
			}
			b.row(name, mb(over(runs, func(g *growthRun) float64 { return float64(g.DataBytes) })),
				us(commit, 0, 1), x(commit), us(commit, 1, 1), us(commit, 3, 0), us(same, 0, 1), x(same), us(pin, 0, 1), x(pin), us(pin, 1, 1),
				fmt.Sprintf("%.2f", over(runs, func(g *growthRun) float64 { return float64(g.Resident) / float64(g.DataBytes) })))
		}
	}
	for _, name := range []string{"commit", "pin", "memory"} {
		b.plot(svgs, "growth-"+name+".svg", "growth: "+name)
	}
}

// grew returns the median over the rounds of the median time at a size divided by that
// at the smallest size.
func (r *results) grew(name string, size int, pick func(growthRun) []float64) float64 {
	at := func(mb int) []float64 {
		var v []float64 // by rounds
		for _, g := range r.growthOf(name, mb) {
			for len(v) <= g.Round {
				v = append(v, 0)
			}
			if pick(*g) != nil {
				v[g.Round] = pick(*g)[0]
			}
		}
		return v
	}
	return measure.Ratio(at(size), at(r.growthSizes()[0]))
}
