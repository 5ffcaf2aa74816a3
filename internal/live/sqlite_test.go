//go:build cgo

package live_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/live"
)

var ctx = context.Background()

// codes sends an sqlite3.Error by its codes.
func codes(err error) []byte {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return nil
	}
	return fmt.Appendf(nil, "%d %d", e.Code, e.ExtendedCode)
}

func decodeCodes(b []byte) error {
	var e sqlite3.Error
	if _, err := fmt.Sscanf(string(b), "%d %d", &e.Code, &e.ExtendedCode); err != nil {
		return err
	}
	return e
}

type dialing struct{ *live.Dialer }

func (d dialing) Connect(ctx context.Context) (sqldriver.Conn, error) {
	c, err := d.Dialer.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}
func (d dialing) Driver() sqldriver.Driver { return nil }

type mattn struct{ name string }

func (m mattn) Connect(context.Context) (sqldriver.Conn, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(m.name)
	if err != nil {
		return nil, err
	}
	return autocommit{c.(*sqlite3.SQLiteConn)}, nil
}
func (m mattn) Driver() sqldriver.Driver { return &sqlite3.SQLiteDriver{} }

// autocommit is go-sqlite3's connection with the question of the server.
type autocommit struct{ *sqlite3.SQLiteConn }

func (c autocommit) InTransaction() bool { return !c.AutoCommit() }

// each runs a test for this project's driver and for go-sqlite3. The test gets a pool
// of tools and a pool in the server.
func each(t *testing.T, f func(t *testing.T, tools, server *sql.DB)) {
	for _, name := range []string{"sqlite-mem", "go-sqlite3"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			var c sqldriver.Connector = mattn{path + "?_busy_timeout=60000&_txlock=immediate"}
			if name == "sqlite-mem" {
				var err error
				c, err = driver.NewConnector(&driver.Config{MemoryName: t.Name()})
				require.NoError(t, err)
			}
			server := sql.OpenDB(c)
			require.NoError(t, server.PingContext(ctx))
			s, err := live.Listen(live.ServerConfig{
				Path:        path,
				EncodeError: codes,
				Connect: func(ctx context.Context, _ live.Peer, _ map[string]string, _ func(string)) (sqldriver.Conn, error) {
					return c.Connect(ctx)
				},
			})
			require.NoError(t, err)
			tools := sql.OpenDB(dialing{&live.Dialer{Path: path, DecodeError: decodeCodes}})
			f(t, tools, server)
			var ok string
			require.NoError(t, tools.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&ok))
			require.Equal(t, "ok", ok)
			require.NoError(t, tools.Close())
			end, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			require.NoError(t, s.Close(end))
			require.NoError(t, server.Close())
			goleak.VerifyNone(t)
		})
	}
}

// From a real database a tool gets the same values, types, results and errors as a
// connection in the server.
func TestSQLite_parity(t *testing.T) {
	each(t, func(t *testing.T, tools, server *sql.DB) {
		_, err := tools.ExecContext(ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT UNIQUE, b BLOB, f REAL, at TIMESTAMP, ok BOOLEAN); INSERT INTO t(s,b,f,at,ok) VALUES('a', x'00ff', 1.5, '2026-01-02 03:04:05.678+02:00', 1), ('b', x'', -1e300, NULL, 0)")
		require.NoError(t, err)
		for _, query := range []string{
			"SELECT * FROM t ORDER BY id", "SELECT count(*), NULL, 9223372036854775807, CAST(x'80' AS TEXT) FROM t", "SELECT * FROM t WHERE 0", "INSERT INTO t(s) VALUES('a') RETURNING id",
			"SELECT nonsense", "SELECT", "", "-- nothing", "SELECT abs(-9223372036854775808)", "PRAGMA foreign_keys", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 3000) SELECT i, hex(i) FROM n",
		} {
			require.Equal(t, dump(server, query), dump(tools, query), query)
		}
		res, err := tools.ExecContext(ctx, "INSERT INTO t(s) VALUES(?), (?)", "c", sql.Named("x", "d"))
		require.NoError(t, err)
		id, err := res.LastInsertId()
		require.NoError(t, err)
		n, err := res.RowsAffected()
		require.NoError(t, err)
		require.Equal(t, []int64{4, 2}, []int64{id, n})
		_, err = tools.ExecContext(ctx, "INSERT INTO t(s) VALUES('a')")
		var e sqlite3.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, sqlite3.ErrConstraintUnique, e.ExtendedCode)
	})
}

// dump is all that a query says.
func dump(db *sql.DB, query string) string {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return "error " + string(codes(err))
	}
	defer rows.Close()
	out := ""
	types, err := rows.ColumnTypes()
	if err != nil {
		return err.Error()
	}
	for _, c := range types {
		null, ok := c.Nullable()
		out += fmt.Sprint(c.Name(), c.DatabaseTypeName(), null, ok, c.ScanType(), "\n")
	}
	row := make([]any, len(types))
	dest := make([]any, len(types))
	for i := range row {
		dest[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err.Error()
		}
		out += fmt.Sprintf("%#v\n", row)
	}
	if err := rows.Err(); err != nil {
		out += "error " + string(codes(err))
	}
	return out
}

// Money that tools and the server move between accounts at the same time is neither
// lost nor made, while contexts end in the middle.
func TestSQLite_bank(t *testing.T) {
	each(t, func(t *testing.T, tools, server *sql.DB) {
		_, err := tools.ExecContext(ctx, "CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER CHECK(money >= 0)); INSERT INTO account VALUES(0,1000),(1,1000),(2,1000),(3,1000)")
		require.NoError(t, err)
		var wg sync.WaitGroup
		for g := range 6 {
			db := tools
			if g%3 == 2 {
				db = server
			}
			wg.Go(func() {
				for i := range 40 {
					c, cancel := context.WithTimeout(ctx, time.Duration(1+i%7)*time.Millisecond)
					if i%2 == 0 {
						cancel()
						c, cancel = context.WithCancel(ctx)
					}
					_ = transfer(c, db, (g+i)%4, (g+2*i+1)%4, 1+i)
					cancel()
				}
			})
		}
		wg.Wait()
		var sum int
		require.NoError(t, tools.QueryRowContext(ctx, "SELECT sum(money) FROM account").Scan(&sum))
		require.Equal(t, 4000, sum)
		_, err = tools.ExecContext(ctx, "UPDATE account SET money = money")
		require.NoError(t, err, "the lock is free")
	})
}

func transfer(ctx context.Context, db *sql.DB, from, to, amount int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for id, change := range map[int]int{from: -amount, to: amount} {
		if from == to {
			break
		}
		if _, err := tx.ExecContext(ctx, "UPDATE account SET money = money + ? WHERE id = ?", change, id); err != nil {
			return err
		}
	}
	return tx.Commit()
}
