// Package image moves a database between its file and memory. [File.Open] reads the file,
// [File.Save] replaces it by a new state, and [File.Flush] writes the commits since then to a
// log. [Backup] writes a state to another file, [FoldLog] and [Recover] write a log that a
// crash has left into the file. Package schedule decides when.
//
// The package knows neither database/sql nor the engine that holds the database. It is given
// both ends: a [Source] of [Image] values, and a [Sink].
//
// # Where to read
//
//   - A load begins in file.go (Open) and load.go. judge.go decides whether SQLite may open
//     the file. held.go opens it under a lock of SQLite. pages.go gives file and log to the
//     sink.
//   - A save begins in save.go. replace.go prepares and publishes. write.go writes the new
//     file. foreign.go decides whether the old one may be replaced. owncopy.go is for the case
//     that it may not.
//   - keep.go keeps earlier states. publish.go publishes file and log together. leftovers.go
//     removes temporary files.
//   - A flush is in flush.go. watch.go looks whether all is where it was.
//   - A restore reads its file or stream in incoming.go. exchange.go replaces a file that no
//     process has in memory.
//   - The others are backup.go, recover.go, inspect.go, check.go and pace.go (priority).
//
// # Why page images
//
// A save does not use VACUUM INTO. The engine pins a committed state in constant time and
// hands out its pages, so a save writes these pages as they are. VACUUM INTO runs SQL: it
// needs every collation and function of the schema on the saving connection. It creates the
// schema anew, and takes several times the processor time. A log of later changes refers to
// page numbers, and those of a page image are the same. The price is that the file is not
// compacted. As with plain SQLite, free pages stay in it until somebody runs VACUUM.
//
// # What is on disk
//
// The file is at every instant a whole database: the old one until the rename of [File.Save],
// the new one after it. This is so whatever fails, and wherever the process is killed.
//
//   - Save returned nil: the file is the new one, with nothing of ours beside it.
//   - Save failed before the rename: the file is the old one, with nothing of ours beside it.
//     If removing failed as well, there is a temporary file. The error names it.
//   - Save failed after the rename: the file is the new one. The directory could not be
//     synced, so a power failure may bring the old one back. The next successful save makes
//     it durable.
//   - Save found a foreign change: the file is untouched. Our state is beside it, under the
//     name in the error.
//   - The process was killed during Save: the file is the old or the new one. Temporary files
//     may be beside it.
//
// With a log there is <file>-memwal beside it as well, and for a moment of each save
// <file>-memwal-new: see [File]. Earlier states are <file>.kept-1 and so on: see File.Keep.
//
// A temporary file is called .<base>.sqlite-mem-<16 hex digits>.tmp, where <base> is the name
// of the file. It is beside the file, as a rename works only within one file system.
// [RemoveLeftovers] removes those of a process that was killed.
//
// # Other programs
//
// While a process serves a database from memory, the file is only a copy of it. A save would
// wipe out what another program writes into the file. So Save makes sure that the file is
// still the one that was loaded or saved last, and gives way otherwise. See
// [ForeignChangeError]. The check and the rename are two steps. A program that commits in the
// microseconds between them is not seen. One that keeps the old file open goes on writing
// into a file that has no name any more. Only its respect for the process lock can help there.
//
// # Locks of this process
//
// POSIX drops all locks of a process on a file when the process closes any descriptor of that
// file. So this package must not open and close a database file while a SQLite connection of
// this process may have a lock on it. These are the places that open one:
//
//   - [File.Open], [FoldLog] and [Recover] open and close it. Their caller makes sure that no
//     connection of this process has the file open. They close the connection that they open
//     themselves before their descriptors.
//   - [ReadFile] opens it, and leaves the close to its caller. [Exchange] is as [FoldLog].
//   - [File.Save], [File.Flush] and [File.Check] do not open it. They look at it through the
//     descriptor that Open or the Save before has left open. Save closes that descriptor when
//     the file has been replaced. By then nobody can find the old file any more. On Windows
//     these three open it. There, a close drops no other locks.
//   - [File.Close] closes that descriptor, or leaves it to File.CloseLater.
//   - [InspectLog] opens and closes it. Only a program that does nothing else may use it.
//   - The first Save after a crash opens the earlier state in place 0, if the crash has left
//     one.
//
// All functions open new files, which nobody else knows yet.
package image
