/*
** Database files on the disk: a VFS in front of the default one, for connections
** whose database is not in memory. They are tools, which work on the file itself,
** and connections to a store that attach a file from the disk.
**
** The next save of a server would undo what others write to its file. So nobody
** may write to the file of a server. Only SQLite knows when it is about to write,
** also without a statement that writes: it may roll back a hot journal. At that
** moment this VFS asks Go for a share of the process lock. Go holds the share
** until the end of the write transaction.
**
** A load opens the file itself. POSIX drops all locks of a process on a file when
** the process closes any descriptor of it
** (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
** So a load waits until no connection of this process has a lock on the file, and
** none gets one until the load has ended. The load also waits until connections
** that have the file attached detach it. They would go on reading the file instead
** of the database in memory.
*/
#include "engine.h"
#ifdef _WIN32
# include <windows.h>
#else
# include <errno.h>
#endif

/*
** LOAD_WAITS: a load waits for connections that have the file attached; no other
** attaches it. Without such connections, it waits for connections that have a lock;
** no other gets one.
** LOAD_RUNS: a load has the file; no connection attaches it or gets a lock.
*/
#define LOAD_WAITS 1
#define LOAD_RUNS  2

#define OPEN_WAIT 100  /* Milliseconds that an ATTACH waits for the end of LOAD_WAITS, which lasts half as long */

/*
** The path of a file, shared by all its DiskFiles. zPath is fixed.
** memvfsNamesMutex guards the other fields.
*/
typedef struct DiskName DiskName;
struct DiskName {
  DiskName *pNext;
  int nFile;           /* DiskFiles of it; if 0 and not loading, it is freed */
  int nAttached;       /* DiskFiles that are not the main database of a tool */
  int nLocked;         /* DiskFiles that have a lock */
  int loading;         /* LOAD_* */
  char zPath[1];       /* The absolute path, of any length */
};

/* An open file, used by one connection, on one thread at a time. */
typedef struct DiskFile DiskFile;
struct DiskFile {
  sqlite3_file base;   /* Must be first */
  DiskName *pName;
  int tool;            /* The main database of a tool */
  int readOnly;        /* Opened read-only: it never writes, and Go is not asked */
  sqlite3 *db;         /* From SQLITE_FCNTL_PDB */
  int eLock;           /* SQLITE_LOCK_*, as the pager has it */
  int nHold;           /* Locks for writing, for which Go was asked: RESERVED, and those of a log */
  unsigned mShared;    /* A bit for each lock of the log's shared memory that it shares */
  unsigned mHold;      /* A bit for each of them that counts in nHold */
};

/* The real file is behind it in memory. */
#define REAL(pFile) ((sqlite3_file*)&((DiskFile*)(pFile))[1])

static sqlite3_vfs *pReal;       /* The default VFS. Set once, by memvfsDiskRegister */
static memvfs_hooks hooks;       /* Likewise */
static DiskName *pNameList;      /* Guarded by memvfsNamesMutex */

/* ---- Names ---- */

/* The name of a path; NULL: there is none. Under the mutex. */
static DiskName *nameFind(const char *zPath){
  DiskName *p;
  for(p=pNameList; p && strcmp(p->zPath, zPath)!=0; p=p->pNext){}
  return p;
}

/* The name of a path, made if there is none; NULL: out of memory. Under the mutex. */
static DiskName *nameOf(const char *zPath){
  DiskName *p = nameFind(zPath);
  size_t n = strlen(zPath);
  if( p==0 && (p = memvfsMalloc(sizeof(*p)+n))!=0 ){
    memcpy(p->zPath, zPath, n+1);
    p->pNext = pNameList;
    pNameList = p;
  }
  return p;
}

/* Frees the name if it is not in use. Under the mutex. */
static void nameRelease(DiskName *p){
  DiskName **pp;
  if( p->nFile || p->loading ) return;
  for(pp=&pNameList; *pp!=p; pp=&(*pp)->pNext){}
  *pp = p->pNext;
  memvfsFree(p);
}

