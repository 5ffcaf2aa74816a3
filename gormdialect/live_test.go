//go:build cgo && linux

package gormdialect_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// Ensure that the dialect works over live connections. A representative set of the tests
// runs again, as a tool of a server in another process.
func TestLive(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run", liveRun, "-test.short")
	cmd.Env = append(os.Environ(), liveEnv+"=tool", driver.RoleEnv+"=tool")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// liveRun are the tests that run again: all that need not be the server, but the long ones.
const liveRun = "^Test(AutoMigrate|Returning|Translate|Savepoints|Guard_(affinity|generated|foreignKeys)|Methods|Migrator$|Session_(selfReferred|pools|prepared|concurrent|plugin))"

// liveEnv is an environment variable: in what part this program runs for TestLive.
const liveEnv = "SQLITE_MEM_TEST_GORM_LIVE"

// liveServer is the other process.
var liveServer struct {
	in  io.Writer
	out *bufio.Reader
}

// live starts the part of this process. It returns true if that is all of it.
func live() (done bool) {
	switch os.Getenv(liveEnv) {
	case "server":
		serveLive()
		return true
	case "tool":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), liveEnv+"=server", driver.RoleEnv+"=server")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe() // it ends with this process, and the server with it
		if err != nil {
			panic(err)
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			panic(err)
		}
		liveServer.in, liveServer.out = in, bufio.NewReader(out)
	}
	return false
}

// serveLive opens and closes databases, as its standard input says.
func serveLive() {
	open := map[string]*sql.DB{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		verb, path, _ := strings.Cut(in.Text(), " ")
		var err error
		switch verb {
		case "open":
			if open[path], err = sql.Open(driver.Name, path); err == nil {
				_, err = driver.ReadStats(open[path]) // it opens the database, and no connection
			}
		case "close":
			err = open[path].Close()
		}
		fmt.Printf("%v\n", err)
	}
}

// servedLive has the other process serve a file until the end of the test, if there is one.
func servedLive(t *testing.T, path string) string {
	t.Helper()
	if liveServer.in == nil {
		return path
	}
	ask := func(verb string) {
		_, err := fmt.Fprintln(liveServer.in, verb, path)
		require.NoError(t, err)
		answer, err := liveServer.out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "<nil>\n", answer)
	}
	ask("open")
	t.Cleanup(func() { ask("close") })
	db, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	st, err := driver.ReadStats(db)
	require.NoError(t, err)
	require.Equal(t, driver.RoleLive, st.Role)
	require.NoError(t, db.Close())
	return path
}
