package gormdialect

import (
	"context"
	"database/sql"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// Config is what [New] opens. Either DSN or Conn is needed.
type Config struct {
	// DriverName is the database/sql driver. "": driver.Name. A name given to
	// driver.RegisterAs works as well.
	DriverName string

	// DSN is the data source name, as in the documentation of package driver.
	DSN string

	// Conn is an open pool, such as sql.OpenDB of a driver.NewConnector; then
	// DriverName and DSN are not used.
	Conn gorm.ConnPool

	// WithoutRebuildGuard lets a migration commit a table that it made anew without
	// comparing it with the old one. false: they are compared, which takes about as
	// long again as the rebuild alone. See the package documentation.
	WithoutRebuildGuard bool
}

// Dialector is GORM's dialect for sqlite-mem. [Open] and [New] make one.
type Dialector struct {
	sqlite.Dialector

	withoutGuard bool
}

var (
	_ gorm.Dialector                     = (*Dialector)(nil)
	_ gorm.SavePointerDialectorInterface = (*Dialector)(nil)
	_ gorm.ErrorTranslator               = (*Dialector)(nil)
)

// Open is the dialect for the database of a data source name. The database is
// opened by gorm.Open, which returns the errors.
func Open(dsn string) gorm.Dialector { return New(Config{DSN: dsn}) }

// New is the dialect for a configuration.
func New(config Config) gorm.Dialector {
	if config.DriverName == "" {
		config.DriverName = driver.Name
	}
	return &Dialector{
		Dialector:    sqlite.Dialector{DriverName: config.DriverName, DSN: config.DSN, Conn: config.Conn},
		withoutGuard: config.WithoutRebuildGuard,
	}
}

// MaxIdleConns is how many connections a pool that this package opens keeps while
// nobody uses them. A pool of the caller's own (Config.Conn) is left as it is.
const MaxIdleConns = 64

// Initialize opens the pool, if the configuration has none. gorm.Open calls it.
func (d *Dialector) Initialize(db *gorm.DB) error {
	official := d.Dialector
	if official.Conn == nil {
		pool, err := sql.Open(official.DriverName, official.DSN)
		if err != nil {
			return err
		}
		pool.SetMaxIdleConns(MaxIdleConns)
		official.Conn = pool
	}
	return official.Initialize(db) // after an error gorm.Open closes the pool
}

// DataTypeOf is the type of a field's column. An integer in a key of several
// columns is an integer only: PRIMARY KEY AUTOINCREMENT would make it the whole
// key.
func (d *Dialector) DataTypeOf(field *schema.Field) string {
	if field.AutoIncrement && inCompositeKey(field) {
		switch field.DataType {
		case schema.Int, schema.Uint:
			return "integer"
		}
	}
	return d.Dialector.DataTypeOf(field)
}

func inCompositeKey(field *schema.Field) bool {
	return field.PrimaryKey && field.Schema != nil && len(field.Schema.PrimaryFields) > 1
}

// Migrator returns a [Migrator].
func (d *Dialector) Migrator(db *gorm.DB) gorm.Migrator {
	return Migrator{
		Migrator: migrator.Migrator{Config: migrator.Config{
			DB:                          db,
			Dialector:                   d,
			CreateIndexAfterCreateTable: true,
		}},
		withoutGuard: d.withoutGuard,
	}
}

// Sync writes what has changed to the file; when it returns nil, every commit made
// before the call is on the disk. It is driver.Sync, with its errors, for the pool
// below db. A transaction that db may be is not part of it before it commits.
func Sync(ctx context.Context, db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return driver.Sync(ctx, pool)
}

// Stats returns the counters of the database below db. It is driver.ReadStats, with
// its errors.
func Stats(db *gorm.DB) (driver.Stats, error) {
	pool, err := db.DB()
	if err != nil {
		return driver.Stats{}, err
	}
	return driver.ReadStats(pool)
}
