package metrics_test

import (
	"database/sql"
	"expvar"
	"fmt"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/driver/metrics"
)

func ExampleNewCollector() {
	db, err := sql.Open("sqlite-mem", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	prometheus.MustRegister(metrics.NewCollector(db, "mail"))
	http.Handle("/metrics", promhttp.Handler())
	families, err := prometheus.DefaultGatherer.Gather()
	for _, f := range families {
		if f.GetName() == "sqlite_mem_up" {
			fmt.Println(f.Metric[0].Gauge.GetValue(), err)
		}
	}
	// Output: 1 <nil>
}

// Without Prometheus, the standard library shows the counters at /debug/vars.
func Example_expvar() {
	db, err := sql.Open("sqlite-mem", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	expvar.Publish("mail", expvar.Func(func() any { s, _ := driver.ReadStats(db); return s }))
	fmt.Println(expvar.Get("mail").String()[:16])
	// Output: {"role":"server"
}
