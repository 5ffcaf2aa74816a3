package clients

import (
	"database/sql"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// A block is code in the documentation of this package.
type block struct{ section, text string }

// blocks returns the code of the documentation, in order.
func blocks() (all []block) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(home, "doc.go"), nil, parser.ParseComments)
	if err != nil {
		panic(err)
	}
	section := ""
	for _, b := range new(comment.Parser).Parse(file.Doc.Text()).Content {
		switch b := b.(type) {
		case *comment.Heading:
			section = string(b.Text[0].(comment.Plain))
		case *comment.Code:
			all = append(all, block{section, b.Text})
		}
	}
	return all
}

// home is the directory of this package. Examples leave it.
var home = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()

// pageSQL returns the statement of the documentation that begins so.
func pageSQL(begin string) string {
	for _, b := range blocks() {
		if strings.HasPrefix(b.text, begin) {
			return b.text
		}
	}
	panic("the documentation has no such statement: " + begin)
}

// source returns all Go code of this module but doc.go, without indentation and blank lines.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "internal/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(home, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			all.WriteString(flat(string(text)))
		}
	}
	return all.String()
}

func flat(code string) string {
	var lines strings.Builder
	lines.WriteByte('\n')
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines.WriteString(line + "\n")
		}
	}
	return lines.String()
}

// Ensure that each line of code in the documentation runs in a test. Go code is found in the
// tests and examples, line by line. The others run what they take from the documentation.
func TestPages(t *testing.T) {
	code, kinds := source(t), make(map[string]int)
	for _, b := range blocks() {
		switch first, _, _ := strings.Cut(b.text, " "); {
		case first == "UPDATE":
			kinds["SQL"]++ // Example_fromModernc
		case b.section == "maddy" && first != "import":
			kinds["maddy"]++ // TestMaddy
		case first == "go":
			kinds["command"]++
			require.True(t, strings.Contains(code, regexp.MustCompile(`-X [\w./-]+=`).FindString(b.text)), b.text)
		case b.text == "import _ \"github.com/sqlite-mem/sqlite-mem/driver\"\n":
			kinds["import"]++
			require.True(t, strings.Contains(code, `_ "github.com/sqlite-mem/sqlite-mem/driver"`))
		default:
			kinds["Go"]++
			require.True(t, strings.Contains(code, flat(b.text)), "no test runs this:\n%s", b.text)
		}
	}
	require.Equal(t, map[string]int{"SQL": 1, "maddy": 5, "command": 1, "import": 1, "Go": 14}, kinds)
}

// Ensure that the driver reads every form of modernc's times. The statement of the page changes
// each to a form that SQLite's functions read, and changes nothing else.
func TestPages_times(t *testing.T) {
	db := testdb.Open(t, ":memory:")
	testdb.Exec(t, db, "CREATE TABLE messages(received TIMESTAMP)")
	var want []time.Time
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("CET", 3600), time.FixedZone("", -(9*3600 + 1800))} {
		for _, ns := range []int{0, 120000000, 123456789} {
			want = append(want, time.Date(2026, 11, 26, 23, 18, 47, ns, zone))
		}
	}
	want = append(want, time.Now()) // has m=+… at its end
	for _, at := range want {
		testdb.Exec(t, db, "INSERT INTO messages VALUES(?)", at.String())
	}
	ours := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	testdb.Exec(t, db, "INSERT INTO messages VALUES(?), ('2026-01-02 03:04:05'), (1700000000), (NULL)", ours)
	want = append(want, ours, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Unix(1700000000, 0), time.Time{})

	const unread = "SELECT count(received) - count(datetime(received, 'auto')) FROM messages"
	require.Equal(t, "10", testdb.Text(t, db, unread))
	for i := range 3 { // the second time changes nothing
		if i > 0 {
			testdb.Exec(t, db, pageSQL("UPDATE messages SET received"))
			require.Equal(t, "0", testdb.Text(t, db, unread))
		}
		rows, err := db.Query("SELECT received FROM messages ORDER BY rowid")
		require.NoError(t, err)
		for _, at := range want {
			require.True(t, rows.Next())
			var got sql.NullTime
			require.NoError(t, rows.Scan(&got))
			require.True(t, got.Time.Equal(at), "%v is not %v", got.Time, at)
		}
		require.NoError(t, rows.Close())
	}
}

// Ensure that the table in README has each library, with code that stands in the tests.
func TestReadme_table(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(home, "../../README.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "\n| library |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	code, names := source(t), []string{}
	for _, row := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(row, "|")
		names = append(names, strings.TrimSpace(cells[1]))
		for _, line := range regexp.MustCompile("`([^`]+\\)|_[^`]+)`").FindAllStringSubmatch(cells[2], -1) {
			require.True(t, strings.Contains(code, line[1]), "no test runs %s", line[1])
		}
	}
	var want []string
	for _, lib := range libraries {
		want = append(want, lib.name)
	}
	require.Equal(t, want, names)
}

// inTempDir runs parts of an example in a directory of its own.
func inTempDir(parts ...func() error) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.Chdir(home) }()
	for _, part := range parts {
		if err := part(); err != nil {
			log.Fatal(err)
		}
	}
}
