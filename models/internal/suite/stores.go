package suite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

const (
	fingerprint = "0123456789ABCDEF0123456789abcdef01234567"
	webURL      = "https://i.delta.chat/#" + fingerprint + "&a=alice%40example.org&n=Alice&i=abc_-1&s=def"
	appURL      = "openpgp4fpr:" + fingerprint + "#a=alice%40example.org&n=Alice&i=abc_-1&s=def"
)

func table(t *testing.T, open Open) {
	table := newTable(t, fresh(t, open), models.TableSpec{Name: "settings"})

	// Ensure that a key that does not exist is no error.
	value, ok, err := table.Lookup(ctx(t), "nobody")
	require.NoError(t, err)
	require.False(t, ok)
	require.Empty(t, value)
	keys, err := table.Keys(ctx(t))
	require.NoError(t, err)
	require.Empty(t, keys)
	require.NotNil(t, keys)
	require.NoError(t, table.Remove(ctx(t), "nobody"))

	// Ensure that Set inserts a value, replaces it, and may repeat it.
	for _, value := range []string{"one", "two", "two", ""} {
		require.NoError(t, table.Set(ctx(t), "key", value))
		back, ok, err := table.Lookup(ctx(t), "key")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, value, back)
	}
	keys, err = table.Keys(ctx(t))
	require.NoError(t, err)
	require.Equal(t, []string{"key"}, keys)
}

