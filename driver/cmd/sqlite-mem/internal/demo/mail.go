//go:build cgo

package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/gormdialect"
	"github.com/sqlite-mem/sqlite-mem/models"
)

// mail is a mail server's database, served through package models. It has
// quotas, contacts and three key-value tables. These hold the passwords, the
// bytes that each account stores, and the server's own counters.
type mail struct {
	accounts int // every tenth has a contact
	stores
	workers []*mailWorker
}

// stores are the tables of the server, on the database or in a transaction.
type stores struct {
	db                      *gorm.DB
	quotas                  *models.Quotas
	links                   *models.Contacts
	passwords, used, counts *models.Table
}

func newStores(db *gorm.DB) (s stores, err error) {
	table := func(name string) *models.Table {
		t, tableErr := models.NewTable(db, models.TableSpec{Name: name})
		err = errors.Join(err, tableErr)
		return t
	}
	s.db = db
	s.links = models.NewContacts(db)
	s.passwords, s.used, s.counts = table("passwords"), table("used_storage"), table("server_counters")
	var quotaErr error
	s.quotas, quotaErr = models.NewQuotas(db, models.QuotaConfig{Default: 1 << 30})
	return s, errors.Join(err, quotaErr)
}

func newMail(accounts int) *mail {
	return &mail{accounts: accounts}
}

func (m *mail) transactions() string { return "deliveries" }

func account(i int) string { return "u" + strconv.Itoa(100_000+i) + "@chat.example" }
func slug(i int) string    { return "c" + strconv.Itoa(100_000+i) }

// credential makes up the stored form of the version-th password of an account. It
// looks like a real one, and is the same each time.
func credential(account, version int) string {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := rand.New(rand.NewPCG(uint64(account), uint64(version)))
	b := []byte("bcrypt:$2a$10$                                                     ")
	for i := len("bcrypt:$2a$10$"); i < len(b); i++ {
		b[i] = alphabet[random.Uint32()>>26]
	}
	return string(b)
}

// gormConfig leaves errors to their callers, and wraps no single statement into
// a transaction of its own: SQLite does that.
func gormConfig() *gorm.Config {
	return &gorm.Config{Logger: logger.Discard, SkipDefaultTransaction: true}
}

// open gets at the tables through GORM.
func (m *mail) open(db *sql.DB) error {
	g, err := gorm.Open(gormdialect.New(gormdialect.Config{Conn: db}), gormConfig())
	if err != nil {
		return err
	}
	m.stores, err = newStores(g)
	return err
}

// fill makes the tables and the accounts in an empty database. The rows come by
// plain SQL, a thousand accounts to a transaction.
func (m *mail) fill(ctx context.Context, db *sql.DB, progress func(done int)) error {
	if err := m.open(db); err != nil {
		return err
	}
	if err := models.Migrate(ctx, m.db); err != nil {
		return err
	}
	for _, t := range []*models.Table{m.passwords, m.used, m.counts} {
		if err := t.Migrate(ctx); err != nil {
			return err
		}
	}
	if err := m.quotas.SetDefault(ctx, 1<<30); err != nil {
		return err
	}
	for from := 0; from < m.accounts; from += 1000 {
		progress(from)
		if err := m.add(ctx, db, from, min(from+1000, m.accounts)); err != nil {
			return err
		}
	}
	return nil
}

