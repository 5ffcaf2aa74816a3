// Package image moves a database between its file and memory: [File.Open]
// reads the file, [File.Save] puts a new state in its place, [File.Flush] writes
// what was committed since to a log; [Loop] and [Flusher] decide when. [Backup] writes
// a state somewhere else.
//
// It knows neither database/sql nor the engine that holds the database; both
// ends are given to it as an [Image] and a [Sink].
//
// # Why page images
//
// A save does not use VACUUM INTO. The engine pins a committed state in
// constant time and hands out its pages, so a save writes these pages, byte
// for byte what readers see. VACUUM INTO would run SQL: every collation and
// function that the schema uses would have to be registered on the saving
// connection, the schema would be created anew, and it costs several times the
// CPU. A page image needs no SQL, and its page numbers are those that a log of
// later changes refers to. The price: the file is not compacted. As with plain
// SQLite, free pages stay in it until somebody runs VACUUM.
//
// # What is on disk
//
// The file is at every instant a whole database: the old one until the rename
// of [File.Save], the new one after it. Whatever fails, and wherever the process
// is killed, it is one of the two.
//
//	state                                   target     beside it
//	Save returned nil                       new        nothing of ours
//	Save failed before the rename           old        nothing of ours
//	Save failed, and removing failed too    old        a temporary file, named in the error
//	Save failed after the rename            new (*)    nothing of ours
//	Save found a foreign change             untouched  our state, under the name in the error
//	killed during Save                      old or new perhaps temporary files
//
// Beside it there is also the log, if there is one (<file>-memwal), and while it
// is being replaced a second (<file>-memwal-new): see [File]. And there are the
// states that are kept (<file>.kept-1 and so on): see [File.Keep].
//
// (*) The directory could not be synced: the new file is in place, but a power
// failure may bring the old one back. The next successful save makes it good.
//
// Temporary files are called .<base>.sqlite-mem-<16 hex digits>.tmp and stand
// beside the file <base>, since a rename works only within one file system.
// [RemoveLeftovers] removes those of a process that was killed.
//
// # Other programs
//
// While a process serves a database from memory, the file is only a copy of
// it. What another program writes into the file would be wiped out by the next
// save, so Save makes sure that the file is still the one that was loaded or
// saved last, and gives way otherwise: see [ForeignChangeError]. The check and
// the rename are two steps; a program that commits in the microseconds between
// them is not seen, and one that keeps the old file open goes on writing into
// a file that has no name any more. Nothing but that program's respect for the
// process lock can help there.
//
// # Locks of this process
//
// POSIX drops all of a process's locks on a file when the process closes any
// descriptor of that file. So this package must not open and close a database file while
// a SQLite connection of this process may have a lock on it. Where it opens one:
//
//   - [File.Open], [FoldLog] and [Recover] open and close it. Their caller makes sure that
//     no connection of this process has the file open. The connection that they open
//     themselves is closed before their descriptors.
//   - [File.Save], [File.Flush] and [File.Check] do not open it. They look at it through
//     the descriptor that Open or the Save before has left open. Save closes it when the
//     file has been replaced, and nobody finds the old one any more. (On Windows, where
//     closing drops no locks of others, they open it.)
//   - [File.Close] closes that descriptor, or leaves it to [File.CloseLater].
//   - [InspectLog] opens and closes it: it is for a program that does nothing else.
//   - States that are kept are opened by the first Save after a crash, if one was set aside
//     then.
//
// New files, which nobody else knows yet, are opened by all.
package image