func quotas(t *testing.T, open Open) {
	db := fresh(t, open)
	const byConfig, byDefault, own = 1000, 2000, 3000
	quotas := newQuotas(t, db, byConfig)
	limit := func(user string) models.Limit {
		t.Helper()
		limit, err := quotas.Limit(ctx(t), user)
		require.NoError(t, err)
		return limit
	}

	// Ensure that the user's own limit comes before the server's, and the server's before
	// the configured one. Limit returns the source, and each limit can be removed.
	require.Equal(t, models.Limit{Bytes: byConfig, Source: models.FromConfig}, limit("alice"))
	require.NoError(t, quotas.Set(ctx(t), "alice", own))
	require.Equal(t, models.Limit{Bytes: own, Source: models.FromUser}, limit("alice"))
	require.NoError(t, quotas.SetDefault(ctx(t), byDefault))
	require.Equal(t, models.Limit{Bytes: own, Source: models.FromUser}, limit("alice"))
	require.Equal(t, models.Limit{Bytes: byDefault, Source: models.FromDefault}, limit("bob"))
	require.NoError(t, quotas.Set(ctx(t), "A", own)) // sorts before the server's
	require.Equal(t, models.Limit{Bytes: own, Source: models.FromUser}, limit("A"))
	require.NoError(t, quotas.Delete(ctx(t), "A"))
	def, err := quotas.Default(ctx(t))
	require.NoError(t, err)
	require.Equal(t, models.Limit{Bytes: byDefault, Source: models.FromDefault}, def)
	require.NoError(t, quotas.Reset(ctx(t), "alice"))
	require.NoError(t, quotas.Reset(ctx(t), "alice"))
	require.NoError(t, quotas.Reset(ctx(t), "nobody"))
	require.Equal(t, models.Limit{Bytes: byDefault, Source: models.FromDefault}, limit("alice"))
	require.NoError(t, quotas.ResetDefault(ctx(t)))
	require.Equal(t, models.Limit{Bytes: byConfig, Source: models.FromConfig}, limit("alice"))
	def, err = quotas.Default(ctx(t))
	require.NoError(t, err)
	require.Equal(t, models.Limit{Bytes: byConfig, Source: models.FromConfig}, def)
	require.NoError(t, quotas.SetDefault(ctx(t), 1))
	require.NoError(t, quotas.SetDefault(ctx(t), byDefault))

	// Ensure that a limit may be any number over 0.
	require.NoError(t, quotas.Set(ctx(t), "alice", math.MaxInt64))
	require.Equal(t, models.Limit{Bytes: math.MaxInt64, Source: models.FromUser}, limit("alice"))
	for _, bytes := range []int64{0, -1, math.MinInt64} {
		requireInvalid(t, quotas.Set(ctx(t), "alice", bytes), "max_storage", "must be over 0")
		requireInvalid(t, quotas.SetDefault(ctx(t), bytes), "max_storage", "must be over 0")
	}
	_, err = models.NewQuotas(db, models.QuotaConfig{Default: -1})
	requireInvalid(t, err, "default quota", "negative")

	// Ensure that NULL, 0 and a negative number, as other programs write, are no limit.
	for _, unset := range []any{nil, 0, -5} {
		require.NoError(t, db.Model(&models.Quota{}).Where("username = ?", "alice").Update("max_storage", unset).Error)
		require.Equal(t, models.Limit{Bytes: byDefault, Source: models.FromDefault}, limit("alice"))
	}

	// Ensure that Allow permits exactly the limit, without integer overflow.
	require.NoError(t, quotas.Set(ctx(t), "alice", own))
	for _, c := range []struct {
		used, more int64
		ok         bool
	}{
		{0, 0, true}, {0, own, true}, {own, 0, true}, {own - 1, 1, true}, {0, own + 1, false}, {own, 1, false}, {own + 1, 0, false},
		{math.MaxInt64, math.MaxInt64, false}, {1, math.MaxInt64, false}, {math.MaxInt64, 1, false},
	} {
		err := quotas.Allow(ctx(t), "alice", c.used, c.more)
		if c.ok {
			require.NoError(t, err, "%d + %d", c.used, c.more)
			continue
		}
		require.ErrorIs(t, err, models.ErrQuotaExceeded, "%d + %d", c.used, c.more)
		var quota *models.QuotaError
		require.ErrorAs(t, err, &quota)
		require.Equal(t, models.QuotaError{Username: "alice", Limit: models.Limit{Bytes: own, Source: models.FromUser}, Used: c.used, More: c.more}, *quota)
	}
	requireInvalid(t, quotas.Allow(ctx(t), "alice", -1, 0), "used", "negative")
	requireInvalid(t, quotas.Allow(ctx(t), "alice", 0, -1), "more", "negative")
	unlimited := newQuotas(t, db, 0)
	require.NoError(t, quotas.ResetDefault(ctx(t)))
	require.NoError(t, unlimited.Allow(ctx(t), "bob", math.MaxInt64, math.MaxInt64))
	require.ErrorIs(t, unlimited.Allow(ctx(t), "alice", own, 1), models.ErrQuotaExceeded)

	// Ensure that the first creation time stays, and that a limit may be set before or
	// after it.
	at := time.Unix(1700000000, 999)
	require.NoError(t, quotas.RecordAccount(ctx(t), "alice", at))
	require.NoError(t, quotas.RecordAccount(ctx(t), "alice", at.Add(time.Hour)))
	row, err := quotas.Get(ctx(t), "alice")
	require.NoError(t, err)
	require.Equal(t, models.Quota{Username: "alice", MaxStorage: own, CreatedAt: 1700000000}, row)
	require.NoError(t, quotas.Set(ctx(t), "alice", own+1))
	require.NoError(t, quotas.Reset(ctx(t), "alice"))
	row, err = quotas.Get(ctx(t), "alice")
	require.NoError(t, err)
	require.Equal(t, models.Quota{Username: "alice", CreatedAt: 1700000000}, row)
	before := time.Now().Unix()
	require.NoError(t, quotas.RecordAccount(ctx(t), "carol", time.Time{}))
	row, err = quotas.Get(ctx(t), "carol")
	require.NoError(t, err)
	require.GreaterOrEqual(t, row.CreatedAt, before)
	require.LessOrEqual(t, row.CreatedAt, time.Now().Unix())
	require.Zero(t, row.MaxStorage)
	requireInvalid(t, quotas.RecordAccount(ctx(t), "dave", time.Unix(0, 0)), "created_at", "1970")
	require.NoError(t, db.Model(&models.Quota{}).Where("username = ?", "carol").Update("created_at", nil).Error)
	require.NoError(t, quotas.RecordAccount(ctx(t), "carol", at))
	row, err = quotas.Get(ctx(t), "carol")
	require.NoError(t, err)
	require.EqualValues(t, 1700000000, row.CreatedAt)

	// Ensure that List returns users and not the server's default, and that no method
	// accepts the name of the default.
	require.NoError(t, quotas.SetDefault(ctx(t), byDefault))
	rows, err := quotas.List(ctx(t), "", 0)
	require.NoError(t, err)
	require.Equal(t, []models.Quota{{Username: "alice", CreatedAt: 1700000000}, {Username: "carol", CreatedAt: 1700000000}}, rows)
	for _, err := range []error{
		quotas.Set(ctx(t), models.GlobalDefault, 1),
		quotas.Reset(ctx(t), models.GlobalDefault),
		quotas.Delete(ctx(t), models.GlobalDefault),
		quotas.RecordAccount(ctx(t), models.GlobalDefault, at),
		quotas.Allow(ctx(t), models.GlobalDefault, 0, 0),
	} {
		requireInvalid(t, err, "username", models.GlobalDefault)
	}

	// Ensure that Delete deletes one user once.
	require.NoError(t, quotas.Delete(ctx(t), "alice"))
	require.ErrorIs(t, quotas.Delete(ctx(t), "alice"), models.ErrNotFound)
	_, err = quotas.Get(ctx(t), "alice")
	require.ErrorIs(t, err, models.ErrNotFound)
	require.Equal(t, models.Limit{Bytes: byDefault, Source: models.FromDefault}, limit("alice"))
	_, err = quotas.Get(ctx(t), "carol")
	require.NoError(t, err)
}

