// Package store keeps the databases that this process serves from memory. There is one
// [Store] for each file, from the first sql.DB that opens it to the last.
//
// Lock order. A goroutine that holds a lock may only take locks further down this list:
//
//  1. Store.Writer   the write lock: one write transaction at a time. It is held across
//     the SQL of the transaction, never by a save. Those of several stores (ATTACH) are
//     taken in any order: LockWriter refuses deadlocks
//     Store.replacing, under it: a restore between its commit and what it says of it;
//     held across a call of the engine, and across what begins at watchers.begin
//  2. diskLocks.mu   the shares of process locks; held across AcquireShared
//  3. registry.mu    the map of entries and the counts of each entry; never held across
//     I/O
//  4. settings.turn  the options that opens share; held across a flush
//  5. the turn of the schedule.Flusher, across a flush and a save that it
//     needs; then the mutex of the image.File, across I/O, which a save takes
//     without the turn
//  6. serving.mu     how tools are served; held across making a socket, and across the
//     lock of the live.Server
//  7. Store.mu       the fields below it; never held across I/O or SQL
//  8. waits          the waits of LockWriter; held for a walk along them
//  9. memoryWatch.mu the last look at the memory; held across Stats and Close of the engine
//  10. drainer.mu    the close of the engine; held while the engine drains
//  11. watchers.begin the watchers of commits; then, each alone, watchers.announced.mu, watchers.mu
//     and the count of memvfs.BeginWatch
//  12. the locks of the engine, in C: see internal/memvfs/engine.h
//
// The process lock is taken once, before a Store is loaded, and released after its last
// save.
package store
