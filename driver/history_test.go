//go:build cgo

package driver_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// A history has the reads and writes of clients on registers, with the times of
// their begin and end. Every write of a register stores the number of its
// transaction, which is unique. It also reads the number that was there. So the
// writes of each register are a chain in a known order.
type history []txn

// txn is a committed transaction, or one that only read.
type txn struct {
	id         int // of a writer, from 1 on; 0 is the client that filled the registers
	reads      map[int]int
	writes     map[int]int // register → the id that it found there
	begin, end time.Duration
}

// check finds violations of strict serializability. It returns nil if there is
// an order in which each transaction saw the state that those before it had
// left. No transaction may come before one that had ended when it began.
//
// Lost updates show as two writers that found the same value. Dirty and aborted
// reads show as a value that nobody committed. The rest are circles among the
// orders that are known. One is of the writer and the reader of a value, one of
// the reader of a value and the writer of the next. The others are of the
// writers of a register, and of time. That is Adya's direct serialization
// graph. A fork of long standing (two readers that see two writes in opposite
// orders) is a circle in it.
func (h history) check() error {
	nodes := map[int]int{} // writer → place in h
	for i, tx := range h {
		if len(tx.writes) == 0 {
			continue
		}
		if _, twice := nodes[tx.id]; twice {
			return fmt.Errorf("transaction %d is committed twice", tx.id)
		}
		nodes[tx.id] = i
	}
	next := map[[2]int]int{} // register and value → who replaced it
	for i, tx := range h {
		for reg, found := range tx.writes {
			if other, lost := next[[2]int{reg, found}]; lost {
				return fmt.Errorf("lost update: transactions %d and %d both replaced the value %d of register %d", h[other].id, tx.id, found, reg)
			}
			next[[2]int{reg, found}] = i
		}
	}
	after := make([][]int, len(h)) // those that must come after
	edge := func(a, b int) {
		if a != b {
			after[a] = append(after[a], b)
		}
	}
	for i, tx := range h {
		for _, seen := range []map[int]int{tx.reads, tx.writes} {
			for reg, value := range seen {
				if value != 0 {
					w, ok := nodes[value]
					if !ok || !has(h[w].writes, reg) {
						return fmt.Errorf("dirty read: register %d has the value %d, which nobody committed", reg, value)
					}
					edge(w, i)
				}
				if n, ok := next[[2]int{reg, value}]; ok {
					edge(i, n)
				}
			}
		}
	}
	// Time: by a chain of moments instead of an edge for each pair. Moment k
	// comes after what has ended by then, and before what begins later.
	order := make([]int, len(h))
	for i := range order {
		order[i] = i
	}
	byEnd := slices.Clone(order)
	slices.SortFunc(order, func(a, b int) int { return int(h[a].begin - h[b].begin) })
	slices.SortFunc(byEnd, func(a, b int) int { return int(h[a].end - h[b].end) })
	for k, j := 0, 0; k < len(byEnd); k++ {
		moment := len(h) + k
		after = append(after, nil)
		after[byEnd[k]] = append(after[byEnd[k]], moment)
		if k > 0 {
			after[moment-1] = append(after[moment-1], moment)
		}
		for j < len(order) && h[order[j]].begin <= h[byEnd[k]].end {
			j++ // begins before or at this moment
		}
		for m := j; m < len(order) && (k+1 == len(byEnd) || h[order[m]].begin <= h[byEnd[k+1]].end); m++ {
			after[moment] = append(after[moment], order[m])
		}
	}
	return circle(after, func(i int) string {
		if i >= len(h) {
			return "" // a moment
		}
		return fmt.Sprintf("%d reads %v writes %v in %v-%v", h[i].id, h[i].reads, h[i].writes, h[i].begin, h[i].end)
	})
}

func has(m map[int]int, key int) bool {
	_, ok := m[key]
	return ok
}