func contacts(t *testing.T, open Open) {
	db := fresh(t, open)
	contacts := models.NewContacts(db)

	// Ensure that a contact is read back as it was created.
	before := time.Now().UTC().Truncate(time.Millisecond)
	created, err := contacts.Create(ctx(t), "Alice-1_x", webURL, "Alice 😀 <b>")
	require.NoError(t, err)
	require.Equal(t, models.Contact{Slug: "Alice-1_x", URL: webURL, Name: "Alice 😀 <b>", CreatedAt: created.CreatedAt}, created)
	require.False(t, created.CreatedAt.Before(before) || created.CreatedAt.After(time.Now()))
	require.Equal(t, time.UTC, created.CreatedAt.Location())
	found, err := contacts.Lookup(ctx(t), "Alice-1_x")
	require.NoError(t, err)
	require.Equal(t, created, found)
	list, err := contacts.List(ctx(t), "", 0)
	require.NoError(t, err)
	require.Equal(t, []models.Contact{created}, list)

	// Ensure that a taken slug is an error that changes nothing. A slug in other case is
	// another slug.
	_, err = contacts.Create(ctx(t), "Alice-1_x", appURL, "Mallory")
	require.ErrorIs(t, err, models.ErrSlugTaken)
	_, err = contacts.Reserve(ctx(t), "Alice-1_x", "")
	require.ErrorIs(t, err, models.ErrSlugTaken)
	found, err = contacts.Lookup(ctx(t), "Alice-1_x")
	require.NoError(t, err)
	require.Equal(t, created, found)
	_, err = contacts.Lookup(ctx(t), "alice-1_x")
	require.ErrorIs(t, err, models.ErrNotFound)
	_, err = contacts.Create(ctx(t), "alice-1_x", appURL, "")
	require.NoError(t, err)

	// Ensure that Create generates a new slug each time if none is given.
	seen := map[models.Key]bool{}
	for range 50 {
		c, err := contacts.Create(ctx(t), "", webURL, "")
		require.NoError(t, err)
		require.Len(t, c.Slug, models.RandomSlug)
		require.False(t, seen[c.Slug])
		seen[c.Slug] = true
	}

	// Ensure that a slug is reserved until it gets a URL.
	reserved, err := contacts.Reserve(ctx(t), "later", "")
	require.NoError(t, err)
	require.True(t, reserved.Reserved())
	require.Empty(t, reserved.WebURL())
	require.Empty(t, reserved.AppURL())
	_, err = contacts.Create(ctx(t), "later", webURL, "")
	require.ErrorIs(t, err, models.ErrSlugTaken)
	url, name := webURL, "Bob"
	edited, err := contacts.Edit(ctx(t), "later", models.ContactEdit{URL: &url, Name: &name})
	require.NoError(t, err)
	require.Equal(t, models.Contact{Slug: "later", URL: webURL, Name: "Bob", CreatedAt: reserved.CreatedAt}, edited)
	require.False(t, edited.Reserved())

	// Ensure that Edit changes only the given fields, or none, and that the slug must
	// exist.
	other := appURL
	for _, edit := range []models.ContactEdit{{URL: &other}, {URL: &other}, {}} {
		edited, err = contacts.Edit(ctx(t), "later", edit)
		require.NoError(t, err)
		require.Equal(t, models.Contact{Slug: "later", URL: appURL, Name: "Bob", CreatedAt: reserved.CreatedAt}, edited)
	}
	empty := ""
	edited, err = contacts.Edit(ctx(t), "later", models.ContactEdit{Name: &empty})
	require.NoError(t, err)
	require.Equal(t, models.Contact{Slug: "later", URL: appURL, CreatedAt: reserved.CreatedAt}, edited)
	for _, edit := range []models.ContactEdit{{URL: &other}, {}} {
		_, err = contacts.Edit(ctx(t), "nobody", edit)
		require.ErrorIs(t, err, models.ErrNotFound)
	}

	// Ensure that each form of an invitation is converted to the other.
	for _, stored := range []string{webURL, appURL} {
		c := models.Contact{URL: models.Text(stored)}
		require.Equal(t, webURL, c.WebURL())
		require.Equal(t, appURL, c.AppURL())
	}

	// Ensure that Create, Reserve and Edit refuse an invalid slug, URL or name.
	for _, slug := range []string{"a", "ab", strings.Repeat("x", models.MaxSlug+1), "a b", "a/b", "../x", "-abc", "_abc", "a.b", "äöü", "a%20b",
		"abc\n", "abc\x00", "abc\xff", "'; DROP TABLE contacts; --", "<script>"} {
		_, err := contacts.Create(ctx(t), slug, webURL, "")
		requireInvalid(t, err, "slug", "")
		_, err = contacts.Reserve(ctx(t), slug, "")
		requireInvalid(t, err, "slug", "")
	}
	for _, url := range []string{"", "reserved", "http://i.delta.chat/#" + fingerprint, "https://i.delta.chat/", "https://i.delta.chat/#",
		"https://example.org/#" + fingerprint, "javascript:alert(1)", "https://i.delta.chat/#0123", "https://i.delta.chat/#" + fingerprint + "0",
		"https://i.delta.chat/#" + fingerprint + "#a=b", "openpgp4fpr:" + fingerprint + "&a=b", "openpgp4fpr:xyz",
		webURL + "\"", webURL + "'", webURL + "<", webURL + " ", webURL + "\n", webURL + "\x00", webURL + "\xff", webURL + "ä",
		webURL + strings.Repeat("x", models.MaxURLBytes), webURL + strings.Repeat("x", 1<<20)} {
		_, err := contacts.Create(ctx(t), "refused", url, "")
		requireInvalid(t, err, "url", "")
		_, err = contacts.Edit(ctx(t), "later", models.ContactEdit{URL: &url})
		requireInvalid(t, err, "url", "")
	}
	for _, name := range []string{"a\x00", "\xff", strings.Repeat("x", models.MaxContactNameBytes+1)} {
		_, err := contacts.Create(ctx(t), "refused", webURL, name)
		requireInvalid(t, err, "name", "")
		_, err = contacts.Edit(ctx(t), "later", models.ContactEdit{Name: &name})
		requireInvalid(t, err, "name", "")
	}
	_, err = contacts.Lookup(ctx(t), "refused")
	require.ErrorIs(t, err, models.ErrNotFound)
	long := webURL + strings.Repeat("x", models.MaxURLBytes-len(webURL))
	edited, err = contacts.Edit(ctx(t), "later", models.ContactEdit{URL: &long})
	require.NoError(t, err)
	require.EqualValues(t, long, edited.URL)

	// Ensure that slugs of other programs that break the rule can be read, edited and
	// removed.
	require.NoError(t, db.Create(&models.Contact{Slug: "ä/1", URL: "elsewhere"}).Error)
	foreign, err := contacts.Lookup(ctx(t), "ä/1")
	require.NoError(t, err)
	require.Equal(t, models.Contact{Slug: "ä/1", URL: "elsewhere", CreatedAt: foreign.CreatedAt}, foreign)
	_, err = contacts.Edit(ctx(t), "ä/1", models.ContactEdit{URL: &other})
	require.NoError(t, err)
	require.NoError(t, contacts.Remove(ctx(t), "ä/1"))

	// Ensure that Remove deletes a contact once, and frees its slug.
	require.NoError(t, contacts.Remove(ctx(t), "later"))
	require.ErrorIs(t, contacts.Remove(ctx(t), "later"), models.ErrNotFound)
	_, err = contacts.Create(ctx(t), "later", webURL, "")
	require.NoError(t, err)
}

