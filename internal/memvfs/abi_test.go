//go:build cgo

package memvfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testfile"
)

var (
	abiStruct = regexp.MustCompile(`(?ms)^struct (sqlite3_\w+) \{\n(.*?)^\};`)
	abiMember = regexp.MustCompile(`^\s.*?(?:\(\*+(?:\(\*)?)?(\w+)(?:\)?\(.*)?;`)
	abiDefine = regexp.MustCompile(`(?m)^#define (SQLITE_\w+)\s+(.+)$`)
	abiProto  = regexp.MustCompile(`(?m)^[\w* ]+\bsqlite3_\w+\(.*\);$`)
)

// abiCheck makes a C program that compiles only if the header declares what SQLite's own
// header declares. It compares the size of each struct, the place and type of each member,
// the value of each constant, and the type of each function.
func abiCheck(t *testing.T, header string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("#include <stddef.h>\n#include <stdint.h>\n#include \"sqlite3-binding.h\"\n")
	b.WriteString("_Static_assert(sizeof(sqlite3_int64)==8 && (sqlite3_int64)-1<0, \"sqlite3_int64\");\n")
	structs := abiStruct.FindAllStringSubmatch(header, -1)
	require.Len(t, structs, 4)
	for _, s := range structs {
		name, body := s[1], s[2]
		ours := strings.Replace(name, "sqlite3_", "ours_", 1)
		fmt.Fprintf(&b, "struct %s {\n%s};\n", ours, body)
		fmt.Fprintf(&b, "_Static_assert(sizeof(struct %s)==sizeof(%s), \"size of %s\");\n", ours, name, name)
		for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
			m := abiMember.FindStringSubmatch("  " + strings.TrimSpace(line))
			require.NotNil(t, m, line)
			fmt.Fprintf(&b, "_Static_assert(offsetof(struct %s, %s)==offsetof(%s, %s), \"place of %s.%s\");\n", ours, m[1], name, m[1], name, m[1])
			fmt.Fprintf(&b, "_Static_assert(__builtin_types_compatible_p(__typeof__(((struct %s*)0)->%s), __typeof__(((%s*)0)->%s)), \"type of %s.%s\");\n", ours, m[1], name, m[1], name, m[1])
		}
	}
	defines := abiDefine.FindAllStringSubmatch(header, -1)
	require.Greater(t, len(defines), 30)
	for _, d := range defines {
		fmt.Fprintf(&b, "_Static_assert((%s)==(%s), \"value of %s\");\n", d[1], d[2], d[1])
	}
	// A second declaration with another type is an error.
	protos := abiProto.FindAllString(header, -1)
	require.Greater(t, len(protos), 15)
	b.WriteString(strings.Join(protos, "\n") + "\n")
	return b.String()
}

// compile runs the C compiler on a program. It returns its messages.
func compile(t *testing.T, include, program string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "abi.c")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	cc := strings.Fields(goTool(t, "env", "CC"))
	if _, err := exec.LookPath(cc[0]); err != nil {
		t.Skip("there is no C compiler: ", err)
	}
	out, err := exec.Command(cc[0], append(cc[1:], "-std=gnu11", "-fsyntax-only", "-I", include, file)...).CombinedOutput()
	if err != nil {
		require.NotEmpty(t, out, err)
	}
	return string(out)
}

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	require.NoError(t, err, "go %v", args)
	return strings.TrimSpace(string(out))
}

// Ensure that sqlite3_abi.h agrees with the linked SQLite, which is that of go-sqlite3, and
// that the test sees a difference.
func TestABI(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to find go-sqlite3's header with: ", err)
	}
	include := goTool(t, "list", "-m", "-f", "{{.Dir}}", "github.com/mattn/go-sqlite3")
	raw, err := os.ReadFile("sqlite3_abi.h")
	require.NoError(t, err)
	header := string(raw)
	require.Empty(t, compile(t, include, abiCheck(t, header)))

	theirs, err := os.ReadFile(filepath.Join(include, "sqlite3-binding.h"))
	require.NoError(t, err)
	_, number, _ := sqlite3.Version()
	if !testfile.SystemSQLite {
		require.Contains(t, string(theirs), fmt.Sprintf("#define SQLITE_VERSION_NUMBER %d\n", number),
			"the SQLite that runs is not the one whose header this was")
	}
	require.GreaterOrEqual(t, number, minVersion)

	for _, tt := range []struct{ name, from, to, complaint string }{
		{"a member is gone", "  int (*xSectorSize)(sqlite3_file*);\n", "", "place of sqlite3_io_methods.xDeviceCharacteristics"},
		{"one too many", "  int (*xUnfetch)", "  int (*xFetch2)(sqlite3_file*);\n  int (*xUnfetch)", "size of sqlite3_io_methods"},
		{"two have changed places", "  int iVersion;\n  int szOsFile;\n", "  int szOsFile;\n  int iVersion;\n", "place of sqlite3_vfs.iVersion"},
		{"another argument", "(*xTruncate)(sqlite3_file*, sqlite3_int64 size)", "(*xTruncate)(sqlite3_file*, int size)", "type of sqlite3_io_methods.xTruncate"},
		{"another type", "  int mxPathname;", "  unsigned mxPathname;", "type of sqlite3_vfs.mxPathname"},
		{"another number", "SQLITE_FCNTL_COMMIT_PHASETWO  22", "SQLITE_FCNTL_COMMIT_PHASETWO  21", "value of SQLITE_FCNTL_COMMIT_PHASETWO"},
		{"another bit", "SQLITE_IOERR_NOMEM      (SQLITE_IOERR | (12<<8))", "SQLITE_IOERR_NOMEM      (SQLITE_IOERR | (13<<8))", "value of SQLITE_IOERR_NOMEM"},
		{"another result", "sqlite3_int64 sqlite3_changes64(sqlite3*);", "int sqlite3_changes64(sqlite3*);", "sqlite3_changes64"},
		{"a function that is not there", "int sqlite3_initialize(void);", "int sqlite3_initialise(void);\nint sqlite3_initialize(int);", "sqlite3_initialize"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(header, tt.from), tt.from)
			require.Contains(t, compile(t, include, abiCheck(t, strings.Replace(header, tt.from, tt.to, 1))), tt.complaint)
		})
	}
}
