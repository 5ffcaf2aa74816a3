//go:build cgo

package driver_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// theirTest is a test of go-sqlite3 and how this package holds the same. Exactly
// one of check, ours, tag and not is set.
type theirTest struct {
	name string // a part of a suite is SUITE/PART
	says string // what it checks

	check func(p *peer) // of ours: runs on both drivers, which must tell the same
	ours  string        // a test of ours that holds it and more
	tag   string        // the build tag without which its code does not exist
	not   string        // why it says nothing about a driver
}

// theirTests are all tests of go-sqlite3. TestGoSQLite_all reads its source to
// hold this list complete.
var theirTests = []theirTest{
	// sqlite3_test.go
	{name: "TestOpen", says: "every _txlock opens, and an unknown one is an error", check: checkTxLock},
	{name: "TestOpenWithVFS", says: "an unknown VFS is an error, a known one opens; here vfs is refused by name", check: checkVFS},
	{name: "TestOpenNoCreate", says: "mode=rw of no file is SQLITE_CANTOPEN and makes none; mode=rwc makes it", check: checkNoCreate},
	{name: "TestReadonly", says: "a connection with mode=ro refuses to write; here it wants a file that was saved", check: checkReadOnly},
	{name: "TestForeignKeys", says: "_foreign_keys sets the pragma", check: checkForeignKeys},
	{name: "TestDeferredForeignKey", says: "a commit that breaks a deferred key fails and leaves no transaction", check: checkDeferredKey},
	{name: "TestRecursiveTriggers", says: "_recursive_triggers sets the pragma", check: checkRecursiveTriggers},
	{name: "TestClose", says: "a prepared statement is of no use after Close", check: checkClosed},
	{name: "TestInsert", says: "an INSERT counts its row, which is then read", check: checkInsert},
	{name: "TestUpsert", says: "each upsert counts one row and updates it", check: checkUpsert},
	{name: "TestUpdate", says: "an UPDATE counts its rows and keeps the last insert id", check: checkUpdate},
	{name: "TestDelete", says: "a DELETE counts its rows and keeps the last insert id", check: checkDelete},
	{name: "TestBooleanRoundtrip", says: "a bool in a BOOL column is scanned into a bool", check: checkBool},
	{name: "TestTimestamp", says: "every format of a time is read in time columns, with its zone", check: checkTimes},
	{name: "TestBoolean", says: "a bool in a BOOLEAN column is found by a bool; a text there is no bool", check: checkBoolean},
	{name: "TestFloat32", says: "NULL is nil", check: checkNull},
	{name: "TestNull", says: "a float without a column is a float64", check: checkFloat},
	{name: "TestTransaction", says: "a rollback closes rows, and a transaction that is committed runs nothing", check: checkTransaction},
	{name: "TestWAL", says: "a transaction with a prepared statement works after journal_mode=WAL and locking_mode=EXCLUSIVE", check: checkJournalMode},
	{name: "TestTimezoneConversion", says: "times come in the location of _loc, whatever their format", check: checkLocations},
	{name: "TestExecer", says: "Exec shares its arguments among several statements, with comments between them", check: checkSeveral},
	{name: "TestQueryer", says: "a query with blanks around it returns all rows", check: checkBlanks},
	{name: "TestStress", says: "a file is opened, read and closed many times over", check: checkReopen},
	{name: "TestDateTimeLocal", says: "_loc changes the location of a time and not the time", check: checkLocal},
	{name: "TestVersion", says: "the version of SQLite is known", check: checkVersion},
	{name: "TestStringContainingZero", says: "a zero byte in a text is kept and compared", check: checkZeroByte},
	{name: "TestDateTimeNow", says: "datetime('now') reaches a Scanner as a text", check: checkScanner},
	{name: "TestBindErrorPaths", says: "a type that cannot be bound is an error, by position and by name; so is a parameter that is not there", check: checkBindErrors},
	{name: "TestFunctionRegistration", says: "Go functions of many signatures are called from SQL", check: checkFunctions},
	{name: "TestFunctionRegistrationNamedTypes", says: "functions take and return types that have names", check: checkNamedTypes},
	{name: "TestFunctionArgStringContainingZero", says: "a function gets and returns a text with a zero byte whole", check: checkFunctionZeroByte},
	{name: "TestAggregatorRegistration", says: "a Go aggregate sums each group", check: checkAggregate},
	{name: "TestAggregatorRegistration_GenericReturn", says: "a Go aggregate may return any", check: checkAggregateAny},
	{name: "TestCollationRegistration", says: "a Go collation orders up and down", check: checkCollation},
	{name: "TestDeclTypes", says: "the rows of the driver tell the declared types", check: checkDeclTypes},
	{name: "TestPinger", says: "Ping works until Close", check: checkPing},
	{name: "TestUpdateAndTransactionHooks", says: "the update, commit and rollback hooks are called in order, and a commit hook refuses", check: checkHooks},
	{name: "TestAuthorizer", says: "an authorizer that denies fails every statement", check: checkAuthorizer},
	{name: "TestAuthorizerHandleRelease", says: "an authorizer that is replaced or removed is called no more, and others stay (seen by the calls; the handles are private)", check: checkAuthorizerReplaced},
	{name: "TestSetFileControlInt", says: "a file control with an int works in a ConnectHook; here there is no -wal file to persist", check: checkFileControlInt},
	{name: "TestSetFileControlInt64", says: "a file control with an int64 works in a ConnectHook", check: checkFileControlInt64},
	{name: "TestNonColumnString", says: "a text without a column is a string", check: checkString},
	{name: "TestNilAndEmptyBytes", says: "nil bytes are NULL, empty ones are not, in BLOB and TEXT columns, by value and by pointer", check: checkNilAndEmpty},
	{name: "TestInsertNilByteSlice", says: "NOT NULL refuses nil bytes and takes empty ones", check: checkNotNullBlob},
	{name: "TestNamedParam", says: "named arguments find their parameters among others, by each prefix", check: checkNamedAmongOthers},
	{name: "TestNamedParamClearBindings", says: "a run leaves no value to the parameters of the next", check: checkNothingStays},
	{name: "TestNotEnoughArgsErrorMessage", says: "missing arguments are told by number", check: checkMissingArgs},
	{name: "TestExecWithoutArgsStopsAtMissingArgs", says: "Exec runs what stands before the missing argument, and nothing behind", check: checkStopsAtMissingArgs},
	{name: "TestQueryCommentOnly", says: "a query of blanks or comments has no rows and no error", check: checkComments},
	{name: "TestConnMethodsAfterClose", says: "the connection that a ConnectHook has kept does nothing after Close", check: checkConnAfterClose},
	{name: "TestSuite", says: "its parts, which follow", check: func(*peer) {}},
	{name: "TestSuite/TestResult", says: "each INSERT into a temporary table tells its id and one row", check: checkResult},
	{name: "TestSuite/TestBlobs", says: "a blob is scanned into bytes and into a string", check: checkBlobs},
	{name: "TestSuite/TestMultiBlobs", says: "bytes that were scanned stay while the next row is read", check: checkBlobsStay},
	{name: "TestSuite/TestNullZeroLengthBlobs", says: "NULL and an empty blob differ", check: checkNullOrEmpty},
	{name: "TestSuite/TestManyQueryRow", says: "many short queries run on one pool", check: checkManyQueries},
	{name: "TestSuite/TestTxQuery", says: "a transaction reads the table and the row that it has made", check: checkTxQuery},
	{name: "TestSuite/TestPreparedStmt", says: "two prepared statements serve many goroutines", check: checkPrepared},
	{name: "TestSuite/TestExecEmptyQuery", says: "Exec of a comment has a result without an error", check: checkExecComment},

	// sqlite3_sql_test.go
	{name: "TestNamedParams", says: "one named argument serves two parameters", check: checkNamed},
	{name: "TestShortTimeout", says: "a query whose time is over is context.DeadlineExceeded", check: checkDeadline},
	{name: "TestExecContextCancel", says: "a slow Exec ends with its context's error and has changed nothing", check: checkCancelExec},
	{name: "TestQueryRowContextCancel", says: "a query that is cancelled beside its Scan gives the row or context.Canceled", check: checkCancelQueryRow},
	{name: "TestQueryRowContextCancelParallel", says: "the same by many goroutines", check: checkCancelParallel},
	{name: "TestBeginTxCancel", says: "a BeginTx that is cancelled beside it leaves no transaction on its connection", check: checkCancelBegin},
	{name: "TestStmtReadonly", says: "go-sqlite3's statement tells whether it is read-only, through Raw", check: checkRawReadOnly},

	// sqlite3_rows_test.go
	{name: "TestRowsStepValues", says: "a statement runs again with positional and named arguments, and values stay after the next step", check: checkStepValues},

	// sqlite3_context_test.go
	{name: "TestRowsContextCancelDuringStep", says: "cancelling ends the step that runs, the first and a later one", check: checkCancelStep},
	{name: "TestRowsContextCancelBetweenRows", says: "Next after the cancel is context.Canceled", check: checkCancelBetweenRows},
	{name: "TestRowsInterruptIgnoresInactiveRows", says: "the cancel of idle rows does not stop the query that runs", check: checkCancelIdleRows},
	{name: "TestRowsLateInterruptDoesNotAffectReusedStatement", says: "the cancel of an old run does not stop the next run of its statement", check: checkCancelOldRun},
	{name: "TestRowsContextCancelAndClose", says: "Close beside cancel leaves the connection usable", check: checkCancelAndClose},
	{name: "TestRowsContextPanicClearsActiveRows", says: "a panic of a Go function reaches the caller with its value, and no later cancel finds the query", check: checkPanic},
	{name: "TestDatabaseSQLRowsContextCancelAndReuse", says: "the connection of a cancelled query runs the next one", check: checkCancelAndReuse},

	// sqlite3_stmt_cache_test.go
	{name: "TestStmtCacheLRUEviction", says: "the statement that was used longest ago leaves the cache", ours: "TestStmtCache"},
	{name: "TestStmtCacheReuseReturnsSameHandle", says: "a cached statement is used again and not prepared", ours: "TestStmtCache"},
	{name: "TestStmtCacheSchemaChange", says: "a cached SELECT * has the columns of now, after a change by this connection and by another", check: checkCacheSchema},
	{name: "TestStmtCacheTempSchemaChange", says: "the same for a temporary table", check: checkCacheTempSchema},
	{name: "TestStmtCacheInTransaction", says: "the same inside a transaction and after it", check: checkCacheInTx},

	// error_test.go
	{name: "TestSimpleError", says: "an error code has SQLite's text", check: checkErrorText},
	{name: "TestCorruptDbErrors", says: "a file that is no database is SQLITE_NOTADB", check: checkNotADatabase},
	{name: "TestSqlLogicErrors", says: "an error has SQLite's text and nothing else", check: checkLogicError},
	{name: "TestExtendedErrorCodes_ForeignKey", says: "a broken foreign key has its extended code", check: checkForeignKeyCode},
	{name: "TestExtendedErrorCodes_NotNull", says: "a broken NOT NULL has its extended code", check: checkNotNullCode},
	{name: "TestExtendedErrorCodes_Unique", says: "a broken UNIQUE has its extended code", check: checkUniqueCode},
	{name: "TestError_SystemErrno", says: "a file that is not there is told by the system's number", check: checkErrno},

	// callback_test.go
	{name: "TestCallbackArgCast", says: "a number is cast to the type of a function's argument; an argument of another type is an error", check: checkArgCast},
	{name: "TestCallbackConverters", says: "which Go types a function may take and return", check: checkConverters},
	{name: "TestCallbackReturnAny", says: "a function may return any", check: checkReturnAny},

	// backup_test.go
	{name: "TestBackupStepByStep", says: "a backup copies one page a step and counts them", check: func(p *peer) { checkBackup(p, 1) }},
	{name: "TestBackupAllRemainingPages", says: "a backup copies all pages in one step", check: func(p *peer) { checkBackup(p, -1) }},
	{name: "TestBackupError", says: "a backup of a connection into itself is an error", check: checkBackupItself},

	// sqlite3_load_extension_test.go
	{name: "TestExtensionsError", says: "an extension that is not there fails the connection, and says why", check: checkExtensions},
	{name: "TestLoadExtensionError", says: "the same for LoadExtension in a ConnectHook", check: checkLoadExtension},

	// sqlite3_opt_fts3_test.go
	{name: "TestFTS3", says: "a full-text index finds words by their beginnings", check: checkFTS3},
	{name: "TestFTS4", says: "a tokenizer folds accents", check: checkFTS4},

	// sqlite3_opt_serialize_test.go
	{name: "TestSerializeDeserialize", says: "what Serialize gives, Deserialize puts into another database", check: checkSerialize},

	// These tests are not of this build, or not of a driver.
	{name: "TestCryptEncoders", says: "hash functions in Go for user authentication", not: "they are called by no connection, and the part of SQLite that used them is gone"},
	{name: "TestColumnTableName", says: "rows tell the table of a column", tag: "sqlite_column_metadata"},
	{name: "TestMathFunctions", says: "SQLite's mathematical functions", tag: "sqlite_math_functions"},
	{name: "TestPreUpdateHook", says: "the hook before an update", tag: "sqlite_preupdate_hook"},
	{name: "TestUnlockNotify", says: "a shared cache waits by sqlite3_unlock_notify", tag: "sqlite_unlock_notify"},
	{name: "TestUnlockNotifyMany", says: "the same with many readers", tag: "sqlite_unlock_notify"},
	{name: "TestUnlockNotifyDeadlock", says: "the same with a deadlock", tag: "sqlite_unlock_notify"},
	{name: "TestUserAuth", says: "user authentication is refused", tag: "sqlite_userauth"},
	{name: "TestVTabDestroyErrorThenClose", says: "virtual tables in Go", tag: "sqlite_vtable"},
	{name: "TestVtabCursorHandleRelease", says: "virtual tables in Go", tag: "sqlite_vtable"},
	{name: "TestCreateModule", says: "virtual tables in Go", tag: "sqlite_vtable"},
	{name: "TestVUpdate", says: "virtual tables in Go", tag: "sqlite_vtable"},
	{name: "TestCreateModuleEponymousOnly", says: "virtual tables in Go", tag: "sqlite_vtable"},
}

