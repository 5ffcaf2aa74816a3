/*
** The C interface of the engine. A program registers the VFS once, creates a
** store, and loads it or leaves it empty. Then it lets SQLite open the store by
** name, links each connection, pins snapshots, and closes the store. Nothing
** here blocks, except the hooks. A connection that writes without the write
** lock asks Go for it. A connection that attaches a store tells Go.
*/
#ifndef MEMVFS_H
#define MEMVFS_H

#include <stddef.h>
#include <stdint.h>
#include "sqlite3_abi.h"

/* The name under which the VFS is registered: "file:x?vfs=sqlite-mem". */
#define MEMVFS_NAME "sqlite-mem"

/*
** The URI parameter with the number of the store to open: memvfs_store_number.
** An open with it is an open of that store or SQLITE_CANTOPEN. Without it, a path
** that is not a store's is a file on the disk.
*/
#define MEMVFS_PARAM "sqlite-mem-store"

/*
** The name of the VFS for database files on the disk, and the URI parameter that
** marks the main database of a tool.
*/
#define MEMVFS_DISK_NAME "sqlite-mem-disk"
#define MEMVFS_DISK_PARAM "sqlite_mem_tool"

/*
** The file control by which Go gives a connection's main file a number.
** Applications may use opcodes above 100 for their own VFS
** (https://sqlite.org/c3ref/file_control.html).
*/
#define MEMVFS_FCNTL_TOKEN 0x6d656d01

typedef struct memvfs_store memvfs_store;
typedef struct memvfs_conn memvfs_conn;
typedef struct memvfs_snapshot memvfs_snapshot;

/*
** The calls into Go. Each is made on the thread that runs the statement, inside
** of it, without a lock of the engine.
*/
typedef struct memvfs_hooks {
  int (*xLock)(uintptr_t handle);     /* Take the write lock; SQLITE_OK or an error code */
  void (*xUnlock)(uintptr_t handle);  /* A write transaction is over: that of xLock, or with memvfs_conn.tell any */
  int (*xCancelled)(uintptr_t handle);/* True to stop the running statement */

  /* The connection of handle attaches the store of owner. Returns the handle
  ** of the link pAttached, which the file keeps; 0: refused. */
  uintptr_t (*xAttach)(uintptr_t handle, uintptr_t owner, memvfs_conn *pAttached);
  void (*xDetached)(uintptr_t handle);/* The attached file is closed, and pAttached freed */

  /* A connection is about to write to the database file at zPath, on the disk.
  ** SQLITE_OK or an extended error code. After SQLITE_OK, xDiskUnlock is called at
  ** the end of the transaction. tool: the file is the main database of a tool, and
  ** may have a lock file. */
  int (*xDiskLock)(const char *zPath, int tool, sqlite3 *db);
  void (*xDiskUnlock)(const char *zPath);

  /* A connection is about to create the database file at zPath, on the disk.
  ** Returns as xDiskLock does; xDiskUnlock is called when the file is created.
  ** *pError is 0. A refusal sets it to the system's error that is the reason, if
  ** there is one. All three hooks may be NULL. */
  int (*xDiskCreate)(const char *zPath, int tool, int *pError);

  /* The store of owner has a commit, while somebody watches: see memvfs_watch. It may
  ** have changed the nTables bytes of names, each with a zero byte; all: any table. May
  ** be NULL. */
  void (*xCommit)(uintptr_t owner, uint64_t epoch, const char *zTables, int nTables, int all);

  /* Replaces the absolute path at z, in a buffer of n bytes, by the one spelling of
  ** it that all its spellings have. May be NULL. */
  void (*xSpell)(char *z, int n);
} memvfs_hooks;

/*
** Registers the VFS. Returns a SQLite code. There must be a default VFS: it gets
** everything that is not a store's file.
**
** If SQLite was not used before in this process, this switches off its count of
** allocated memory, which takes a process-wide mutex for every allocation. Then
** sqlite3_memory_used() returns 0, and SQLite's heap limits have no effect.
*/
int memvfs_register(memvfs_hooks hooks);

/*
** Begins a load of the database file at zPath, a path from memvfs_full_pathname.
** SQLITE_OK: until memvfs_disk_load_end, a connection of this process that
** attaches or locks the file gets SQLITE_BUSY.
**
** SQLITE_BUSY: *pnAttached connections of this process have the file attached, or
** *pnLocked have it locked, that is, are in a transaction. Try again, or end with
** memvfs_disk_load_end. With wait, no other connection attaches it until then.
** When it is not attached, no other connection locks it.
**
** SQLITE_MISUSE: another load is running. SQLITE_NOMEM.
*/
int memvfs_disk_load_begin(const char *zPath, int wait, int *pnAttached, int *pnLocked);
void memvfs_disk_load_end(const char *zPath);