func transactions(t *testing.T, open Open) {
	db := fresh(t, open)
	_ = newTable(t, db, models.TableSpec{Name: "settings"})
	undo := errors.New("undo")

	// Ensure that stores on a transaction work inside it. A taken slug does not end the
	// transaction, and a rollback undoes their writes.
	work := func(tx *gorm.DB) error {
		quotas := newQuotas(t, tx, 1)
		contacts := models.NewContacts(tx)
		table, err := models.NewTable(tx, models.TableSpec{Name: "settings"})
		require.NoError(t, err)
		require.NoError(t, models.Migrate(ctx(t), tx))
		require.NoError(t, table.Migrate(ctx(t)))
		_, err = contacts.Create(ctx(t), "slug", webURL, "")
		require.NoError(t, err)
		_, err = contacts.Create(ctx(t), "slug", webURL, "")
		require.ErrorIs(t, err, models.ErrSlugTaken)
		require.NoError(t, quotas.Set(ctx(t), "alice", 5))
		require.NoError(t, table.Set(ctx(t), "a", "b"))
		value, ok, err := table.Lookup(ctx(t), "a")
		require.NoError(t, err)
		require.True(t, ok && value == "b")
		return undo
	}
	require.ErrorIs(t, db.Transaction(work), undo)
	require.ErrorIs(t, db.Transaction(func(tx *gorm.DB) error {
		require.ErrorIs(t, tx.Transaction(work), undo)
		require.NoError(t, newQuotas(t, tx, 1).Set(ctx(t), "bob", 5))
		return undo
	}), undo)
	for _, table := range tables {
		var n int64
		require.NoError(t, db.Table(table).Count(&n).Error)
		require.Zero(t, n)
	}

	// Ensure that a store ignores the conditions of the caller's handle.
	require.NoError(t, newQuotas(t, db, 1).Set(ctx(t), "alice", 5))
	narrowed := db.Where("1 = 0").Limit(0).Table("nonsense")
	limit, err := newQuotas(t, narrowed, 1).Limit(ctx(t), "alice")
	require.NoError(t, err)
	require.EqualValues(t, 5, limit.Bytes)
}