// Ensure that both drivers pass the checks of go-sqlite3's own tests. Both return
// the same values, counts, codes and texts.
func TestGoSQLite(t *testing.T) {
	for _, test := range theirTests {
		if test.check == nil {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			told := map[bool]string{}
			for _, ours := range []bool{false, true} {
				p := &peer{T: t, ours: ours}
				test.check(p)
				told[ours] = p.told.String()
			}
			require.Equal(t, told[false], told[true], test.says)
		})
	}
}

// Ensure that theirTests names every test of the go-sqlite3 version in go.mod,
// and no other. The tests that need a build tag are not of this build. The tests
// of ours that it names exist.
func TestGoSQLite_all(t *testing.T) {
	theirs, ours := testsIn(t, goSQLiteDir(t)), testsIn(t, ".")
	maps.Copy(ours, testsIn(t, "../internal/memconn"))
	var names []string
	for _, test := range theirTests {
		names = append(names, test.name)
		found, exists := theirs[test.name]
		require.True(t, exists, "go-sqlite3 has no %s", test.name)
		set := 0
		for _, is := range []bool{test.check != nil, test.ours != "", test.tag != "", test.not != ""} {
			if is {
				set++
			}
		}
		require.Equal(t, 1, set, "%s: one of check, ours, tag and not", test.name)
		require.NotEmpty(t, test.says, test.name)
		require.Equal(t, test.tag == "", found.built(""), "%s: its constraint is %v", test.name, found.constraint)
		if test.tag != "" {
			require.True(t, found.built(test.tag), "%s: its constraint is %v", test.name, found.constraint)
		}
		if test.ours != "" {
			_, exists := ours[test.ours]
			require.True(t, exists, "there is no %s", test.ours)
		}
	}
	slices.Sort(names)
	require.Equal(t, slices.Sorted(maps.Keys(theirs)), names)
}

