// Package snapshot works on the file of a database. It also has the errors and events that
// the driver gives.
//
//   - [Check] checks the structure of a database that is open.
//   - [InspectLog] tells what the log beside a file holds.
//   - [Recover] writes such a log into the file, or moves it aside.
//   - [BackupFrom] makes a new database file that is whole or not there.
//
// A program that uses the driver needs none of these. The driver loads, saves, logs and
// recovers by itself, and driver.Backup copies a database that is served. This package also
// describes what the driver returns and reports: [Error] and the errors that it wraps,
// [ForeignChangeError], and [Event].
//
// # What is on disk
//
// The file is at every instant a whole database that any SQLite opens. A save writes a
// new file beside it, syncs and checks that, and renames it over the old one. So the
// file is the old state until the rename and the new one after it, wherever the process
// is killed and whatever fails.
//
//   - FILE is the database, as it was saved last.
//   - FILE-memwal is the log. It has what was committed since.
//   - FILE-memwal-new is the next log. It is there for the moment of a save.
//   - FILE.kept-1, FILE.kept-2 and so on are earlier states, newest first (sqlite_keep).
//   - FILE.kept-new is the state that a save is replacing. It is there for that moment.
//   - FILE.lock tells which process owns the database.
//   - FILE.sqlite-mem-20260102T030405Z is our state, saved when somebody else had changed
//     FILE.
//   - FILE-memwal.aside-… and FILE.aside-… are what Recover has moved aside or copied.
//   - .FILE.sqlite-mem-0123456789abcdef.tmp is being written, or a crash has left it.
//
// The log is in the format of SQLite's own write-ahead log. Its salts are a hash of
// FILE, so a log belongs to that very state of the file and to no other. Renamed to
// FILE-wal, it is what SQLite itself reads. The next owner removes temporary files
// that a crash has left.
//
// # Other programs
//
// While a process serves a database from memory, the file is only a copy of it. A save
// would wipe out what another program writes into the file meanwhile. So a save first
// makes sure that the file is still the one that was loaded or saved last, and gives
// way otherwise. See [ForeignChangeError].
//
// The check and the rename are two steps. A program that commits in the microseconds
// between them is not seen. One that keeps the old file open goes on writing into a
// file that has no name any more. Only its respect for the process lock can help there.
package snapshot