func concurrency(t *testing.T, open Open) {
	const goroutines = 64
	for name, config := range map[string]*gorm.Config{
		"plain":    config(),
		"prepared": {Logger: config().Logger, PrepareStmt: true, TranslateError: true},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, config)
			require.NoError(t, models.Migrate(ctx(t), db))
			table := newTable(t, db, models.TableSpec{Name: "settings"})
			quotas := newQuotas(t, db, 1)
			contacts := models.NewContacts(db)

			// Ensure that concurrent calls of Set for one key all succeed. The key has one of
			// their values, and a later Set replaces it.
			for round := range 5 {
				for _, err := range atOnce(goroutines, func(i int) error {
					if err := table.Set(ctx(t), "contended", fmt.Sprint(round, i)); err != nil {
						return err
					}
					return table.Set(ctx(t), fmt.Sprint("own ", i), fmt.Sprint(round))
				}) {
					require.NoError(t, err)
				}
				value, ok, err := table.Lookup(ctx(t), "contended")
				require.NoError(t, err)
				require.True(t, ok)
				require.Regexp(t, fmt.Sprintf(`^%d \d+$`, round), value)
				require.NoError(t, table.Set(ctx(t), "contended", "last"))
				value, _, err = table.Lookup(ctx(t), "contended")
				require.NoError(t, err)
				require.Equal(t, "last", value)
			}
			keys, err := table.Keys(ctx(t))
			require.NoError(t, err)
			require.Len(t, keys, goroutines+1)

			// Ensure that exactly one of the concurrent calls that create a slug succeeds and
			// is stored. The others return ErrSlugTaken.
			for round := range 5 {
				slug := fmt.Sprint("slug", round)
				winner := -1
				for i, err := range atOnce(goroutines, func(i int) error {
					_, err := contacts.Create(ctx(t), slug, webURL, fmt.Sprint(i))
					return err
				}) {
					if err == nil {
						require.Negative(t, winner, "two winners")
						winner = i
						continue
					}
					require.ErrorIs(t, err, models.ErrSlugTaken)
				}
				require.GreaterOrEqual(t, winner, 0)
				c, err := contacts.Lookup(ctx(t), slug)
				require.NoError(t, err)
				require.EqualValues(t, fmt.Sprint(winner), c.Name)
			}

			// Ensure that concurrent calls which write different columns of a row do not
			// overwrite each other.
			for _, err := range atOnce(goroutines, func(i int) error {
				if i%2 == 0 {
					return quotas.Set(ctx(t), "alice", 5)
				}
				return quotas.RecordAccount(ctx(t), "alice", time.Unix(int64(1000+i), 0))
			}) {
				require.NoError(t, err)
			}
			row, err := quotas.Get(ctx(t), "alice")
			require.NoError(t, err)
			require.EqualValues(t, 5, row.MaxStorage)
			require.Greater(t, row.CreatedAt, int64(1000))

			// Ensure that concurrent inserts, deletes and listings of the same rows succeed.
			for _, err := range atOnce(goroutines, func(i int) error {
				key := fmt.Sprint("churn ", i%4)
				for range 5 {
					if err := table.Set(ctx(t), key, key); err != nil {
						return err
					}
					if err := table.Remove(ctx(t), key); err != nil {
						return err
					}
					if _, err := table.Keys(ctx(t)); err != nil {
						return err
					}
					if err := quotas.Set(ctx(t), key, 1); err != nil {
						return err
					}
					if err := quotas.Delete(ctx(t), key); err != nil && !errors.Is(err, models.ErrNotFound) {
						return err
					}
				}
				return nil
			}) {
				require.NoError(t, err)
			}
		})
	}
}

