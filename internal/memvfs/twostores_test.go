//go:build cgo

package memvfs

import (
	"flag"
	"fmt"
	"math"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
)

var long = flag.Duration("long", 0, "if not 0, TestCommit_twoStores fails each allocation instead of a sample")

// twoStores is a kind of transaction over two stores, main and o.
type twoStores struct {
	name      string
	a, b      string // pragmas that set up main and o
	unaligned bool   // pages are smaller than the blocks of the engine
	maxBytes  int64  // cap of either store
	change    string
}

func insertRows(table string) string {
	return "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<40) INSERT INTO " + table + " SELECT NULL, zeroblob(1500) FROM c"
}

// Ensure that a transaction over two stores is committed in both or in neither, whichever
// allocation of the COMMIT fails. The error says which. It is tried with all journal
// modes and page sizes, spilled pages, shrinking databases, limits, and pages of several
// blocks. Where the allocations are many, those in the middle are alike, a few for each
// page. Every eleventh of them fails, with -long each one.
func TestCommit_twoStores(t *testing.T) {
	grow := insertRows("main.t") + ";" + insertRows("o.t")
	for _, tt := range []twoStores{
		{name: "grow", change: grow},
		{name: "one row", change: "INSERT INTO main.t VALUES(NULL, 1); INSERT INTO o.t VALUES(NULL, 1)"},
		{name: "spill", a: "PRAGMA %s.cache_size=5", b: "PRAGMA %s.cache_size=5", change: grow},
		{name: "page sizes", a: "PRAGMA %s.page_size=512", b: "PRAGMA %s.page_size=65536", change: grow},
		{name: "shrink", change: "DELETE FROM main.t; DELETE FROM o.t; PRAGMA main.incremental_vacuum; PRAGMA o.incremental_vacuum"},
		{name: "shrink one", change: "DELETE FROM o.t; PRAGMA o.incremental_vacuum; INSERT INTO main.t VALUES(NULL, 1)"},
		{name: "unaligned shrink", change: "DELETE FROM main.t WHERE id>7; DELETE FROM o.t WHERE id>11; PRAGMA main.incremental_vacuum; PRAGMA o.incremental_vacuum", unaligned: true},
		{name: "unaligned growth", change: grow, unaligned: true},
		{name: "cap", change: "UPDATE main.t SET x=zeroblob(1499); UPDATE o.t SET x=zeroblob(1499)", maxBytes: 96 << 10},
	} {
		for _, mode := range []string{
			"PRAGMA %s.journal_mode=TRUNCATE; PRAGMA %[1]s.synchronous=OFF", // as the driver has main
			"PRAGMA %s.journal_mode=TRUNCATE",                               // with a super-journal, whose syncs take most of the time
			"PRAGMA %s.journal_mode=PERSIST; PRAGMA %[1]s.synchronous=OFF",
			"PRAGMA %s.journal_mode=DELETE; PRAGMA %[1]s.synchronous=OFF",
			"PRAGMA %s.journal_mode=MEMORY",
		} {
			t.Run(tt.name+" "+mode, func(t *testing.T) {
				failed := 0
				var vacuum int64
				if tt.unaligned {
					c := open(t, newStore(t, 0))
					c.exec("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
					c.exec(insertRows("t"))
					vacuum = withoutRepaging(t, c, "main", 0)
					c.close()
				}
				// The first round only counts.
				total, ends := int64(math.MaxInt64), int64(12)
				for n := int64(0); n <= total; n++ {
					if *long == 0 && n > ends && n <= total-ends && n%11 != 0 {
						continue
					}
					allocs, err := tt.commit(t, mode, n, vacuum)
					if n == 0 {
						require.NoError(t, err)
						total = allocs
					}
					if err != nil {
						failed++
					}
				}
				if tt.name == "grow" {
					require.Positive(t, failed, "the notes of what has changed need memory")
				}
			})
		}
	}
}

// commit makes both stores, changes them, and makes the n-th allocation of the COMMIT fail,
// none if n is 0. It returns the number of allocations and the error of the COMMIT. vacuum
// is for withoutRepaging.
func (tt twoStores) commit(t *testing.T, mode string, n, vacuum int64) (int64, error) {
	a, b := newStore(t, tt.maxBytes), newStore(t, tt.maxBytes)
	c := open(t, a)
	defer c.close()
	c.exec("ATTACH ? AS o", b.Path())
	for schema, pragmas := range map[string]string{"main": tt.a, "o": tt.b} {
		if tt.unaligned {
			pragmas = "PRAGMA %s.page_size=8192"
		}
		if pragmas != "" {
			c.exec(fmt.Sprintf(pragmas, schema))
		}
		c.exec("PRAGMA " + schema + ".auto_vacuum=INCREMENTAL; CREATE TABLE " + schema + ".t(id INTEGER PRIMARY KEY, x)")
		c.exec(fmt.Sprintf(mode, schema))
		c.exec(insertRows(schema + ".t"))
		if tt.unaligned {
			withoutRepaging(t, c, schema, vacuum)
		}
	}
	a.Track()
	b.Track()
	epochs := func() [2]uint64 { return [2]uint64{a.Epoch(), b.Epoch()} }
	sums := func() (all [2]string) {
		for i, schema := range []string{"main", "o"} {
			all[i] = c.text("SELECT count(*), total(id), total(length(x)) FROM "+schema+".t") + " " + c.text("PRAGMA "+schema+".page_count")
		}
		return all
	}
	before, old := epochs(), sums()

	c.exec("BEGIN IMMEDIATE")
	c.exec(tt.change)
	want := sums()
	require.NotEqual(t, old, want)
	FailAlloc(n, false)
	err := c.try("COMMIT")
	allocs := FailAlloc(0, false)
	if err != nil {
		require.Contains(t, []sqlite3.ErrNo{sqlite3.ErrNomem, sqlite3.ErrIoErr, sqlite3.ErrFull}, code(err), "allocation %d: %v", n, err)
		if !c.AutoCommit() {
			c.exec("ROLLBACK")
		}
		want = old
		require.Equal(t, before, epochs(), "allocation %d: half a commit", n)
	}
	require.Equal(t, want, sums(), "allocation %d: %v", n, err)
	for _, s := range []*Store{a, b} {
		other := open(t, s) // and so makes c read all anew
		require.Equal(t, "ok", other.text("PRAGMA integrity_check"))
		other.exec("PRAGMA user_version=7")
		other.close()
	}
	require.Equal(t, want, sums())
	return allocs, err
}

// withoutRepaging changes the page size of a database from 8192 to 1024, without the memory
// for blocks of that size. The last allocations of a VACUUM are for these, and its commit
// succeeds without. It returns the number of allocations; last is that number if it is
// known.
func withoutRepaging(t *testing.T, c *testConn, schema string, last int64) int64 {
	t.Helper()
	c.exec("PRAGMA " + schema + ".page_size=1024")
	FailAlloc(max(last-10, 0), false) // the journal modes differ by a few allocations
	c.exec("VACUUM " + schema)
	allocs := FailAlloc(0, false)
	require.GreaterOrEqual(t, allocs, last-10)
	require.Equal(t, "1024", c.text("PRAGMA "+schema+".page_size"))
	return allocs
}