// circle returns an error that tells a circle in a graph, nil if there is none.
func circle(after [][]int, name func(int) string) error {
	const unseen, open, done = 0, 1, 2
	state := make([]byte, len(after))
	at := make([]int, len(after)) // how many of its edges were followed
	for root := range after {
		if state[root] != unseen {
			continue
		}
		path := []int{root}
		state[root] = open
		for len(path) > 0 {
			i := path[len(path)-1]
			if at[i] == len(after[i]) {
				state[i] = done
				path = path[:len(path)-1]
				continue
			}
			j := after[i][at[i]]
			at[i]++
			switch state[j] {
			case unseen:
				state[j] = open
				path = append(path, j)
			case open:
				text := "no order of these transactions explains what they saw:"
				for _, k := range path[slices.Index(path, j):] {
					if s := name(k); s != "" {
						text += "\n  " + s
					}
				}
				return errors.New(text)
			}
		}
	}
	return nil
}

// Ensure that the checker accepts a correct history, and finds each kind of
// violation.
func TestHistory_checker(t *testing.T) {
	r := func(pairs ...int) map[int]int {
		m := map[int]int{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for name, tt := range map[string]struct {
		h    history
		want string
	}{
		"empty":              {nil, ""},
		"in order":           {history{{1, nil, r(0, 0), 0, 1}, {2, nil, r(0, 1), 2, 3}, {0, r(0, 2), nil, 4, 5}}, ""},
		"beside each other":  {history{{1, nil, r(0, 0), 0, 10}, {2, nil, r(0, 1), 0, 10}, {0, r(0, 1), nil, 0, 10}, {0, r(0, 0), nil, 0, 10}}, ""},
		"lost update":        {history{{1, nil, r(0, 0), 0, 1}, {2, nil, r(0, 0), 0, 1}}, "lost update"},
		"dirty read":         {history{{0, r(0, 7), nil, 0, 1}}, "dirty read"},
		"stale read":         {history{{1, nil, r(0, 0), 0, 1}, {0, r(0, 0), nil, 2, 3}}, "no order"},
		"from the future":    {history{{0, r(0, 1), nil, 0, 1}, {1, nil, r(0, 0), 2, 3}}, "no order"},
		"back in time":       {history{{1, nil, r(0, 0), 0, 9}, {0, r(0, 1), nil, 1, 2}, {0, r(0, 0), nil, 3, 4}}, "no order"},
		"long fork":          {history{{1, nil, r(0, 0), 0, 9}, {2, nil, r(1, 0), 0, 9}, {0, r(0, 1, 1, 0), nil, 0, 9}, {0, r(0, 0, 1, 2), nil, 0, 9}}, "no order"},
		"write skew":         {history{{1, r(1, 0), r(0, 0), 0, 9}, {2, r(0, 0), r(1, 0), 0, 9}}, "no order"},
		"half a transaction": {history{{1, nil, r(0, 0, 1, 0), 0, 9}, {0, r(0, 1, 1, 0), nil, 0, 9}}, "no order"},
		"twice":              {history{{1, nil, r(0, 0), 0, 1}, {1, nil, r(0, 1), 0, 1}}, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.h.check()
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.want)
			}
		})
	}
}

// fault is an error that record makes on purpose, to show that the checker
// finds it.
type fault int

const (
	noFault     fault = iota
	staleReads        // readers keep a snapshot for several reads and give it out as new
	unlocked          // writers read outside of their transaction, as without a write lock
	halfCommits       // writers commit in two transactions
)

