/*
** The interface to SQLite: the methods of a store's file, and the VFS. disk.c has the
** database files on the disk. All other files are those of the default VFS.
*/
#include "engine.h"

static sqlite3_vfs *pDefault;   /* Set once, by memvfs_register */
static void (*xSpell)(char*, int);   /* Of memvfs_hooks; set once, by memvfs_register */

/* ---- The database file ---- */

static int fClose(sqlite3_file *pFile){
  MemFile *f = (MemFile*)pFile;
  uintptr_t handle;
  if( f->dead ) return SQLITE_OK;
  if( f->pConn ) memvfs_conn_unpin(f->pConn);
  pFile->pMethods->xUnlock(pFile, SQLITE_LOCK_NONE);
  handle = memvfsConnClose(f);
  memvfsClose(f);
  if( handle ) memvfsConnDetached(handle);   /* This may destroy the store */
  return SQLITE_OK;
}

static int fRead(sqlite3_file *pFile, void *pBuf, int n, sqlite3_int64 iOfst){
  MemFile *f = (MemFile*)pFile;
  Reader *r = &f->reader;
  int begin = f->eLock==SQLITE_LOCK_NONE && !f->pinned;
  uint64_t nByte;
  if( f->dead ) return SQLITE_IOERR_READ;
  /* The pager reads the header at the open, before any lock. */
  if( begin ) memvfsReaderBegin(f->pStore, r);
  nByte = (uint64_t)r->nSector*SECTOR;
  memvfsReadAt(r, memvfsSeen(f), pBuf, n, iOfst);
  if( begin ) memvfsReaderEnd(r);
  return (uint64_t)iOfst+n>nByte ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int fWrite(sqlite3_file *pFile, const void *pBuf, int n, sqlite3_int64 iOfst){
  MemFile *f = (MemFile*)pFile;
  if( f->dead || f->eLock<SQLITE_LOCK_RESERVED ) return SQLITE_IOERR_WRITE;
  return memvfsWriteAt(f, pBuf, n, iOfst);
}

static int fTruncate(sqlite3_file *pFile, sqlite3_int64 n){
  MemFile *f = (MemFile*)pFile;
  if( f->dead || f->eLock<SQLITE_LOCK_RESERVED ) return SQLITE_IOERR_TRUNCATE;
  return memvfsTruncate(f, n);
}

static int fSync(sqlite3_file *pFile, int flags){
  (void)pFile; (void)flags;
  return SQLITE_OK;
}

static int fFileSize(sqlite3_file *pFile, sqlite3_int64 *pn){
  *pn = (sqlite3_int64)((MemFile*)pFile)->reader.nSector*SECTOR;
  return SQLITE_OK;
}

static int fLock(sqlite3_file *pFile, int eLock){
  MemFile *f = (MemFile*)pFile;
  int rc;
  if( f->dead ) return f->dead;
  if( f->eLock>=eLock ) return SQLITE_OK;
  if( f->eLock==SQLITE_LOCK_NONE ){
    if( !f->pinned ) memvfsReaderBegin(f->pStore, &f->reader);
    f->eLock = SQLITE_LOCK_SHARED;
    if( f->pConn ) (f->pConn->pMain ? f->pConn->pMain : f->pConn)->nShared++;
  }
  if( eLock>=SQLITE_LOCK_RESERVED && f->eLock<SQLITE_LOCK_RESERVED ){
    /* Every write goes from SHARED to RESERVED. A journal of ours is never hot, so
    ** the pager never goes from SHARED to EXCLUSIVE, which would work too. */
    rc = memvfsConnLock(f);
    if( rc==SQLITE_OK && (rc = memvfsReserve(f))!=SQLITE_OK ) memvfsConnRefused(f, rc);
    if( rc!=SQLITE_OK ) goto out;
  }
  /* There is one writer, and readers go on beside it: EXCLUSIVE is RESERVED. */
  f->eLock = eLock;
  rc = SQLITE_OK;
out:
  if( f->pConn ) f->pConn->eLock = f->eLock;
  return rc;
}

static int fUnlock(sqlite3_file *pFile, int eLock){
  MemFile *f = (MemFile*)pFile;
  int wrote = f->eLock>=SQLITE_LOCK_RESERVED;
  if( f->eLock<=eLock || f->dead ) return SQLITE_OK;
  if( wrote ){
    f->eLock = SQLITE_LOCK_SHARED;
    memvfsRelease(f);
  }
  if( eLock==SQLITE_LOCK_NONE ){
    f->eLock = SQLITE_LOCK_NONE;
    if( !f->pinned ) memvfsReaderEnd(&f->reader);
    if( f->nWritten ) memvfsHelp(f);
  }
  if( f->pConn ){
    f->pConn->eLock = f->eLock;
    memvfsConnUnlock(f, wrote);
  }
  return SQLITE_OK;
}

/*
** The pager asks whether a journal that it has found may be hot. It is not if a
** connection has RESERVED. None of ours is ever hot.
*/
static int fCheckReservedLock(sqlite3_file *pFile, int *pRes){
  (void)pFile;
  *pRes = 1;
  return SQLITE_OK;
}

/* True if zArg is zMode or a prefix of it, which SQLite takes for the mode: "o" is OFF. */
static int isMode(const char *zArg, const char *zMode){
  return zArg[0] && sqlite3_strnicmp(zArg, zMode, (int)strlen(zArg))==0;
}

/*
** Turns PRAGMA journal_mode=WAL into a query of the mode: SQLite takes every unknown
** word for one. Without a schema, the pragma is for all databases of the connection,
** but only the main file gets the file control.
*/
void memvfsPragmaWal(char **azArg){
  if( azArg[2] && sqlite3_stricmp(azArg[1], "journal_mode")==0 && isMode(azArg[2], "wal") ){
    memset(azArg[2], '?', strlen(azArg[2]));
  }
}

/*
** Pragmas that would break a promise of a store have no effect. They return the mode
** that stays, as SQLite does for a journal mode that it cannot set:
**
**   locking_mode   A connection that never releases its lock would stop every
**                  writer, and never see the commits of others.
**   journal_mode   OFF would leave a part of a failed statement. WAL is not
**                  supported, also not for attached files on the disk.
*/
static int fPragma(MemFile *f, char **azArg){
  const char *zName = azArg[1], *zArg = azArg[2];
  if( zArg==0 ) return SQLITE_NOTFOUND;
  if( sqlite3_stricmp(zName, "locking_mode")==0 ){
    azArg[0] = sqlite3_mprintf("normal");
    return azArg[0] ? SQLITE_OK : SQLITE_NOMEM;
  }
  memvfsPragmaWal(azArg);
  if( sqlite3_stricmp(zName, "journal_mode")==0 && isMode(zArg, "off") ){
    azArg[0] = sqlite3_mprintf("truncate");
    return azArg[0] ? SQLITE_OK : SQLITE_NOMEM;
  }
  if( sqlite3_stricmp(zName, "busy_timeout")==0 && f->pConn ){
    /* The timeout is one for the connection, whatever the schema. SQLite then
    ** sets it. */
    (f->pConn->pMain ? f->pConn->pMain : f->pConn)->busyTimeout = atoi(zArg);
  }
  return SQLITE_NOTFOUND;
}

static int fFileControl(sqlite3_file *pFile, int op, void *pArg){
  MemFile *f = (MemFile*)pFile;
  if( f->dead ) return op==SQLITE_FCNTL_SYNC || op==SQLITE_FCNTL_COMMIT_PHASETWO ? SQLITE_IOERR : SQLITE_NOTFOUND;
  switch( op ){
    case SQLITE_FCNTL_SYNC:
      return f->eLock>=SQLITE_LOCK_RESERVED ? memvfsPrepare(f) : SQLITE_OK;
    case SQLITE_FCNTL_COMMIT_PHASETWO:
      return f->eLock>=SQLITE_LOCK_RESERVED ? memvfsCommit(f) : SQLITE_OK;
    case SQLITE_FCNTL_PRAGMA:
      return fPragma(f, pArg);
    case SQLITE_FCNTL_MMAP_SIZE: {
      /* The pager calls xFetch while this is over 0. As in SQLite's own VFS, the
      ** result is the value before. */
      sqlite3_int64 *p = pArg, n = *p;
      *p = f->szMmap;
      if( n>=0 ) f->szMmap = n;
      return SQLITE_OK;
    }
    case SQLITE_FCNTL_PDB:
      f->db = *(sqlite3**)pArg;
      memvfsConnAttach(f);
      return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
      *(char**)pArg = sqlite3_mprintf(MEMVFS_NAME);
      return SQLITE_OK;
    case MEMVFS_FCNTL_TOKEN:
      memvfsEnter(f->pStore);
      f->reader.iToken = *(int*)pArg;
      memvfsLeave(f->pStore);
      return SQLITE_OK;
  }
  return SQLITE_NOTFOUND;
}

static int fSectorSize(sqlite3_file *pFile){
  (void)pFile;
  return SECTOR;
}

static int fDeviceCharacteristics(sqlite3_file *pFile){
  (void)pFile;
  return SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN | SQLITE_IOCAP_SAFE_APPEND
       | SQLITE_IOCAP_SEQUENTIAL | SQLITE_IOCAP_POWERSAFE_OVERWRITE
       | SQLITE_IOCAP_SUBPAGE_READ;
}

/*
** Returns the page itself. It neither changes nor is freed while the connection has
** its SHARED lock, or until the connection itself writes it. A page that the writer
** has made is not returned, as it changes when the pager writes it again. A page that
** is not one block is not returned either. After repage() without memory, a write of
** another page may free its block.
*/
static int fFetch(sqlite3_file *pFile, sqlite3_int64 iOfst, int n, void **pp){
  MemFile *f = (MemFile*)pFile;
  Table *t = f->reader.pTable;
  *pp = 0;
  if( f->dead ) return SQLITE_IOERR_READ;
  if( t && (uint64_t)iOfst+n<=(uint64_t)f->reader.nSector*SECTOR ){
    if( (uint32_t)n==t->nBlock && iOfst%n==0 ){
      Version *v = memvfsFind(&f->reader, t, (uint32_t)(iOfst/n)+1, memvfsSeen(f));
      if( v && v->birth<=f->reader.epoch ) *pp = v->aData;
    }
  }
  return SQLITE_OK;
}

static int fUnfetch(sqlite3_file *pFile, sqlite3_int64 iOfst, void *p){
  (void)pFile; (void)iOfst; (void)p;
  return SQLITE_OK;
}

/* Without shared memory: a store is never in WAL mode, and does not need it. */
static const sqlite3_io_methods fileMethods = {
  .iVersion = 3,
  .xClose = fClose,
  .xRead = fRead,
  .xWrite = fWrite,
  .xTruncate = fTruncate,
  .xSync = fSync,
  .xFileSize = fFileSize,
  .xLock = fLock,
  .xUnlock = fUnlock,
  .xCheckReservedLock = fCheckReservedLock,
  .xFileControl = fFileControl,
  .xSectorSize = fSectorSize,
  .xDeviceCharacteristics = fDeviceCharacteristics,
  .xFetch = fFetch,
  .xUnfetch = fUnfetch,
};

/* ---- The VFS ---- */

/* The number of the store in the URI; 0: there is none. */
static int64_t wanted(const char *zName){
  int64_t number;
  if( sqlite3_uri_parameter(zName, MEMVFS_PARAM)==0 ) return 0;
  number = sqlite3_uri_int64(zName, MEMVFS_PARAM, 0);
  return number ? number : -1;   /* No store has the number -1 */
}

/*
** True if the URI asks for SQLite's shared cache. Several connections then share one
** file, and the VFS cannot tell which of them writes or waits. (SQLite does not pass
** SQLITE_OPEN_SHAREDCACHE to a VFS. The last one of a repeated parameter counts, but
** sqlite3_uri_parameter() finds the first.)
*/
int memvfsSharedCache(const char *zName){
  const char *zKey = zName + strlen(zName) + 1;
  while( zKey[0] ){
    const char *zValue = zKey + strlen(zKey) + 1;
    if( strcmp(zKey, "cache")==0 && strcmp(zValue, "shared")==0 ) return 1;
    zKey = zValue + strlen(zValue) + 1;
  }
  return 0;
}

/*
** Opens a file of a store. SQLITE_NOTFOUND: there is no store of that name, and the
** URI has no number.
*/
static int openStore(const char *zName, sqlite3_file *pFile, int flags, int *pOut){
  int64_t number = wanted(zName);
  int rc = memvfsOpen(zName, number, (MemFile*)pFile);
  /* After the store is closed, its connections must not get the file on the disk. */
  if( rc==SQLITE_NOTFOUND && number ) return SQLITE_CANTOPEN;
  if( rc!=SQLITE_OK ) return rc;
  if( sqlite3_uri_boolean(zName, "immutable", 0) || sqlite3_uri_boolean(zName, "nolock", 0) ){
    /* The pager would take no lock, have no state, and see an empty file. */
    memvfsClose((MemFile*)pFile);
    return SQLITE_CANTOPEN;
  }
  if( pOut ) *pOut = flags;
  pFile->pMethods = &fileMethods;
  return SQLITE_OK;
}

static int vOpen(sqlite3_vfs *pVfs, const char *zName, sqlite3_file *pFile, int flags, int *pOut){
  (void)pVfs;
  /* "The only way to prevent a call to xClose following a failed
  ** sqlite3_file.xOpen is for the xOpen routine to set the
  ** sqlite3_file.pMethods element to NULL" (https://sqlite.org/c3ref/io_methods.html) */
  pFile->pMethods = 0;
  if( zName && (flags & SQLITE_OPEN_MAIN_DB) ){
    int rc;
    if( memvfsSharedCache(zName) ) return SQLITE_CANTOPEN;
    do{
      rc = openStore(zName, pFile, flags, pOut);
      if( rc==SQLITE_NOTFOUND ) rc = memvfsDiskOpen(zName, 1, pFile, flags, pOut);
    }while( rc==SQLITE_NOTFOUND );   /* A store was created or loaded in between */
    return rc;
  }
  if( zName && (flags & (SQLITE_OPEN_MAIN_JOURNAL|SQLITE_OPEN_WAL)) ){
    sqlite3_file *pMain = sqlite3_database_file_object(zName);
    if( pMain->pMethods==&fileMethods ){
      /* A store that is attached to a database on the disk may get this in an
      ** exclusive locking mode, which fPragma() does not see. */
      if( flags & SQLITE_OPEN_WAL ) return SQLITE_CANTOPEN;
      if( pOut ) *pOut = flags;
      memvfsJournalOpen(pFile, (MemFile*)pMain);
      return SQLITE_OK;
    }
  }
  return pDefault->xOpen(pDefault, zName, pFile, flags, pOut);
}

static int vDelete(sqlite3_vfs *pVfs, const char *zName, int syncDir){
  (void)pVfs;
  if( memvfsIsCompanion(zName) ) return SQLITE_OK;
  return pDefault->xDelete(pDefault, zName, syncDir);
}

/* A store has neither journal nor log to find, whatever is on the disk. */
static int vAccess(sqlite3_vfs *pVfs, const char *zName, int flags, int *pRes){
  (void)pVfs;
  if( memvfsIsCompanion(zName) ){   /* Asked at every SHARED lock */
    *pRes = 0;
    return SQLITE_OK;
  }
  return pDefault->xAccess(pDefault, zName, flags, pRes);
}

/*
** Where the file system ignores case, a file has many names. Its store has the one
** that Go gives all of them. The name of a store itself needs no look at the disk.
*/
static int vFullPathname(sqlite3_vfs *pVfs, const char *zName, int nOut, char *zOut){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  int rc = pDefault->xFullPathname(pDefault, zName, nOut, zOut);
  int known;
  (void)pVfs;
  if( (rc & 0xff)!=SQLITE_OK || xSpell==0 ) return rc;
  sqlite3_mutex_enter(mutex);
  known = memvfsHasStore(zOut);
  sqlite3_mutex_leave(mutex);
  if( !known ) xSpell(zOut, nOut);
  return rc;
}

static void *vDlOpen(sqlite3_vfs *pVfs, const char *zName){
  (void)pVfs;
  return pDefault->xDlOpen(pDefault, zName);
}

static void vDlError(sqlite3_vfs *pVfs, int n, char *z){
  (void)pVfs;
  pDefault->xDlError(pDefault, n, z);
}

static void (*vDlSym(sqlite3_vfs *pVfs, void *p, const char *zSymbol))(void){
  (void)pVfs;
  return pDefault->xDlSym(pDefault, p, zSymbol);
}

static void vDlClose(sqlite3_vfs *pVfs, void *p){
  (void)pVfs;
  pDefault->xDlClose(pDefault, p);
}

static int vRandomness(sqlite3_vfs *pVfs, int n, char *z){
  (void)pVfs;
  return pDefault->xRandomness(pDefault, n, z);
}

static int vSleep(sqlite3_vfs *pVfs, int us){
  (void)pVfs;
  return pDefault->xSleep(pDefault, us);
}

static int vCurrentTime(sqlite3_vfs *pVfs, double *p){
  (void)pVfs;
  return pDefault->xCurrentTime(pDefault, p);
}

static int vGetLastError(sqlite3_vfs *pVfs, int n, char *z){
  (void)pVfs;
  return pDefault->xGetLastError ? pDefault->xGetLastError(pDefault, n, z) : 0;
}

static int vCurrentTimeInt64(sqlite3_vfs *pVfs, sqlite3_int64 *p){
  (void)pVfs;
  return pDefault->xCurrentTimeInt64(pDefault, p);
}

int memvfs_full_pathname(const char *zName, int nOut, char *zOut){
  return pDefault->xFullPathname(pDefault, zName, nOut, zOut);
}

int memvfs_register(memvfs_hooks hooks){
  static sqlite3_vfs vfs = {
    .iVersion = 2,
    .zName = MEMVFS_NAME,
    .xOpen = vOpen,
    .xDelete = vDelete,
    .xAccess = vAccess,
    .xFullPathname = vFullPathname,
    .xDlOpen = vDlOpen,
    .xDlError = vDlError,
    .xDlSym = vDlSym,
    .xDlClose = vDlClose,
    .xRandomness = vRandomness,
    .xSleep = vSleep,
    .xCurrentTime = vCurrentTime,
    .xGetLastError = vGetLastError,
    .xCurrentTimeInt64 = vCurrentTimeInt64,
  };
  int rc;
  if( pDefault ) return SQLITE_MISUSE;
  (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);   /* Fails if SQLite is in use, which is harmless */
  pDefault = sqlite3_vfs_find(0);
  if( pDefault==0 || pDefault->iVersion<2 ) return SQLITE_NOTFOUND;
  memvfsConnHooks(hooks);
  memvfsWatchHook(hooks.xCommit);
  xSpell = hooks.xSpell;
  rc = memvfsDiskRegister(pDefault, hooks);
  if( rc!=SQLITE_OK ) return rc;
  vfs.mxPathname = pDefault->mxPathname;
  vfs.szOsFile = pDefault->szOsFile;
  if( vfs.szOsFile<memvfsDiskSize() ) vfs.szOsFile = memvfsDiskSize();
  if( vfs.szOsFile<(int)sizeof(MemFile) ) vfs.szOsFile = (int)sizeof(MemFile);
  if( vfs.szOsFile<memvfsJournalSize() ) vfs.szOsFile = memvfsJournalSize();
  return sqlite3_vfs_register(&vfs, 0);
}
