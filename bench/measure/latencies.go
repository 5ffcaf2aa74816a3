// Package measure runs operations, counts their latencies, and computes medians and
// ratios over several rounds.
package measure

import "github.com/sqlite-mem/sqlite-mem/internal/latency"

// Latencies are the latencies of a run.
type Latencies = latency.Histogram

// Percentiles are the reported percentiles, with their units in benchmarks.
var Percentiles = []struct {
	Share float64
	Unit  string
}{{0.5, "p50-ns"}, {0.99, "p99-ns"}, {0.999, "p99.9-ns"}, {1, "max-ns"}}
