package workload

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// UserSizes are the sizes of the loads of [Users].
type UserSizes struct {
	Users   int // inserted in one transaction
	Writers Blog
	Bulk    Blog
	Queries int   // how often each set of rows is read
	Rows    []int // the sizes of these sets
}

// Blog is a number of users, of articles of each user, and of comments on each article.
type Blog struct{ Users, Articles, Comments int }

func (b Blog) rows() int { return b.Users * b.Articles * b.Comments }

// FullUsers are the sizes of github.com/cvilsmeier/go-sqlite-bench, the comparison that
// users of SQLite in Go quote. The loads, their tables and their statements are our
// own.
var FullUsers = UserSizes{Users: 1_000_000, Writers: Blog{100, 20, 20}, Bulk: Blog{200, 100, 20}, Queries: 1000, Rows: []int{10, 100, 1000}}

// ShortUsers are sizes that only show that the loads work.
var ShortUsers = UserSizes{Users: 2000, Writers: Blog{5, 4, 3}, Bulk: Blog{5, 4, 3}, Queries: 10, Rows: []int{10, 100, 1000}}

// UserSizesOf returns [ShortUsers] or [FullUsers].
func UserSizesOf(short bool) UserSizes {
	if short {
		return ShortUsers
	}
	return FullUsers
}

// UserOps are the operations of [Users] for one kind of driver. A read fails if the
// number of rows is not want.
type UserOps interface {
	// InsertUsers inserts users 1 to n in one transaction.
	InsertUsers(ctx context.Context, n int) error
	// ScanUsers reads all users.
	ScanUsers(ctx context.Context, want int) error
	// InsertBlog inserts the users of b from the number first on, with their
	// articles and comments, in one transaction.
	InsertBlog(ctx context.Context, first int, b Blog) error
	// JoinUser reads a user by the email address with articles and comments.
	JoinUser(ctx context.Context, number, want int) error
	// JoinUsers reads all users with articles and comments.
	JoinUsers(ctx context.Context, want int) error
}

// UserLoad is one of the loads of [Users]. It runs a number of times, not for a time.
// Before runs first and is not measured.
type UserLoad struct {
	Name, What string
	Goroutines int
	Ops        int64
	Before     func(ctx context.Context, db Execer) error
	Op         Op // ignores the DB
}

// UserSchema creates the tables of [Users].
func UserSchema(ctx context.Context, db Execer) error {
	return execAll(ctx, db,
		"CREATE TABLE users(id INTEGER PRIMARY KEY, created INTEGER NOT NULL, email TEXT NOT NULL, active INTEGER NOT NULL)",
		"CREATE INDEX users_created ON users(created)",
		"CREATE TABLE articles(id INTEGER PRIMARY KEY, created INTEGER NOT NULL, author INTEGER NOT NULL REFERENCES users, body TEXT NOT NULL)",
		"CREATE INDEX articles_created ON articles(created)",
		"CREATE INDEX articles_author ON articles(author)",
		"CREATE TABLE comments(id INTEGER PRIMARY KEY, created INTEGER NOT NULL, article INTEGER NOT NULL REFERENCES articles, body TEXT NOT NULL)",
		"CREATE INDEX comments_created ON comments(created)",
		"CREATE INDEX comments_article ON comments(article)")
}

// The statements of the loads.
const (
	InsertUser    = "INSERT INTO users(id, created, email, active) VALUES(?,?,?,?)"
	InsertArticle = "INSERT INTO articles(id, created, author, body) VALUES(?,?,?,?)"
	InsertComment = "INSERT INTO comments(id, created, article, body) VALUES(?,?,?,?)"
	ScanAllUsers  = "SELECT id, created, email, active FROM users ORDER BY id"
	JoinAllUsers  = "SELECT u.id, u.created, u.email, u.active, a.id, a.created, a.body, c.id, c.created, c.body" +
		" FROM users u LEFT JOIN articles a ON a.author=u.id LEFT JOIN comments c ON c.article=a.id"
	JoinOneUser = JoinAllUsers + " WHERE u.email=?"
)

// PrepareUsers announces the statements of the transactions.
func PrepareUsers(ctx context.Context, db DB) error {
	return db.Prepare(ctx, InsertUser, InsertArticle, InsertComment)
}

// The contents of the rows. Created counts milliseconds. Email contains the number of
// the user. The SQL of fillUsers and fillBlog gives the same contents.
const (
	Created     = 1_700_000_000_000
	ArticleBody = "An article of the bench, of about the length of a paragraph that has a little to say and says it briefly."
	CommentBody = "A comment of the bench, which agrees."
)

// Email returns the address of the user with a number.
func Email(number int) string { return fmt.Sprintf("user%08d@example.org", number) }

func clearUsers(ctx context.Context, db Execer) error {
	return execAll(ctx, db, "DELETE FROM comments", "DELETE FROM articles", "DELETE FROM users")
}