// record lets clients work on registers in every way that the driver has, for
// length, and returns what they did and saw.
func record(t *testing.T, db *sql.DB, clients int, length time.Duration, bug fault) history {
	const registers = 6
	testdb.Exec(t, db, "CREATE TABLE reg(id INTEGER PRIMARY KEY, v INT NOT NULL, pad)")
	for i := range registers {
		testdb.Exec(t, db, "INSERT INTO reg VALUES(?, 0, zeroblob(3000))", i) // a page each
	}
	var mu sync.Mutex
	var h history
	ids := 0
	start := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		rnd := rand.New(rand.NewPCG(9, uint64(c)))
		wg.Go(func() {
			var old *sql.Tx
			defer func() {
				if old != nil {
					_ = old.Rollback()
				}
			}()
			for time.Since(start) < length {
				tx := txn{reads: map[int]int{}, writes: map[int]int{}, begin: time.Since(start)}
				regs := rnd.Perm(registers)[:1+rnd.IntN(registers)]
				var err error
				read := func(q interface {
					QueryRow(string, ...any) *sql.Row
				}, reg int) (v int) {
					if err == nil {
						err = q.QueryRow("SELECT v FROM reg WHERE id=?", reg).Scan(&v)
					}
					return v
				}
				if rnd.IntN(3) > 0 { // reads alone
					if bug == staleReads && old != nil && rnd.IntN(3) == 0 {
						for _, reg := range regs {
							tx.reads[reg] = read(old, reg)
						}
					} else if rnd.IntN(2) == 0 { // in one statement
						var rows *sql.Rows
						if rows, err = db.Query("SELECT id, v FROM reg"); err == nil {
							for rows.Next() {
								var reg, v int
								err = errors.Join(err, rows.Scan(&reg, &v))
								tx.reads[reg] = v
							}
							err = errors.Join(err, rows.Err(), rows.Close())
						}
					} else {
						var rtx *sql.Tx
						if rtx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err == nil {
							for _, reg := range regs {
								tx.reads[reg] = read(rtx, reg)
							}
							if bug == staleReads && old == nil {
								old = rtx
							} else {
								err = errors.Join(err, rtx.Commit())
							}
						}
					}
				} else {
					mu.Lock()
					ids++
					tx.id = ids
					mu.Unlock()
					var wtx *sql.Tx
					found := map[int]int{}
					if bug == unlocked {
						for _, reg := range regs {
							found[reg] = read(db, reg)
						}
					}
					if wtx, err = db.Begin(); err == nil {
						for i, reg := range regs {
							if bug != unlocked {
								found[reg] = read(wtx, reg)
							}
							if i > 0 && i == len(regs)-1 {
								tx.reads[reg] = found[reg] // reads one that it does not write
								break
							}
							tx.writes[reg] = found[reg]
							if err == nil {
								_, err = wtx.Exec("UPDATE reg SET v=? WHERE id=?", tx.id, reg)
							}
							if bug == halfCommits && i == 1 && err == nil {
								if err = wtx.Commit(); err == nil {
									wtx, err = db.Begin()
								}
							}
							if err != nil {
								break
							}
						}
						if rnd.IntN(5) == 0 && bug != halfCommits {
							err = errors.Join(err, wtx.Rollback())
							tx.writes = nil // what it saw was true all the same
						} else if err == nil {
							err = wtx.Commit()
						}
					}
				}
				tx.end = time.Since(start)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				h = append(h, tx)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return h
}

// Ensure that the clients of a pool see strict serializability. An order
// explains their reads and writes, and agrees with the clock. Saves, a small
// cache and VACUUMs go on beside.
func TestHistory_pool(t *testing.T) {
	for _, params := range []string{"?sqlite_sync_interval=20ms", "?sqlite_sync_interval=20ms&_cache_size=1&_auto_vacuum=1"} {
		t.Run(params, func(t *testing.T) {
			db := testdb.Open(t, testdb.Path(t)+params)
			db.SetMaxIdleConns(16)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(30 * time.Millisecond):
					}
					if _, err := db.Exec("VACUUM"); err != nil && driver.IsStaleSnapshot(err) {
						t.Error(err)
					}
				}
			})
			h := record(t, db, 16, min(*long/6, time.Minute), noFault)
			close(stop)
			wg.Wait()
			require.NoError(t, h.check())
			writers := 0
			for _, tx := range h {
				if len(tx.writes) > 0 {
					writers++
				}
			}
			t.Logf("%d transactions, %d of them wrote", len(h), writers)
			require.Positive(t, writers)
		})
	}
}

// Ensure that the check would see the faults that such a database can have.
// States are given out too late, writers do not exclude each other,
// transactions show by halves.
func TestHistory_plantedFaults(t *testing.T) {
	for bug, want := range map[fault]string{staleReads: "no order", unlocked: "lost update", halfCommits: "no order"} {
		db := testdb.Open(t, testdb.Path(t))
		found := false
		for range 20 {
			testdb.Exec(t, db, "DROP TABLE IF EXISTS reg")
			if err := record(t, db, 8, 100*time.Millisecond, bug).check(); err != nil {
				require.ErrorContains(t, err, want)
				found = true
				break
			}
		}
		require.True(t, found, "fault %d is not seen", bug)
	}
}
