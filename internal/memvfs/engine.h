/*
** The engine's inner structure, shared by its C files:
**
**   slab.c      Memory for page versions, taken from and given back to the system.
**   version.c   Tables of page slots, chains of versions, readers, reclamation.
**   store.c     The life of a store, load, snapshots.
**   writer.c    The single writer, commit, changes.
**   journal.c   Rollback journals, in memory and private to their connection.
**   vfs.c       What SQLite sees: the file methods and the VFS.
**   disk.c      The VFS for database files that are no store.
**   conn.c      The link between a Go connection and its file.
**   stmt.c      Statements, for Go. Nothing of the engine's structure.
**   watch.c     The tables that a commit may have changed.
**   renew.c     A used connection as good as new. Nothing of the engine's structure.
**
** How it works. A database is a table of slots, one for each page. A slot is the
** head of a chain of versions of that page, newest first. Each version has the
** epoch (the number of the commit) that made it. A reader notes the current epoch
** when it begins, and reads the first version of each page that is not newer.
** There is one writer at a time. It puts versions with the next epoch in front,
** which no reader can see, and publishes them all by storing that epoch. So
** readers wait for nobody and nobody waits for readers.
**
** Freeing. A superseded version is needed while a reader is pinned at an epoch
** from its birth up to, not including, its end. Each reader publishes two things:
**
**   pin    The epoch that it holds from its SHARED lock on. pinOwn is the epoch of
**          a commit of its own since then.
**   walk   The era in which it began to walk a chain. It is 0 outside of a walk.
**
** A version that no pin needs is unlinked from its chain. It is freed when every
** reader that might have seen it there has finished its walk. So a long reader
** holds one version of each page rewritten since, however often.
**
** Locks, in the order in which they may be taken:
**
**   1. memvfs_store.pWriter the writer; an atomic pointer, never waited for
**   2. memvfsNamesMutex()   the names of stores, of files on the disk, and the
**                           links of connections; for opening and closing
**   3. memvfs_store.mutex   every field marked [m]; held for at most PIECE list
**                           operations, then passed on to waiters. Never held
**                           across a callback, I/O, or a system call other than
**                           for memory
**
** A reader takes none of them. Writers free what is superseded, in batches. When
** nobody writes, Go calls memvfs_store_drain.
**
** All atomics are sequentially consistent unless a comment says why less is
** enough.
*/
#ifndef MEMVFS_ENGINE_H
#define MEMVFS_ENGINE_H

#include <stdatomic.h>
#include <string.h>
#include <stdlib.h>
#include "memvfs.h"

typedef struct Version Version;
typedef struct Slab Slab;
typedef struct Table Table;
typedef struct Bucket Bucket;
typedef struct Reader Reader;
typedef struct MemFile MemFile;
typedef struct List List;
typedef struct Name Name;

typedef _Atomic(Version*) Slot;

#define SECTOR 512      /* The unit of sizes: every page size is a multiple */
#define NSEGMENT 23     /* Segments of a table: enough for 2^32 slots */
#define SEGMENT0 1024   /* Slots in segment 0; segment k>0 has SEGMENT0<<(k-1) */

#define PIECE      1024 /* Versions that a long operation handles before it passes the mutex on */
#define PATIENCE    500 /* Times that it then yields to waiters */
#define BACKLOG      64 /* Superseded versions from which a writer frees */

/* A first-in-first-out list of versions, linked by Version.next. */
struct List {
  Version *pHead;
  Version **ppTail;   /* &pHead when empty */
  int64_t n;
};

/*
** One version of one page. birth, pgno, nSector and the data are written before
** the version can be found. While it is pending, only the writer changes them.
** They do not change while a reader can reach the version. The rest is [m].
*/
struct Version {
  uint64_t birth;            /* Epoch of the commit that made it; 1: the load, or that of its table */
  _Atomic(Version*) pOlder;  /* Next in the chain. Changed under [m], read in walks */
  Version *pNewer;           /* Previous in the chain; NULL at its head */
  Version *pNext;            /* In its list; it is in one at most */
  uint64_t end;              /* Epoch that superseded it; 0: current. In limbo: its era */
  unsigned char *aData;      /* The page */
  Slab *pSlab;               /* The slab that it is in */
  uint32_t pgno;             /* 1 is the first page */
  uint32_t nSector;          /* Of page 1 only: size of the database */
};