// foundTest is a test in the source of a package.
type foundTest struct{ constraint constraint.Expr } // of its file; nil: none

// built reports whether the test is built when tag is set besides those that are
// set by default.
func (f foundTest) built(tag string) bool {
	return f.constraint == nil || f.constraint.Eval(func(t string) bool { return t == "cgo" || t == runtime.GOOS || t == tag })
}

// testsIn are the tests in a folder, and the parts of the suites that are lists
// of testing.InternalTest.
func testsIn(t *testing.T, dir string) map[string]foundTest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	found := map[string]foundTest{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		var test foundTest
		for _, group := range file.Comments {
			for _, c := range group.List {
				if group.Pos() < file.Package && constraint.IsGoBuild(c.Text) {
					test.constraint, err = constraint.Parse(c.Text)
					require.NoError(t, err, name)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if rest, is := strings.CutPrefix(n.Name.Name, "Test"); is && n.Recv == nil && (rest == "" || rest[0] < 'a' || rest[0] > 'z') && n.Name.Name != "TestMain" {
					found[n.Name.Name] = test
				}
			case *ast.CompositeLit:
				if list, is := n.Type.(*ast.ArrayType); is && fmt.Sprint(list.Elt) == "&{testing InternalTest}" {
					for _, e := range n.Elts {
						part, err := strconv.Unquote(e.(*ast.CompositeLit).Elts[0].(*ast.KeyValueExpr).Value.(*ast.BasicLit).Value)
						require.NoError(t, err)
						found["TestSuite/"+part] = test
					}
				}
			}
			return true
		})
	}
	return found
}

