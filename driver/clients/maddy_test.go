//go:build maddy

package clients

import (
	"flag"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

var maddy = flag.String("maddy", "", "directory with the source of maddy 0.9.4; TestMaddy builds and runs it")

// Ensure that the page about maddy leads from its source to mail that is delivered and
// fetched. The code, the commands and the configuration are those of the page. Only the
// source, the addresses and TLS are not.
func TestMaddy(t *testing.T) {
	require.NotEmpty(t, *maddy, "-maddy DIR names a clone of maddy at v0.9.4")
	var page []string
	for _, b := range blocks() {
		if b.section == "maddy" {
			page = append(page, b.text)
		}
	}
	get, provider, build, conf, accounts, query := page[0], page[1], page[2], page[3], page[4], page[5]
	root, err := filepath.Abs(filepath.Join(home, "../.."))
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "maddy")
	require.NoError(t, os.CopyFS(dir, os.DirFS(*maddy)))
	state := filepath.Join(dir, "state")
	sh := func(script, stdin string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "MADDY_CONFIG="+filepath.Join(dir, "test.conf"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}

	require.Equal(t, "go get github.com/sqlite-mem/sqlite-mem/driver", strings.Split(strings.TrimSpace(get), "\n")[2])
	sh("go mod edit -require github.com/sqlite-mem/sqlite-mem@v0.0.0 -replace github.com/sqlite-mem/sqlite-mem="+root, "")
	file := filepath.Join(dir, "internal/sqlite/sqlite3.go")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, after, found := strings.Cut(string(text), "import _ \"github.com/mattn/go-sqlite3\"\n")
	require.True(t, found)
	require.NoError(t, os.WriteFile(file, []byte(before+provider+after), 0o600))
	sh(build, "")

	submission, imap := freeAddress(t), freeAddress(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test.conf"), []byte(fmt.Sprintf(`
state_dir %s
runtime_dir %s
hostname example.org
tls off
%s
submission tcp://%s {
    auth &local_authdb
    insecure_auth yes
    deliver_to &local_mailboxes
}
imap tcp://%s {
    auth &local_authdb
    insecure_auth yes
    storage &local_mailboxes
}
`, state, filepath.Join(dir, "run"), conf, submission, imap)), 0o600))
	create, run, found := strings.Cut(accounts, "build/maddy run")
	require.True(t, found)
	require.Empty(t, strings.TrimSpace(run))
	sh(create, "secret\n")
	require.NoFileExists(t, filepath.Join(state, "imapsql.db-memwal"), "the command line works on the file")

	server := exec.Command(filepath.Join(dir, "build/maddy"), "run")
	server.Env = append(os.Environ(), "MADDY_CONFIG="+filepath.Join(dir, "test.conf"))
	var log strings.Builder
	server.Stdout, server.Stderr = &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", imap)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond)

	sh(strings.ReplaceAll(create, "alice", "bob"), "secret\n") // beside the server
	const mails = 20
	for i := range mails {
		body := fmt.Sprintf("From: alice@example.org\r\nTo: bob@example.org\r\nDate: Thu, 26 Nov 2026 12:00:00 +0000\r\nMessage-Id: <%d@example.org>\r\nSubject: mail %d\r\n\r\nhello\r\n", i, i)
		auth := smtp.PlainAuth("", "alice@example.org", "secret", "127.0.0.1")
		require.NoError(t, smtp.SendMail(submission, auth, "alice@example.org", []string{"bob@example.org"}, []byte(body)))
	}
	fetched := imapFetch(t, imap, "bob@example.org", "secret")
	require.Contains(t, fetched, fmt.Sprintf("* %d EXISTS", mails))
	require.Contains(t, fetched, fmt.Sprintf("Subject: mail %d", mails-1))

	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	require.NoError(t, server.Wait())
	t.Log(log.String())
	sound(t, filepath.Join(state, "credentials.db"))
	sound(t, filepath.Join(state, "imapsql.db"))
	require.Equal(t, fmt.Sprint(mails), testdb.Text(t, testdb.Plain(t, filepath.Join(state, "imapsql.db")), "SELECT count(*) FROM msgs"))

	sh(fmt.Sprintf("go build -C %s -o %s/sqlite-mem ./driver/cmd/sqlite-mem", root, dir), "")
	require.Contains(t, sh("PATH=$PWD:$PATH; cd state; "+query, ""), "bob@example.org")
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// imapFetch returns what a server says to a client that fetches the subjects of an INBOX.
func imapFetch(t *testing.T, address, user, password string) string {
	t.Helper()
	c, err := textproto.Dial("tcp", address)
	require.NoError(t, err)
	defer c.Close()
	var said strings.Builder
	for i, command := range []string{"LOGIN " + user + " " + password, "SELECT INBOX", "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"} {
		tag := fmt.Sprintf("a%d ", i)
		require.NoError(t, c.PrintfLine("%s%s", tag, command))
		for {
			line, err := c.ReadLine()
			require.NoError(t, err)
			said.WriteString(line + "\n")
			if strings.HasPrefix(line, tag) {
				require.True(t, strings.HasPrefix(line, tag+"OK"), line)
				break
			}
		}
	}
	return said.String()
}
