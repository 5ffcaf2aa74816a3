package clients

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/backend"
	"github.com/emersion/go-message/textproto"
	imapsql "github.com/foxcpp/go-imap-sql"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sqlite-mem/sqlite-mem/driver"
	"github.com/sqlite-mem/sqlite-mem/internal/testdb"
)

// go-imap-sql chooses its SQL by the name of the driver.
func init() {
	if err := driver.RegisterAs("sqlite"); err != nil {
		panic(err)
	}
}

const account = "user@example.org"

// imapBox is the INBOX of an account of a mail server. The database has everything but the
// bodies, which are files.
type imapBox struct {
	back   *imapsql.Backend
	bodies string
	remove bool // removes the bodies at the end, as the database goes too
}

func openIMAPSQL(dsn string) (_ client, err error) {
	b := &imapBox{}
	path, _, _ := strings.Cut(dsn, "?")
	if b.remove = path == ":memory:"; b.remove {
		b.bodies, err = os.MkdirTemp("", "bodies-")
	} else {
		b.bodies = filepath.Join(filepath.Dir(path), "bodies")
		err = os.MkdirAll(b.bodies, 0o700)
	}
	if err != nil {
		return nil, err
	}
	bodies, options := &imapsql.FSStore{Root: b.bodies}, imapsql.Opts{DisableRecent: true, Log: silent{}}
	b.back, err = imapsql.New("sqlite", dsn, bodies, options)
	return b, err
}

// migrate does what is left to do: New has created the tables.
func (b *imapBox) migrate() error {
	u, err := b.back.GetOrCreateUser(account)
	if err != nil {
		return err
	}
	return u.Logout()
}

func (b *imapBox) pool() *sql.DB { return b.back.DB }

func (b *imapBox) close() error {
	err := b.back.Close()
	if b.remove {
		err = errors.Join(err, os.RemoveAll(b.bodies))
	}
	return err
}

const imapHeader = "From: <sender@example.org>\r\nTo: <" + account + ">\r\nSubject: "

func (b *imapBox) deliver(subject string, body []byte) error {
	d := b.back.NewDelivery()
	if err := d.AddRcpt(account, textproto.Header{}); err != nil {
		return err
	}
	if err := d.BodyRaw(io.MultiReader(strings.NewReader(imapHeader+subject+"\r\n\r\n"), bytes.NewReader(body))); err != nil {
		return errors.Join(err, d.Abort())
	}
	return d.Commit()
}

func (b *imapBox) newest(n int) (all []message, err error) {
	u, err := b.back.GetUser(account)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, u.Logout()) }()
	status, box, err := u.GetMailbox("INBOX", true, noUpdates{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	if status.Messages == 0 {
		return nil, nil
	}
	set := new(imap.SeqSet)
	set.AddRange(status.Messages-min(uint32(n), status.Messages)+1, status.Messages)
	messages := make(chan *imap.Message, n)
	items := []imap.FetchItem{imap.FetchUid, imap.FetchFlags, imap.FetchEnvelope, imap.FetchInternalDate, "BODY.PEEK[TEXT]"}
	if err := box.ListMessages(false, set, items, messages); err != nil {
		return nil, err
	}
	for m := range messages {
		found := message{uid: int64(m.Uid), subject: m.Envelope.Subject, received: m.InternalDate}
		for _, literal := range m.Body {
			if found.body, err = io.ReadAll(literal); err != nil {
				return nil, err
			}
		}
		all = append([]message{found}, all...)
	}
	return all, nil
}

// noUpdates is a client's connection that drops all updates.
type noUpdates struct{}

func (noUpdates) SendUpdate(backend.Update) error { return nil }

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
func (silent) Debugf(string, ...any) {}
func (silent) Debugln(...any)        {}

// Ensure that a mail server can have its mail and its passwords in one file, each with a
// pool of its own. The statements of the passwords are those of maddy's sql_table. While
// mail is delivered, accounts come and log in. Either pool may be closed first.
func TestIMAPSQL_twoHandles(t *testing.T) {
	for _, mailFirst := range []bool{true, false} {
		path := testdb.Path(t)
		mail := library{"go-imap-sql", openIMAPSQL}.opened(t, path)
		passwords, err := sql.Open("sqlite", path+"?sqlite_wal=1s")
		require.NoError(t, err)
		_, err = passwords.Exec("CREATE TABLE IF NOT EXISTS passwords (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)")
		require.NoError(t, err)
		add, err := passwords.Prepare("INSERT INTO passwords(key, value) VALUES(:key, :value)")
		require.NoError(t, err)
		lookup, err := passwords.Prepare("SELECT value FROM passwords WHERE key = :key")
		require.NoError(t, err)

		var logins errgroup.Group
		for w := range workers {
			logins.Go(func() error {
				for i := range deliveries {
					name := subject("account", w, i)
					if _, err := add.Exec(sql.Named("key", name), sql.Named("value", "of "+name)); err != nil {
						return err
					}
					var value string
					if err := lookup.QueryRow(sql.Named("key", name)).Scan(&value); err != nil {
						return err
					}
					if value != "of "+name {
						return fmt.Errorf("%s has the password %q", name, value)
					}
				}
				return nil
			})
		}
		work(t, mail, "first")
		require.NoError(t, logins.Wait())
		if mailFirst {
			require.NoError(t, mail.close())
			require.NoError(t, passwords.Close())
		} else {
			require.NoError(t, passwords.Close())
			work(t, mail, "second")
			require.NoError(t, mail.close())
		}
		sound(t, path)
		require.Equal(t, fmt.Sprint(workers*deliveries), testdb.Text(t, testdb.Plain(t, path), "SELECT count(*) FROM passwords"))
	}
}
