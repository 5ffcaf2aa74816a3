package driver

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"slices"

	"github.com/mattn/go-sqlite3"
)

// Name is the name by which the driver is registered with database/sql.
const Name = "sqlite-mem"

func init() { sql.Register(Name, &Driver{}) }

// Driver is the driver. The zero value is registered as "sqlite-mem". Register another
// one under a name of your own for connections that need extensions, functions or hooks,
// as with [sqlite3.SQLiteDriver]:
//
//	sql.Register("app", &driver.Driver{ConnectHook: registerFunctions})
type Driver struct {
	// Extensions are loaded into each new connection.
	Extensions []string

	// ConnectHook is called with each new connection.
	ConnectHook func(*sqlite3.SQLiteConn) error

	// Logger and OnSync are those of [Config].
	Logger *slog.Logger
	OnSync func(SyncEvent)

	// connector is set in the Driver that an sql.DB returns: it is that of the sql.DB.
	connector *connector
}

var (
	_ driver.Driver        = (*Driver)(nil)
	_ driver.DriverContext = (*Driver)(nil)
)

// OpenConnector parses the data source name. Its errors are those of [ParseDSN]. The
// first connection opens the file.
func (d *Driver) OpenConnector(name string) (driver.Connector, error) {
	cfg, err := ParseDSN(name)
	if err != nil {
		return nil, err
	}
	cfg.Extensions, cfg.ConnectHook = d.Extensions, d.ConnectHook
	cfg.Logger, cfg.OnSync = d.Logger, d.OnSync
	return NewConnector(cfg)
}

// RegisterAs registers the driver under one more name, for libraries that choose their
// SQL by the name of the driver, such as "sqlite3" or "sqlite". It is an error if the name
// is taken. go-sqlite3 takes "sqlite3": link with
// -ldflags="-X github.com/mattn/go-sqlite3.driverName=" to free it.
func RegisterAs(name string) error {
	if slices.Contains(sql.Drivers(), name) {
		remedy := "do not import the package that registers it, or take another name"
		if name == "sqlite3" {
			remedy = `link with -ldflags="-X github.com/mattn/go-sqlite3.driverName="`
		}
		return fmt.Errorf("sqlite-mem: a driver is registered as %q already: %s", name, remedy)
	}
	sql.Register(name, &Driver{})
	return nil
}

// RawConn is implemented by the connections that Conn.Raw of database/sql gives. Raw
// returns the connection of go-sqlite3 below, for functions, collations, hooks and backups.
//
//	err := sqlConn.Raw(func(c any) error {
//		return c.(driver.RawConn).Raw().RegisterFunc("twice", twice, true)
//	})
//
// Writing through it takes the write lock like any other write. A wait for the lock that
// times out is SQLITE_LOCKED there. The connection must not be closed, and not be used
// after the function has returned. Raw of a closed connection returns nil.
type RawConn interface {
	Raw() *sqlite3.SQLiteConn
}
