// Package memvfs is the storage engine: a SQLite VFS, written in C, that keeps a database
// file in memory as versions of its pages.
//
// It promises SQLite what a disk file does, and more. Readers are never refused and never
// wait. The one writer is refused only while another connection writes (SQLITE_BUSY), or if
// it read a state that is not the last (SQLITE_BUSY_SNAPSHOT). A transaction that breaks off
// leaves nothing behind. A commit is atomic and cannot fail half-way. The engine is not
// durable: package image writes it to a file.
//
// The hot path is C, because SQLite calls it several times for each page. A call from C
// into Go costs as much as a whole point query spends in here. engine.h explains how the
// engine works and lists its locks.
//
// A store has the absolute path of its file as its name. Through this VFS that path is the
// store. Every other path is a file on the disk, temporary files and the targets of ATTACH
// and VACUUM INTO included.
//
// This is the only package that imports "C". It holds no policy.
package memvfs
