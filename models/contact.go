package models

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// Limits of a contact.
const (
	// MinSlug and MaxSlug are the limits of a slug's length, in ASCII characters.
	MinSlug = 3
	MaxSlug = 64

	// RandomSlug is the length of a slug that [Contacts.Create] generates. It has 40
	// random bits, as 8 of 32 characters.
	RandomSlug = 8

	// MaxURLBytes is the limit of a contact's URL.
	MaxURLBytes = 2048

	// MaxContactNameBytes is the limit of a contact's name.
	MaxContactNameBytes = 1024

	// ReservedURL is the URL of a reserved slug, as in Madmail.
	ReservedURL = "reserved"
)

// Prefixes of the two forms of a DeltaChat invitation.
const (
	webInvite = "https://i.delta.chat/#" // https://i.delta.chat/#FINGERPRINT&a=…
	appInvite = "openpgp4fpr:"           // openpgp4fpr:FINGERPRINT#a=…
)

// Contact is a row of table contacts: a short name for a DeltaChat invitation.
type Contact struct {
	// Slug identifies the contact, and is its path on the server. Case counts.
	Slug Key `gorm:"primaryKey"`

	// URL is the invitation in either form, as it was given, or [ReservedURL].
	URL Text `gorm:"column:url;not null"`

	// Name is shown with the invitation. It may be empty.
	Name Text

	// CreatedAt is the time of creation or reservation, in UTC with milliseconds. The
	// zero time means unknown.
	CreatedAt time.Time
}

// TableName is Madmail's name for the table.
func (Contact) TableName() string { return "contacts" }

// Reserved reports whether the slug is reserved and has no invitation yet.
func (c Contact) Reserved() bool { return c.URL == ReservedURL }

// WebURL returns the invitation as a link for browsers, https://i.delta.chat/#…, or ""
// for a reserved slug.
func (c Contact) WebURL() string {
	if rest, ok := strings.CutPrefix(string(c.URL), appInvite); ok {
		return webInvite + strings.Replace(rest, "#", "&", 1)
	}
	if c.Reserved() {
		return ""
	}
	return string(c.URL)
}

// AppURL returns the invitation as a link for the app and for QR codes, openpgp4fpr:…,
// or "" for a reserved slug.
func (c Contact) AppURL() string {
	if rest, ok := strings.CutPrefix(string(c.URL), webInvite); ok {
		return appInvite + strings.Replace(rest, "&", "#", 1)
	}
	if c.Reserved() {
		return ""
	}
	return string(c.URL)
}

// Contacts is the store of share links, on table contacts.
type Contacts struct {
	db *gorm.DB
}

// NewContacts returns the store of db's contacts. It does not use the database.
// [Migrate] creates the table.
func NewContacts(db *gorm.DB) *Contacts { return &Contacts{db} }

// Create adds a share link and returns it.
//
// slug has [MinSlug] to [MaxSlug] ASCII letters, digits, '-' and '_', and begins with a
// letter or digit. If it is "", Create generates one. A slug that exists is
// [ErrSlugTaken], also if it is only reserved. [Contacts.Edit] gives a reserved slug
// its URL.
//
// url is a DeltaChat invitation, https://i.delta.chat/#… or openpgp4fpr:…, and is
// stored as given. name may be empty. An invalid slug, url or name is an
// [InvalidError].
func (c *Contacts) Create(ctx context.Context, slug, url, name string) (Contact, error) {
	if err := checkInvite(url); err != nil {
		return Contact{}, err
	}
	return c.create(ctx, slug, url, name)
}

// Reserve reserves a slug until [Contacts.Edit] gives it a URL. slug, name and errors
// are those of [Contacts.Create].
func (c *Contacts) Reserve(ctx context.Context, slug, name string) (Contact, error) {
	return c.create(ctx, slug, ReservedURL, name)
}

func (c *Contacts) create(ctx context.Context, slug, url, name string) (Contact, error) {
	if err := checkText("name", name, MaxContactNameBytes); err != nil {
		return Contact{}, err
	}
	if slug != "" {
		if err := checkSlug(slug); err != nil {
			return Contact{}, err
		}
		return c.insert(ctx, slug, url, name)
	}
	for n := 1; ; n++ {
		row, err := c.insert(ctx, randomSlug(), url, name)
		if n < MaxAttempts && errors.Is(err, ErrSlugTaken) {
			continue
		}
		return row, err
	}
}

func (c *Contacts) insert(ctx context.Context, slug, url, name string) (Contact, error) {
	row := Contact{Slug: Key(slug), URL: Text(url), Name: Text(name), CreatedAt: storedTime(time.Now())}
	var inserted bool
	err := run(ctx, c.db, func(tx *gorm.DB) (err error) {
		row := row // Create may change it
		inserted, err = insertNew(tx, &row)
		return err
	})
	if err == nil && !inserted {
		err = ErrSlugTaken
	}
	if err != nil {
		return Contact{}, fmt.Errorf("models: create contact %s: %w", brief(slug), err)
	}
	return row, nil
}

// ContactEdit is a change by [Contacts.Edit]. A nil field stays as it is.
type ContactEdit struct {
	URL  *string // the new URL, as for [Contacts.Create]
	Name *string // the new name; "" removes it
}