// goSQLiteDir is the folder of go-sqlite3's source, of the version in go.mod. go
// test has the go command on its path.
func goSQLiteDir(t testing.TB) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/mattn/go-sqlite3").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(dir))
}

// peer is one of the two drivers that a check runs on.
type peer struct {
	*testing.T
	ours bool
	told strings.Builder // what the other must tell, too
}

// tell adds a line to what both must tell.
func (p *peer) tell(values ...any) {
	for _, v := range values {
		switch v := v.(type) {
		case error:
			p.told.WriteString(tellError(v))
		default:
			fmt.Fprintf(&p.told, "%T %v", v, v)
		}
		p.told.WriteString(" | ")
	}
	p.told.WriteString("\n")
}

// tellError is all of an error: whether it is a bare one of SQLite's, its codes
// and its text.
func tellError(err error) string {
	e, bare := err.(sqlite3.Error)
	return fmt.Sprintf("bare %v, %d/%d, errno %d: %v", bare, e.Code, e.ExtendedCode, e.SystemErrno, err)
}

// name is the name by which database/sql knows the driver.
func (p *peer) name() string {
	if p.ours {
		return driver.Name
	}
	return "sqlite3"
}

// open opens a new file.
func (p *peer) open(params string) *sql.DB { return p.openAt(testdb.Path(p) + params) }

