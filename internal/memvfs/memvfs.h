/*
** The C interface of the engine, in order of life: register the VFS once,
** create a store, fill it or leave it empty, let SQLite open it by name, link
** each connection, pin snapshots, close. Nothing here blocks, except that a
** connection which comes to write without the write lock asks Go for it, and
** that one which attaches a store tells Go so.
*/
#ifndef MEMVFS_H
#define MEMVFS_H

#include <stddef.h>
#include <stdint.h>
#include "sqlite3_abi.h"

/* The name under which the VFS is registered: "file:x?vfs=sqlite-mem". */
#define MEMVFS_NAME "sqlite-mem"

/*
** The URI parameter by which a connection says which store it wants:
** memvfs_store_number. An open with it is an open of that store or
** SQLITE_CANTOPEN. Without it a path that is no store's is a file on the disk.
*/
#define MEMVFS_PARAM "sqlite-mem-store"

/*
** The name under which the VFS for database files on the disk is registered, and
** the URI parameter that marks the main database of a tool.
*/
#define MEMVFS_DISK_NAME "sqlite-mem-disk"
#define MEMVFS_DISK_PARAM "sqlite_mem_tool"

/*
** The file control by which Go tells a connection's main file which number
** it has. Applications may use opcodes above 100 for their own VFS
** (https://sqlite.org/c3ref/file_control.html).
*/
#define MEMVFS_FCNTL_TOKEN 0x6d656d01

typedef struct memvfs_store memvfs_store;
typedef struct memvfs_conn memvfs_conn;
typedef struct memvfs_snapshot memvfs_snapshot;

/*
** What the engine asks of Go. Each is called on the thread that runs the
** statement, inside it, without a lock of the engine.
*/
typedef struct memvfs_hooks {
  int (*xLock)(uintptr_t handle);     /* Take the write lock; SQLITE_OK or an error code */
  void (*xUnlock)(uintptr_t handle);  /* The transaction for which xLock was called is over, or with memvfs_conn.tell any */
  int (*xCancelled)(uintptr_t handle);/* True to stop the running statement */

  /* The connection of handle attaches the store of owner. Returns the handle
  ** of the link pAttached, which is the file's from then on; 0: it must not. */
  uintptr_t (*xAttach)(uintptr_t handle, uintptr_t owner, memvfs_conn *pAttached);
  void (*xDetached)(uintptr_t handle);/* The attached file is closed, and pAttached gone */

  /* A connection is about to write to the database file at zPath, on the disk.
  ** SQLITE_OK or an extended error code; xDiskUnlock is called when it has ended.
  ** create: it is the main database of a tool, and has a lock file of its own. */
  int (*xDiskLock)(const char *zPath, int create, sqlite3 *db);
  void (*xDiskUnlock)(const char *zPath);

  /* A connection is about to create the database file at zPath, on the disk. As
  ** xDiskLock otherwise. *pError: the system's error that is the reason of a refusal;
  ** 0, which it is before: there is none. All three may be NULL. */
  int (*xDiskCreate)(const char *zPath, int create, int *pError);
} memvfs_hooks;

/*
** Registers the VFS. Returns a SQLite code. The default VFS, to which
** everything that is not a store's file is passed on, must be there.
**
** If SQLite was not used before in this process, its counting of allocated
** memory is switched off: it takes one mutex of the whole process at every
** allocation. sqlite3_memory_used() then answers 0, and SQLite's heap limits
** do not apply.
*/
int memvfs_register(memvfs_hooks hooks);

/*
** Begins a load of the database file at zPath, which is a path as
** memvfs_full_pathname gives it. SQLITE_OK: until memvfs_disk_load_end no
** connection of this process attaches it, and none gets a lock on it: SQLITE_BUSY.
**
** SQLITE_BUSY: *pnAttached connections of this process have it attached, or
** *pnLocked have a lock on it, which is so in a transaction. Try again, or give up
** by memvfs_disk_load_end. With wait no other attaches it until then, or gets a
** lock on it when nobody has it attached.
** SQLITE_MISUSE: another load has it. SQLITE_NOMEM.
*/
int memvfs_disk_load_begin(const char *zPath, int wait, int *pnAttached, int *pnLocked);
void memvfs_disk_load_end(const char *zPath);

