package gormdialect

import (
	"context"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/migrator"

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
}

// Dialector is GORM's dialect for sqlite-mem. [Open] and [New] make one.
type Dialector struct {
	sqlite.Dialector
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
	return &Dialector{sqlite.Dialector{DriverName: config.DriverName, DSN: config.DSN, Conn: config.Conn}}
}

// Migrator returns the official migrator with rebuilds that lose nothing; see
// [Migrator].
func (d *Dialector) Migrator(db *gorm.DB) gorm.Migrator {
	return Migrator{sqlite.Migrator{Migrator: migrator.Migrator{Config: migrator.Config{
		DB:                          db,
		Dialector:                   d,
		CreateIndexAfterCreateTable: true,
	}}}}
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