// openAt opens a data source name.
func (p *peer) openAt(dsn string) *sql.DB { return p.openBy(p.name(), dsn) }

func (p *peer) openBy(name, dsn string) *sql.DB {
	p.Helper()
	if p.ours {
		return testdb.OpenWith(p, name, dsn)
	}
	return testdb.PlainWith(p, name, dsn)
}

// registered counts the names of register: none can be given back.
var registered atomic.Int64

// register registers the driver with a hook and extensions, and returns its name.
func (p *peer) register(hook func(*sqlite3.SQLiteConn) error, extensions ...string) string {
	name := fmt.Sprintf("%s-registered-%d", p.name(), registered.Add(1))
	if p.ours {
		sql.Register(name, &driver.Driver{ConnectHook: hook, Extensions: extensions})
	} else {
		sql.Register(name, &sqlite3.SQLiteDriver{ConnectHook: hook, Extensions: extensions})
	}
	return name
}

// hooked opens a new file by a driver with a hook.
func (p *peer) hooked(hook func(*sqlite3.SQLiteConn) error) *sql.DB {
	return p.openBy(p.register(hook), testdb.Path(p))
}

// pinned takes a connection of a new file out of its pool, to the end of the test.
func (p *peer) pinned(params string) *sql.Conn {
	conn, err := p.open(params).Conn(ctx)
	require.NoError(p, err)
	p.Cleanup(func() { require.NoError(p, conn.Close()) })
	return conn
}

// conn opens a connection to a new file without database/sql.
func (p *peer) conn(params string) fullConn {
	var d sqldriver.Driver = &sqlite3.SQLiteDriver{}
	if p.ours {
		d = &driver.Driver{}
	}
	c, err := d.Open(testdb.Path(p) + params)
	require.NoError(p, err)
	p.Cleanup(func() { require.NoError(p, c.Close()) })
	return c.(fullConn)
}

// fullConn is a connection as either driver has it.
type fullConn interface {
	sqldriver.Conn
	sqldriver.ExecerContext
	sqldriver.QueryerContext
	sqldriver.ConnPrepareContext
}

// raw is the connection of go-sqlite3 in a connection of the driver.
func (p *peer) raw(c any) *sqlite3.SQLiteConn {
	if p.ours {
		return c.(driver.RawConn).Raw()
	}
	return c.(*sqlite3.SQLiteConn)
}

// rawOf runs f with the connection of go-sqlite3 in one of database/sql.
func (p *peer) rawOf(c *sql.Conn, f func(*sqlite3.SQLiteConn) error) {
	p.Helper()
	require.NoError(p, c.Raw(func(c any) error { return f(p.raw(c)) }))
}

// rows tells all rows of a query: names, types and values.
func (p *peer) rows(rows *sql.Rows, err error) {
	p.told.WriteString(outcome(nil, rows, err, "") + "\n")
}

// result tells what an Exec has done.
func (p *peer) result(res sql.Result, err error) {
	p.told.WriteString(outcome(res, nil, err, "") + "\n")
}
