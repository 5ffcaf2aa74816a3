package main

import (
	"fmt"
	"go/version"
	"slices"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// aim is a goal of the project, with the measured figure.
type aim struct {
	work, aim string
	measured  string
	reached   bool
	missing   string // why there is no figure
	told      bool   // the figure is reported without a goal
}

// flat is how much slower the largest database may be than the smallest and still count
// as equally fast. It is about the cost of misses in the processor's caches.
const flat = 1.25

// aims returns the aims of the project, in the order in which they were set.
func (r *results) aims() []aim {
	return []aim{
		r.aimReading(),
		r.aimReads1(),
		r.aimReads8(),
		r.aimScan(),
		r.aimGorm(),
		r.aimAggregate(),
		r.aimCancellable(),
		r.aimWrites1(),
		r.aimAhead("point writes, 8 goroutines", "ahead of every contender behind database/sql that is safe for a pool", isSafePeer, loadAt{"PointWrite", 8}),
		r.aimAhead("mixes, 8 and 64 goroutines", "ahead of every contender behind database/sql", isPeer, loadAt{"Mix90", 8}, loadAt{"Mix50", 8}, loadAt{"Mix90", 64}, loadAt{"Mix50", 64}),
		r.aimSnapshot(),
		r.aimLoad(),
		r.aimSave(),
		r.aimMemory(),
		r.aimGrowth(),
		r.aimInterval(),
		r.aimCommit(1, 1, "not slower than go-sqlite3 with WAL and synchronous=FULL"),
		r.aimCommit(8, 3, "at least 3 x the same"),
		r.aimCommit(64, 10, "at least 10 x the same"),
	}
}

// summary returns the table of the aims alone, to be quoted.
func summary(r *results) string {
	b := &builder{}
	b.aims(r)
	b.line("")
	b.line("Measured on %s with %s, %s, kernel %s, %s, %s, by `go -C bench run ./cmd/report` at %s.",
		r.Machine.Date, r.Machine.CPU, many(r.Machine.Cores, "core"), r.Machine.Kernel, r.Machine.FileSystem, r.Machine.Go, r.Machine.Revision)
	return b.String()
}

func (b *builder) aims(r *results) {
	if r.Short {
		b.line("**This was a short run. It shows that everything works; its figures mean nothing.**\n")
	}
	b.line("Medians of the rounds, ratios taken in each round. “2 x NAME” is twice as fast as NAME.")
	b.line("\n| work | aim | measured | reached |\n|---|---|---|---|")
	for _, a := range r.aims() {
		switch {
		case a.missing != "":
			b.row(a.work, a.aim, a.missing, "not measured")
		case a.told:
			b.row(a.work, a.aim, a.measured, "–")
		case a.reached:
			b.row(a.work, a.aim, a.measured, "yes")
		default:
			b.row(a.work, a.aim, a.measured, "**no**")
		}
	}
}

// isPeer reports whether the aims compare with a contender: another driver, behind
// database/sql, that runs SQL. A contender that isBeyond shows the room that remains.
func isPeer(c *contender.Contender) bool {
	return !c.Own && c.Name != contender.Reference && !isBeyond(c)
}
func isBeyond(c *contender.Contender) bool   { return c.Bypass != "" || c.Empty }
func isSafePeer(c *contender.Contender) bool { return isPeer(c) && c.Safe }
func isGoSQLite3(c *contender.Contender) bool {
	return strings.HasPrefix(c.Name, "madmail") || strings.HasPrefix(c.Name, "mattn-")
}

// best returns the fastest of some contenders, and its time divided by that of
// sqlite-mem. It returns 0 if none was measured.
func best(cells []*cell, work string, cancellable bool, goroutines int, of func(*contender.Contender) bool) (least float64, by string) {
	for _, c := range contender.All() {
		if !of(c) {
			continue
		}
		if v := ratioValue(cells, work, c.Name, contender.Reference, cancellable, goroutines); v > 0 && (by == "" || v < least) {
			least, by = v, c.Name
		}
	}
	return least, by
}

func (r *results) best(work string, cancellable bool, goroutines int, of func(*contender.Contender) bool) (least float64, by string) {
	return best(r.Cells, work, cancellable, goroutines, of)
}

// ratioSpread returns how much the rounds of a ratio differ, relative to it.
func ratioSpread(cells []*cell, work, name string, cancellable bool, goroutines int) float64 {
	c, ref := find(cells, work, name, cancellable, goroutines), find(cells, work, contender.Reference, cancellable, goroutines)
	return measure.Spread(measure.Ratios(c.values(nsPerOp), ref.values(nsPerOp)))
}

const notMeasured = "this part was not run"

// floor is the contender with a single connection, which needs no lock.
const floor = "mattn-memory-1conn"

// reads reports whether a load only reads. It leaves out Aggregate, whose time is
// SQLite's own.
func reads(work string) bool {
	switch work {
	case "PointRead", "Scan1000", "UsersScan", "BlogJoin", "BulkJoin":
		return true
	}
	return strings.HasPrefix(work, "Query")
}

// aimReading covers each load that reads, with each number of goroutines and each kind
// of context.
func (r *results) aimReading() aim {
	a := aim{work: "every load that reads, with each number of goroutines", aim: "ahead of every contender behind database/sql, beyond the rounds' spread"}
	var short []string
	rows, least, at := 0, 0.0, ""
	for _, cells := range [][]*cell{r.Cells, r.Users} {
		for _, w := range workloadsOf(cells) {
			for _, cancellable := range []bool{false, true} {
				for _, g := range goroutinesOf(cells, w) {
					if !reads(w) {
						continue
					}
					worst, by := 0.0, ""
					for _, c := range contender.All() {
						v := ratioValue(cells, w, c.Name, contender.Reference, cancellable, g)
						if v == 0 || !isPeer(c) {
							continue
						}
						if v *= 1 - ratioSpread(cells, w, c.Name, cancellable, g); by == "" || v < worst {
							worst, by = v, c.Name
						}
					}
					if by == "" {
						continue
					}
					rows++
					where := fmt.Sprintf("%.2f x %s in %s, %s, %s context", worst, by, w, many(g, "goroutine"), contextName(cancellable))
					if worst <= 1 {
						short = append(short, where)
					}
					if at == "" || worst < least {
						least, at = worst, where
					}
				}
			}
		}
	}
	if rows == 0 {
		a.missing = notMeasured
		return a
	}
	a.reached = len(short) == 0
	a.measured = fmt.Sprintf("%d of %d rows; the least, less the spread, is %s", rows-len(short), rows, at)
	if len(short) > 1 {
		a.measured = fmt.Sprintf("%d of %d rows; the others, as the ratio less the spread: %s", rows-len(short), rows, strings.Join(short, "; "))
	}
	return a
}

// with127 returns the aim for the Go version of the report. From Go 1.27 on
// database/sql takes the values of a row from the driver without boxing them.
func (r *results) with127(before, since float64) (float64, string) {
	text := fmt.Sprintf("at least %g x the next behind database/sql (%g x from Go 1.27 on)", before, since)
	if version.Compare(version.Lang(r.Machine.Go), "go1.27") >= 0 {
		return since, text
	}
	return before, text
}

// aimNext compares with the fastest peer.
func (r *results) aimNext(name, work string, goroutines int, before, since float64) aim {
	want, text := r.with127(before, since)
	a := aim{work: name, aim: text}
	least, by := r.best(work, false, goroutines, isPeer)
	if by == "" {
		a.missing = notMeasured
		return a
	}
	a.measured = fmt.Sprintf("%.2f x %s, the fastest of the others", least, by)
	a.reached = least >= want
	var beyond []string
	for _, c := range contender.All() {
		if v := ratioValue(r.Cells, work, c.Name, contender.Reference, false, goroutines); v > 0 && isBeyond(c) {
			beyond = append(beyond, fmt.Sprintf("%s %.2f x", shown(c.Name), v))
		}
	}
	if len(beyond) > 0 {
		a.measured += "; beside: " + strings.Join(beyond, ", ")
	}
	return a
}

func (r *results) aimReads1() aim {
	return r.aimNext("point reads, 1 goroutine", "PointRead", 1, 1.1, 1.2)
}

func (r *results) aimScan() aim { return r.aimNext("1000 rows, 1 goroutine", "Scan1000", 1, 1.4, 1.7) }

func (r *results) aimReads8() aim {
	a := aim{work: "point reads, 8 goroutines", aim: "at least 1.9 x memdb of go-sqlite3 and 2.5 x the Madmail design"}
	memdb := ratioValue(r.Cells, "PointRead", "mattn-memdb", contender.Reference, false, 8)
	madmail := ratioValue(r.Cells, "PointRead", "madmail", contender.Reference, false, 8)
	if memdb == 0 || madmail == 0 {
		a.missing = notMeasured
		return a
	}
	plain := ""
	if v := ratioValue(r.Cells, "PointRead", "madmail-plain", contender.Reference, false, 8); v > 0 {
		plain = fmt.Sprintf(" (%.2f x without the options that sqlite-mem sets)", v)
	}
	a.measured = fmt.Sprintf("%.2f x mattn-memdb; %.2f x madmail%s", memdb, madmail, plain)
	a.reached = memdb >= 1.9 && madmail >= 2.5
	return a
}

func (r *results) aimGorm() aim {
	a := aim{work: "through GORM", aim: "not slower than any contender, beyond the rounds' spread", reached: true}
	var parts []string
	for _, w := range workload.Gorm(nil) {
		for _, g := range goroutinesOf(r.Cells, w.Name) {
			least, by := 0.0, ""
			for _, c := range contender.All() {
				v := ratioValue(r.Cells, w.Name, c.Name, contender.Reference, false, g)
				if v == 0 || !isPeer(c) {
					continue
				}
				a.reached = a.reached && v*(1+ratioSpread(r.Cells, w.Name, c.Name, false, g)) >= 1
				if by == "" || v < least {
					least, by = v, c.Name
				}
			}
			if by != "" {
				parts = append(parts, fmt.Sprintf("%s with %d: %.2f x %s", w.Name, g, least, by))
			}
		}
	}
	if len(parts) == 0 {
		a.missing = notMeasured
	}
	a.measured = strings.Join(parts, "; ")
	return a
}

func (r *results) aimAggregate() aim {
	a := aim{work: "an aggregate over everything", aim: "none: it is SQLite's own time", told: true}
	var parts []string
	for _, g := range goroutinesOf(r.Cells, "Aggregate") {
		if v, by := r.best("Aggregate", false, g, isPeer); by != "" {
			parts = append(parts, fmt.Sprintf("%.2f x %s with %s", v, by, many(g, "goroutine")))
		}
	}
	if len(parts) == 0 {
		a.missing = notMeasured
	}
	a.measured = strings.Join(parts, "; ")
	return a
}

func (r *results) aimCancellable() aim {
	a := aim{work: "reads with a cancellable context", aim: "at least 2 x go-sqlite3 in any mode"}
	var parts []string
	worst := 0.0
	for _, g := range goroutinesOf(r.Cells, "PointRead") {
		if v, by := r.best("PointRead", true, g, isGoSQLite3); by != "" {
			parts = append(parts, fmt.Sprintf("%.2f x %s with %s", v, by, many(g, "goroutine")))
			if worst == 0 || v < worst {
				worst = v
			}
		}
	}
	if len(parts) == 0 {
		a.missing = notMeasured
	}
	a.measured, a.reached = strings.Join(parts, "; "), worst >= 2
	return a
}

func (r *results) aimWrites1() aim {
	a := aim{work: "point writes, 1 goroutine", aim: "within 15 % of `:memory:` with one connection"}
	memory := ratioValue(r.Cells, "PointWrite", floor, contender.Reference, false, 1)
	if memory == 0 {
		a.missing = notMeasured
		return a
	}
	a.measured, a.reached = fmt.Sprintf("%.2f x its time", 1/memory), 1/memory <= 1.15
	return a
}

type loadAt struct {
	work       string
	goroutines int
}

func (r *results) aimAhead(work, text string, of func(*contender.Contender) bool, loads ...loadAt) aim {
	a := aim{work: work, aim: text, reached: true}
	var parts []string
	for _, l := range loads {
		v, by := r.best(l.work, false, l.goroutines, of)
		if by == "" {
			a.missing = notMeasured
			return a
		}
		where := ""
		if len(loads) > 1 {
			where = fmt.Sprintf("%s with %d: ", l.work, l.goroutines)
		}
		parts = append(parts, fmt.Sprintf("%s%.2f x %s", where, v, by))
		a.reached = a.reached && v > 1
	}
	a.measured = strings.Join(parts, "; ") + ", the fastest of the others"
	return a
}

func (r *results) aimSnapshot() aim {
	a := aim{work: "worst statement during a snapshot of 1 GiB", aim: "under 5 ms, and at most 2 x the worst without one"}
	runs, _ := r.snapshotsOf(contender.Reference, 1024)
	if len(runs) == 0 {
		a.missing = notMeasured
		return a
	}
	with := over(runs, func(s *snapshotRun) float64 { return s.With[3] })
	x := over(runs, func(s *snapshotRun) float64 { return s.With[3] / s.Without[3] })
	worst := 0.0
	for _, s := range runs {
		worst = max(worst, s.With[3])
	}
	a.measured = fmt.Sprintf("%s ms (worst of %d rounds: %s ms), %.2f x the worst without", ms(with), len(runs), ms(worst), x)
	a.reached = with < 5e6 && x <= 2
	return a
}

// loads returns the rounds of load and save that did not fail.
func (r *results) loads() (runs []*loadSaveRun) {
	for _, s := range r.LoadSave {
		if s.Err == "" {
			runs = append(runs, s)
		}
	}
	return runs
}

func (r *results) aimLoad() aim {
	a := aim{work: "load", aim: "at least 0.8 x the speed of reading the file"}
	runs := r.loads()
	if len(runs) == 0 {
		a.missing = notMeasured
		return a
	}
	fresh := over(runs, func(s *loadSaveRun) float64 { return s.ReadFresh.Seconds() / s.Load.Seconds() })
	cached := over(runs, func(s *loadSaveRun) float64 { return s.Read.Seconds() / s.LoadAgain.Seconds() })
	cold := over(runs, func(s *loadSaveRun) float64 { return s.ReadCold.Seconds() / s.LoadCold.Seconds() })
	a.measured = fmt.Sprintf("%d MB: %.2f x reading it into fresh memory, the figure that counts; %.2f x reading it through a small buffer, %.2f x from the disk", runs[0].FileBytes>>20, fresh, cached, cold)
	a.reached = fresh >= 0.8
	return a
}

func (r *results) aimSave() aim {
	a := aim{work: "save", aim: "at least 0.8 x the speed of `VACUUM INTO` a file"}
	runs := r.loads()
	if len(runs) == 0 {
		a.missing = notMeasured
		return a
	}
	x := over(runs, func(s *loadSaveRun) float64 { return s.Vacuum.Seconds() / s.Save.Seconds() })
	a.measured = fmt.Sprintf("%d MB: %.2f x, both synced", runs[0].FileBytes>>20, x)
	a.reached = x >= 0.8
	return a
}

func (r *results) aimMemory() aim {
	a := aim{work: "memory", aim: "at most 1.1 x the file, resident"}
	runs := r.loads()
	if len(runs) == 0 {
		a.missing = notMeasured
		return a
	}
	loaded := over(runs, func(s *loadSaveRun) float64 { return float64(s.Resident) / float64(s.FileBytes) })
	saved := over(runs, func(s *loadSaveRun) float64 { return float64(s.ResidentAfterSave) / float64(s.FileBytes) })
	a.measured = fmt.Sprintf("%d MB: %.3f x loaded, %.3f x after saves", runs[0].FileBytes>>20, loaded, saved)
	a.reached = max(loaded, saved) <= 1.1
	return a
}

func (r *results) aimGrowth() aim {
	a := aim{work: "growth", aim: "commit and pin time flat from 10 MB to 4 GiB"}
	sizes := r.growthSizes()
	if len(sizes) == 0 {
		a.missing = notMeasured
		return a
	}
	largest := sizes[len(sizes)-1]
	commit := r.grew(contender.Reference, largest, growthRun.commit)
	same := r.grew(contender.Reference, largest, growthRun.same)
	pin := r.grew(contender.Reference, largest, growthRun.pin)
	if min(commit, same, pin) == 0 {
		a.missing = "the run failed"
		return a
	}
	a.measured = fmt.Sprintf("%d MB against %d MB: commit %.2f x the time among the same accounts and %.2f x anywhere, pin %.2f x (up to %.2f counts as flat)",
		largest, sizes[0], same, commit, pin, flat)
	if v := r.grew(floor, largest, growthRun.commit); v > 0 {
		a.measured += fmt.Sprintf("; `:memory:` with one connection, which is SQLite alone, %.2f x and %.2f x", r.grew(floor, largest, growthRun.same), v)
	}
	if largest < 4096 {
		a.measured += "; 4 GiB with `-huge`"
	}
	a.reached = max(commit, same, pin) <= flat
	return a
}

// noDisk returns why figures of synced commits mean nothing, or the empty string.
func (r *results) noDisk() string {
	if strings.HasPrefix(r.Machine.FileSystem, "tmpfs") {
		return "the files were on a tmpfs, which syncs nothing"
	}
	return ""
}

func (r *results) aimInterval() aim {
	a := aim{work: "commits with `sqlite_wal=1s`", aim: "throughput within 10 % of `off`"}
	name := "sqlite-mem-wal-1s"
	if a.missing = r.noDisk(); a.missing != "" {
		return a
	}
	var parts []string
	var all []float64
	for _, g := range goroutinesOf(r.Commits, "") {
		if v := ratioValue(r.Commits, "PointWrite", contender.Reference, name, false, g); v > 0 {
			parts = append(parts, fmt.Sprintf("%.2f of it with %s", v, many(g, "writer")))
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		a.missing = notMeasured
		return a
	}
	a.measured, a.reached = strings.Join(parts, "; "), slices.Min(all) >= 0.9
	return a
}

func (r *results) aimCommit(writers int, least float64, text string) aim {
	a := aim{work: "commits with `sqlite_wal=commit`, " + many(writers, "writer"), aim: text}
	name := "sqlite-mem-wal-commit"
	if a.missing = r.noDisk(); a.missing != "" {
		return a
	}
	ours, theirs := find(r.Commits, "PointWrite", name, false, writers), find(r.Commits, "PointWrite", durable, false, writers)
	v := ratioValue(r.Commits, "PointWrite", durable, name, false, writers)
	if v == 0 {
		a.missing = notMeasured
		return a
	}
	perSecond := func(c *cell) float64 { return 1e9 / measure.Median(present(c.values(nsPerOp))) }
	a.measured = fmt.Sprintf("%.2f x (%.0f commits/s, %.0f)", v, perSecond(ours), perSecond(theirs))
	a.reached = v >= least
	return a
}
