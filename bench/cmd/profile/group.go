package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// groups are the owners of code, in the order of the table.
var groups = []string{
	"SQLite",
	"sqlite-mem, engine (C)",
	"sqlite-mem, driver (Go)",
	"go-sqlite3",
	"C library",
	"GORM",
	"reflect",
	"database/sql",
	"Go: memory and garbage collection",
	"Go: scheduler, cgo, locks, contexts and the rest",
	"kernel",
	"the bench",
}

// profile is the processor time of one operation in nanoseconds, by the owner of the
// code, with the functions of each.
type profile struct {
	total float64
	by    map[string]float64
	most  map[string][]function
}

type function struct {
	name string
	ns   float64
}

// definition matches the beginning of a C function in this project's style.
var definition = regexp.MustCompile(`(?m)^[A-Za-z][\w *]*?[ *](\w+)\([^;]*\{$`)

// engineFunctions returns the names of the functions in the C files of a directory.
func engineFunctions(dir string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.c"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no C files in %s: run this command with go -C bench run ./cmd/profile", dir)
	}
	names := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for _, m := range definition.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
	}
	return names, nil
}

// clone matches the suffix that a C compiler appends to the name of a part or variant
// of a function.
var clone = regexp.MustCompile(`\.(part|isra|constprop|cold|lto_priv|localalias)(\.\d+)*`)

var goMemory = regexp.MustCompile(`malloc|[gG][cC]|scan|sweep|mark|[hH]eap|span|mcache|mcentral|memclr|scav|greyobject|findObject|wbBuf|bulkBarrier|nextFree|newobject|makeslice|growslice`)

// groupOf returns the owner of a function. kernel reports whether perf found it in the
// kernel.
func groupOf(dso, symbol string, kernel bool, engine map[string]bool) string {
	switch {
	case kernel:
		return "kernel"
	case strings.Contains(dso, "libc") || strings.Contains(dso, "libm") || strings.Contains(dso, "libpthread"):
		return "C library"
	case strings.Contains(dso, "vdso"):
		return "Go: scheduler, cgo, locks, contexts and the rest" // clocks
	}
	symbol = clone.ReplaceAllString(symbol, "")
	switch {
	case engine[symbol]:
		return "sqlite-mem, engine (C)"
	case strings.Contains(symbol, "mattn/go-sqlite3") || strings.HasPrefix(symbol, "_sqlite3") || strings.HasPrefix(symbol, "_cgo_") && strings.Contains(symbol, "_Cfunc_"):
		return "go-sqlite3"
	case strings.Contains(symbol, "sqlite-mem/bench") || strings.HasPrefix(symbol, "main."):
		return "the bench"
	case strings.Contains(symbol, "gorm.io/") || strings.Contains(symbol, "jinzhu/") || strings.Contains(symbol, "sqlite-mem/gormdialect"):
		return "GORM" // with the dialects
	case strings.HasPrefix(symbol, "reflect.") || strings.HasPrefix(symbol, "internal/reflect"):
		return "reflect" // called by GORM and database/sql
	case strings.Contains(symbol, "sqlite-mem/sqlite-mem"):
		return "sqlite-mem, driver (Go)"
	case strings.Contains(symbol, "modernc.org") || strings.Contains(symbol, "ncruces"):
		return "SQLite" // translated to Go
	case strings.HasPrefix(symbol, "database/sql"):
		return "database/sql"
	case strings.HasPrefix(symbol, "runtime.") && goMemory.MatchString(symbol):
		return "Go: memory and garbage collection"
	case strings.ContainsAny(symbol, "./") || strings.HasPrefix(symbol, "0x") || strings.Contains(symbol, "cgo"):
		return "Go: scheduler, cgo, locks, contexts and the rest"
	}
	return "SQLite"
}

// parse reads the output of perf report and divides the processor time of an operation,
// ns, accordingly. Each line has a share, a file and a function.
func parse(report string, engine map[string]bool, ns float64) profile {
	p := profile{total: ns, by: map[string]float64{}, most: map[string][]function{}}
	for line := range strings.Lines(report) {
		parts := strings.SplitN(strings.TrimSpace(line), "|", 3)
		if len(parts) < 3 {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(parts[0]), "%"), 64)
		where, symbol, found := strings.Cut(strings.TrimSpace(parts[2]), "] ")
		if err != nil || !found {
			continue
		}
		symbol, _, _ = strings.Cut(strings.TrimSpace(symbol), "|")
		symbol = strings.TrimSpace(symbol)
		share := percent / 100 * ns
		g := groupOf(strings.TrimSpace(parts[1]), symbol, where == "[k", engine)
		p.by[g] += share
		p.most[g] = append(p.most[g], function{symbol, share})
	}
	return p
}

// write writes the table, and the largest functions of each contender after it.
func write(w io.Writer, names []string, profiles []profile) error {
	row := func(first string, cell func(p profile) string) {
		fmt.Fprintf(w, "| %s |", first)
		for _, p := range profiles {
			fmt.Fprintf(w, " %s |", cell(p))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "| whose code | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---:|", len(names)))
	for _, g := range groups {
		if slices.ContainsFunc(profiles, func(p profile) bool { return p.by[g] > 0 }) {
			row(g, func(p profile) string { return fmt.Sprintf("%.0f", p.by[g]) })
		}
	}
	row("all", func(p profile) string { return fmt.Sprintf("%.0f", p.total) })
	for i, p := range profiles {
		fmt.Fprintf(w, "\n%s, the largest functions:\n", names[i])
		for _, g := range groups {
			if len(p.most[g]) == 0 {
				continue
			}
			most := slices.SortedFunc(slices.Values(p.most[g]), func(a, b function) int { return cmp.Compare(b.ns, a.ns) })
			var parts []string
			for _, f := range most[:min(4, len(most))] {
				parts = append(parts, fmt.Sprintf("%s %.0f", f.name, f.ns))
			}
			if _, err := fmt.Fprintf(w, "  %s: %s\n", g, strings.Join(parts, ", ")); err != nil {
				return err
			}
		}
	}
	return nil
}
