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

// Config configures [New]. Set either DSN or Conn.
type Config struct {
	// DriverName is the name of the database/sql driver, such as one given to
	// driver.RegisterAs. "" means driver.Name.
	DriverName string

	// DSN is the data source name. Package driver documents it.
	DSN string

	// Conn is an open pool, such as sql.OpenDB of a driver.NewConnector. If it is
	// set, DriverName and DSN are not used. CreateTable and other migrations of a pool
	// that cannot begin a transaction are gorm.ErrInvalidTransaction.
	Conn gorm.ConnPool

	// WithoutRebuildGuard lets a migration commit a rebuilt table without comparing
	// it with the old one. The comparison roughly doubles the time of a rebuild. See
	// "The guard" in the package documentation.
	WithoutRebuildGuard bool
}

// Dialector is GORM's dialect for sqlite-mem. [Open] and [New] return one.
type Dialector struct {
	sqlite.Dialector

	withoutGuard bool
}

var (
	_ gorm.Dialector                     = (*Dialector)(nil)
	_ gorm.SavePointerDialectorInterface = (*Dialector)(nil)
	_ gorm.ErrorTranslator               = (*Dialector)(nil)
)

// Open returns a dialector for the database that dsn names. gorm.Open opens the
// database and returns its errors.
func Open(dsn string) gorm.Dialector { return New(Config{DSN: dsn}) }

// New returns a dialector for a configuration.
func New(config Config) gorm.Dialector {
	if config.DriverName == "" {
		config.DriverName = driver.Name
	}
	return &Dialector{
		Dialector:    sqlite.Dialector{DriverName: config.DriverName, DSN: config.DSN, Conn: config.Conn},
		withoutGuard: config.WithoutRebuildGuard,
	}
}

// MaxIdleConns is the number of idle connections that a pool opened by this package
// keeps. A pool given as Config.Conn keeps its own limit.
const MaxIdleConns = 64

// Initialize opens the pool, unless the configuration has one. gorm.Open calls it.
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

// DataTypeOf returns the column type of a field. An integer in a key of several
// columns is a plain integer, because PRIMARY KEY AUTOINCREMENT would make it the
// whole key.
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

// Sync saves the database to its file. When it returns nil, every commit made before
// the call is durable. It calls driver.Sync for the pool of db, and returns its
// errors. If db is an open transaction, its changes are not saved.
func Sync(ctx context.Context, db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return driver.Sync(ctx, pool)
}

// Stats returns the counters of the database of db. It calls driver.ReadStats, and
// returns its errors.
func Stats(db *gorm.DB) (driver.Stats, error) {
	pool, err := db.DB()
	if err != nil {
		return driver.Stats{}, err
	}
	return driver.ReadStats(pool)
}
