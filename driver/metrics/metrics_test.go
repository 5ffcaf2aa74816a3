package metrics

import (
	"database/sql"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// scrape returns what a registry with a collector of db has, as a server of Prometheus gets
// it over HTTP.
func scrape(t *testing.T, db *sql.DB) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(NewCollector(db, "mail")))
	require.NoError(t, registry.Register(NewCollector(db, "again")), "another name is another database")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	require.Equal(t, 200, resp.StatusCode)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return families
}

// value returns the value of the metric of the first collector.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string) float64 {
	t.Helper()
	m := one(t, families, name)
	if m.Counter != nil {
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

func one(t *testing.T, families map[string]*dto.MetricFamily, name string) *dto.Metric {
	t.Helper()
	require.Contains(t, families, "sqlite_mem_"+name)
	for _, m := range families["sqlite_mem_"+name].Metric {
		for _, l := range m.Label {
			if l.GetName() == "db_name" && l.GetValue() == "mail" {
				return m
			}
		}
	}
	t.Fatalf("sqlite_mem_%s has no label db_name", name)
	return nil
}

func open(t *testing.T, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver.Name, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.Exec(query)
	require.NoError(t, err)
}

// Ensure that a scrape has the counters of a server, that the linter of the client library
// finds nothing, and that the counts are those of what happened.
func TestCollector(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "mail.db")+"?sqlite_wal=off")
	exec(t, db, "CREATE TABLE t(n)")
	before := scrape(t, db)
	require.NotContains(t, before, "sqlite_mem_last_save_timestamp_seconds")
	require.NotContains(t, before, "sqlite_mem_last_log_flush_timestamp_seconds")
	require.Equal(t, 1.0, value(t, before, "unsaved_commits"))
	require.Equal(t, 1.0, value(t, before, "unlogged_commits"))
	require.Positive(t, value(t, before, "loss_window_seconds"))

	require.NoError(t, driver.Sync(t.Context(), db))
	for range 3 {
		exec(t, db, "INSERT INTO t VALUES(1)")
	}
	rows, err := db.Query("SELECT n FROM t")
	require.NoError(t, err)
	require.True(t, rows.Next())
	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO t VALUES(2)")
	require.NoError(t, err)

	after := scrape(t, db)
	require.Equal(t, 1.0, value(t, after, "up"))
	require.Equal(t, 4.0, value(t, after, "commits_total"))
	require.Equal(t, 3.0, value(t, after, "unsaved_commits"))
	require.Positive(t, value(t, after, "last_save_timestamp_seconds"))
	require.Positive(t, value(t, after, "writer_held_seconds"))
	require.Equal(t, 2.0, value(t, after, "connections"))
	saves := one(t, after, "save_duration_seconds").Histogram
	require.EqualValues(t, 1, saves.GetSampleCount())
	require.Positive(t, saves.GetSampleSum())
	holds := one(t, after, "writer_hold_duration_seconds").Histogram
	require.GreaterOrEqual(t, holds.GetSampleCount(), uint64(4))
	last, upTo := 0.0, uint64(0)
	for _, b := range holds.Bucket {
		require.Greater(t, b.GetUpperBound(), last)
		require.GreaterOrEqual(t, b.GetCumulativeCount(), upTo, "buckets are cumulative")
		last, upTo = b.GetUpperBound(), b.GetCumulativeCount()
	}
	require.Equal(t, holds.GetSampleCount(), upTo)
	require.NoError(t, tx.Rollback())
	require.NoError(t, rows.Close())
}

// Ensure that a tool has the metrics that it can know, and that a database that is closed,
// or of another driver, is down and fails no scrape.
func TestCollector_others(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	server, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	exec(t, server, "CREATE TABLE t(n)")
	require.NoError(t, server.Close())
	require.Equal(t, []string{"sqlite_mem_up"}, names(scrape(t, server)))
	require.Zero(t, value(t, scrape(t, server), "up"))

	require.NoError(t, driver.SetRole(driver.RoleTool))
	defer func() { require.NoError(t, driver.SetRole("")) }()
	tool := scrape(t, open(t, path))
	require.ElementsMatch(t, []string{"sqlite_mem_up", "sqlite_mem_role_info", "sqlite_mem_data_bytes"}, names(tool))
	require.Equal(t, 8192.0, value(t, tool, "data_bytes"))
}

func names(families map[string]*dto.MetricFamily) (list []string) {
	for name := range families {
		list = append(list, name)
	}
	return list
}

// Ensure that each metric of the alert rules exists.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	known := map[string]bool{"sqlite_mem_up": true}
	for _, m := range metrics {
		known["sqlite_mem_"+m.name] = true
	}
	found := regexp.MustCompile(`sqlite_mem_\w+`).FindAllString(string(text), -1)
	require.NotEmpty(t, found)
	for _, name := range found {
		require.True(t, known[name], name)
	}
	require.Equal(t, strings.Count(string(text), "- alert:"), strings.Count(string(text), "expr:"))
}
