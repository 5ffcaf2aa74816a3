//go:build cgo

package models_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// open opens a database for an example, with GORM's dialector for SQLite files.
// gormdialect.Open, postgres.Open and mysql.Open work the same way.
func open() (db *gorm.DB, closeAndRemove func()) {
	dir, err := os.MkdirTemp("", "models")
	if err != nil {
		log.Fatal(err)
	}
	db, err = gorm.Open(sqlite.Open(filepath.Join(dir, "server.db")), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := models.Migrate(context.Background(), db); err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if pool, err := db.DB(); err == nil {
			pool.Close()
		}
		os.RemoveAll(dir)
	}
}

func ExampleQuotas() {
	db, done := open()
	defer done()
	ctx := context.Background()

	quotas, err := models.NewQuotas(db, models.QuotaConfig{Default: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	if err := quotas.RecordAccount(ctx, "alice@example.org", time.Now()); err != nil {
		log.Fatal(err)
	}
	show := func() {
		limit, err := quotas.Limit(ctx, "alice@example.org")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(limit.Bytes, limit.Source)
	}
	show()
	if err := quotas.SetDefault(ctx, 2<<30); err != nil {
		log.Fatal(err)
	}
	show()
	if err := quotas.Set(ctx, "alice@example.org", 5000); err != nil {
		log.Fatal(err)
	}
	show()

	fmt.Println(quotas.Allow(ctx, "alice@example.org", 4000, 1000))
	err = quotas.Allow(ctx, "alice@example.org", 4000, 1001)
	fmt.Println(errors.Is(err, models.ErrQuotaExceeded), err)
	// Output:
	// 1073741824 configured default
	// 2147483648 server default
	// 5000 own limit
	// <nil>
	// true quota of "alice@example.org" exceeded: 4000 bytes used, 1001 more wanted, limit 5000 (own limit)
}

func ExampleContacts() {
	db, done := open()
	defer done()
	ctx := context.Background()

	contacts := models.NewContacts(db)
	invite := "https://i.delta.chat/#0123456789ABCDEF0123456789ABCDEF01234567&a=alice%40example.org"
	if _, err := contacts.Create(ctx, "alice", invite, "Alice"); err != nil {
		log.Fatal(err)
	}
	_, err := contacts.Create(ctx, "alice", invite, "Another Alice")
	fmt.Println(errors.Is(err, models.ErrSlugTaken))
	_, err = contacts.Create(ctx, "a/b", invite, "")
	fmt.Println(err)

	random, err := contacts.Create(ctx, "", invite, "Alice again")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(random.Slug))

	found, err := contacts.Lookup(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Name, found.AppURL())
	// Output:
	// true
	// slug "a/b" has a character other than a-z, A-Z, 0-9 and, after the first, - and _
	// 8
	// Alice openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567#a=alice%40example.org
}

func ExampleContacts_Reserve() {
	db, done := open()
	defer done()
	ctx := context.Background()

	contacts := models.NewContacts(db)
	reserved, err := contacts.Reserve(ctx, "team", "The team")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reserved.Reserved())
	url := "openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567"
	filled, err := contacts.Edit(ctx, "team", models.ContactEdit{URL: &url})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filled.Reserved(), filled.Name, filled.WebURL())
	// Output:
	// true
	// false The team https://i.delta.chat/#0123456789ABCDEF0123456789ABCDEF01234567
}

func ExampleTable() {
	db, done := open()
	defer done()
	ctx := context.Background()

	passwords, err := models.NewTable(db, models.TableSpec{Name: "passwords"})
	if err != nil {
		log.Fatal(err)
	}
	if err := passwords.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	for _, hash := range []string{"first", "second"} {
		if err := passwords.Set(ctx, "alice@example.org", hash); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(passwords.Lookup(ctx, "alice@example.org"))
	fmt.Println(passwords.Lookup(ctx, "bob@example.org"))
	fmt.Println(passwords.Keys(ctx))
	fmt.Println(passwords.Set(ctx, "a\x00b", ""))

	_, err = models.NewTable(db, models.TableSpec{Name: "passwords; DROP TABLE quotas"})
	fmt.Println(err)
	// Output:
	// second true <nil>
	//  false <nil>
	// [alice@example.org] <nil>
	// key contains a NUL byte
	// table "passwords; DROP TABLE quotas" has a character other than a-z, 0-9 and _
}

func ExampleSettings() {
	db, done := open()
	defer done()
	ctx := context.Background()

	// Madmail keeps its settings in the table of its passwords.
	spec := models.TableSpec{Name: "passwords"}
	table, err := models.NewTable(db, spec)
	if err != nil {
		log.Fatal(err)
	}
	if err := table.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	settings, err := models.NewSettings(db, spec)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(settings.SetBool(ctx, "REGISTRATION_OPEN", true))
	fmt.Println(settings.Bool(ctx, "REGISTRATION_OPEN", false))
	fmt.Println(settings.Bool(ctx, "TURN_ENABLED", true))
	fmt.Println(table.Keys(ctx))
	// Output:
	// <nil>
	// true <nil>
	// true <nil>
	// [__REGISTRATION_OPEN__] <nil>
}

func ExampleRegistrationTokens() {
	db, done := open()
	defer done()
	ctx := context.Background()

	tokens := models.NewRegistrationTokens(db)
	token, err := tokens.Create(ctx, models.RegistrationToken{Token: "welcome", MaxUses: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tokens.Check(ctx, string(token.Token))) // at the registration
	fmt.Println(tokens.Use(ctx, string(token.Token)))   // at the first login
	fmt.Println(tokens.Check(ctx, string(token.Token)))
	// Output:
	// <nil>
	// <nil>
	// models: registration token: token is used up (1 of 1 uses, 0 pending)
}

// The target would be opened by postgres.Open or mysql.Open.
func ExampleCopy() {
	from, doneFrom := open()
	defer doneFrom()
	to, doneTo := open()
	defer doneTo()
	ctx := context.Background()

	quotas, err := models.NewQuotas(from, models.QuotaConfig{})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if err := quotas.Set(ctx, fmt.Sprintf("user%d@example.org", i), 1<<30); err != nil {
			log.Fatal(err)
		}
	}

	report, err := models.Copy(ctx, from, to, models.CopyOptions{
		Progress: func(p models.CopyProgress) { fmt.Println(p.Phase, p.Table, p.Done, "of", p.Total) },
	})
	fmt.Println(report.Tables[0].Inserted, "inserted,", err)
	// Output:
	// check quotas 3 of 3
	// check contacts 0 of 0
	// check blocked_users 0 of 0
	// check registration_tokens 0 of 0
	// check table_entries 0 of 0
	// write quotas 3 of 3
	// write contacts 0 of 0
	// write blocked_users 0 of 0
	// write registration_tokens 0 of 0
	// write table_entries 0 of 0
	// verify quotas 3 of 3
	// verify contacts 0 of 0
	// verify blocked_users 0 of 0
	// verify registration_tokens 0 of 0
	// verify table_entries 0 of 0
	// 3 inserted, <nil>
}