// Edit changes a contact and returns it. A URL turns a reserved slug into a share
// link. A slug that does not exist is [ErrNotFound]. An invalid URL or name is an
// [InvalidError].
func (c *Contacts) Edit(ctx context.Context, slug string, edit ContactEdit) (Contact, error) {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return Contact{}, err
	}
	changes := map[string]any{}
	if edit.URL != nil {
		if err := checkInvite(*edit.URL); err != nil {
			return Contact{}, err
		}
		changes["url"] = *edit.URL
	}
	if edit.Name != nil {
		if err := checkText("name", *edit.Name, MaxContactNameBytes); err != nil {
			return Contact{}, err
		}
		changes["name"] = *edit.Name
	}
	if len(changes) > 0 {
		err := run(ctx, c.db, func(tx *gorm.DB) error {
			return tx.Model(&Contact{}).Where("slug = ?", slug).Updates(changes).Error
		})
		if err != nil {
			return Contact{}, fmt.Errorf("models: edit contact %s: %w", brief(slug), err)
		}
	}
	// RowsAffected does not tell whether the slug exists: MySQL counts no row for an
	// update that changes nothing.
	return c.Lookup(ctx, slug)
}

// contactRows reads the rows of contacts.
var contactRows = rowReader[Contact]{
	table:   Contact{}.TableName(),
	key:     "slug",
	columns: []string{"slug", "url", "name", "created_at"},
	stamps:  []string{"created_at"},
	scan: func(rows *sql.Rows) (c Contact, err error) {
		var created stamp
		err = rows.Scan(&c.Slug, &c.URL, &c.Name, &created)
		c.CreatedAt = created.Time
		return c, err
	},
}

// Lookup returns the contact of a slug, or [ErrNotFound]. It also returns reserved
// slugs, for which [Contact.Reserved] is true.
func (c *Contacts) Lookup(ctx context.Context, slug string) (Contact, error) {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return Contact{}, err
	}
	row, ok, err := contactRows.get(ctx, c.db, slug)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return Contact{}, fmt.Errorf("models: contact %s: %w", brief(slug), err)
	}
	return row, nil
}

// List returns up to limit contacts whose slugs come after the given one, sorted by
// the bytes of their slugs. "" starts at the first. A limit of 0 means [DefaultPage],
// and the most is [MaxPage]. For the next page, pass the last slug. A page shorter than
// limit is the last one.
func (c *Contacts) List(ctx context.Context, after string, limit int) ([]Contact, error) {
	rows, err := contactRows.list(ctx, c.db, after, limit)
	if err != nil {
		return nil, fmt.Errorf("models: list contacts: %w", err)
	}
	return rows, nil
}

// Remove deletes a contact or a reservation. If there is none, it returns
// [ErrNotFound].
func (c *Contacts) Remove(ctx context.Context, slug string) error {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return err
	}
	if err := contactRows.remove(ctx, c.db, slug); err != nil {
		return fmt.Errorf("models: remove contact %s: %w", brief(slug), err)
	}
	return nil
}

// checkSlug checks a new slug. The rule for existing slugs is wider, so that slugs of
// other programs can be read, edited and removed.
func checkSlug(slug string) error {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return err
	}
	for i := range len(slug) {
		c := slug[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_') {
			return &InvalidError{"slug", brief(slug) + " has a character other than a-z, A-Z, 0-9 and, after the first, - and _"}
		}
	}
	if len(slug) < MinSlug || len(slug) > MaxSlug {
		return &InvalidError{"slug", fmt.Sprintf("is %d characters long, %d to %d are allowed", len(slug), MinSlug, MaxSlug)}
	}
	return nil
}

// checkInvite checks a DeltaChat invitation. It begins with the fingerprint of an
// OpenPGP key: 40 hexadecimal digits, or 64 of a version 6 key. All other characters
// are those of a fragment in RFC 3986. So no quote, bracket, space or control
// character reaches a page that shows it.
func checkInvite(url string) error {
	if url == "" {
		return &InvalidError{"url", "is empty"}
	}
	if err := checkText("url", url, MaxURLBytes); err != nil {
		return err
	}
	rest, separator := "", byte(0)
	if r, ok := strings.CutPrefix(url, webInvite); ok {
		rest, separator = r, '&'
	} else if r, ok := strings.CutPrefix(url, appInvite); ok {
		rest, separator = r, '#'
	} else {
		return &InvalidError{"url", "is not a DeltaChat invitation: " + webInvite + "… or " + appInvite + "…"}
	}
	hex := 0
	for hex < len(rest) && strings.IndexByte("0123456789abcdefABCDEF", rest[hex]) >= 0 {
		hex++
	}
	if hex != 40 && hex != 64 || hex < len(rest) && rest[hex] != separator {
		return &InvalidError{"url", "has no key fingerprint of 40 or 64 hexadecimal digits"}
	}
	for i := hex + 1; i < len(rest); i++ {
		c := rest[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("-._~!$&()*+,;=:@/?%", c) < 0 {
			return &InvalidError{"url", fmt.Sprintf("has a character that must be percent-encoded: %q", c)}
		}
	}
	return nil
}

// randomSlug returns 8 characters out of 32, so each has exactly 5 random bits. The
// alphabet has no i, l and o, which look like digits, and no u.
func randomSlug() string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [RandomSlug]byte
	rand.Read(b[:]) // never fails
	for i, c := range b {
		b[i] = alphabet[c%byte(len(alphabet))]
	}
	return string(b[:])
}

// storedTime returns t as all three databases return it. GORM's columns on MySQL have
// milliseconds, and MySQL would round a finer time.
func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
