// Package metrics has a Prometheus collector for the databases of the driver sqlite-mem. It
// is a module of its own, so that the driver does not depend on Prometheus.
//
//	prometheus.MustRegister(metrics.NewCollector(db, "mail"))
//
// The counters are those of [driver.Stats]. Their names begin with sqlite_mem_ and end with
// the unit, seconds or bytes, or with total. Each has a HELP line. alerts.yml beside this file
// has eight alert rules, such as: the last save is too old, the log fails, a reader is open
// for an hour.
//
// Without Prometheus, the package expvar of the standard library shows the same: see the
// example.
package metrics

import (
	"database/sql"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// metric is a counter or a gauge.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*driver.Stats) float64
	always     bool                     // a tool without a server has it too
	missing    func(*driver.Stats) bool // nil, or reports that there is no value yet
}

// histogram is a histogram of durations in seconds.
type histogram struct {
	name, help string
	value      func(*driver.Stats) driver.Histogram
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

var metrics = []metric{
	{name: "data_bytes", help: "Size of the database.", kind: gauge, always: true,
		value: func(s *driver.Stats) float64 { return float64(s.DataBytes) }},
	{name: "held_bytes", help: "Old page versions that readers need, or that wait to be freed.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.HeldBytes) }},
	{name: "free_bytes", help: "Memory that is kept for reuse.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.FreeBytes) }},
	{name: "oldest_reader_age_seconds", help: "Age of the oldest reader, a running save included. 0: there is none.", kind: gauge,
		value: func(s *driver.Stats) float64 { return s.OldestReader.Seconds() }},
	{name: "connections", help: "Open connections of the server process, running saves included.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.Connections) }},
	{name: "kept_connections", help: "Closed connections that are kept for the next that is opened.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.Kept) }},
	{name: "live_tools", help: "Connections of tools of other processes.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.Tools) }},

	{name: "max_bytes", help: "sqlite_max_memory, the cap on the size of the database.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.MaxMemory) }, missing: func(s *driver.Stats) bool { return s.MaxMemory == 0 }},
	{name: "system_available_bytes", help: "Memory that the machine or the control group has left, whichever has less.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.MemoryAvailable) }, missing: func(s *driver.Stats) bool { return s.MemoryLimit == 0 }},
	{name: "memory_warnings_total", help: "How often little was left of a limit of memory.", kind: counter,
		value: func(s *driver.Stats) float64 { return float64(s.MemoryWarnings) }},

	{name: "commits_total", help: "Commits that changed something.", kind: counter,
		value: func(s *driver.Stats) float64 { return float64(s.Commits) }},
	{name: "unsaved_commits", help: "Commits since the last save.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.Unsaved) }},
	{name: "unlogged_commits", help: "Commits that a crash would undo: neither saved nor in the log.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.Unlogged) }},
	{name: "loss_window_seconds", help: "Age of the oldest commit that a crash would undo. 0: there is none.", kind: gauge,
		value: func(s *driver.Stats) float64 { return s.LossWindow.Seconds() }},
	{name: "unclean_start", help: "1 if the server before did not close the database.", kind: gauge,
		value: func(s *driver.Stats) float64 { return boolean(s.UncleanStart) }},
	{name: "recovered_commits", help: "Commits that the log had and the file had not when the database was loaded.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.RecoveredCommits) }},

	{name: "last_save_timestamp_seconds", help: "Beginning of the last attempt to save, as a Unix time. Missing before the first.", kind: gauge,
		value:   func(s *driver.Stats) float64 { return unix(s.LastSave) },
		missing: func(s *driver.Stats) bool { return s.LastSave.IsZero() }},
	{name: "save_failures", help: "Attempts to save that failed in a row, since the last that worked.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.SaveFailures) }},
	{name: "log_bytes", help: "Length of the log (sqlite_wal).", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.LogBytes) }},
	{name: "last_log_flush_timestamp_seconds", help: "Beginning of the last flush of the log, as a Unix time. Missing before the first.", kind: gauge,
		value:   func(s *driver.Stats) float64 { return unix(s.LogLastFlush) },
		missing: func(s *driver.Stats) bool { return s.LogLastFlush.IsZero() }},
	{name: "log_failures", help: "Flushes of the log that failed in a row, since the last that worked.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.LogFailures) }},

	{name: "writer_queue", help: "Writers that wait for the write lock.", kind: gauge,
		value: func(s *driver.Stats) float64 { return float64(s.WriterQueue) }},
	{name: "writer_held_seconds", help: "How long the holder of the write lock has had it. 0: it is free.", kind: gauge,
		value: func(s *driver.Stats) float64 { return s.WriterHeldFor.Seconds() }},
	{name: "busy_errors_total", help: "Waits for the write lock that ended in SQLITE_BUSY.", kind: counter,
		value: func(s *driver.Stats) float64 { return float64(s.BusyErrors) }},
}

var histograms = []histogram{
	{"save_duration_seconds", "Durations of the saves that wrote the file.",
		func(s *driver.Stats) driver.Histogram { return s.Saves }},
	{"log_flush_duration_seconds", "Durations of the flushes that wrote to the log.",
		func(s *driver.Stats) driver.Histogram { return s.LogFlushes }},
	{"writer_wait_duration_seconds", "Waits for the write lock. A writer that finds it free does not wait.",
		func(s *driver.Stats) driver.Histogram { return s.WriterWaits }},
	{"writer_hold_duration_seconds", "How long the write lock was held.",
		func(s *driver.Stats) driver.Histogram { return s.WriterHolds }},
}

// collector collects the counters of a database.
type collector struct {
	db         *sql.DB
	bounds     []float64 // of the buckets, in seconds
	up, role   *prometheus.Desc
	metrics    []*prometheus.Desc // of metrics
	histograms []*prometheus.Desc // of histograms
}

// NewCollector returns a collector for the database behind db, which must be of the driver
// sqlite-mem. All metrics have the label db_name with the value name, as those of the
// client library's NewDBStatsCollector. Two collectors of one registry need different names.
//
// A scrape takes no connection from the pool, but for the first one behind a wrapper. It opens the database if that was not used
// before. If the counters cannot be read, for instance because db is closed, the only metric
// is sqlite_mem_up, and it is 0. A tool that works on the file has only sqlite_mem_up,
// sqlite_mem_role_info and sqlite_mem_data_bytes. With a live connection the counters are
// the server's.
func NewCollector(db *sql.DB, name string) prometheus.Collector {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sqlite_mem_"+metric, help, labels, prometheus.Labels{"db_name": name})
	}
	c := &collector{
		db:   db,
		up:   desc("up", "1 if the counters can be read."),
		role: desc("role_info", "The role of this process for the database: server, tool, or live for a tool in the server's memory.", "role"),
	}
	for _, bound := range driver.HistogramBounds() {
		c.bounds = append(c.bounds, bound.Seconds())
	}
	for _, m := range metrics {
		c.metrics = append(c.metrics, desc(m.name, m.help))
	}
	for _, h := range histograms {
		c.histograms = append(c.histograms, desc(h.name, h.help))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.role
	for _, d := range c.metrics {
		ch <- d
	}
	for _, d := range c.histograms {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, err := driver.ReadStats(c.db)
	ch <- prometheus.MustNewConstMetric(c.up, gauge, boolean(err == nil))
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.role, gauge, 1, string(s.Role))
	tool := s.Role == driver.RoleTool
	for i, m := range metrics {
		if tool && !m.always || m.missing != nil && m.missing(&s) {
			continue
		}
		ch <- prometheus.MustNewConstMetric(c.metrics[i], m.kind, m.value(&s))
	}
	if tool {
		return
	}
	for i, h := range histograms {
		v, upTo := h.value(&s), uint64(0)
		buckets := make(map[float64]uint64, len(c.bounds))
		for j, n := range v.Buckets {
			upTo += n
			buckets[c.bounds[j]] = upTo
		}
		ch <- prometheus.MustNewConstHistogram(c.histograms[i], v.Count, v.Sum.Seconds(), buckets)
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
