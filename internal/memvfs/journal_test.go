//go:build cgo

package memvfs

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that after a rollback, of a transaction or to a savepoint, the cache of the
// connection agrees with the database. It is tried in each journal mode, with pages that
// were free before, and with a cache so small that it spills.
func TestRollback_ofTheCache(t *testing.T) {
	for i, mode := range []string{"TRUNCATE", "PERSIST", "DELETE"} {
		for _, vacuum := range []int{0, 1, 2} {
			for _, cache := range []int{5, 500} {
				t.Run(fmt.Sprintf("%s/auto_vacuum=%d/cache_size=%d", mode, vacuum, cache), func(t *testing.T) {
					g := rand.New(rand.NewPCG(uint64(i), uint64(10*vacuum+cache)))
					s := newStore(t, 0)
					c, other := openRaw(t, s), open(t, s)
					defer c.close()
					defer other.close()
					c.exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; CREATE TABLE t(id INTEGER PRIMARY KEY, a BLOB, b INT); CREATE INDEX tb ON t(b)", 512<<(3*g.IntN(2)), vacuum))
					c.exec(fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA cache_size=%d", mode, cache))
					statement := func() {
						switch id := g.IntN(200); g.IntN(6) {
						case 0, 1:
							c.exec("REPLACE INTO t VALUES(?, zeroblob(?), ?)", int64(id), int64(g.IntN(6000)), int64(g.IntN(50)))
						case 2:
							c.exec("DELETE FROM t WHERE id BETWEEN ? AND ?", int64(id), int64(id+g.IntN(20)))
						case 3:
							c.exec("UPDATE t SET a=randomblob(?), b=b+1 WHERE id BETWEEN ? AND ?", int64(g.IntN(3000)), int64(id), int64(id+5))
						case 4:
							c.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", g.IntN(5)))
						case 5:
							c.exec("SAVEPOINT s")
							c.exec("UPDATE t SET a=randomblob(900) WHERE id%7=?", int64(g.IntN(7)))
							if g.IntN(2) == 0 {
								c.exec("ROLLBACK TO s")
							}
							c.exec("RELEASE s")
						}
					}
					const content = "SELECT count(*), group_concat(id||':'||b||':'||hex(substr(a, 1, 20))||length(a)) FROM t"
					for range 120 {
						before, rollback := other.text(content), g.IntN(3) > 0
						c.exec("BEGIN")
						for range 1 + g.IntN(12) {
							statement()
						}
						if rollback {
							c.exec("ROLLBACK")
							require.Equal(t, before, c.text(content))
						} else {
							c.exec("COMMIT")
						}
						require.Equal(t, other.text(content), c.text(content))
						require.Equal(t, "ok", c.text("PRAGMA integrity_check"))
					}
				})
			}
		}
	}
}