int memvfs_disk_load_begin(const char *zPath, int wait, int *pnAttached, int *pnLocked){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  DiskName *p;
  int rc = SQLITE_NOMEM;
  *pnAttached = *pnLocked = 0;
  sqlite3_mutex_enter(mutex);
  p = nameOf(zPath);
  if( p && p->loading==LOAD_RUNS ){
    rc = SQLITE_MISUSE;
  }else if( p ){
    *pnAttached = p->nAttached;
    *pnLocked = p->nLocked;
    rc = p->nAttached || p->nLocked ? SQLITE_BUSY : SQLITE_OK;
    p->loading = rc==SQLITE_OK ? LOAD_RUNS : wait ? LOAD_WAITS : 0;
    nameRelease(p);
  }
  sqlite3_mutex_leave(mutex);
  return rc;
}

void memvfs_disk_load_end(const char *zPath){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  DiskName *p;
  sqlite3_mutex_enter(mutex);
  if( (p = nameFind(zPath))!=0 ){
    p->loading = 0;
    nameRelease(p);
  }
  sqlite3_mutex_leave(mutex);
}

int memvfsDiskAttached(const char *zPath){
  DiskName *p = nameFind(zPath);
  return p && p->nAttached;
}

/* ---- The write lock ---- */

/* The file is about to be written. Asks Go, once for each transaction. */
static int hold(DiskFile *f){
  int rc, moved = 0;
  if( f->readOnly || f->nHold++ ) return SQLITE_OK;
  rc = hooks.xDiskLock ? hooks.xDiskLock(f->pName->zPath, f->tool, f->db) : SQLITE_OK;
  if( rc==SQLITE_OK ){
    /* With the share, no server can start; without a lock file there is no share.
    ** A server may have come and gone since the file was opened. Its save has put
    ** another file in the place of ours. */
    (void)REAL(f)->pMethods->xFileControl(REAL(f), SQLITE_FCNTL_HAS_MOVED, &moved);
    if( !moved ) return SQLITE_OK;
    if( hooks.xDiskUnlock ) hooks.xDiskUnlock(f->pName->zPath);
    rc = SQLITE_READONLY_DBMOVED;
  }
  f->nHold--;
  return rc;
}

static void letGo(DiskFile *f){
  if( f->readOnly || --f->nHold ) return;
  if( hooks.xDiskUnlock ) hooks.xDiskUnlock(f->pName->zPath);
}

/* ---- The methods ---- */

static int dClose(sqlite3_file *pFile){
  DiskFile *f = (DiskFile*)pFile;
  sqlite3_mutex *mutex = memvfsNamesMutex();
  int rc = REAL(f)->pMethods->xClose(REAL(f));
  if( f->nHold ){
    f->nHold = 1;
    letGo(f);
  }
  sqlite3_mutex_enter(mutex);
  f->pName->nFile--;
  f->pName->nAttached -= !f->tool;
  f->pName->nLocked -= f->eLock>SQLITE_LOCK_NONE;
  nameRelease(f->pName);
  sqlite3_mutex_leave(mutex);
  return rc;
}

/* Counts a lock of the file. SQLITE_BUSY: a load keeps it from having one. */
static int locked(DiskFile *f, int on){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  int rc = SQLITE_OK;
  sqlite3_mutex_enter(mutex);
  if( on && (f->pName->loading==LOAD_RUNS || (f->pName->loading==LOAD_WAITS && f->pName->nAttached==0)) ) rc = SQLITE_BUSY;
  else f->pName->nLocked += on ? 1 : -1;
  sqlite3_mutex_leave(mutex);
  return rc;
}

static int dLock(sqlite3_file *pFile, int eLock){
  DiskFile *f = (DiskFile*)pFile;
  int first = f->eLock==SQLITE_LOCK_NONE && eLock>SQLITE_LOCK_NONE;
  int writes = f->eLock<SQLITE_LOCK_RESERVED && eLock>=SQLITE_LOCK_RESERVED;
  int rc;
  if( first && (rc = locked(f, 1))!=SQLITE_OK ) return rc;
  rc = writes ? hold(f) : SQLITE_OK;
  if( rc==SQLITE_OK && (rc = REAL(f)->pMethods->xLock(REAL(f), eLock))!=SQLITE_OK && writes ) letGo(f);
  if( rc!=SQLITE_OK ){
    if( first ) (void)locked(f, 0);
    return rc;
  }
  if( eLock>f->eLock ) f->eLock = eLock;
  return SQLITE_OK;
}

