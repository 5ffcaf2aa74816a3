// Package models has the SQL models of a Madmail-like mail server: storage quotas,
// contact share links, blocked users, registration tokens, settings and key-value
// tables. It uses GORM and imports no driver. The same code gives the same results on
// SQLite (sqlite-mem, or the file itself), PostgreSQL and MySQL/MariaDB.
//
//	db, err := gorm.Open(gormdialect.Open("server.db"), &gorm.Config{})
//	err = models.Migrate(ctx, db)
//	quotas, err := models.NewQuotas(db, models.QuotaConfig{Default: 1 << 30})
//	err = quotas.Allow(ctx, "alice@example.org", used, size)
//
// # Stores
//
//   - [Quotas], table quota or quotas, has the storage limit of each account.
//   - [Contacts], table contacts, has short names for DeltaChat invitations.
//   - [BlockedUsers], table blocked_users, has user names that must not be registered
//     again.
//   - [RegistrationTokens], table registration_tokens, has tokens that register accounts.
//   - [Table], a table of any name, has string keys with string values. maddy's mutable
//     table is like it.
//   - [Settings], in a [Table], has the keys __NAME__ with a server's settings.
//   - [Copy] copies all of them to another database.
//
// Any number of goroutines may use a store. A store on a transaction works inside that
// transaction, and does not retry.
//
// # Databases of Madmail
//
// Table and column names are Madmail's, so its databases open without a conversion.
// The tests use the tables and the times that v0.47.1, the last version in Go, and
// v2.23.0, in Rust, write. [Migrate] adds missing tables and columns, and changes no
// existing one.
//
// Madmail's versions in Go have a table quota, and those in Rust a table quotas, unless
// quota exists. [Quotas] uses the table that exists. If both have rows and they differ,
// every call is [ErrTwoTables], because one of them has limits that do not apply.
//
// # Keys and values
//
// SQLite stores any bytes. PostgreSQL refuses NUL and invalid UTF-8. MySQL compares
// text without case and trailing spaces, and truncates or refuses long text. This
// package checks one rule in Go, before the database sees a value, so that data of one
// database fits the others:
//
//   - Keys (user names, slugs, table keys) are valid UTF-8 without NUL, of at most
//     [MaxKeyBytes] bytes. They are compared and sorted by their bytes. So case,
//     accents and trailing spaces count. In tables of another program, see [NewTable].
//   - Values, names and URLs are valid UTF-8 without NUL, of at most [MaxValueBytes]
//     bytes. A field may say that there are fewer.
//   - Table and column names have 1 to [MaxNameBytes] lower-case ASCII letters, digits
//     and underscores. They do not start with a digit. Statements quote them.
//
// A value that breaks the rule is an [InvalidError], which names the field and the
// reason. The column types [Key] and [Text] also check the rule, so it holds for rows
// that a program writes through GORM without a store. Existing rows are read as they
// are.
//
// # Time
//
// The times of a Quota are in Unix seconds. All others are in UTC with milliseconds, the
// finest precision of GORM's columns on all three databases.
//
// On SQLite a time is a text. The stores read the texts of SQLite, go-sqlite3 and
// modernc.org/sqlite, with any driver. A text that is no time is an error.
//
// # Errors, contexts, retries
//
// Every call takes a context and returns errors for [errors.Is] and [errors.As]:
//
//	if errors.Is(err, models.ErrSlugTaken) { … }
//	if bad := (*models.InvalidError)(nil); errors.As(err, &bad) { … bad.Field … }
//
// A database may ask for a transaction to be repeated: InnoDB after a deadlock,
// PostgreSQL after a serialization failure, SQLite when it is busy. The stores then
// repeat it, up to [MaxAttempts] times within [MaxRetryTime], and return the last
// error.
//
// # Connection strings
//
// MySQL needs parseTime=true: "user:password@tcp(host)/mail?parseTime=true". If you set
// charset, set it to utf8mb4. The character set, collation and locale of the database
// do not matter on any of the three.
package models
