// Package gormdialect is GORM's dialect for sqlite-mem, which serves a SQLite file
// from memory.
//
//	db, err := gorm.Open(gormdialect.Open("server.db?sqlite_sync_interval=5m"), &gorm.Config{})
//
// GORM does not close a database. Close its pool before the program ends. That writes
// what was committed since the last save to the file, or returns an error.
//
//	pool, err := db.DB()
//	...
//	err = pool.Close()
//
// Package driver documents the data source name, and what a program that ends without
// Close may lose. Importing this package registers the driver. [Sync] and [Stats] call
// the driver for the pool of a gorm.DB.
//
// The dialect builds the same statements as gorm.io/driver/sqlite, and the database
// files are interchangeable. There are five differences:
//
//   - A field that GORM numbers is a plain integer in a key of several columns, because
//     SQLite numbers only a key of one. An ID of zero is an error there (NOT NULL),
//     unless its field has the tag autoIncrement:false.
//   - SAVEPOINT and ROLLBACK TO return their errors. So a nested transaction that
//     did not begin, or was not undone, is an error.
//   - gorm.Config.TranslateError also translates wrapped errors, and errors of
//     CHECK constraints and rowids. The original error stays in the chain.
//   - The migrator is this package's own. See "Migrations".
//   - A pool keeps more idle connections. See "Idle connections".
//
// # Migrations
//
// [Migrator] reads a schema from SQLite's PRAGMAs. It also reads the text of CREATE
// TABLE with a tokenizer, and compares the two. A table on which they disagree is
// not changed.
//
// The migrator uses ALTER TABLE where SQLite can make the change. Otherwise it
// rebuilds the table. It creates a new table, copies the rows with their rowids, drops
// the old table and renames the new one. It then creates the indexes and triggers
// again, and restores the AUTOINCREMENT sequence and the statistics. The new CREATE
// TABLE is the old text, except for the change.
//
// A migration is one transaction on one connection, with foreign keys off. A method
// either does its work or returns an error and changes nothing. AutoMigrate calls
// several methods. If one of them fails, the changes of those before it stay. Call it
// inside a transaction to roll back all of them. There a migration that fails rolls
// back to a savepoint, which may end the rows that the transaction has open with an
// error.
//
// Foreign keys cannot be switched off inside a transaction, and dropping a table
// there acts on the rows that refer to it. Inside a transaction with foreign keys on,
// a rebuild or a DropTable is therefore refused if such rows exist. Migrate outside
// of a transaction, or switch foreign keys off before it begins.
//
// A dry run (gorm.Session.DryRun) prints the statements of a migration as a script.
// Execute the script on one connection. Where a migration tries ALTER TABLE
// first, the script has only that: a dry run cannot know whether SQLite makes the
// change.
// It refuses to drop a column whose name is in a CHECK, a generated column or an
// expression of an index: only SQLite can tell whether that is the column.
//
// # The guard
//
// Before a rebuild commits, the guard compares the new table with the old one. It
// compares the number of rows and each kept column by type and bytes, row by row. It
// looks for new rows of PRAGMA foreign_key_check, and compares every index, trigger,
// view and other table. A difference rolls back and is an error that names it.
//
// In a column that gets another affinity, the guard expects the old value converted
// to that affinity. A number whose digits the new column cannot hold is a difference,
// even if it was stored as text. Examples are an account number of 20 digits in an
// integer column, and 12345678901234567.89 in a decimal column. So is a real in a text
// column, with a version of SQLite that writes only 15 digits of it. The text of a
// float is none, with the fewest digits that mean it or with more, correctly rounded. A
// text without a point and an exponent is an integer.
//
// The guard roughly doubles the time of a rebuild. In a table WITHOUT ROWID with a
// text key it triples the time:
//
//	go test ./gormdialect -run NONE -bench Guard -benchtime 5x
//
// Config.WithoutRebuildGuard switches it off.
//
// # Beside the official dialect
//
// Each test in these tables runs the same program with gorm.io/driver/sqlite v1.6.0
// and with this package, and checks both results. A table is rebuilt, and has:
//
//	part of the schema or the data           official            here          test
//	a column named like a keyword: checksum  its values lost     kept          TestOfficial/keyword
//	a column in brackets                     its values lost     kept          TestOfficial/brackets
//	a column in another script               an error            changed       TestOfficial/script
//	a comment in CREATE TABLE                nil, not changed    changed       TestOfficial/comment
//	STRICT, WITHOUT ROWID                    lost                kept          TestOfficial/options
//	an AUTOINCREMENT key that was deleted    given out again     never again   TestOfficial/sequence
//	rowids without INTEGER PRIMARY KEY       numbered anew       kept          TestOfficial/rowid
//	COLLATE and CHECK of the column          lost                kept          TestOfficial/collation
//	a generated column                       an error            kept          TestOfficial/generated
//	an index that GORM did not make          lost                kept          TestOfficial/index
//	a trigger                                lost                kept          TestOfficial/trigger
//	a view on the table                      an error            changed       TestOfficial/view
//	statistics of ANALYZE                    lost                kept          TestOfficial/statistics
//	rows that refer to it, many connections  deleted             kept          TestOfficial/referred
//	the same inside a transaction            deleted             refused       TestOfficial/transaction
//
// A program calls a method of the migrator:
//
//	method                                   official            here          test
//	AutoMigrate, key of ID and another       a key of ID alone   of both       TestOfficial/key
//	DropTable inside a transaction           rows deleted        refused       TestOfficial/drop
//	DropTable of a name in quotes            nil, not dropped    dropped       TestOfficial/quoted
//	DropColumn of a name without quotes      nil, not dropped    dropped       TestOfficial/unquoted
//	DropColumn with a table's name           a panic             dropped       TestOfficial/panic
//	DropConstraint of none                   nil                 an error      TestOfficial/nothing
//	HasColumn of a word in a default         true                false         TestOfficial/has
//	ColumnTypes of a virtual table           an error            its columns   TestOfficial/virtual
//	AddColumn with a computed default        an error            added         TestOfficial/computed
//	AddColumn of a unique field              not unique          unique        TestOfficial/unique
//	RenameIndex of a name like INDEX         an error            renamed       TestOfficial/reindex
//
// # Idle connections
//
// A pool that this package opens keeps up to [MaxIdleConns] idle connections. It need
// not: the driver keeps a connection that the pool closes, for a while. A pool with the
// 2 idle connections of database/sql takes 1.00 to 1.05 times as long. A connection
// with 60 cached statements takes about a quarter of a MiB.
//
//	go test ./driver -run NONE -bench IdleConns -benchtime 21x
//
// For another number, or for a pool given as Config.Conn, call SetMaxIdleConns on the
// sql.DB that gorm.DB.DB returns.
package gormdialect
