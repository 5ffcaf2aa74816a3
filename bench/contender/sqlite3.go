package contender

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"

	"github.com/mattn/go-sqlite3"

	_ "github.com/sqlite-mem/sqlite-mem/bench/contender/names" // see there
	sqlitemem "github.com/sqlite-mem/sqlite-mem/driver"
)

func init() { sql.Register("sqlite3", byDSN{}) }

// byDSN is the driver "sqlite3" of this program. It is sqlite-mem for a data source
// name with one of its parameters, else go-sqlite3. So a library that chooses its SQL
// by the driver's name, such as go-imap-sql, runs on both in one program. A program
// that wants only sqlite-mem frees the name with the linker and calls
// [sqlitemem.RegisterAs].
type byDSN struct{}

var _ driver.DriverContext = byDSN{}

func (byDSN) OpenConnector(dsn string) (driver.Connector, error) {
	if _, params, _ := strings.Cut(dsn, "?"); strings.Contains("&"+params, "&sqlite_") {
		return new(sqlitemem.Driver).OpenConnector(dsn)
	}
	return hooked{dsn, &sqlite3.SQLiteDriver{}}, nil
}

func (d byDSN) Open(dsn string) (driver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}
