package models

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// What a contact may look like.
const (
	// MinSlug and MaxSlug bound the length of a slug, in characters, which are
	// ASCII.
	MinSlug = 3
	MaxSlug = 64

	// RandomSlug is the length of the slugs that [Contacts.Create] makes up, out
	// of 32 characters: 40 random bits.
	RandomSlug = 8

	// MaxURLBytes is the longest URL of a contact.
	MaxURLBytes = 2048

	// MaxContactNameBytes is the longest name of a contact.
	MaxContactNameBytes = 1024

	// ReservedURL is what stands in place of a URL while a slug is reserved, in
	// Madmail too.
	ReservedURL = "reserved"
)

// The two forms of one DeltaChat invitation.
const (
	webInvite = "https://i.delta.chat/#" // https://i.delta.chat/#FINGERPRINT&a=…
	appInvite = "openpgp4fpr:"           // openpgp4fpr:FINGERPRINT#a=…
)

// Contact is a row of table contacts: a short name for a DeltaChat invitation.
type Contact struct {
	// Slug identifies the contact and is the path under which a server shows it.
	// Case counts.
	Slug Key `gorm:"primaryKey"`

	// URL is the invitation, in either of its forms, as it was given; or
	// [ReservedURL].
	URL Text `gorm:"column:url;not null"`

	// Name is shown with the invitation. It may be empty.
	Name Text

	// CreatedAt is when the slug was created or reserved, in UTC with milliseconds.
	// Zero: not known.
	CreatedAt time.Time
}

// TableName is Madmail's name for the table.
func (Contact) TableName() string { return "contacts" }

// Reserved reports whether the slug is only reserved: there is no invitation to
// show yet.
func (c Contact) Reserved() bool { return c.URL == ReservedURL }

// WebURL returns the invitation as a link that works in a browser,
// https://i.delta.chat/#…; "" when the slug is reserved.
func (c Contact) WebURL() string {
	if rest, ok := strings.CutPrefix(string(c.URL), appInvite); ok {
		return webInvite + strings.Replace(rest, "#", "&", 1)
	}
	if c.Reserved() {
		return ""
	}
	return string(c.URL)
}

// AppURL returns the invitation as a link that the app opens and QR codes carry,
// openpgp4fpr:…; "" when the slug is reserved.
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

// NewContacts returns the store of db's contacts. It does not touch the database;
// the table is made by [Migrate].
func NewContacts(db *gorm.DB) *Contacts { return &Contacts{db} }

// Create adds a share link and returns it.
//
// slug is [MinSlug] to [MaxSlug] ASCII letters, digits, '-' and '_', beginning
// with a letter or digit; "" lets Create make one up. A slug that exists is
// [ErrSlugTaken], also when it is only reserved; [Contacts.Edit] fills those in.
//
// url is a DeltaChat invitation, https://i.delta.chat/#… or openpgp4fpr:…, and is
// stored as given. name may be empty. What is refused is an [InvalidError] for
// slug, url or name.
func (c *Contacts) Create(ctx context.Context, slug, url, name string) (Contact, error) {
	if err := checkInvite(url); err != nil {
		return Contact{}, err
	}
	return c.create(ctx, slug, url, name)
}

// Reserve keeps a slug from being taken until [Contacts.Edit] gives it a URL; "" lets
// Reserve make one up. Slug, name and errors are as for [Contacts.Create].
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
		row := row // Create may write to it
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

// ContactEdit is what [Contacts.Edit] changes. A nil field stays as it is.
type ContactEdit struct {
	URL  *string // as for [Contacts.Create]
	Name *string // "" removes the name
}

// Edit changes a contact and returns it as it is then. On a reserved slug a URL
// turns the reservation into a share link. A slug that does not exist is
// [ErrNotFound]; a URL or name that is refused is an [InvalidError].
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
	// Whether the slug exists is read back: MySQL counts no row for an update that
	// changes nothing.
	return c.Lookup(ctx, slug)
}

// Lookup returns the contact with the slug, or [ErrNotFound]. A reserved slug is
// returned too; [Contact.Reserved] tells.
func (c *Contacts) Lookup(ctx context.Context, slug string) (Contact, error) {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return Contact{}, err
	}
	var row Contact
	var ok bool
	err := run(ctx, c.db, func(tx *gorm.DB) error {
		tx = tx.Where("slug = ?", slug).Limit(1).Find(&row)
		ok = tx.RowsAffected > 0
		return tx.Error
	})
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return Contact{}, fmt.Errorf("models: contact %s: %w", brief(slug), err)
	}
	row.CreatedAt = row.CreatedAt.UTC()
	return row, nil
}

// List returns up to limit contacts, ordered by the bytes of their slugs,
// beginning after the slug given; "" begins at the first. limit 0 means
// [DefaultPage], and no more than [MaxPage] are returned. To go on, pass the last
// slug returned; fewer rows than asked for are the last ones.
func (c *Contacts) List(ctx context.Context, after string, limit int) ([]Contact, error) {
	if err := checkKey("after", after); err != nil {
		return nil, err
	}
	limit, err := pageSize(limit)
	if err != nil {
		return nil, err
	}
	order := keyOrder(c.db, "slug")
	var rows []Contact
	err = run(ctx, c.db, func(tx *gorm.DB) error {
		if after != "" {
			tx = tx.Where("? > ?", order, after)
		}
		return tx.Clauses(clause.OrderBy{Expression: order}).Limit(limit).Find(&rows).Error
	})
	if err != nil {
		return nil, fmt.Errorf("models: list contacts: %w", err)
	}
	for i := range rows {
		rows[i].CreatedAt = rows[i].CreatedAt.UTC()
	}
	return rows, nil
}

// Remove deletes a contact or a reservation. It is [ErrNotFound] when there is
// none.
func (c *Contacts) Remove(ctx context.Context, slug string) error {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return err
	}
	var gone bool
	err := run(ctx, c.db, func(tx *gorm.DB) error {
		tx = tx.Where("slug = ?", slug).Delete(&Contact{})
		gone = tx.RowsAffected > 0
		return tx.Error
	})
	if err == nil && !gone {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("models: remove contact %s: %w", brief(slug), err)
	}
	return nil
}

// checkSlug holds the rule for new slugs. It is narrower than that for finding
// one: slugs that another program made can be read, edited and removed.
func checkSlug(slug string) error {
	if err := checkKeyNotEmpty("slug", slug); err != nil {
		return err
	}
	for i := range len(slug) {
		c := slug[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_') {
			return &InvalidError{"slug", brief(slug) + " has a character other than a-z, A-Z, 0-9 and, not in front, - and _"}
		}
	}
	if len(slug) < MinSlug || len(slug) > MaxSlug {
		return &InvalidError{"slug", fmt.Sprintf("is %d characters long, %d to %d are allowed", len(slug), MinSlug, MaxSlug)}
	}
	return nil
}

// checkInvite holds the rule for URLs: a DeltaChat invitation, with a fingerprint
// of an OpenPGP key (40 hexadecimal digits, 64 with version 6 keys) and then
// nothing but characters that RFC 3986 has in a fragment. No quote, bracket, space
// or control character gets into a page that shows it.
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

// randomSlug draws 8 characters of 32, so that each takes exactly 5 random bits.
// The alphabet leaves out i, l, o and u: none looks like a digit.
func randomSlug() string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [RandomSlug]byte
	rand.Read(b[:]) // never fails
	for i, c := range b {
		b[i] = alphabet[c%byte(len(alphabet))]
	}
	return string(b[:])
}

// storedTime is t as all three databases give it back: GORM's columns on MySQL have
// milliseconds, and it would round what is finer.
func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
