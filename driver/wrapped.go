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

// connectorBehind returns the connector of a connection. It asks what is below all wrappers
// that can be looked through, and then the wrappers themselves, which may pass a Ping on.
func connectorBehind(ctx context.Context, conn *sql.Conn) (*connector, error) {
	p := &probe{}
	ctx = context.WithValue(ctx, probeKey{}, p)
	err := conn.Raw(func(outer any) error {
		layers := layersOf(outer)
		for i := len(layers) - 1; i >= 0 && p.connector == nil; i-- {
			if pinger, ok := layers[i].(driver.Pinger); ok {
				// The answer of a broken connection counts too.
				_ = pinger.Ping(ctx)
			}
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

// layersOf returns a connection, and those that it wraps and shows.
func layersOf(outer any) []any {
	layers := []any{outer}
	for len(layers) < maxLayers {
		switch c := layers[len(layers)-1].(type) {
		case interface{ Raw() driver.Conn }:
			layers = append(layers, c.Raw())
		case interface{ Unwrap() driver.Conn }:
			layers = append(layers, c.Unwrap())
		default:
			return layers
		}
	}
	return layers
}
