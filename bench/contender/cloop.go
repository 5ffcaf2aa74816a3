package contender

/*
#cgo CFLAGS: -O2
#include <stdlib.h>
#include "cloop.h"
*/
import "C"

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"unsafe"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"
	"github.com/sqlite-mem/sqlite-mem/driver"
)

// cLoop runs the same statements in a loop in C on sqlite-mem's VFS. It shows the cost
// of SQLite and the engine alone.
func cLoop() *Contender {
	c := sqliteMem()
	c.Name, c.MailStore, c.Save = "C", "", ""
	c.Pool = "any number of connections; a sync.Mutex for writers"
	c.Bypass = "a loop in C, with several small operations in each call"
	c.open = func(c *Contender, path string) (*DB, error) {
		db, err := openSqliteMem(c, path)
		if err != nil {
			return nil, err
		}
		return &DB{bypass: &cLoopDB{pool: db.Pool}}, nil
	}
	return c
}

// cLoopDB is a pool of connections with a loop on each. It keeps each connection
// checked out of the pool of database/sql, and calls C inside of its Raw.
type cLoopDB struct {
	pool   *sql.DB
	writer sync.Mutex // lets one loop write at a time, so that SQLite's busy handler is not measured

	mu   sync.Mutex // guards all and free
	all  []*cLoopConn
	free []*cLoopConn
}

type cLoopConn struct {
	conn *sql.Conn
	loop *C.cloop
}

var _ bypass = (*cLoopDB)(nil)

var cLoopTexts = [C.CLOOP_N]string{
	C.CLOOP_READ_ACCOUNT: workload.ReadAccount, C.CLOOP_WRITE_ACCOUNT: workload.WriteAccount,
	C.CLOOP_FIND_ACCOUNT: workload.FindAccount, C.CLOOP_READ_QUOTA: workload.ReadQuota, C.CLOOP_READ_MAILBOX: workload.ReadMailbox,
	C.CLOOP_INSERT_MESSAGE: workload.InsertMessage, C.CLOOP_UPDATE_MAILBOX: workload.UpdateMailbox,
	C.CLOOP_SCAN_ACCOUNTS: workload.ScanAccounts, C.CLOOP_SUM_ACCOUNTS: workload.SumAccounts,
	C.CLOOP_INSERT_USER: workload.InsertUser, C.CLOOP_INSERT_ARTICLE: workload.InsertArticle, C.CLOOP_INSERT_COMMENT: workload.InsertComment,
	C.CLOOP_SCAN_USERS: workload.ScanAllUsers, C.CLOOP_JOIN_USER: workload.JoinOneUser, C.CLOOP_JOIN_USERS: workload.JoinAllUsers,
	C.CLOOP_BEGIN: "BEGIN IMMEDIATE", C.CLOOP_COMMIT: "COMMIT", C.CLOOP_ROLLBACK: "ROLLBACK",
}

// raw runs fn with the sqlite3* of the connection.
func raw(conn *sql.Conn, fn func(db C.uintptr_t) error) error {
	return conn.Raw(func(c any) error {
		// go-sqlite3 does not export its sqlite3*.
		field := reflect.ValueOf(c.(driver.RawConn).Raw()).Elem().FieldByName("db")
		if field.Kind() != reflect.Pointer || field.IsNil() {
			return fmt.Errorf("go-sqlite3 keeps no sqlite3* in %T.db", sqlite3.SQLiteConn{})
		}
		return fn(C.uintptr_t(field.Pointer()))
	})
}

