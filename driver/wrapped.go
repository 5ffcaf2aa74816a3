//go:build cgo

package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"runtime"
	"sync"
	"weak"
)

// This file finds the connector of an sql.DB whose driver, connector or connections are
// wrapped by another package, for traces or metrics. The wrapper's Driver method leads
// nowhere, or to a connector that was opened only to get at the driver. A connection
// always leads to the right one.

// probe is in the context of a Ping. The connection that is asked answers in it.
type probe struct{ connector *connector }

type probeKey struct{}

// pinged is called by every Ping of a connection of c.
func (c *connector) pinged(ctx context.Context) {
	if p, ok := ctx.Value(probeKey{}).(*probe); ok {
		p.connector = c
	}
}

// wrappedDBs has the connectors of those sql.DBs that have been found behind a wrapper. So
// only the first call takes a connection of the pool, and none does after Close.
var wrappedDBs = struct {
	mu         sync.Mutex
	connectors map[weak.Pointer[sql.DB]]*connector // guarded by mu; an entry goes with its sql.DB
}{connectors: make(map[weak.Pointer[sql.DB]]*connector)}

func knownConnector(db *sql.DB) *connector {
	if d, ok := db.Driver().(*Driver); ok && d.connector != nil {
		return d.connector
	}
	wrappedDBs.mu.Lock()
	defer wrappedDBs.mu.Unlock()
	return wrappedDBs.connectors[weak.Make(db)]
}

func remember(db *sql.DB, c *connector) {
	key := weak.Make(db)
	wrappedDBs.mu.Lock()
	_, known := wrappedDBs.connectors[key]
	wrappedDBs.connectors[key] = c
	wrappedDBs.mu.Unlock()
	if !known {
		runtime.AddCleanup(db, func(key weak.Pointer[sql.DB]) {
			wrappedDBs.mu.Lock()
			delete(wrappedDBs.connectors, key)
			wrappedDBs.mu.Unlock()
		}, key)
	}
}

// connectorOf returns the connector of a database of this driver. The caller calls done
// when it has ended its work with that.
func connectorOf(ctx context.Context, db *sql.DB) (c *connector, done func() error, err error) {
	done = func() error { return nil }
	if c := knownConnector(db); c != nil {
		return c, done, nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c, err = connectorBehind(ctx, conn); err != nil {
		return nil, nil, joinClose(err, conn)
	}
	if c.single {
		return c, conn.Close, nil // only conn keeps it open
	}
	remember(db, c)
	return c, done, conn.Close()
}

// joinClose closes conn. Its error can only be that it is broken already.
func joinClose(err error, conn *sql.Conn) error {
	_ = conn.Close()
	return err
}

// connectorBehind returns the connector of a connection. It asks the connection that the
// wrappers show. One that shows nothing has to pass the Ping on.
func connectorBehind(ctx context.Context, conn *sql.Conn) (*connector, error) {
	p := &probe{}
	ctx = context.WithValue(ctx, probeKey{}, p)
	err := conn.Raw(func(outer any) error {
		if pinger, ok := innermost(outer).(driver.Pinger); ok {
			// The answer of a broken connection counts too.
			_ = pinger.Ping(ctx)
		}
		if p.connector == nil {
			return ErrNotOurs
		}
		return nil
	})
	return p.connector, err
}

// maxLayers bounds a wrapper that returns itself.
const maxLayers = 32

// innermost returns the connection that a wrapped one shows.
func innermost(outer any) any {
	for range maxLayers {
		switch c := outer.(type) {
		case interface{ Raw() driver.Conn }:
			outer = c.Raw()
		case interface{ Unwrap() driver.Conn }:
			outer = c.Unwrap()
		default:
			return outer
		}
	}
	return outer
}
