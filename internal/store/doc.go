// Package store keeps the databases that this process serves from memory: one
// [Store] for each file, from the first sql.DB that opens it to the last.
//
// Lock order. A goroutine that holds a lock may only take one that is further
// down this list:
//
//  1. Store.Writer   one write transaction at a time; held for as long as that
//     takes, across SQL, but never by a save. Of several stores (ATTACH) in any
//     order: LockWriter finds the circles
//  2. registry.mu    the path → entry map and every entry's refs; never held
//     across I/O
//  3. the turn of the schedule.Flusher, across a flush and a save that it
//     needs; then the mutex of the image.File, across I/O, which a save takes
//     without the turn
//  4. Store.mu       the fields below it; never held across I/O or SQL
//  5. waits          see LockWriter; held for a look at who waits for whom
//  6. the locks of the engine, in C: see internal/memvfs/engine.h
//
// The process lock is taken once, before a Store is loaded, and given up after
// its last save.
package store
