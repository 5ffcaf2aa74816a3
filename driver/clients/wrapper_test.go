package clients

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"io"

	"github.com/XSAM/otelsql"
	"github.com/ngrok/sqlmw"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// openOtel opens a pool that OpenTelemetry's wrapper traces.
func openOtel(dsn string) (client, error) {
	db, err := otelsql.Open("sqlite-mem", dsn)
	return &sqlBox{db, createTables}, err
}

// openSQLMW opens a pool with an interceptor. The connector of sqlmw has no Close, so
// DB.Close would not reach the driver, and would save nothing.
func openSQLMW(dsn string) (client, error) {
	inner, err := new(driver.Driver).OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	wrapped, err := sqlmw.Driver(opened{inner}, new(sqlmw.NullInterceptor)).(sqldriver.DriverContext).OpenConnector("")
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(struct {
		sqldriver.Connector
		io.Closer
	}{wrapped, inner.(io.Closer)})
	return &sqlBox{db, createTables}, nil
}

// opened is a driver that has one connector.
type opened struct{ sqldriver.Connector }

func (o opened) Open(string) (sqldriver.Conn, error)               { return nil, sqldriver.ErrSkip }
func (o opened) OpenConnector(string) (sqldriver.Connector, error) { return o.Connector, nil }
