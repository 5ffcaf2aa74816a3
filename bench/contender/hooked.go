package contender

import (
	"context"
	"database/sql/driver"
)

// hooked is a connector for a driver that has only Open.
type hooked struct {
	dsn    string
	driver driver.Driver
}

func (h hooked) Connect(context.Context) (driver.Conn, error) { return h.driver.Open(h.dsn) }
func (h hooked) Driver() driver.Driver                        { return h.driver }