/* Writes the absolute path that SQLite will use for zName; a SQLite code. */
int memvfs_full_pathname(const char *zName, int nOut, char *zOut);

/*
** Creates the store of the database at zName, a path from memvfs_full_pathname.
** From now on every open of zName through this VFS is an open of the store. The
** limit of the size is maxBytes, 0 for none. The hooks get owner. With an owner
** other than 0, opens are SQLITE_BUSY until memvfs_load_end. Returns SQLITE_MISUSE
** if a store of that name exists, and SQLITE_BUSY if the file of that name is
** attached from the disk.
*/
int memvfs_store_create(const char *zName, uint64_t maxBytes, uintptr_t owner, memvfs_store **ppStore);

/* The number of the store, for MEMVFS_PARAM. It is unique in the process. */
int64_t memvfs_store_number(const memvfs_store*);

/*
** Frees the store and its pages. SQLITE_BUSY, and nothing done, while a file
** or a snapshot of it is open.
*/
int memvfs_store_destroy(memvfs_store*);

/*
** Loading, before the first open: memvfs_load_begin once, then memvfs_load_next
** until nBytes are covered. Each call returns memory for the next pages, at most
** nMax bytes, and the caller fills it. memvfs_load_end publishes all of it as the
** first commit.
*/
int memvfs_load_begin(memvfs_store*, uint32_t pageSize, uint64_t nBytes);
int memvfs_load_next(memvfs_store*, size_t nMax, void **pp, size_t *pn);
void memvfs_load_end(memvfs_store*);

/*
** Publishes the database that pFrom was loaded with as the next commit of the store,
** in constant time. pFrom was never written, and has a page. Readers go on with what
** they have pinned, at its page size. Page 1 gets a change counter and a schema cookie
** that are greater than those of all states of the store, so every connection finds out.
** Where there is no greater number, it gets 1 and sets *pWrapped: connections that are
** open must not be used any more.
**
** The old pages are not freed: memvfs_store_drain does, when writers may go on.
**
** The caller keeps writers away. SQLITE_BUSY or SQLITE_BUSY_SNAPSHOT: it has not, or
** pFrom is open. SQLITE_FULL: the limit of the size. SQLITE_NOMEM. SQLITE_MISUSE: pFrom
** was written, or has no page. After an error the store is as it was. In each case the
** caller destroys pFrom.
*/
int memvfs_store_replace(memvfs_store*, memvfs_store *pFrom, int *pWrapped);

/* Frees what no reader needs. It delays nobody else. */
void memvfs_store_drain(memvfs_store*);