// add makes the accounts from..to-1.
func (m *mail) add(ctx context.Context, db *sql.DB, from, to int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := from; i < to; i++ {
		at := created.Add(time.Duration(i) * time.Minute)
		limit := int64(0) // bytes; 0: that of the server
		if i%10 == 0 {
			limit = 5 << 30
			_, err = tx.ExecContext(ctx, "INSERT INTO contacts (slug, url, name, created_at) VALUES (?, ?, ?, ?)",
				slug(i/10), fmt.Sprintf("https://i.delta.chat/#%040X&a=%s", i, account(i)), "Contact "+strconv.Itoa(i), at)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO quotas (username, max_storage, created_at) VALUES (?, ?, ?)",
			account(i), limit, at.Unix())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO passwords (key, value) VALUES (?, ?)", account(i), credential(i, 0))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO used_storage (key, value) VALUES (?, '0')", account(i))
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (m *mail) prepare(_ context.Context, db *sql.DB, n int) error {
	if err := m.open(db); err != nil {
		return err
	}
	for i := range n {
		m.workers = append(m.workers, &mailWorker{
			mail:      m,
			i:         i,
			n:         n,
			random:    newRandom(1000 + i),
			passwords: make(map[int]int),
			limits:    make(map[int]int64),
		})
	}
	return nil
}

func (m *mail) worker(i int) worker { return m.workers[i] }

// mailWorker is one of n goroutines of the server. It changes passwords and limits
// only for accounts of its own, so it knows their values. It delivers mail to all
// accounts.
type mailWorker struct {
	*mail
	i, n   int
	random *rand.Rand

	// The committed state.
	passwords map[int]int   // the version of the password, by account
	limits    map[int]int64 // by account
	messages  int64
	bytes     int64 // of the messages
}

// own is an account that no other worker changes.
func (w *mailWorker) own() int {
	return w.random.IntN((w.accounts-w.i+w.n-1)/w.n)*w.n + w.i
}

// read runs the queries of a login, a delivery from outside or a shared link.
func (w *mailWorker) read(ctx context.Context) error {
	i := w.random.IntN(w.accounts)
	switch w.random.IntN(3) {
	case 0:
		_, ok, err := w.mail.passwords.Lookup(ctx, account(i))
		return orMissing(err, ok, account(i))
	case 1:
		return w.quotas.Allow(ctx, account(i), 0, 1)
	default:
		_, err := w.links.Lookup(ctx, slug(i/10))
		return err
	}
}

// write changes a password or a limit.
func (w *mailWorker) write(ctx context.Context) error {
	i := w.own()
	if w.random.IntN(2) == 0 {
		version := w.passwords[i] + 1
		if err := w.mail.passwords.Set(ctx, account(i), credential(i, version)); err != nil {
			return err
		}
		w.passwords[i] = version
		return nil
	}
	limit := int64(1+w.random.IntN(10)) << 30
	if err := w.quotas.Set(ctx, account(i), limit); err != nil {
		return err
	}
	w.limits[i] = limit
	return nil
}

// transaction delivers a message: is there such an account, how much does it
// store, may it store more; then it stores more, and the server counts it.
func (w *mailWorker) transaction(ctx context.Context) error {
	to := account(w.random.IntN(w.accounts))
	bytes := int64(1000 + w.random.IntN(50_000))
	err := w.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		s, err := newStores(tx)
		if err != nil {
			return err
		}
		if _, ok, err := s.passwords.Lookup(ctx, to); err != nil || !ok {
			return orMissing(err, ok, to)
		}
		text, ok, err := s.used.Lookup(ctx, to)
		if err != nil || !ok {
			return orMissing(err, ok, to)
		}
		used, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		if err := s.quotas.Allow(ctx, to, used, bytes); err != nil {
			return err
		}
		if err := s.used.Set(ctx, to, strconv.FormatInt(used+bytes, 10)); err != nil {
			return err
		}
		return s.counts.Set(ctx, fmt.Sprintf("bytes delivered by worker %d", w.i), strconv.FormatInt(w.bytes+bytes, 10))
	})
	if _, full := errors.AsType[*models.QuotaError](err); full {
		return nil // nothing was written: the message is refused, which is no failure
	}
	if err != nil {
		return err
	}
	w.messages++
	w.bytes += bytes
	return nil
}

func orMissing(err error, ok bool, what string) error {
	if err == nil && !ok {
		return fmt.Errorf("%s is missing", what)
	}
	return err
}

func (m *mail) verify(ctx context.Context, file *sql.DB, progress func(string)) ([]finding, error) {
	progress("looking for what was committed")
	var messages, bytes, accounts, server, rows int64
	var passwords, limits, missing int
	for _, w := range m.workers {
		messages += w.messages
		bytes += w.bytes
	}
	sum := func(to *int64, query string) error { return file.QueryRowContext(ctx, query).Scan(to) }
	err := errors.Join(
		sum(&accounts, "SELECT coalesce(sum(CAST(value AS INTEGER)), 0) FROM used_storage"),
		sum(&server, "SELECT coalesce(sum(CAST(value AS INTEGER)), 0) FROM server_counters"),
		sum(&rows, "SELECT count(*) FROM quotas JOIN passwords ON passwords.key = username JOIN used_storage ON used_storage.key = username"),
	)
	if err != nil {
		return nil, err
	}
	same := func(query string, i int, want any) error {
		var ok bool
		err := file.QueryRowContext(ctx, query, account(i), want).Scan(&ok)
		if err == nil && !ok {
			missing++
		}
		return err
	}
	for _, w := range m.workers {
		for i, version := range w.passwords {
			passwords++
			if err := same("SELECT count(*) FROM passwords WHERE key = ? AND value = ?", i, credential(i, version)); err != nil {
				return nil, err
			}
		}
		for i, limit := range w.limits {
			limits++
			if err := same("SELECT count(*) FROM quotas WHERE username = ? AND max_storage = ?", i, limit); err != nil {
				return nil, err
			}
		}
	}
	return []finding{
		{rows == int64(m.accounts), show.Plural(rows, "account") + " of " + show.Count(m.accounts) + " are in the file"},
		{accounts == bytes && server == bytes, fmt.Sprintf("%s: %s bytes by the workers' count,\n%s by the server's count in the file,\n%s by the accounts' sum in the file",
			show.Plural(messages, "message"), show.Count(bytes), show.Count(server), show.Count(accounts))},
		{missing == 0, fmt.Sprintf("%s and %s, as last changed: %s not in the file",
			show.Plural(passwords, "password"), show.Plural(limits, "quota"), show.Count(missing))},
	}, nil
}