/* Superseded versions that the readers pinned at one epoch need. */
struct Bucket {
  Bucket *pNext;
  uint64_t pin;
  List list;
};

/*
** A table of slots, with the versions in them. Its block size is the database's
** page size. If VACUUM changes that, or another database takes the place of this
** one, a new table takes its place. The pages of the old table are freed when its last
** reader has ended, and the rest when no reader of a still older one is left.
*/
struct Table {
  uint32_t nBlock;           /* Bytes a block; fixed */
  uint64_t birth;            /* Epoch of its first commit; fixed once published */
  _Atomic(Table*) pOlder;    /* The table before; freed and cleared under [m] */
  memvfs_store *pStore;      /* Fixed once published */
  _Atomic(Slot*) aSeg[NSEGMENT]; /* Set by the writer before a slot in it is used; 0 again when nobody reads it */

  /* [m] from here on */
  Slab *pPartial;            /* Slabs with a free place, doubly linked */
  Slab *pFull;               /* Slabs without */
  int64_t nSlab;
  int64_t nUsed;             /* Versions in use, of every kind */
  int64_t nWarm;             /* Free places whose memory is resident */
  List retired;              /* Superseded, not compared with the pins yet */
  List limbo;                /* Unlinked; freed when the walks of their era are over */
  Bucket *pBucket;           /* Superseded and held by a pin */
  int64_t nHeld;             /* Versions in buckets */
};

/* A reader; one for each file and each snapshot. */
struct Reader {
  _Atomic(uint64_t) pin;     /* Epoch that it holds; 0: not reading. Set by its owner only */
  _Atomic(uint64_t) walk;    /* Era in which it began to walk a chain; 0: no walk */
  _Atomic(uint64_t) pinOwn;  /* Epoch of its own last commit, held as well; 0: none */
  char aPad[40];             /* Keeps the three in a cache line of their own */
  _Atomic(int64_t) since;    /* Milliseconds, when pin was set; 0: not reading */

  /* Used by its owner only: the thread that has the connection or the snapshot. */
  uint64_t epoch;            /* Epoch that it reads: pin, or that of its own last commit */
  Table *pTable;             /* Table of that epoch */
  Version *pFirst;           /* Page 1 of that epoch, NULL: the database is empty */
  uint32_t nSector;          /* Size at that epoch; of the writer: in its transaction */

  /* [m] */
  Reader *pPrev, *pNext;     /* In memvfs_store.pReader */
  int iToken;                /* Of a file: from MEMVFS_FCNTL_TOKEN */
};

struct memvfs_store {
  Name *pName;               /* Its entry in the list of names; fixed */
  sqlite3_mutex *mutex;
  uint64_t mxByte;           /* Limit of the size; 0: none. Fixed */
  uintptr_t owner;           /* Go's handle for the hooks; 0: none. Fixed */
  int64_t number;            /* From 1 on, never reused. Fixed */
  _Atomic(int) loading;      /* True until it may be opened */

  _Atomic(uint64_t) epoch;   /* Last commit. Stored by the writer only */
  _Atomic(uint64_t) era;     /* Grows, under [m], whenever a version is unlinked */
  _Atomic(Table*) pTable;    /* Newest table. Stored by the writer only, under [m] */
  _Atomic(Reader*) pWriter;  /* The reader that has RESERVED or more */
  _Atomic(int) backlog;      /* A hint: the next writer has BACKLOG versions to free */
  _Atomic(int) nWaiting;     /* Threads that wait for the mutex */
  uint32_t aSeen[2];         /* The greatest change counter and schema cookie of all states.
                             ** Used by the loader and the writer only */
  _Atomic(int) track;        /* Commits note the pages that they change, for
                             ** memvfs_snapshot_changes. Set before the store is opened */

