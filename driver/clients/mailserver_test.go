package clients

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// Ensure that a program has this driver under the name "sqlite3" if it is linked as the page
// about maddy says. With the roles of that page the command line works on the file while there
// is no server, and in the server's memory beside one. SIGTERM saves.
func TestMailserver(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "mailserver")
	build := exec.Command("go", "build", "-ldflags", "-X github.com/mattn/go-sqlite3.driverName=", "-o", bin, "./internal/mailserver")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	path := testdb.Path(t)
	dsn := path + "?sqlite_wal=commit&sqlite_keep=1"
	create := func(name string) {
		out, err := exec.Command(bin, dsn, "create", name).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	users := func() string {
		return testdb.Text(t, testdb.Plain(t, path), "SELECT group_concat(username) FROM (SELECT username FROM users ORDER BY 1)")
	}

	create("alice")
	require.Equal(t, "alice", users())
	require.NoFileExists(t, path+"-memwal")

	server := exec.Command(bin, dsn, "run")
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "server\n", line)
	create("bob")
	require.Equal(t, "alice", users(), "the server has not saved yet")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	second, err := exec.CommandContext(ctx, bin, dsn, "run").CombinedOutput()
	require.Error(t, err, "one server at a time")
	require.NoError(t, ctx.Err(), "it does not wait beside the server")
	require.NotContains(t, string(second), "live\n")

	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	require.NoError(t, server.Wait())
	require.Equal(t, "alice,bob", users())
	sound(t, path)
}
