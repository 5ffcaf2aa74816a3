package portability

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/backend"
	"github.com/emersion/go-message/textproto"
	imapsql "github.com/foxcpp/go-imap-sql"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/gormdialect"
	"github.com/sqlite-mem/sqlite-mem/models"
)

// registered registers sqlite-mem as sqlite, by which go-imap-sql knows SQLite.
var registered = sync.OnceValue(func() error { return driver.RegisterAs("sqlite") })

// Ensure that a mail server can move. Mail that go-imap-sql has stored in sqlite-mem
// is copied to PostgreSQL. go-imap-sql fetches it there, and can store more. A copy
// that is interrupted after any batch is continued.
func TestCopy_mail(t *testing.T) {
	dsn := server(t, "SQLITE_MEM_TEST_POSTGRES")
	require.NoError(t, registered())
	name := database(t, postgres.Open(dsn), "CREATE DATABASE %s", "DROP DATABASE %s WITH (FORCE)")
	dsn += " dbname=" + name
	file := filepath.Join(t.TempDir(), "mail.db")
	bodies := t.TempDir()

	const users, mails = 3, 7
	source := openMail(t, "sqlite", file, bodies)
	for u := range users {
		require.NoError(t, source.CreateUser(user(u)))
		for m := range mails {
			deliver(t, source, user(u), m)
		}
	}
	flag(t, source, user(0))
	before := make([][]string, users)
	for u := range users {
		before[u] = fetch(t, source, user(u))
		require.Len(t, before[u], mails)
	}
	from := opened(t, gormdialect.Open(file), quiet())
	require.NoError(t, openMail(t, "postgres", dsn, bodies).Close()) // creates the tables
	to := opened(t, postgres.Open(dsn), quiet())

	options := models.CopyOptions{BatchRows: 4}
	for batches := 1; ; batches++ {
		require.Less(t, batches, 100)
		report, err := interrupted(t, from, to, options, batches)
		if err != nil {
			continue
		}
		for _, table := range report.Tables {
			if table.Table == "msgs" {
				require.EqualValues(t, users*mails, table.Rows)
			}
		}
		break
	}
	require.NoError(t, source.Close())

	target := openMail(t, "postgres", dsn, bodies)
	for u := range users {
		require.Equal(t, before[u], fetch(t, target, user(u)))
	}
	require.NoError(t, target.CreateUser(user(users)))
	deliver(t, target, user(users), 0)
	deliver(t, target, user(0), mails)
	require.Len(t, fetch(t, target, user(0)), mails+1)
	require.Len(t, fetch(t, target, user(users)), 1)
	require.NoError(t, target.Close())
}

// interrupted copies until a number of batches are written, or to the end.
func interrupted(t *testing.T, from, to *gorm.DB, options models.CopyOptions, batches int) (models.CopyReport, error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := 0
	options.Progress = func(p models.CopyProgress) {
		if p.Phase == models.CopyWrite {
			if written++; written == batches {
				cancel()
			}
		}
	}
	report, err := models.Copy(ctx, from, to, options)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	return report, err
}

func user(n int) string { return fmt.Sprintf("user%d@example.org", n) }

func openMail(t *testing.T, driver, dsn, bodies string) *imapsql.Backend {
	t.Helper()
	b, err := imapsql.New(driver, dsn, &imapsql.FSStore{Root: bodies}, imapsql.Opts{DisableRecent: true, Log: silent{}})
	require.NoError(t, err)
	return b
}

func deliver(t *testing.T, b *imapsql.Backend, to string, n int) {
	t.Helper()
	d := b.NewDelivery()
	require.NoError(t, d.AddRcpt(to, textproto.Header{}))
	message := fmt.Sprintf("From: <sender@example.org>\r\nTo: <%s>\r\nSubject: =?utf-8?q?N=C2=B0?= %d\r\n\r\nA 'body' of mail %d.\r\n", to, n, n)
	require.NoError(t, d.BodyRaw(bytes.NewReader([]byte(message))))
	require.NoError(t, d.Commit())
}

// mailbox calls fn with the INBOX of a user.
func mailbox(t *testing.T, b *imapsql.Backend, name string, fn func(backend.Mailbox)) {
	t.Helper()
	u, err := b.GetUser(name)
	require.NoError(t, err)
	_, box, err := u.GetMailbox("INBOX", false, client{})
	require.NoError(t, err)
	fn(box)
	require.NoError(t, box.Close())
	require.NoError(t, u.Logout())
}

// flag flags the first mail of a user.
func flag(t *testing.T, b *imapsql.Backend, name string) {
	t.Helper()
	mailbox(t, b, name, func(box backend.Mailbox) {
		first := new(imap.SeqSet)
		first.AddNum(1)
		require.NoError(t, box.UpdateMessagesFlags(true, first, imap.AddFlags, true, []string{imap.FlaggedFlag, "$custom"}))
	})
}

// fetch returns the mails of a user: number, flags, subject, body.
func fetch(t *testing.T, b *imapsql.Backend, name string) (mails []string) {
	t.Helper()
	mailbox(t, b, name, func(box backend.Mailbox) {
		all := new(imap.SeqSet)
		all.AddRange(1, 0)
		messages := make(chan *imap.Message, 100)
		items := []imap.FetchItem{imap.FetchUid, imap.FetchFlags, imap.FetchEnvelope, imap.FetchInternalDate, "BODY.PEEK[]"}
		require.NoError(t, box.ListMessages(true, all, items, messages))
		for m := range messages {
			for _, literal := range m.Body {
				body, err := io.ReadAll(literal)
				require.NoError(t, err)
				mails = append(mails, fmt.Sprint(m.Uid, m.Flags, m.Envelope.Subject, m.InternalDate.Unix(), string(body)))
			}
		}
	})
	return mails
}

// client is a client's connection that drops all updates.
type client struct{}

func (client) SendUpdate(backend.Update) error { return nil }

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
func (silent) Debugf(string, ...any) {}
func (silent) Debugln(...any)        {}