static int dUnlock(sqlite3_file *pFile, int eLock){
  DiskFile *f = (DiskFile*)pFile;
  int rc = REAL(f)->pMethods->xUnlock(REAL(f), eLock);
  if( f->eLock>=SQLITE_LOCK_RESERVED && eLock<SQLITE_LOCK_RESERVED ) letGo(f);
  if( f->eLock>SQLITE_LOCK_NONE && eLock==SQLITE_LOCK_NONE ) (void)locked(f, 0);
  if( eLock<f->eLock ) f->eLock = eLock;
  return rc;
}

/* Locks of the shared memory of a log. They are part of its format
** (https://sqlite.org/walformat.html#wal_locks). */
#define SHM_WRITE 0
#define SHM_CKPT  1
#define SHM_READ0 3    /* The first of five */

/*
** In WAL mode a transaction writes under the lock SHM_WRITE, and a checkpoint under
** SHM_CKPT. SQLite also takes both to build the shared memory, which the first
** reader of a file has to do. That writes neither the file nor its log and may
** happen beside a server, so Go is not asked. SHM_CKPT then comes together with the
** next lock, and SHM_WRITE before the file has a lock for reading.
*/
static int isWrite(const DiskFile *f, int offset, int n){
  return n==1 && (offset==SHM_CKPT || (offset==SHM_WRITE && f->mShared>=1u<<SHM_READ0));
}

static int dShmLock(sqlite3_file *pFile, int offset, int n, int flags){
  DiskFile *f = (DiskFile*)pFile;
  unsigned mask = ((1u<<n)-1)<<offset;
  int writes = flags==(SQLITE_SHM_LOCK|SQLITE_SHM_EXCLUSIVE) && isWrite(f, offset, n);
  int rc;
  if( writes && (rc = hold(f))!=SQLITE_OK ) return rc;
  rc = REAL(f)->pMethods->xShmLock(REAL(f), offset, n, flags);
  if( writes ){
    if( rc==SQLITE_OK ) f->mHold |= mask; else letGo(f);
  }
  if( flags==(SQLITE_SHM_LOCK|SQLITE_SHM_SHARED) && rc==SQLITE_OK ) f->mShared |= mask;
  if( flags==(SQLITE_SHM_UNLOCK|SQLITE_SHM_SHARED) ) f->mShared &= ~mask;
  if( flags==(SQLITE_SHM_UNLOCK|SQLITE_SHM_EXCLUSIVE) && (f->mHold & mask) ){
    f->mHold &= ~mask;
    letGo(f);
  }
  return rc;
}

/*
** A tool never puts the file into WAL mode, in which an idle connection would keep
** a server from loading it. It never keeps a lock that it does not need. As in
** vfs.c, the answer is the mode that stays.
*/
static int dPragma(char **azArg){
  memvfsPragmaWal(azArg);
  if( azArg[2] && sqlite3_stricmp(azArg[1], "locking_mode")==0 ){
    azArg[0] = sqlite3_mprintf("normal");
    return azArg[0] ? SQLITE_OK : SQLITE_NOMEM;
  }
  return SQLITE_NOTFOUND;
}

static int dFileControl(sqlite3_file *pFile, int op, void *pArg){
  int rc;
  if( op==SQLITE_FCNTL_PDB ) ((DiskFile*)pFile)->db = *(sqlite3**)pArg;
  if( op==SQLITE_FCNTL_PRAGMA && (rc = dPragma(pArg))!=SQLITE_NOTFOUND ) return rc;
  rc = REAL(pFile)->pMethods->xFileControl(REAL(pFile), op, pArg);
  if( op==SQLITE_FCNTL_VFSNAME && rc==SQLITE_OK ){
    *(char**)pArg = sqlite3_mprintf(MEMVFS_DISK_NAME "/%z", *(char**)pArg);
  }
  return rc;
}

/* A pager without locks (nolock=1) has not asked whether it may write. */
static int dWrite(sqlite3_file *p, const void *pBuf, int n, sqlite3_int64 iOfst){
  if( ((DiskFile*)p)->nHold==0 ) return SQLITE_READONLY;
  return REAL(p)->pMethods->xWrite(REAL(p), pBuf, n, iOfst);
}

static int dTruncate(sqlite3_file *p, sqlite3_int64 n){
  if( ((DiskFile*)p)->nHold==0 ) return SQLITE_READONLY;
  return REAL(p)->pMethods->xTruncate(REAL(p), n);
}

