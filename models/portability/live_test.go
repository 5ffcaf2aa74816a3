package portability

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/backend"
	"github.com/emersion/go-message/textproto"
	imapsql "github.com/foxcpp/go-imap-sql"
	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// serverEnv names the database of a mail server that this program is to be.
const serverEnv = "SQLITE_MEM_TEST_MAIL_SERVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(serverEnv); path != "" {
		if err := mailServer(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serverMails is the number of mails that the server delivers after its "ready".
const serverMails = 40

// mailServer has an account, tells that it is ready, delivers mail to the account, tells that
// it is done, and ends with its standard input.
func mailServer(path string) (err error) {
	if err := registered(); err != nil {
		return err
	}
	b, err := imapsql.New("sqlite", path, &imapsql.FSStore{Root: bodiesOf(path)}, imapsql.Opts{DisableRecent: true, Log: silent{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.CreateUser(user(0)); err != nil {
		return err
	}
	fmt.Println("ready")
	for n := range serverMails {
		d := b.NewDelivery()
		err := d.AddRcpt(user(0), textproto.Header{})
		if err == nil {
			err = d.BodyRaw(bytes.NewReader(fmt.Appendf(nil, "From: <server@example.org>\r\nSubject: mail %d\r\n\r\nof the server\r\n", n)))
		}
		if err == nil {
			err = d.Commit()
		}
		if err != nil {
			return fmt.Errorf("mail %d: %w", n, err)
		}
	}
	fmt.Println("done")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func bodiesOf(path string) string { return filepath.Join(filepath.Dir(path), "bodies") }

// Ensure that go-imap-sql in a second process works beside a mail server on one file. It adds
// an account and delivers mail while the server delivers to the same mailbox. Each sees what
// the other has committed. No mail is lost and no UID is given twice.
func TestLive_mail(t *testing.T) {
	require.NoError(t, registered())
	path := filepath.Join(t.TempDir(), "mail.db")
	require.NoError(t, os.Mkdir(bodiesOf(path), 0o700))
	server := exec.CommandContext(t.Context(), os.Args[0])
	server.Env = append(os.Environ(), serverEnv+"="+path)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	require.NoError(t, err)
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	lines := bufio.NewScanner(stdout)
	says := func(want string) {
		t.Helper()
		require.True(t, lines.Scan(), "the server has ended: %v", lines.Err())
		require.Equal(t, want, lines.Text())
	}

	says("ready")
	role, err := sql.Open(driver.Name, path)
	require.NoError(t, err)
	st, err := driver.ReadStats(role)
	require.NoError(t, err)
	require.Equal(t, driver.RoleLive, st.Role)
	require.NoError(t, role.Close())

	const mails = 40
	tool := openMail(t, "sqlite", path, bodiesOf(path))
	require.NoError(t, tool.CreateUser(user(1)))
	for n := range mails {
		deliver(t, tool, user(0), n)
		deliver(t, tool, user(1), n)
	}
	flag(t, tool, user(1))
	says("done")
	require.Len(t, fetch(t, tool, user(0)), mails+serverMails)
	require.Len(t, fetch(t, tool, user(1)), mails)
	require.NoError(t, tool.Close())
	require.NoError(t, stdin.Close())
	require.NoError(t, server.Wait())

	// What was saved, by go-sqlite3.
	saved := openMail(t, "sqlite3", path, bodiesOf(path))
	require.Len(t, fetch(t, saved, user(0)), mails+serverMails)
	require.Len(t, fetch(t, saved, user(1)), mails)
	require.Len(t, uids(t, saved, user(0)), mails+serverMails, "no UID is given twice")
	require.NoError(t, saved.Close())
}

// uids returns the UIDs of the mails of a user.
func uids(t *testing.T, b *imapsql.Backend, name string) map[uint32]bool {
	t.Helper()
	found := make(map[uint32]bool)
	mailbox(t, b, name, func(box backend.Mailbox) {
		all := new(imap.SeqSet)
		all.AddRange(1, 0)
		messages := make(chan *imap.Message, 200)
		require.NoError(t, box.ListMessages(true, all, []imap.FetchItem{imap.FetchUid}, messages))
		for m := range messages {
			found[m.Uid] = true
		}
	})
	return found
}