/* Writes the absolute path that SQLite will use for zName; a SQLite code. */
int memvfs_full_pathname(const char *zName, int nOut, char *zOut);

/*
** Creates the store of the database called zName, which must be a path as
** memvfs_full_pathname gives it. From now on every open of zName through
** this VFS is an open of the store. maxBytes: the cap, 0 for none. owner:
** passed to the hooks; one that is not 0 has the store to itself, and opens
** are refused with SQLITE_BUSY, until memvfs_load_end.
** SQLITE_MISUSE: a store of that name exists. SQLITE_BUSY: the file of that name
** is attached from the disk.
*/
int memvfs_store_create(const char *zName, uint64_t maxBytes, uintptr_t owner, memvfs_store **ppStore);

/* The number of the store, for MEMVFS_PARAM. No other store of the process ever has it. */
int64_t memvfs_store_number(const memvfs_store*);

/*
** Frees the store and its pages. SQLITE_BUSY, and nothing done, while a file
** or a snapshot of it is open.
*/
int memvfs_store_destroy(memvfs_store*);

/*
** Filling, before the first open: memvfs_load_begin once, then
** memvfs_load_next until nBytes are covered. Each call gives the memory for
** the next run of pages, at most nMax bytes, and the caller fills it;
** memvfs_load_end makes the whole visible, as the first commit.
*/
int memvfs_load_begin(memvfs_store*, uint32_t pageSize, uint64_t nBytes);
int memvfs_load_next(memvfs_store*, size_t nMax, void **pp, size_t *pn);
void memvfs_load_end(memvfs_store*);

/* Frees what no reader needs. Other work goes on meanwhile. */
void memvfs_store_drain(memvfs_store*);

typedef struct memvfs_stats {
  uint64_t epoch;        /* Number of the last commit that changed something */
  uint64_t size;         /* Bytes of the database at that commit */
  uint64_t pageSize;     /* 0: nothing was ever written */
  uint64_t liveBytes;    /* Bytes of page versions that are current or pending */
  uint64_t heldBytes;    /* Bytes of superseded versions, held by readers or not yet freed */
  uint64_t freeBytes;    /* Bytes of memory kept for reuse */
  uint64_t oldestReader; /* Milliseconds since the oldest active reader began; 0: none */
  int nFile;             /* Open connections and snapshots */
} memvfs_stats;
void memvfs_store_stats(memvfs_store*, memvfs_stats*);

/* The number of the last commit; cheaper than memvfs_store_stats. */
uint64_t memvfs_store_epoch(memvfs_store*);

/*
** A snapshot: the last commit, pinned in constant time, read without SQLite.
** NULL: out of memory. It may be read by one thread at a time.
*/
memvfs_snapshot *memvfs_snapshot_open(memvfs_store*);
uint64_t memvfs_snapshot_epoch(const memvfs_snapshot*);
uint64_t memvfs_snapshot_size(const memvfs_snapshot*);
uint32_t memvfs_snapshot_page_size(memvfs_snapshot*);
void memvfs_snapshot_read(memvfs_snapshot*, void *pBuf, size_t n, uint64_t iOfst);
void memvfs_snapshot_close(memvfs_snapshot*);

/*
** Changes, for a log of them. From memvfs_store_track on every commit notes
** the pages that it changes, the ones included by which the database grows.
*/
void memvfs_store_track(memvfs_store*);

/*
** Pins the last commit like memvfs_snapshot_open, and sets in aWord, of nWord
** words, the bit of every page (page 1 is bit 0 of word 0) that may differ
** from the state pinned by the call before, or from that of
** memvfs_store_track. *pAll is set instead when the page size has changed
** meanwhile, so that the page numbers of before mean nothing. Both are only
** ever set, not cleared.
**
** SQLITE_TOOBIG: aWord is too small, *pnWord tells how many words it needs.
** SQLITE_BUSY: a commit is about to be published; try again soon. SQLITE_NOMEM.
** After each of them nothing has happened.
*/
int memvfs_snapshot_changes(memvfs_store*, uint64_t *aWord, size_t nWord, size_t *pnWord, int *pAll, memvfs_snapshot**);