/* The other methods are those of the real file. */
static int dRead(sqlite3_file *p, void *pBuf, int n, sqlite3_int64 iOfst){ return REAL(p)->pMethods->xRead(REAL(p), pBuf, n, iOfst); }
static int dSync(sqlite3_file *p, int flags){ return REAL(p)->pMethods->xSync(REAL(p), flags); }
static int dFileSize(sqlite3_file *p, sqlite3_int64 *pn){ return REAL(p)->pMethods->xFileSize(REAL(p), pn); }
static int dCheckReservedLock(sqlite3_file *p, int *pRes){ return REAL(p)->pMethods->xCheckReservedLock(REAL(p), pRes); }
static int dSectorSize(sqlite3_file *p){ return REAL(p)->pMethods->xSectorSize(REAL(p)); }
static int dDeviceCharacteristics(sqlite3_file *p){ return REAL(p)->pMethods->xDeviceCharacteristics(REAL(p)); }
static int dShmMap(sqlite3_file *p, int iPg, int pgsz, int extend, void volatile **pp){ return REAL(p)->pMethods->xShmMap(REAL(p), iPg, pgsz, extend, pp); }
static void dShmBarrier(sqlite3_file *p){ REAL(p)->pMethods->xShmBarrier(REAL(p)); }
static int dShmUnmap(sqlite3_file *p, int deleteFlag){
  ((DiskFile*)p)->mShared = 0;
  return REAL(p)->pMethods->xShmUnmap(REAL(p), deleteFlag);
}
static int dFetch(sqlite3_file *p, sqlite3_int64 iOfst, int n, void **pp){ return REAL(p)->pMethods->xFetch(REAL(p), iOfst, n, pp); }
static int dUnfetch(sqlite3_file *p, sqlite3_int64 iOfst, void *pPage){ return REAL(p)->pMethods->xUnfetch(REAL(p), iOfst, pPage); }

/* The methods of a file depend on the version of the real file's methods. */
#define METHODS(version, shm, fetch) { \
  .iVersion = version, .xClose = dClose, .xRead = dRead, .xWrite = dWrite, .xTruncate = dTruncate, \
  .xSync = dSync, .xFileSize = dFileSize, .xLock = dLock, .xUnlock = dUnlock, \
  .xCheckReservedLock = dCheckReservedLock, .xFileControl = dFileControl, .xSectorSize = dSectorSize, \
  .xDeviceCharacteristics = dDeviceCharacteristics, \
  .xShmMap = shm ? dShmMap : 0, .xShmLock = shm ? dShmLock : 0, .xShmBarrier = shm ? dShmBarrier : 0, \
  .xShmUnmap = shm ? dShmUnmap : 0, .xFetch = fetch ? dFetch : 0, .xUnfetch = fetch ? dUnfetch : 0 }

static const sqlite3_io_methods aMethods[] = {
  METHODS(1, 0, 0), METHODS(2, 1, 0), METHODS(3, 1, 1),
  METHODS(3, 0, 1)   /* Some locking styles map pages and have no shared memory */
};

static const sqlite3_io_methods *methodsFor(const sqlite3_io_methods *p){
  if( p->iVersion>=3 ) return &aMethods[p->xShmMap ? 2 : 3];
  return &aMethods[p->iVersion>=2 && p->xShmMap];
}

/* Closes the real file after a failed xOpen, if it has methods, as SQLite does. */
static void closeReal(DiskFile *f){
  if( REAL(f)->pMethods ) (void)REAL(f)->pMethods->xClose(REAL(f));
  REAL(f)->pMethods = 0;
}

/* Sets the system's last error. SQLite adds it to SQLITE_CANTOPEN. */
static void setSystemError(int e){
#ifdef _WIN32
  SetLastError((DWORD)e);
#else
  errno = e;
#endif
}