  /* [m] from here on */
  Reader *pReader;           /* All of them */
  int nReader;
  uint64_t *aPin;            /* Room for nPinAlloc pins, for memvfsReclaim */
  int nPinAlloc;
  Table *pDoomed;            /* Tables that no reader reads or passes, freed in pieces; linked by pOlder */
  int emptying;              /* A table that readers still pass has pages that none of them needs */
  uint64_t *aChanged;        /* A bit for each page changed since memvfs_snapshot_changes: page 1 is bit 0 */
  size_t nChanged;           /* Words of aChanged. Changed by the writer only, which reads it without [m] */
  int changedAll;            /* The page size has changed since, or the whole database */
  int noting;                /* True while a commit has noted pages and is not published yet */

  /* Used by the loader only, before the store can be opened */
  uint64_t nLoad, mxLoad;    /* Bytes handed out, and in all */
};

struct memvfs_snapshot {
  Reader reader;             /* Must be first */
  memvfs_store *pStore;
};

/* An open database file: what SQLite's pager holds. */
struct MemFile {
  sqlite3_file base;         /* Must be first */
  Reader reader;
  memvfs_store *pStore;
  memvfs_conn *pConn;        /* Its link; NULL before memvfs_conn_new, or without the driver */
  memvfs_conn *pOrphan;      /* Its link, if Go has freed it before SQLite closed the file */
  sqlite3 *db;               /* From SQLITE_FCNTL_PDB */
  int eLock;                 /* SQLITE_LOCK_* */
  int dead;                  /* Not 0: abandoned, its store may be gone. What xLock returns, an SQLITE_IOERR */
  int pinned;                /* reader stays begun whatever eLock is: memvfs_conn_pin */
  sqlite3_int64 szMmap;      /* PRAGMA mmap_size; over 0 the pager calls xFetch */

  /* Used by the writer, while it has RESERVED */
  Version *pPending;         /* Versions that it has made, linked by pNext */
  Table *pNewTable;          /* Table that its commit will publish, or NULL */
  int64_t nWritten;          /* Versions superseded or dropped by it, not counted by memvfsHelp yet */
};

/*
** A point at which a thread may stop for any time without harm to others. The
** stress test (testdata/stress) stops there one time in n, as races are rare
** without it.
*/
#ifdef MEMVFS_STRESS
void memvfsStressPoint(int n);
#else
# define memvfsStressPoint(n) ((void)0)
#endif

/*
** Known faults. testdata/stress/run plants them and must find them:
**
**   1  A version is freed under a reader that is pinned at its birth.
**   2  A version is freed under a reader that walks past it.
**   3  A reader pins an epoch without checking that it is still the last.
**   4  A table is emptied under a reader that is pinned at its birth.
*/
#ifndef MEMVFS_PLANT
# define MEMVFS_PLANT 0
#endif

/* Allocations that a test makes fail. */
typedef struct Fault {
  _Atomic(int64_t) nUntil;   /* Allocations until one fails; 0: none does */
  _Atomic(int) forever;      /* Those after it fail too */
  _Atomic(int64_t) nAlloc;   /* Allocations since the last memvfsFail */
} Fault;

/* nomem.c */
int64_t memvfsFail(Fault*, int64_t n, int forever);   /* See memvfs_fail_alloc */
int memvfsFaulty(Fault*);                     /* True: this allocation has to fail */

/* slab.c */
Version *memvfsPageAlloc(Table*);             /* [m] NULL: out of memory */
void memvfsPageFree(Table*, Version*);        /* [m] */
Version *memvfsPageRun(Table*, int64_t *pn);  /* [m] Up to *pn adjacent pages never used before */
void memvfsSlabFreeSome(Table*, int64_t *pnPage);
void *memvfsMalloc(size_t);                   /* Zeroed; for everything but pages */
void memvfsFree(void*);

