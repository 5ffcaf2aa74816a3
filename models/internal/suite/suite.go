// Package suite tests the models on any database. The tests of package models run it on
// SQLite, and those of models/portability on PostgreSQL and MySQL. Only tests import it.
package suite

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// Open returns a new empty database, which is deleted at the end of the test. It uses
// the given configuration.
type Open func(t *testing.T, config *gorm.Config) *gorm.DB

// Run runs the suite on the databases that open makes. It copies from those to the ones of
// copyTo, which may be open.
func Run(t *testing.T, open, copyTo Open) {
	for _, group := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"migrate", migrate},
		{"rule", rule},
		{"names", names},
		{"order", order},
		{"table", table},
		{"quotas", quotas},
		{"contacts", contacts},
		{"blocked users", blocked},
		{"registration tokens", tokens},
		{"settings", settings},
		{"transactions", transactions},
		{"concurrency", concurrency},
		{"contexts", contexts},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, open) })
	}
	t.Run("copy", func(t *testing.T) { RunCopy(t, open, copyTo) })
}

// tables are the tables that Migrate creates, in their order.
var tables = []string{"quotas", "contacts", "table_entries", "blocked_users", "registration_tokens"}

// fresh opens a database and migrates it.
func fresh(t *testing.T, open Open) *gorm.DB {
	t.Helper()
	db := open(t, config())
	require.NoError(t, models.Migrate(ctx(t), db))
	return db
}

func config() *gorm.Config { return &gorm.Config{Logger: logger.Discard} }

// ctx returns a context that ends with the test, and after two minutes.
func ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newTable(t *testing.T, db *gorm.DB, spec models.TableSpec) *models.Table {
	t.Helper()
	table, err := models.NewTable(db, spec)
	require.NoError(t, err)
	require.NoError(t, table.Migrate(ctx(t)))
	return table
}

func newQuotas(t *testing.T, db *gorm.DB, byDefault int64) *models.Quotas {
	t.Helper()
	quotas, err := models.NewQuotas(db, models.QuotaConfig{Default: byDefault})
	require.NoError(t, err)
	return quotas
}

// requireInvalid requires an InvalidError for the field whose reason contains the given
// text.
func requireInvalid(t *testing.T, err error, field, reason string) {
	t.Helper()
	require.ErrorIs(t, err, models.ErrInvalid)
	var invalid *models.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, field, invalid.Field)
	require.Contains(t, invalid.Reason, reason)
}

// atOnce runs fn in n goroutines that start together, and returns their errors.
func atOnce(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	group.Wait()
	return errs
}

// Recorder is a logger that records statements.
type Recorder struct {
	logger.Interface

	mu         sync.Mutex
	statements []string
}

// NewRecorder returns a logger that records statements.
func NewRecorder() *Recorder { return &Recorder{Interface: logger.Discard} }

func (r *Recorder) LogMode(logger.LogLevel) logger.Interface { return r }

func (r *Recorder) Trace(_ context.Context, _ time.Time, fc func() (string, int64), _ error) {
	statement, _ := fc()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, statement)
}

// Writes returns the recorded statements that are neither queries nor savepoints.
func (r *Recorder) Writes() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, statement := range r.statements {
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(statement)), " ")
		if !slices.Contains([]string{"SELECT", "SHOW", "PRAGMA", "SAVEPOINT", "RELEASE"}, verb) {
			out = append(out, statement)
		}
	}
	return out
}