/*
** Opens the real file. SQLite opens databases with SQLITE_OPEN_CREATE, so the open
** of a file that does not exist creates it. A server of that name may not have
** saved yet. So Go is asked first, and keeps servers from starting until the file
** is created. SQLITE_CANTOPEN: Go refuses.
*/
static int openReal(DiskFile *f, const char *zName, int flags, int *pGot){
  int there = 0, e = 0;
  int rc = pReal->xOpen(pReal, zName, REAL(f), flags & ~SQLITE_OPEN_CREATE, pGot);
  if( (rc & 0xff)!=SQLITE_CANTOPEN || (flags & SQLITE_OPEN_CREATE)==0 ) return rc;
  (void)pReal->xAccess(pReal, zName, SQLITE_ACCESS_EXISTS, &there);
  if( there ) return rc;   /* A directory, or a file without permission */
  closeReal(f);
  rc = hooks.xDiskCreate ? hooks.xDiskCreate(zName, f->tool, &e) : SQLITE_OK;
  if( rc!=SQLITE_OK ){
    setSystemError(e);
    return rc==SQLITE_BUSY || rc==SQLITE_NOMEM ? rc : SQLITE_CANTOPEN;
  }
  rc = pReal->xOpen(pReal, zName, REAL(f), flags, pGot);
  if( hooks.xDiskUnlock ){
    e = pReal->xGetLastError ? pReal->xGetLastError(pReal, 0, 0) : 0;
    hooks.xDiskUnlock(zName);
    setSystemError(e);
  }
  return rc;
}

/*
** Opens a database file. With other, it returns SQLITE_NOTFOUND if a store of that
** name exists by now. Once the file is counted, no store of that name is created.
*/
int memvfsDiskOpen(const char *zName, int other, sqlite3_file *pFile, int flags, int *pOut){
  DiskFile *f = (DiskFile*)pFile;
  sqlite3_mutex *mutex = memvfsNamesMutex();
  int got = flags, i, rc;
  memset(f, 0, sizeof(*f));
  f->tool = sqlite3_uri_boolean(zName, MEMVFS_DISK_PARAM, 0);
  sqlite3_mutex_enter(mutex);
  f->pName = nameOf(zName);
  for(i=0; f->pName && !f->tool && f->pName->loading==LOAD_WAITS && i<OPEN_WAIT; i++){
    sqlite3_mutex_leave(mutex);
    (void)pReal->xSleep(pReal, 1000);
    sqlite3_mutex_enter(mutex);
    f->pName = nameOf(zName);
  }
  if( f->pName==0 ){
    rc = SQLITE_NOMEM;
  }else if( f->pName->loading && !f->tool ){
    rc = SQLITE_BUSY;
  }else if( other && memvfsHasStore(zName) ){
    rc = SQLITE_NOTFOUND;
    nameRelease(f->pName);
  }else{
    rc = SQLITE_OK;
    f->pName->nFile++;
    f->pName->nAttached += !f->tool;
  }
  sqlite3_mutex_leave(mutex);
  if( rc!=SQLITE_OK ) return rc;
  rc = openReal(f, zName, flags, &got);
  if( rc!=SQLITE_OK ){
    closeReal(f);
    sqlite3_mutex_enter(mutex);
    f->pName->nFile--;
    f->pName->nAttached -= !f->tool;
    nameRelease(f->pName);
    sqlite3_mutex_leave(mutex);
    return rc;
  }
  f->readOnly = (got & SQLITE_OPEN_READONLY)!=0;
  if( pOut ) *pOut = got;
  pFile->pMethods = methodsFor(REAL(f)->pMethods);
  return SQLITE_OK;
}

/* ---- The VFS ---- */

static int kOpen(sqlite3_vfs *pVfs, const char *zName, sqlite3_file *pFile, int flags, int *pOut){
  (void)pVfs;
  pFile->pMethods = 0;
  if( zName && (flags & SQLITE_OPEN_MAIN_DB) && memvfsSharedCache(zName) ) return SQLITE_CANTOPEN;
  if( zName && (flags & SQLITE_OPEN_MAIN_DB) ) return memvfsDiskOpen(zName, 0, pFile, flags, pOut);
  return pReal->xOpen(pReal, zName, pFile, flags, pOut);
}

int memvfsDiskSize(void){
  return (int)sizeof(DiskFile) + pReal->szOsFile;
}

int memvfsDiskRegister(sqlite3_vfs *pDefault, memvfs_hooks h){
  static sqlite3_vfs vfs;
  pReal = pDefault;
  hooks = h;
  vfs = *pDefault;       /* Everything but the opening of databases is that of the default */
  vfs.pNext = 0;
  vfs.zName = MEMVFS_DISK_NAME;
  vfs.szOsFile = memvfsDiskSize();
  vfs.xOpen = kOpen;
  return sqlite3_vfs_register(&vfs, 0);
}