// contexts tests that each call obeys its context.
func contexts(t *testing.T, open Open) {
	db := fresh(t, open)
	table := newTable(t, db, models.TableSpec{Name: "settings"})
	quotas := newQuotas(t, db, 1)
	contacts := models.NewContacts(db)
	over, cancel := context.WithCancel(ctx(t))
	cancel()
	text := "x"

	// Ensure that every call returns the error of a cancelled context and writes nothing.
	blocked, tokens := models.NewBlockedUsers(db), models.NewRegistrationTokens(db)
	settings, err := models.NewSettings(db, models.TableSpec{Name: "settings"})
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"Block":           func() error { return blocked.Block(over, "a", "") },
		"Blocked":         func() error { _, err := blocked.Blocked(over, "a"); return err },
		"Blocked.List":    func() error { _, err := blocked.List(over, "", 0); return err },
		"Unblock":         func() error { return blocked.Unblock(over, "a") },
		"Tokens.Create":   func() error { _, err := tokens.Create(over, models.RegistrationToken{MaxUses: 1}); return err },
		"Tokens.Get":      func() error { _, err := tokens.Get(over, "a"); return err },
		"Tokens.Check":    func() error { return tokens.Check(over, "a") },
		"Pending":         func() error { _, err := tokens.Pending(over, "a"); return err },
		"Use":             func() error { return tokens.Use(over, "a") },
		"Tokens.List":     func() error { _, err := tokens.List(over, "", 0); return err },
		"Tokens.Delete":   func() error { return tokens.Delete(over, "a") },
		"Bool":            func() error { _, err := settings.Bool(over, "A", true); return err },
		"SetBool":         func() error { return settings.SetBool(over, "A", true) },
		"All":             func() error { _, err := settings.All(over); return err },
		"Settings.Remove": func() error { return settings.Remove(over, "A") },
		"Migrate":         func() error { return models.Migrate(over, db) },
		"Table.Migrate": func() error {
			table, _ := models.NewTable(db, models.TableSpec{Name: "never"})
			return table.Migrate(over)
		},
		"Lookup":          func() error { _, _, err := table.Lookup(over, "a"); return err },
		"Keys":            func() error { _, err := table.Keys(over); return err },
		"List":            func() error { _, err := table.List(over, "", 0); return err },
		"Set":             func() error { return table.Set(over, "a", "b") },
		"Remove":          func() error { return table.Remove(over, "a") },
		"Limit":           func() error { _, err := quotas.Limit(over, "a"); return err },
		"Default":         func() error { _, err := quotas.Default(over); return err },
		"Allow":           func() error { return quotas.Allow(over, "a", 0, 0) },
		"Get":             func() error { _, err := quotas.Get(over, "a"); return err },
		"Quotas.Set":      func() error { return quotas.Set(over, "a", 1) },
		"SetDefault":      func() error { return quotas.SetDefault(over, 1) },
		"Reset":           func() error { return quotas.Reset(over, "a") },
		"RecordAccount":   func() error { return quotas.RecordAccount(over, "a", time.Now()) },
		"Quotas.List":     func() error { _, err := quotas.List(over, "", 0); return err },
		"Delete":          func() error { return quotas.Delete(over, "a") },
		"Create":          func() error { _, err := contacts.Create(over, "abc", webURL, ""); return err },
		"Reserve":         func() error { _, err := contacts.Reserve(over, "", ""); return err },
		"Edit":            func() error { _, err := contacts.Edit(over, "abc", models.ContactEdit{Name: &text}); return err },
		"Contacts.Lookup": func() error { _, err := contacts.Lookup(over, "abc"); return err },
		"Contacts.List":   func() error { _, err := contacts.List(over, "", 0); return err },
		"Contacts.Remove": func() error { return contacts.Remove(over, "abc") },
		"Copy":            func() error { _, err := models.Copy(over, db, open(t, config()), models.CopyOptions{}); return err },
	} {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
	keys, err := table.Keys(ctx(t))
	require.NoError(t, err)
	require.Empty(t, keys)
	require.False(t, db.Migrator().HasTable("never"))
}