func fillUsers(ctx context.Context, db Execer, n int) error {
	return db.Exec(ctx, fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)
		INSERT INTO users SELECT i, %d+i, printf('user%%08d@example.org', i), 1 FROM c`, n, Created))
}

func fillBlog(ctx context.Context, db Execer, b Blog) error {
	if err := fillUsers(ctx, db, b.Users); err != nil {
		return err
	}
	return execAll(ctx, db,
		fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)
			INSERT INTO articles SELECT i, %d+i, (i-1)/%d+1, '%s' FROM c`, b.Users*b.Articles, Created, b.Articles, ArticleBody),
		fmt.Sprintf(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)
			INSERT INTO comments SELECT i, %d+i, (i-1)/%d+1, '%s' FROM c`, b.rows(), Created, b.Comments, CommentBody))
}

// Users returns the loads in the order of the report. They may run in any order, one at
// a time. All loads of one call must run on one database.
func Users(size UserSizes, ops UserOps) []UserLoad {
	// content names the contents of the tables. Empty: unknown.
	content := ""
	filled := func(name string, fill func(context.Context, Execer) error) func(context.Context, Execer) error {
		return func(ctx context.Context, db Execer) error {
			if content == name {
				return nil
			}
			content = ""
			if err := clearUsers(ctx, db); err != nil {
				return err
			}
			if err := fill(ctx, db); err != nil {
				return err
			}
			content = name
			return nil
		}
	}
	withUsers := func(n int) func(context.Context, Execer) error {
		return filled(fmt.Sprint(n, " users"), func(ctx context.Context, db Execer) error { return fillUsers(ctx, db, n) })
	}
	withBlog := func(b Blog) func(context.Context, Execer) error {
		return filled(fmt.Sprint(b), func(ctx context.Context, db Execer) error { return fillBlog(ctx, db, b) })
	}
	var next atomic.Int64 // the number of the user that BlogInsert inserts
	empty := func(ctx context.Context, db Execer) error {
		content = ""
		next.Store(0)
		return clearUsers(ctx, db)
	}

	all := []UserLoad{{"UsersInsert", fmt.Sprintf("%d users inserted in one transaction", size.Users), 1, 1, empty,
		func(ctx context.Context, _ DB, _ *rand.Rand) error { return ops.InsertUsers(ctx, size.Users) }}}
	for _, n := range []int{1, 2, 4, 8} {
		all = append(all, UserLoad{"UsersScan", fmt.Sprintf("%d users read into sql.Null* variables, by each goroutine once", size.Users), n, int64(n), withUsers(size.Users),
			func(ctx context.Context, _ DB, _ *rand.Rand) error { return ops.ScanUsers(ctx, size.Users) }})
	}
	w, b := size.Writers, size.Bulk
	all = append(all,
		UserLoad{"BlogInsert", fmt.Sprintf("a user with %d articles with %d comments each inserted in one transaction, %d times", w.Articles, w.Comments, w.Users), 1, int64(w.Users), empty,
			func(ctx context.Context, _ DB, _ *rand.Rand) error {
				return ops.InsertBlog(ctx, int(next.Add(1)), Blog{1, w.Articles, w.Comments})
			}},
		UserLoad{"BlogJoin", fmt.Sprintf("one of %d users, by the email address, joined with articles and comments", w.Users), 1, int64(w.Users), withBlog(w),
			func(ctx context.Context, _ DB, rnd *rand.Rand) error {
				return ops.JoinUser(ctx, rnd.IntN(w.Users)+1, w.Articles*w.Comments)
			}},
		UserLoad{"BulkInsert", fmt.Sprintf("%d users with %d articles with %d comments each inserted in one transaction", b.Users, b.Articles, b.Comments), 1, 1, empty,
			func(ctx context.Context, _ DB, _ *rand.Rand) error { return ops.InsertBlog(ctx, 1, b) }},
		UserLoad{"BulkJoin", fmt.Sprintf("all of them joined: %d rows", b.rows()), 1, 1, withBlog(b),
			func(ctx context.Context, _ DB, _ *rand.Rand) error { return ops.JoinUsers(ctx, b.rows()) }})
	for _, n := range size.Rows {
		all = append(all, UserLoad{fmt.Sprintf("Query%d", n), fmt.Sprintf("all of %d users read into sql.Null* variables, %d times", n, size.Queries), 1, int64(size.Queries), withUsers(n),
			func(ctx context.Context, _ DB, _ *rand.Rand) error { return ops.ScanUsers(ctx, n) }})
	}
	return all
}

// insertBlog calls user, article and comment for each row of b. Their numbers follow
// those of the users before first.
func insertBlog(first int, b Blog, user, article, comment func(id, parent int) error) error {
	for u := first; u < first+b.Users; u++ {
		if err := user(u, 0); err != nil {
			return err
		}
		for a := (u-1)*b.Articles + 1; a <= u*b.Articles; a++ {
			if err := article(a, u); err != nil {
				return err
			}
			for c := (a-1)*b.Comments + 1; c <= a*b.Comments; c++ {
				if err := comment(c, a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sqlUsers are the operations through database/sql.
type sqlUsers struct{ db DB }

// SQLUsers returns the operations of [Users] through database/sql.
func SQLUsers(db DB) UserOps { return sqlUsers{db} }

func (s sqlUsers) InsertUsers(ctx context.Context, n int) error {
	return s.db.Tx(ctx, func(ctx context.Context, c Conn) error {
		for i := 1; i <= n; i++ {
			if _, err := c.ExecContext(ctx, InsertUser, i, Created+i, Email(i), 1); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s sqlUsers) InsertBlog(ctx context.Context, first int, b Blog) error {
	return s.db.Tx(ctx, func(ctx context.Context, c Conn) error {
		insert := func(query string, args ...any) error {
			_, err := c.ExecContext(ctx, query, args...)
			return err
		}
		return insertBlog(first, b,
			func(id, _ int) error { return insert(InsertUser, id, Created+id, Email(id), 1) },
			func(id, user int) error { return insert(InsertArticle, id, Created+id, user, ArticleBody) },
			func(id, article int) error { return insert(InsertComment, id, Created+id, article, CommentBody) })
	})
}

// query reads all rows of a query and counts them.
func (s sqlUsers) query(ctx context.Context, want int, query string, args []any, dest ...any) error {
	return s.db.Read(ctx, func(ctx context.Context, c Conn) error {
		all, err := c.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer all.Close()
		n := 0
		for ; all.Next(); n++ {
			if err := all.Scan(dest...); err != nil {
				return err
			}
		}
		return rows(n, want, all.Err())
	})
}

func (s sqlUsers) ScanUsers(ctx context.Context, want int) error {
	var id, created sql.NullInt64
	var email sql.NullString
	var active sql.NullBool
	return s.query(ctx, want, ScanAllUsers, nil, &id, &created, &email, &active)
}

func (s sqlUsers) join(ctx context.Context, want int, query string, args ...any) error {
	var user, userCreated, article, articleCreated, comment, commentCreated sql.NullInt64
	var email, articleBody, commentBody sql.NullString
	var active sql.NullBool
	return s.query(ctx, want, query, args, &user, &userCreated, &email, &active, &article, &articleCreated, &articleBody, &comment, &commentCreated, &commentBody)
}

func (s sqlUsers) JoinUser(ctx context.Context, number, want int) error {
	return s.join(ctx, want, JoinOneUser, Email(number))
}

func (s sqlUsers) JoinUsers(ctx context.Context, want int) error {
	return s.join(ctx, want, JoinAllUsers)
}

// directUsers are the operations for a driver that bypasses database/sql.
type directUsers struct{ db Direct }

// DirectUsers returns the operations of [Users] for a driver that bypasses
// database/sql.
func DirectUsers(db Direct) UserOps { return directUsers{db} }

func (d directUsers) InsertUsers(ctx context.Context, n int) error {
	return d.InsertBlog(ctx, 1, Blog{Users: n})
}

func (d directUsers) InsertBlog(ctx context.Context, first int, b Blog) error {
	return d.db.Tx(ctx, func(c DirectConn) error {
		child := func(query, body string) func(id, parent int) error {
			return func(id, parent int) error {
				_, err := steps(c, query, func(s DirectStmt) {
					s.BindInt64(1, int64(id))
					s.BindInt64(2, int64(Created+id))
					s.BindInt64(3, int64(parent))
					s.BindText(4, body)
				}, nil)
				return err
			}
		}
		return insertBlog(first, b,
			func(id, _ int) error {
				_, err := steps(c, InsertUser, func(s DirectStmt) {
					s.BindInt64(1, int64(id))
					s.BindInt64(2, int64(Created+id))
					s.BindText(3, Email(id))
					s.BindInt64(4, 1)
				}, nil)
				return err
			},
			child(InsertArticle, ArticleBody), child(InsertComment, CommentBody))
	})
}

func (d directUsers) ScanUsers(ctx context.Context, want int) error {
	return d.db.Read(ctx, func(c DirectConn) error {
		n, err := steps(c, ScanAllUsers, nil, keepUser)
		return rows(n, want, err)
	})
}

func keepUser(s DirectStmt) {
	keep(s.ColumnText(2), s.ColumnInt64(0)+s.ColumnInt64(1)+s.ColumnInt64(3))
}

func (d directUsers) join(ctx context.Context, want int, query string, bind func(DirectStmt)) error {
	return d.db.Read(ctx, func(c DirectConn) error {
		n, err := steps(c, query, bind, func(s DirectStmt) {
			keepUser(s)
			for _, i := range []int{4, 7} {
				keep(s.ColumnText(i+2), s.ColumnInt64(i)+s.ColumnInt64(i+1))
			}
		})
		return rows(n, want, err)
	})
}

func (d directUsers) JoinUser(ctx context.Context, number, want int) error {
	return d.join(ctx, want, JoinOneUser, func(s DirectStmt) { s.BindText(1, Email(number)) })
}

func (d directUsers) JoinUsers(ctx context.Context, want int) error {
	return d.join(ctx, want, JoinAllUsers, nil)
}
