//go:build cgo

package demo

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/latency"
)

// report has the measurements of a demo. Nothing in it is guessed.
type report struct {
	what string // the database

	loaded   int64 // bytes
	loadTook time.Duration

	phases       []phase
	times        *times
	transactions string
	goroutines   int
	failed       int
	firstErr     error
	busy         uint64
	interrupted  bool

	snapshotTimes latency.Histogram
	snapshotBytes int64
	lastSave      time.Duration // on closing; 0: there was nothing to save
	saved         int64         // bytes of the last snapshot

	// Resident memory of the process, 0 where it is not known.
	residentBefore, residentLoaded, residentServed, residentPeak int64
	peakKnown                                                    bool

	path     string
	fileSize int64
	findings []finding
}

// write shows the report, and tells whether all went well.
func (r *report) write(s *show.Screen) (ok bool) {
	ok = true
	entry := func(title, format string, args ...any) {
		for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
			s.Line("%s", strings.TrimRight(fmt.Sprintf("%-9s %s", title, line), " "))
			title = ""
		}
	}
	s.Line("")
	title := "REPORT"
	if r.interrupted {
		title += " (interrupted)"
	}
	s.Line("%s", title)
	entry("loaded", "%s, %s in %s", r.what, show.Size(r.loaded), show.Duration(r.loadTook))

	var total int64
	var took time.Duration
	rates := ""
	var wanted float64
	for _, p := range r.phases {
		total += p.operations
		took += p.took
		wanted = p.rate
		switch rate := show.Count(int64(p.perSecond())); {
		case p.load == full && p.withSaves:
			rates += ", " + rate + " with"
		case p.load == full:
			rates = rate + " a second at most without snapshots"
		}
	}
	entry("served", "%s operations in %s: %d %% reads, %d %% writes, %d %% %s", show.Count(total), show.Duration(took),
		100-writePercent-transactionPercent, writePercent, transactionPercent, r.transactions)
	entry("", "%s", rates)
	if r.failed == 0 && r.firstErr == nil && r.busy == 0 {
		entry("", "no errors, nobody was told SQLITE_BUSY")
	} else {
		ok = false
		entry("", "FAILED: %s, %s of SQLITE_BUSY; the first:\n%v", show.Plural(r.failed, "error"), show.Count(r.busy), r.firstErr)
	}

	if r.snapshotTimes.Count() > 0 {
		entry("saved", "%s under that load, %s: %s each, %s at most", show.Plural(r.snapshotTimes.Count(), "snapshot"),
			show.Size(r.snapshotBytes), show.Duration(r.snapshotTimes.Percentile(0.5)), show.Duration(r.snapshotTimes.Percentile(1)))
	}
	if r.lastSave > 0 {
		title := "saved"
		if r.snapshotTimes.Count() > 0 {
			title = ""
		}
		entry(title, "%s on closing, in %s", show.Size(r.saved), show.Duration(r.lastSave))
	}

	s.Line("")
	s.Line("%-26s %12s %9s %9s %9s %9s", "latency", "operations", "p50", "p99", "p99.9", "max")
	for load := range r.times {
		what := "as much as possible"
		if load == int(paced) {
			if wanted == 0 {
				break // it did not come to that
			}
			what = show.Count(int64(wanted)) + " operations a second"
		}
		for during, title := range []string{"no snapshot running", "while a snapshot runs"} {
			s.Line("%s, %s", what, title)
			for k, name := range []string{"reads", "writes", r.transactions} {
				l := &r.times[load][during][k]
				if l.Count() == 0 {
					s.Line("  %-24s %12s", name, "0")
					continue
				}
				s.Line("  %-24s %12s %9s %9s %9s %9s", name, show.Count(l.Count()), show.Duration(l.Percentile(0.5)),
					show.Duration(l.Percentile(0.99)), show.Duration(l.Percentile(0.999)), show.Duration(l.Percentile(1)))
			}
		}
	}
	s.Line("The time is that of the call, as the caller sees it. %s share", show.Plural(r.goroutines, "goroutine"))
	s.Line("%s: waiting for a CPU, and for the one writer's turn, is in it.", show.Plural(runtime.GOMAXPROCS(0), "CPU"))
	s.Line("")

	if r.residentBefore > 0 {
		peak := ""
		if r.peakKnown {
			peak = " (" + show.Size(r.residentPeak) + " at most)"
		}
		entry("memory", "process: %s before loading, %s after loading %s,\n%s%s after serving %s, by %s\n(resident memory: VmRSS of Linux)",
			show.Size(r.residentBefore), show.Size(r.residentLoaded), show.Size(r.loaded), show.Size(r.residentServed), peak,
			show.Size(r.fileSize), show.Plural(r.goroutines, "connection"))
	}
	title = "file"
	for _, f := range r.findings {
		text := f.text
		if !f.ok {
			ok = false
			text = "FAILED: " + text
		}
		entry(title, "%s", text)
		title = ""
	}
	return ok
}
