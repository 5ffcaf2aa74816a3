// Package osfile holds what this project asks of the operating system about files.
//
// [FS] and [File] are the seam: every operation on the files of a database goes through
// them, but those of SQLite itself, of the process lock, and of [Resolve]. [OS] is the real
// one. Package osfiletest has others, which fail, record and plant faults. Besides, there are
// the owner and mode of a file, the sync of a directory, mount points, and the priority of a
// thread. Where a system has no such thing, the function does nothing, and its comment says
// so.
//
// The package knows nothing of SQLite.
package osfile