// add opens a connection. The caller holds mu.
func (d *cLoopDB) add(ctx context.Context) (*cLoopConn, error) {
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &cLoopConn{conn: conn}
	err = raw(conn, func(db C.uintptr_t) error {
		if c.loop = C.cloop_new(db); c.loop == nil {
			return errors.New("out of memory")
		}
		for which, text := range cLoopTexts {
			z := C.CString(text)
			rc := C.cloop_text(c.loop, C.int(which), z, C.int(len(text)))
			C.free(unsafe.Pointer(z))
			if rc != 0 {
				return sqlite3.ErrNo(rc)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	d.all = append(d.all, c)
	return c, nil
}

func (c *cLoopConn) close() error {
	err := c.conn.Raw(func(any) error {
		if c.loop != nil {
			C.cloop_free(c.loop)
			c.loop = nil
		}
		return nil
	})
	return errors.Join(err, c.conn.Close())
}

func (d *cLoopDB) Connect(ctx context.Context, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.all) < n {
		c, err := d.add(ctx)
		if err != nil {
			return err
		}
		d.free = append(d.free, c)
	}
	return nil
}

func (d *cLoopDB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, c := range d.all {
		errs = append(errs, c.close())
	}
	d.all, d.free = nil, nil
	return errors.Join(append(errs, d.pool.Close())...)
}

func (d *cLoopDB) take(ctx context.Context) (*cLoopConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.free)
	if n == 0 {
		return d.add(ctx)
	}
	c := d.free[n-1]
	d.free = d.free[:n-1]
	return c, nil
}

// run runs fn, a call into C, on a free loop.
func (d *cLoopDB) run(ctx context.Context, fn func(*C.cloop) C.int) error {
	c, err := d.take(ctx)
	if err != nil {
		return err
	}
	err = c.conn.Raw(func(any) error {
		if rc := fn(c.loop); rc != 0 {
			return fmt.Errorf("%w: %s", sqlite3.ErrNo(rc&0xff), C.GoString(C.cloop_error(c.loop)))
		}
		return nil
	})
	d.mu.Lock()
	d.free = append(d.free, c)
	d.mu.Unlock()
	return err
}

func (d *cLoopDB) write(ctx context.Context, fn func(*C.cloop) C.int) error {
	d.writer.Lock()
	defer d.writer.Unlock()
	return d.run(ctx, fn)
}

// rows runs a query in C that must have want rows.
func (d *cLoopDB) rows(ctx context.Context, want int, fn func(loop *C.cloop, n *C.int64_t) C.int) error {
	var n C.int64_t
	if err := d.run(ctx, func(loop *C.cloop) C.int { return fn(loop, &n) }); err != nil {
		return err
	}
	if int(n) != want {
		return fmt.Errorf("%d rows instead of %d", n, want)
	}
	return nil
}

func (d *cLoopDB) Exec(ctx context.Context, query string) error {
	d.writer.Lock()
	defer d.writer.Unlock()
	_, err := d.pool.ExecContext(ctx, query)
	return err
}

func (d *cLoopDB) Ints(ctx context.Context, query string, n int) ([]int64, error) {
	return ints(ctx, d.pool, query, n)
}

// The operations in one call of C. They are so many that the cost of the call hardly
// counts.
const (
	cLoopBatch    = 100
	cLoopDelivers = 20
)

func (d *cLoopDB) Works() []workload.Workload {
	small := func(run func(ctx context.Context, fn func(*C.cloop) C.int) error, call func(loop *C.cloop, seed C.uint64_t, accounts C.int) C.int) func(int) workload.Op {
		return func(accounts int) workload.Op {
			return func(ctx context.Context, _ workload.DB, rnd *rand.Rand) error {
				seed := C.uint64_t(rnd.Uint64() | 1)
				return run(ctx, func(loop *C.cloop) C.int { return call(loop, seed, C.int(accounts)) })
			}
		}
	}
	read := small(d.run, func(loop *C.cloop, seed C.uint64_t, accounts C.int) C.int {
		return C.cloop_point_read(loop, seed, cLoopBatch, accounts)
	})
	write := small(d.write, func(loop *C.cloop, seed C.uint64_t, accounts C.int) C.int {
		return C.cloop_point_write(loop, seed, cLoopBatch, accounts)
	})
	head := C.CString(workload.Head) // never freed: it lives as long as the process
	deliver := small(d.write, func(loop *C.cloop, seed C.uint64_t, accounts C.int) C.int {
		return C.cloop_deliver(loop, seed, cLoopDelivers, accounts, head, C.int(len(workload.Head)))
	})
	scan := func(accounts int) workload.Op {
		return func(ctx context.Context, _ workload.DB, rnd *rand.Rand) error {
			from := C.int64_t(rnd.IntN(max(accounts-1000, 1)))
			return d.rows(ctx, min(1000, accounts), func(loop *C.cloop, n *C.int64_t) C.int {
				return C.cloop_query_int(loop, C.CLOOP_SCAN_ACCOUNTS, from, n)
			})
		}
	}
	aggregate := func(accounts int) workload.Op {
		return func(ctx context.Context, _ workload.DB, _ *rand.Rand) error {
			return d.rows(ctx, accounts, func(loop *C.cloop, count *C.int64_t) C.int {
				return C.cloop_query(loop, C.CLOOP_SUM_ACCOUNTS, nil, count)
			})
		}
	}
	return workload.Replace(map[string]func(int) workload.Op{
		"PointRead": read, "PointWrite": write, "Mix90": workload.Mix(10, read, write), "Mix50": workload.Mix(50, read, write),
		"Deliver": deliver, "Scan1000": scan, "Aggregate": aggregate,
	}, map[string]int{"PointRead": cLoopBatch, "PointWrite": cLoopBatch, "Mix90": cLoopBatch, "Mix50": cLoopBatch, "Deliver": cLoopDelivers})
}

func (d *cLoopDB) Users() workload.UserOps { return cLoopUsers{d} }

type cLoopUsers struct{ db *cLoopDB }

func (u cLoopUsers) InsertUsers(ctx context.Context, n int) error {
	return u.InsertBlog(ctx, 1, workload.Blog{Users: n})
}

func (u cLoopUsers) InsertBlog(ctx context.Context, first int, b workload.Blog) error {
	article, comment := C.CString(workload.ArticleBody), C.CString(workload.CommentBody)
	defer C.free(unsafe.Pointer(article))
	defer C.free(unsafe.Pointer(comment))
	blog := C.cloop_blog{
		first: C.int64_t(first), users: C.int64_t(b.Users), articles: C.int64_t(b.Articles), comments: C.int64_t(b.Comments), created: workload.Created,
		zArticle: article, zComment: comment, nArticle: C.int(len(workload.ArticleBody)), nComment: C.int(len(workload.CommentBody)),
	}
	return u.db.write(ctx, func(loop *C.cloop) C.int { return C.cloop_insert_blog(loop, &blog) })
}

func (u cLoopUsers) ScanUsers(ctx context.Context, want int) error {
	return u.db.rows(ctx, want, func(loop *C.cloop, n *C.int64_t) C.int { return C.cloop_query(loop, C.CLOOP_SCAN_USERS, n, nil) })
}

func (u cLoopUsers) JoinUser(ctx context.Context, number, want int) error {
	email := workload.Email(number)
	z := C.CString(email)
	defer C.free(unsafe.Pointer(z))
	return u.db.rows(ctx, want, func(loop *C.cloop, n *C.int64_t) C.int {
		return C.cloop_query_text(loop, C.CLOOP_JOIN_USER, z, C.int(len(email)), n)
	})
}

func (u cLoopUsers) JoinUsers(ctx context.Context, want int) error {
	return u.db.rows(ctx, want, func(loop *C.cloop, n *C.int64_t) C.int { return C.cloop_query(loop, C.CLOOP_JOIN_USERS, n, nil) })
}
