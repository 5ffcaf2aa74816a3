/*
** Rollback journals of stores, in memory.
**
** SQLite needs a journal for ROLLBACK and for savepoints only: a commit of a
** store is atomic without it, and a transaction that breaks off is given up
** by the engine. So a journal is private to the connection that writes it, is
** never synced, never found by another connection, and never hot. One buffer
** serves all transactions of the connection when the pager keeps the journal
** open, which it does in journal_mode=TRUNCATE and PERSIST.
*/
#include "engine.h"

#define KEEP_BYTES (256<<10)   /* Of the buffer, what an idle connection keeps */

typedef struct Journal Journal;
struct Journal {
  sqlite3_file base;     /* Must be first */
  unsigned char *a;
  size_t n;              /* Bytes in use */
  size_t nAlloc;
};

static int jClose(sqlite3_file *pFile){
  Journal *p = (Journal*)pFile;
  memvfsFree(p->a);
  p->a = 0;
  return SQLITE_OK;
}

static int jRead(sqlite3_file *pFile, void *pBuf, int n, sqlite3_int64 iOfst){
  Journal *p = (Journal*)pFile;
  size_t m = (size_t)iOfst<p->n ? p->n-(size_t)iOfst : 0;
  if( m>=(size_t)n ){
    memcpy(pBuf, p->a+iOfst, n);
    return SQLITE_OK;
  }
  /* "A VFS that fails to zero-fill short reads might seem to work. However,
  ** failure to zero-fill short reads will eventually lead to database
  ** corruption." (https://sqlite.org/c3ref/io_methods.html) */
  if( m>0 ) memcpy(pBuf, p->a+iOfst, m);
  memset((char*)pBuf+m, 0, n-m);
  return SQLITE_IOERR_SHORT_READ;
}

static int jTruncate(sqlite3_file *pFile, sqlite3_int64 n){
  Journal *p = (Journal*)pFile;
  if( (size_t)n<p->n ) p->n = (size_t)n;
  if( n==0 && p->nAlloc>KEEP_BYTES ){
    memvfsFree(p->a);
    p->a = 0;
    p->nAlloc = 0;
  }
  return SQLITE_OK;
}

/*
** Whether a journal that begins with this has ended: in journal_mode=PERSIST
** the pager says so by zeros where the header was (zeroJournalHdr), and reads
** nothing of what is behind it any more.
*/
static int isEnd(const void *pBuf, int n, sqlite3_int64 iOfst){
  static const char aZero[28];
  return iOfst==0 && n==(int)sizeof(aZero) && memcmp(pBuf, aZero, sizeof(aZero))==0;
}

static int jWrite(sqlite3_file *pFile, const void *pBuf, int n, sqlite3_int64 iOfst){
  Journal *p = (Journal*)pFile;
  size_t iEnd = (size_t)iOfst+n;
  if( p->nAlloc>KEEP_BYTES && isEnd(pBuf, n, iOfst) ) return jTruncate(pFile, 0);
  if( iEnd>p->nAlloc ){
    size_t nAlloc = p->nAlloc ? 2*p->nAlloc : 16<<10;
    unsigned char *a;
    while( nAlloc<iEnd ) nAlloc *= 2;
    a = memvfsMalloc(nAlloc);
    if( a==0 ) return SQLITE_IOERR_NOMEM;
    if( p->n ) memcpy(a, p->a, p->n);
    memvfsFree(p->a);
    p->a = a;
    p->nAlloc = nAlloc;
  }
  if( (size_t)iOfst>p->n ) memset(p->a+p->n, 0, iOfst-p->n);
  memcpy(p->a+iOfst, pBuf, n);
  if( iEnd>p->n ) p->n = iEnd;
  return SQLITE_OK;
}

static int jSync(sqlite3_file *pFile, int flags){
  (void)pFile; (void)flags;
  return SQLITE_OK;
}

static int jFileSize(sqlite3_file *pFile, sqlite3_int64 *pn){
  *pn = (sqlite3_int64)((Journal*)pFile)->n;
  return SQLITE_OK;
}

/* The pager does not lock journals. */
static int jLock(sqlite3_file *pFile, int eLock){
  (void)pFile; (void)eLock;
  return SQLITE_OK;
}

static int jCheckReservedLock(sqlite3_file *pFile, int *pRes){
  (void)pFile;
  *pRes = 0;
  return SQLITE_OK;
}

static int jFileControl(sqlite3_file *pFile, int op, void *pArg){
  (void)pFile; (void)op; (void)pArg;
  return SQLITE_NOTFOUND;
}

static int jSectorSize(sqlite3_file *pFile){
  (void)pFile;
  return SECTOR;
}

/*
** SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN: no other connection can delete this
** journal, so the pager may keep it open between transactions.
*/
static int jDeviceCharacteristics(sqlite3_file *pFile){
  (void)pFile;
  return SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN | SQLITE_IOCAP_SAFE_APPEND
       | SQLITE_IOCAP_SEQUENTIAL | SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods journalMethods = {
  .iVersion = 1,
  .xClose = jClose,
  .xRead = jRead,
  .xWrite = jWrite,
  .xTruncate = jTruncate,
  .xSync = jSync,
  .xFileSize = jFileSize,
  .xLock = jLock,
  .xUnlock = jLock,
  .xCheckReservedLock = jCheckReservedLock,
  .xFileControl = jFileControl,
  .xSectorSize = jSectorSize,
  .xDeviceCharacteristics = jDeviceCharacteristics,
};

int memvfsJournalSize(void){
  return (int)sizeof(Journal);
}

void memvfsJournalOpen(sqlite3_file *pFile){
  memset(pFile, 0, sizeof(Journal));
  pFile->pMethods = &journalMethods;
}
