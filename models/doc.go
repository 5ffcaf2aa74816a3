// Package models holds what a Madmail-like mail server keeps in SQL beside its
// mail: storage quotas, contact share links and key-value tables. It needs GORM
// and no particular driver; the same code runs on SQLite (sqlite-mem, or the
// file itself), PostgreSQL and MySQL/MariaDB, with the same results.
//
//	db, err := gorm.Open(gormdialect.Open("server.db"), &gorm.Config{})
//	err = models.Migrate(ctx, db)
//	quotas, err := models.NewQuotas(db, models.QuotaConfig{Default: 1 << 30})
//	err = quotas.Allow(ctx, "alice@example.org", used, size)
//
// # Stores
//
//   - [Quotas], table quotas: how many bytes each account may store
//   - [Contacts], table contacts: short names for DeltaChat invitations
//   - [Table], any table name: string keys with string values, in the shape of
//     maddy's mutable table
//   - [Copy] moves all of them to another database
//
// Table and column names are those of Madmail, so that its SQLite databases open
// as they are; migration adds what is missing and rewrites nothing.
//
// A store keeps no state but its [gorm.DB] and may be used by any number of
// goroutines. Given a transaction instead of a database it works inside that
// transaction, and then never retries by itself.
//
// # One rule for keys and values
//
// SQLite takes any bytes, PostgreSQL refuses NUL and broken UTF-8, MySQL compares
// text without case and trailing spaces and cuts or refuses what is too long. So
// that data which fits one database fits all, the rule is checked in Go, before
// the database sees anything:
//
//   - keys (user names, slugs, table keys) are valid UTF-8 without NUL, at most
//     [MaxKeyBytes] bytes; they are compared byte by byte, so case, accents and
//     trailing spaces count, and they are ordered by their bytes
//   - values, names and URLs are valid UTF-8 without NUL, at most
//     [MaxValueBytes] bytes or the smaller limit their field states
//   - table and column names are 1 to [MaxNameBytes] lower-case ASCII letters,
//     digits and underscores, not starting with a digit; they are quoted as well
//
// What breaks the rule is an [InvalidError], which names the field and the reason.
// [Key] and [Text], the column types, check the rule too, so it also holds for
// rows written through GORM past the stores. Rows that were already there are read
// as they are.
//
// # Time
//
// Quota.CreatedAt is a count of Unix seconds. Contact.CreatedAt is a time, stored
// in UTC with milliseconds, the finest that GORM's columns keep on all three
// databases.
//
// # Errors, contexts, retries
//
// Every call takes a context and returns errors for [errors.Is] and [errors.As]:
//
//	if errors.Is(err, models.ErrSlugTaken) { … }
//	if bad := (*models.InvalidError)(nil); errors.As(err, &bad) { … bad.Field … }
//
// Where a database asks for a transaction to be tried again (a deadlock of InnoDB,
// a serialization failure of PostgreSQL, a busy SQLite file), the stores do so, at
// most [MaxAttempts] times and not once [MaxRetryTime] is over; then the
// database's own error is returned.
//
// # Connection strings
//
// MySQL needs parseTime=true, and charset=utf8mb4 unless the driver's default is
// left alone: "user:password@tcp(host)/mail?parseTime=true". The character set,
// the collation and the locale of the database itself do not matter on any of the
// three.
package models
