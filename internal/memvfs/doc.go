// Package memvfs is the storage engine: a SQLite VFS, written in C, that keeps
// a database file in memory as versions of its pages.
//
// It promises SQLite what a disk file does, and more: readers are never
// refused and never wait; the one writer is refused only while another
// connection writes (SQLITE_BUSY) or when it read a state that is not the last
// (SQLITE_BUSY_SNAPSHOT); a transaction that breaks off, for whatever reason,
// leaves nothing behind; a commit is atomic and cannot fail half-way. It is
// not durable: package snapshot writes it to a file.
//
// The hot path is C because SQLite calls it several times for each page; a
// call from C into Go costs as much as a whole point query spends in here.
// engine.h tells how it works and which locks there are.
//
// A store has the absolute path of the file that it stands for as its name.
// Through this VFS that path is the store; every other path, temporary files
// and the targets of ATTACH and VACUUM INTO among them, is the disk.
//
// This is the only package that imports "C". It holds no policy.
package memvfs
