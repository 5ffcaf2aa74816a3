package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that each line of a report of perf counts for the owner of its code, and that
// no time is lost.
func TestParse(t *testing.T) {
	engine, err := engineFunctions("../../../internal/memvfs")
	require.NoError(t, err)
	for _, name := range []string{"memvfsFind", "fFetch", "nameFind", "slabNew", "memvfs_store_create"} {
		require.True(t, engine[name], name)
	}
	for _, name := range []string{"if", "for", "while", "switch", "sqlite3_mutex_enter"} {
		require.False(t, engine[name], name)
	}
	p := parse(`
    40.00%|profile            |[.] sqlite3BtreeTableMoveto
     5.00%|profile            |[.] releaseMemArray.part.0
     2.00%|profile            |[.] memvfsFind
     1.00%|profile            |[.] gorm.io/gorm.(*DB).First
     1.00%|profile            |[.] github.com/sqlite-mem/sqlite-mem/gormdialect.(*Dialector).QuoteTo
     1.00%|profile            |[.] reflect.Value.Field
     5.00%|profile            |[.] github.com/sqlite-mem/sqlite-mem/driver.(*conn).newRows
     5.00%|profile            |[.] github.com/mattn/go-sqlite3.(*SQLiteRows).Next
     5.00%|libc.so.6          |[.] __memmove_avx512_unaligned_erms
     5.00%|profile            |[.] database/sql.(*DB).conn
     5.00%|profile            |[.] runtime.mallocgc
     5.00%|profile            |[.] runtime.lock2
     5.00%|[vdso]             |[.] 0x000000000000079d
    10.00%|[kernel.kallsyms]  |[k] do_syscall_64
     5.00%|profile            |[.] main.child
`, engine, 1000)
	require.Equal(t, map[string]float64{
		"SQLite": 450, "sqlite-mem, engine (C)": 20, "GORM": 20, "reflect": 10, "sqlite-mem, driver (Go)": 50, "go-sqlite3": 50, "C library": 50, "database/sql": 50,
		"Go: memory and garbage collection": 50, "Go: scheduler, cgo, locks, contexts and the rest": 100, "kernel": 100, "the bench": 50,
	}, p.by)
	for g := range p.by {
		require.Contains(t, groups, g)
	}
	var b strings.Builder
	require.NoError(t, write(&b, []string{"a"}, []profile{p}))
	require.Contains(t, b.String(), "| SQLite | 450 |\n")
	require.Contains(t, b.String(), "| all | 1000 |\n")
	require.Contains(t, b.String(), "SQLite: sqlite3BtreeTableMoveto 400, releaseMemArray.part.0 50\n")
	b.Reset()
	require.NoError(t, write(&b, []string{"a", "b"}, []profile{{}, parse("10.00%|libc.so.6|[.] memcpy", engine, 1000)}))
	require.Contains(t, b.String(), "| C library | 0 | 100 |\n")
	require.NotContains(t, b.String(), "GORM", "nobody has code of it")
}