/*
** What Go and the engine know of one file of a SQLite connection: of its main
** database, or of a store that is attached to it. It is C memory, read and
** written only by the goroutine that uses the connection, outside of or
** inside (by the hooks) a call of SQLite: plain fields are enough.
*/
struct memvfs_conn {
  sqlite3 *db;
  struct MemFile *pFile;  /* The file; NULL once SQLite closed it */
  memvfs_conn *pMain;     /* Of an attached store: the link of the main database */
  memvfs_conn *pPrev, *pNext; /* In the list of main links. Guarded by memvfsNamesMutex */
  uintptr_t handle;       /* Passed to the hooks */
  int eLock;              /* Lock level of pFile, SQLITE_LOCK_* */
  int mayWrite;           /* Go holds the write lock for this connection */
  int readOnly;           /* Refuse RESERVED with SQLITE_READONLY */
  int borrowed;           /* The write lock was taken by hooks.xLock */
  int cancellable;        /* The running statement has a context to look at */
  int busyTimeout;        /* As of the last PRAGMA busy_timeout=N, or of opening, ms; -1: not known */
  int retry;              /* The write lock is kept: SQLite is about to try again. See conn.c */
  unsigned nShared;       /* Of a main database: SHARED locks taken, of attached stores included */
  int attaches;           /* ATTACH or DETACH was prepared */
  int autocommit;         /* sqlite3_get_autocommit, as of the last call of stmt.h */
  int *pFacts;            /* Where the authorizer notes what a statement of stmt.h does; NULL: nowhere */
  sqlite3_stmt *pRunning; /* The statement of stmt.h that is in a step; NULL: none */
  int tell;               /* Call hooks.xUnlock at the end of every write transaction */
  uint64_t commit;        /* Epoch of the last commit made through pFile; 0: none */
};

/*
** Links the connection whose main file was given iToken by
** MEMVFS_FCNTL_TOKEN, not 0. NULL: no such file, it has a link, or out of memory.
*/
memvfs_conn *memvfs_conn_new(memvfs_store*, int iToken, uintptr_t handle);

/*
** Ends what the connection's file holds, without a call of SQLite: for a
** connection that a panic left in the middle of a statement. Its file
** answers SQLITE_IOERR from then on. The link is not to be freed after this,
** as SQLite may come to call its progress handler.
*/
void memvfs_conn_abandon(memvfs_conn*);

/* True if another thread is inside of a call for the connection, and it has a mutex. */
int memvfs_conn_entered(memvfs_conn*);

/* True if a statement of the connection has begun and not ended. */
int memvfs_conn_busy(memvfs_conn*);

/*
** Pins the last commit for the transaction that follows: what is read until
** memvfs_conn_unpin is that state, or the one that is being read already. Not
** for a connection that writes.
*/
void memvfs_conn_pin(memvfs_conn*);
void memvfs_conn_unpin(memvfs_conn*);

/* The handle of the link that the connection's main database has; 0: none. */
uintptr_t memvfs_conn_handle(sqlite3*);

/*
** Frees the link, of a main database or an attached store. The connection may
** live on in SQLite, without hooks.
*/
void memvfs_conn_free(memvfs_conn*);

/*
** Makes the n-th allocation from now fail (1: the next), and with forever
** set every later one too; 0 ends it. For tests. Returns how many
** allocations there were since the last call.
*/
int64_t memvfs_fail_alloc(int64_t n, int forever);

/* Blocks of the engine's memory that were not freed, but for pages. For tests. */
int64_t memvfs_live(void);

/*
** The same for the memory of SQLite. memvfs_fault_sqlite comes before the first
** use of SQLite, else it returns SQLITE_MISUSE. For tests.
*/
int memvfs_fault_sqlite(void);
int64_t memvfs_fail_sqlite(int64_t n, int forever);
int64_t memvfs_live_sqlite(void);

#endif
