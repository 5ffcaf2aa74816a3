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
//	a load    file.go (Open), load.go, judge.go (may SQLite open it?), held.go (under a lock
//	          of SQLite), pages.go (file and log to sink)
//	a save    save.go, replace.go (prepare and publish), write.go (the new file), foreign.go
//	          (may it be replaced?), owncopy.go (if not), keep.go (earlier states), publish.go
//	          (file and log together), leftovers.go (temporary files)
//	a flush   flush.go, watch.go (is all where it was?)
//	others    backup.go, recover.go, inspect.go, check.go, pace.go (priority)
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
//	state                                   the file   beside it
//	Save returned nil                       new        nothing of ours
//	Save failed before the rename           old        nothing of ours
//	Save failed, and removing failed too    old        a temporary file, which the error names
//	Save failed after the rename            new (*)    nothing of ours
//	Save found a foreign change             untouched  our state, under the name in the error
//	killed during Save                      old or new perhaps temporary files
//
// (*) The directory could not be synced. The new file is in place, but a power failure may
// bring the old one back. The next successful save makes it durable.
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
//   - [File.Save], [File.Flush] and [File.Check] do not open it. They look at it through the
//     descriptor that Open or the Save before has left open. Save closes that descriptor when
//     the file has been replaced. By then nobody can find the old file any more. On Windows
//     these three open it. There, a close drops no other locks.
//   - [File.Close] closes that descriptor, or leaves it to File.CloseLater.
//   - [InspectLog] opens and closes it. Only a program that does nothing else may use it.
//   - The first Save after a crash opens an earlier state, if the crash has left one in place 0.
//
// All functions open new files, which nobody else knows yet.
package image
