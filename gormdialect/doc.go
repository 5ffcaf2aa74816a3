// Package gormdialect is GORM's dialect for sqlite-mem: a SQLite file served from
// memory.
//
//	db, err := gorm.Open(gormdialect.Open("server.db?sqlite_sync_interval=5m"), &gorm.Config{})
//
// The data source name is that of package driver, which this package imports and
// so registers. [Sync] and [Stats] reach the driver below a gorm.DB.
//
// Statements are built like those of gorm.io/driver/sqlite, and the files are the
// same. What differs:
//
//   - SAVEPOINT and ROLLBACK TO return their errors. A nested transaction that could
//     not begin or could not be undone is seen.
//   - Errors are translated (gorm.Config.TranslateError) when they are wrapped, too,
//     also those of CHECK constraints and rowids. The original stays in the chain.
//   - The migrator is another one, see below.
//   - A pool keeps more idle connections, see below.
//
// # Migrations
//
// [Migrator] does not read a schema by regular expressions. It asks SQLite what a
// table is made of, and compares the answer with what its own tokenizer reads in the
// text of CREATE TABLE. If they differ, the table is not touched.
//
// A change is made by ALTER TABLE where SQLite can make it. Else the table is rebuilt:
// a new table, the rows with their rowids, the old table dropped, the new one renamed,
// and the indexes, triggers, AUTOINCREMENT sequence and statistics made again. The
// text of the old CREATE TABLE is kept but for what is changed. All of it is one
// transaction on one connection, with foreign keys off. A method does what it is called
// for or returns an error, with everything as it was.
//
// Inside a transaction foreign keys cannot be switched off, and dropping a table acts on
// the rows that refer to it. There a rebuild or a DropTable is refused before any
// change if foreign keys are on and there are such rows. Migrate outside of a
// transaction, or switch foreign keys off before it begins.
//
// A dry run (gorm.Session.DryRun) prints the statements of a migration as a script,
// which has to be executed on one connection. Where a migration would try ALTER TABLE
// first, only that is printed: whether SQLite makes the change is not known before.
//
// # The guard
//
// Before a rebuild commits, it is compared with the old table: the number of rows,
// each kept column by type and bytes, row by row, new rows of PRAGMA foreign_key_check,
// and every index, trigger, view and other table. A difference rolls back and is an
// error that names it. A column that gets another affinity is compared with what that
// makes of the old value. An integer whose digits the new column cannot hold is a
// difference, also if it was a text: an account number of 20 digits, for example.
//
// A rebuild with the guard takes about twice as long as without, with a key of text in
// a table WITHOUT ROWID three times:
//
//	go test ./gormdialect -run NONE -bench Guard -benchtime 5x
//
// Config.WithoutRebuildGuard switches it off.
//
// # Beside the official dialect
//
// The same programs, run on gorm.io/driver/sqlite v1.6.0 and here. Each line has
// its test, which runs both:
//
//	program                                  official            here          test
//	a column named like a keyword: checksum  its values lost     kept          TestOfficial/keyword
//	a column in brackets                     its values lost     kept          TestOfficial/brackets
//	a column in another script               an error            changed       TestOfficial/script
//	a comment in CREATE TABLE                nil, not changed    changed       TestOfficial/comment
//	STRICT, WITHOUT ROWID                    lost                kept          TestOfficial/options
//	an AUTOINCREMENT key that was deleted    given out again     never again   TestOfficial/sequence
//	rowids without INTEGER PRIMARY KEY       numbered anew       kept          TestOfficial/rowid
//	COLLATE and CHECK of the column          lost                kept          TestOfficial/collation
//	a generated column                       an error            kept          TestOfficial/generated
//	a key of ID and another column           a key of ID alone   of both       TestOfficial/key
//	an index that GORM did not make          lost                kept          TestOfficial/index
//	a trigger                                lost                kept          TestOfficial/trigger
//	a view on the table                      an error            changed       TestOfficial/view
//	statistics of ANALYZE                    lost                kept          TestOfficial/statistics
//	rows that refer to it, many connections  deleted             kept          TestOfficial/referred
//	the same inside a transaction            deleted             refused       TestOfficial/transaction
//	DropTable inside a transaction           deleted             refused       TestOfficial/drop
//	DropColumn of a name without quotes      nil, not dropped    dropped       TestOfficial/unquoted
//	DropColumn with a table's name           a panic             dropped       TestOfficial/panic
//	DropConstraint of none                   nil                 an error      TestOfficial/nothing
//	DropTable of a name in quotes            nil, not dropped    dropped       TestOfficial/quoted
//	HasColumn of a word in a default         true                false         TestOfficial/has
//	ColumnTypes of a virtual table           an error            its columns   TestOfficial/virtual
//	AddColumn with a computed default        an error            added         TestOfficial/computed
//	AddColumn of a unique field              not unique          unique        TestOfficial/unique
//	RenameIndex of a name like INDEX         an error            renamed       TestOfficial/reindex
//
// In a key of several columns SQLite numbers none of them. There an ID of zero is
// an error (NOT NULL), unless its field has the tag autoIncrement:false.
//
// # Idle connections
//
// A connection of this driver waits for the write lock while others write. The pool of
// database/sql keeps 2 connections and closes the others each time they are not used.
// Keep as many as there are goroutines that use the database at once. A pool that
// this package opens keeps [MaxIdleConns]. With 64 goroutines that write, keeping
// only 2 takes 1.4 times as long. One that has 60 statements in its cache takes about
// a quarter of a MiB.
//
//	go test ./gormdialect -run NONE -bench IdleConns -benchtime 9x
//
// For another number, or for a pool given as Config.Conn, call SetMaxIdleConns of the
// sql.DB that gorm.DB.DB returns.
package gormdialect