typedef struct memvfs_stats {
  uint64_t epoch;        /* Number of the last commit with a change */
  uint64_t size;         /* Bytes of the database at that commit */
  uint64_t pageSize;     /* 0: the database is empty */
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
** Changes, for a log. From memvfs_store_track on, every commit notes the pages
** that it changes, those by which the database grows included.
*/
void memvfs_store_track(memvfs_store*);

/*
** Pins the last commit like memvfs_snapshot_open, and reports the changed pages.
** It sets a bit in aWord, of nWord words, for every page that may differ from the
** state of the call before, or of memvfs_store_track. Page 1 is bit 0 of word 0.
** If the page size has changed since, or another database has taken the place of this
** one, it sets *pAll instead, because the earlier page numbers are void. It never clears a bit or *pAll.
**
** SQLITE_TOOBIG: aWord is too small, *pnWord is the number of words it needs.
** SQLITE_BUSY: a commit is about to be published; try again soon. SQLITE_NOMEM.
** After each of these errors nothing has changed.
*/
int memvfs_snapshot_changes(memvfs_store*, uint64_t *aWord, size_t nWord, size_t *pnWord, int *pAll, memvfs_snapshot**);

/*
** The number of a time in which somebody watches the commits of any store: hooks.xCommit
** is called for each. It differs from every earlier one; 0: nobody watches. It takes
** effect for all commits that are published after it.
*/
void memvfs_watch(unsigned number);

/* A set of tables: for each the name of its database and its own, with a zero byte each. */
typedef struct memvfs_tables {
  char *z;                 /* aFirst, or allocated */
  int n, mx;               /* Bytes in use, and for which there is room */
  int all;                 /* Any table; n is 0 */
  char aFirst[44];         /* Enough for most statements */
} memvfs_tables;

#define MEMVFS_TABLES 16384  /* Bytes of a set; one that would need more has any table */

/*
** The link between Go and one file of a SQLite connection: its main database, or
** a store that is attached to it. It is C memory. Only the goroutine that uses
** the connection reads and writes it, outside of calls of SQLite or inside of
** them (in the hooks). So the fields are plain.
*/
struct memvfs_conn {
  sqlite3 *db;
  struct MemFile *pFile;  /* The file; NULL once SQLite closed it */
  memvfs_conn *pMain;     /* Of an attached store: the link of the main database */
  memvfs_conn *pPrev, *pNext; /* In the list of main links. Guarded by memvfsNamesMutex */
  uintptr_t handle;       /* Passed to the hooks */
  int eLock;              /* Lock level of pFile, SQLITE_LOCK_* */
  int mayWrite;           /* Go holds the write lock for this connection */
  int noFiles;            /* ATTACH, and VACUUM INTO, which is one inside, are not prepared */
  int readOnly;           /* RESERVED is refused with SQLITE_READONLY */
  int borrowed;           /* hooks.xLock has taken the write lock */
  int cancellable;        /* The running statement has a context that may end */
  int busyTimeout;        /* In ms, of the last PRAGMA busy_timeout=N or the open; -1: not known */
  int retry;              /* The write lock is kept, as SQLite is about to try again: see conn.c */
  unsigned nShared;       /* Of a main database: SHARED locks taken, those of attached stores included */
  int attaches;           /* An ATTACH or DETACH was prepared */
  int autocommit;         /* sqlite3_get_autocommit, as of the last call of stmt.h */
  struct memvfs_stmt *pStmt; /* The statement of stmt.h that is prepared or runs; NULL: none */
  int inTransaction;      /* A transaction was open when it began */
  int lost;               /* It has lost that transaction, and was not run again: see stmt.c */
  int tell;               /* hooks.xUnlock is called after every write transaction */
  uint64_t commit;        /* Epoch of the last commit made through pFile; 0: none */
  int lastOp;             /* The action of which the authorizer was told last */
  int altered;            /* A pragma, ATTACH, DETACH or registering function was prepared: see memvfs_conn_altered */
  int64_t nRenewed;       /* sqlite3_total_changes64, as of the last memvfs_conn_renew */

  /* Of a main database, for those who watch the commits: see watch.c */
  int userCode;           /* A commit may have changed any table: see memvfs_conn_user_code */
  unsigned watched;       /* The number of memvfs_watch, as of the last statement */
  memvfs_tables changed;  /* What the transaction may have changed, if it began to write in changedIn */
  unsigned changedIn;     /* A value of watched */
};

/*
** Links the connection whose main file has the number iToken, not 0, from
** MEMVFS_FCNTL_TOKEN. NULL: no such file, it has a link, or out of memory.
*/
memvfs_conn *memvfs_conn_new(memvfs_store*, int iToken, uintptr_t handle);

/*
** Releases everything that the connection's file holds, without a call of SQLite.
** It is for a connection that a panic left in the middle of a statement. Every
** call of its file is SQLITE_IOERR then. The link must not be freed, as SQLite may
** still call its progress handler.
*/
void memvfs_conn_abandon(memvfs_conn*);

/* True if the connection has a mutex and another thread is inside of a call for it. */
int memvfs_conn_entered(memvfs_conn*);

/* True if a statement of the connection is running. */
int memvfs_conn_busy(memvfs_conn*);

/*
** Pins the last commit for the next transaction. Until memvfs_conn_unpin the
** connection reads that state, or the one that it is reading already. It must not
** write.
*/
void memvfs_conn_pin(memvfs_conn*);
void memvfs_conn_unpin(memvfs_conn*);

/*
** Makes ready for memvfs_conn_renew, at the end of the set-up of a new connection.
** SQLITE_OK or an error code.
*/
int memvfs_conn_renewable(memvfs_conn*);

/*
** True if SQL since memvfs_conn_renewable may have changed what memvfs_conn_renew does
** not set back.
*/
int memvfs_conn_altered(memvfs_conn*);

/* Sets last_insert_rowid(), changes() and total_changes() to 0. */
void memvfs_conn_renew(memvfs_conn*);

/*
** From now on code of the user may write through the connection, in ways that are not
** known. For those who watch, its commits may change any table.
*/
void memvfs_conn_user_code(memvfs_conn*);

/* The handle of the link of the connection's main database; 0: none. */
uintptr_t memvfs_conn_handle(sqlite3*);

/*
** Frees the link, of a main database or an attached store. The connection may
** live on in SQLite, without hooks.
*/
void memvfs_conn_free(memvfs_conn*);

/*
** Makes the n-th allocation from now fail (1: the next), and with forever all
** later ones too. 0 ends it. Returns the number of allocations since the last
** call. For tests.
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
