// Package mailstore stores and fetches messages with go-imap-sql, the mail store of
// maddy and Madmail, as these servers do.
package mailstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand"
	randv2 "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/backend"
	"github.com/emersion/go-message/textproto"
	imapsql "github.com/foxcpp/go-imap-sql"
	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/bench/workload"

	_ "github.com/sqlite-mem/sqlite-mem/bench/contender" // registers "sqlite3"
)

const (
	// Users is the number of accounts of the full size. Half of them only read, and the
	// other half only get mail, so that the mailboxes that are read do not grow.
	Users = 400
	// Messages is the number of messages in each mailbox that is read. A fetch reads
	// the last of them.
	Messages = 20
	fetched  = 10
)

// Store is an open go-imap-sql.
type Store struct {
	backend *imapsql.Backend
	users   int
	retries atomic.Int64
}

// Open opens a store in an empty database and fills it. The data source name dsn is for
// the driver "sqlite3". The library go-imap-sql adds parameters of its own. In the
// directory bodies are the bodies of messages, as in maddy. If it is empty they are kept
// in memory.
func Open(dsn, bodies string, users int) (*Store, error) {
	var store imapsql.ExternalStore = &memory{}
	if bodies != "" {
		store = &imapsql.FSStore{Root: bodies}
	}
	b, err := imapsql.New("sqlite3", dsn, store, imapsql.Opts{
		DisableRecent: true, // maddy's default
		PRNG:          rand.New(rand.NewSource(workload.Seed)),
		Log:           silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("mailstore: %w", err)
	}
	b.DB.SetMaxIdleConns(64)
	s := &Store{backend: b, users: users}
	if err := s.fill(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) fill() error {
	for u := range s.users {
		if err := s.backend.CreateUser(user(u)); err != nil {
			return fmt.Errorf("mailstore: %w", err)
		}
	}
	for u := range s.users / 2 {
		for range Messages {
			if err := s.deliver(user(u)); err != nil {
				return fmt.Errorf("mailstore: %w", err)
			}
		}
	}
	return nil
}

// Close closes the store and its database.
func (s *Store) Close() error { return s.backend.Close() }

// Retries returns how often a busy operation was retried.
func (s *Store) Retries() int64 { return s.retries.Load() }

// Pool returns the database.
func (s *Store) Pool() *sql.DB { return s.backend.DB }

// Workload is an operation on a store.
type Workload struct {
	Name string
	What string // in words, for the report
	Op   func(*Store) workload.Op
}

// Workloads returns the operations on stores with the bodies in files, or in memory.
func Workloads(files bool) []Workload {
	if files {
		return []Workload{
			// There is no fetch: the files that it reads are in the page cache.
			{"MailDeliverFiles", "the same, with the body in a file that is synced, as maddy does", (*Store).deliverOp},
		}
	}
	return []Workload{
		{"MailFetch", "an INBOX of 20 messages is opened and the last 10 are fetched, with their bodies", (*Store).fetchOp},
		{"MailDeliver", "a message of 2 KB is stored for a user; its body is kept in memory, so that only the database is measured", (*Store).deliverOp},
	}
}

func (s *Store) deliverOp() workload.Op {
	half := s.users / 2
	return func(_ context.Context, _ workload.DB, rnd *randv2.Rand) error {
		to := user(half + rnd.IntN(half))
		return s.again(func() error { return s.deliver(to) })
	}
}

func (s *Store) fetchOp() workload.Op {
	return func(_ context.Context, _ workload.DB, rnd *randv2.Rand) error {
		from := user(rnd.IntN(s.users / 2))
		return s.again(func() error {
			bodies, err := s.fetch(from)
			if err == nil && (len(bodies) != fetched || len(bodies[0]) != len(message)) {
				err = fmt.Errorf("mailstore: a fetch of %s returned %d messages, or a wrong body", from, len(bodies))
			}
			return err
		})
	}
}

// again retries fn while it is busy. go-imap-sql leaves that to the server.
func (s *Store) again(fn func() error) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		err := fn()
		var e sqlite3.Error
		if !errors.As(err, &e) || e.Code != sqlite3.ErrBusy && e.Code != sqlite3.ErrLocked {
			return err
		}
		s.retries.Add(1)
		time.Sleep(wait)
	}
}

func (s *Store) deliver(to string) error {
	d := s.backend.NewDelivery()
	if err := d.AddRcpt(to, textproto.Header{}); err != nil {
		return err
	}
	if err := d.BodyRaw(bytes.NewReader(message)); err != nil {
		return errors.Join(err, d.Abort())
	}
	return d.Commit()
}

var items = []imap.FetchItem{imap.FetchUid, imap.FetchFlags, imap.FetchEnvelope, imap.FetchRFC822Size, "BODY.PEEK[]"}

// fetch opens the INBOX of a user and returns the bodies of the last messages that fill
// stored.
func (s *Store) fetch(name string) (bodies [][]byte, err error) {
	u, err := s.backend.GetUser(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, u.Logout()) }()
	_, mailbox, err := u.GetMailbox("INBOX", true, client{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, mailbox.Close()) }()
	uids := new(imap.SeqSet)
	uids.AddRange(Messages-fetched+1, Messages)
	messages := make(chan *imap.Message, fetched)
	if err := mailbox.ListMessages(true, uids, items, messages); err != nil {
		return nil, err
	}
	for m := range messages {
		for _, literal := range m.Body {
			body, err := io.ReadAll(literal)
			if err != nil {
				return nil, err
			}
			bodies = append(bodies, body)
		}
	}
	return bodies, nil
}

func user(i int) string { return fmt.Sprintf("user%d@example.org", i) }

var message = []byte("From: Sender <sender@example.org>\r\nTo: Receiver <receiver@example.org>\r\nSubject: a message of the bench\r\n" +
	"Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-Id: <12345@example.org>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
	string(bytes.Repeat([]byte("A line of the body, as long as lines of mail are, more or less.\r\n"), 30)))

// client is a client's connection that drops all updates.
type client struct{}

func (client) SendUpdate(backend.Update) error { return nil }

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
func (silent) Debugf(string, ...any) {}
func (silent) Debugln(...any)        {}

// memory keeps bodies in memory, so that only the database is measured.
type memory struct{ bodies sync.Map } // key → *object

type object struct {
	data []byte
	read int
}

func (m *memory) Create(key string, _ int64) (imapsql.ExtStoreObj, error) {
	o := &object{}
	m.bodies.Store(key, o)
	return o, nil
}

func (m *memory) Open(key string) (imapsql.ExtStoreObj, error) {
	o, ok := m.bodies.Load(key)
	if !ok {
		return nil, imapsql.ExternalError{NonExistent: true, Key: key}
	}
	return &object{data: o.(*object).data}, nil
}

func (m *memory) Delete(keys []string) error {
	for _, k := range keys {
		m.bodies.Delete(k)
	}
	return nil
}

func (o *object) Write(p []byte) (int, error) {
	o.data = append(o.data, p...)
	return len(p), nil
}

func (o *object) Read(p []byte) (int, error) {
	if o.read == len(o.data) {
		return 0, io.EOF
	}
	n := copy(p, o.data[o.read:])
	o.read += n
	return n, nil
}

func (o *object) Sync() error  { return nil }
func (o *object) Close() error { return nil }