/* version.c */
int64_t memvfsNow(void);
void memvfsEnter(memvfs_store*);              /* Takes memvfs_store.mutex */
void memvfsLeave(memvfs_store*);
void memvfsPause(memvfs_store*);              /* [m] Passes the mutex to waiters, and takes it again */
Table *memvfsTableNew(memvfs_store*, uint32_t nBlock, uint64_t birth);
void memvfsTableFree(Table*);
uint64_t memvfsTableBytes(Table*);            /* [m] */
Slot *memvfsSlot(Table*, uint32_t pgno);      /* NULL: no such segment yet */
Slot *memvfsSlotMake(Table*, uint32_t pgno);  /* By the writer. NULL: out of memory */
Version *memvfsFind(Reader*, Table*, uint32_t pgno, uint64_t epoch);
int memvfsReaderAdd(memvfs_store*, Reader*);
void memvfsReaderRemove(memvfs_store*, Reader*);
void memvfsReaderBegin(memvfs_store*, Reader*);
void memvfsReaderEnd(Reader*);
void memvfsReadAt(Reader*, uint64_t epoch, unsigned char*, size_t n, uint64_t iOfst);
void memvfsListInit(List*);
void memvfsListMove(List*, List *pFrom);      /* [m] */
void memvfsRetire(List*, Version*, uint64_t end);        /* [m] */
void memvfsUnlink(Table*, Version*);          /* [m] To limbo; the caller ends with memvfsEra */
void memvfsEra(memvfs_store*);                /* [m] */
int memvfsReclaim(memvfs_store*, int nBudget);/* [m] True: there is more to do */
void memvfsBacklog(memvfs_store*);            /* [m] */

/* store.c */
sqlite3_mutex *memvfsNamesMutex(void);
int memvfsIsCompanion(const char *z);         /* No lock */
int memvfsHasStore(const char *zName);        /* Under memvfsNamesMutex */
int memvfsOpen(const char *zName, int64_t number, MemFile*);
void memvfsClose(MemFile*);

/* writer.c */
uint64_t memvfsSeen(MemFile*);                /* Epoch up to which the file sees versions */
int memvfsReserve(MemFile*);
void memvfsRelease(MemFile*);
void memvfsHelp(MemFile*);
int memvfsWriteAt(MemFile*, const unsigned char*, size_t n, uint64_t iOfst);
int memvfsTruncate(MemFile*, uint64_t nByte);
void memvfsNoteSeen(memvfs_store*, const Version *p1);
int memvfsPrepare(MemFile*);
int memvfsCommit(MemFile*);
uint32_t memvfsHeaderPageSize(const unsigned char *aPage1);   /* 0: none */

/* journal.c */
int memvfsJournalSize(void);                  /* Bytes of its sqlite3_file */
void memvfsJournalOpen(sqlite3_file*, MemFile*);

/* vfs.c */
int memvfsSharedCache(const char *zName);
void memvfsPragmaWal(char **azArg);

/* disk.c */
int memvfsDiskRegister(sqlite3_vfs *pDefault, memvfs_hooks);
int memvfsDiskSize(void);                     /* Bytes of its sqlite3_file */
int memvfsDiskOpen(const char *zName, int other, sqlite3_file*, int flags, int *pOut);
int memvfsDiskAttached(const char *zPath);    /* Under memvfsNamesMutex. True if it is open other than as the main database of a tool */

/* conn.c */
void memvfsConnHooks(memvfs_hooks);
int memvfsConnLock(MemFile*);
void memvfsConnRefused(MemFile*, int rc);
void memvfsConnUnlock(MemFile*, int wrote);
void memvfsConnAttach(MemFile*);
uintptr_t memvfsConnClose(MemFile*);
void memvfsConnDetached(uintptr_t handle);

/* watch.c */
void memvfsWatchHook(void (*)(uintptr_t, uint64_t, const char*, int, int));
extern _Atomic(unsigned) memvfsWatched;       /* The number of memvfs_watch */
void memvfsTablesFree(memvfs_tables*);
void memvfsTablesAdd(memvfs_tables*, const char *zSchema, const char *zTable);
void memvfsNoteTable(memvfs_conn*, const char *zSchema, const char *zTable);
void memvfsFollow(memvfs_conn*);              /* Begins or ends to follow what the connection runs */
void memvfsUnfollow(memvfs_conn*);
void memvfsAnnounce(MemFile*);

/* stmt.c */
int memvfsAuthorize(void*, int, const char*, const char*, const char*, const char*);
memvfs_conn *memvfsMainLink(sqlite3*);
int64_t memvfsChanges(memvfs_conn*);

#endif
