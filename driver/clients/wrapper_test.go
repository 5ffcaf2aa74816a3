package clients

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/XSAM/otelsql"
	"github.com/ngrok/sqlmw"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// openOtel opens a pool that OpenTelemetry's wrapper traces.
func openOtel(dsn string) (client, error) {
	db, err := otelsql.Open("sqlite-mem", dsn)
	return &sqlBox{db, createTables}, err
}

// interceptor does nothing beside the statements that it gets.
var interceptor = sqlmw.NullInterceptor{}

func init() { sql.Register("traced", sqlmw.Driver(&driver.Driver{}, interceptor)) }

// sqlmwBox closes its pool by the driver's Close. The connector of sqlmw has none, so DB.Close
// does not reach the driver.
type sqlmwBox struct{ sqlBox }

func openSQLMW(dsn string) (client, error) {
	db, err := sql.Open("traced", dsn)
	return &sqlmwBox{sqlBox{db, createTables}}, err
}

func (b *sqlmwBox) close() error {
	db := b.db
	return driver.Close(db)
}

// Ensure that Sync, ReadStats and Backup find the driver behind each library's pool, also
// behind the wrappers of otelsql and sqlmw, while many goroutines use it.
func TestLibraries_control(t *testing.T) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			path := testdb.Path(t)
			c := lib.opened(t, path+"?sqlite_sync_interval=never")
			work(t, c, "first")
			st, err := driver.ReadStats(c.pool())
			require.NoError(t, err)
			require.Equal(t, driver.RoleServer, st.Role)
			require.NotZero(t, st.Unsaved)

			require.NoError(t, driver.Sync(context.Background(), c.pool()))
			st, err = driver.ReadStats(c.pool())
			require.NoError(t, err)
			require.Zero(t, st.Unsaved)
			copied := filepath.Join(t.TempDir(), "copy.db")
			require.NoError(t, driver.Backup(context.Background(), c.pool(), copied))
			for _, file := range []string{path, copied} {
				sound(t, file)
				require.Equal(t, schemaOf(t, c.pool()), schemaOf(t, testdb.Plain(t, file)))
			}
			require.NoError(t, c.close())
		})
	}
}
