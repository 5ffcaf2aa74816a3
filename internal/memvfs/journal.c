/*
** Rollback journals of stores, in memory.
**
** SQLite needs a journal for ROLLBACK and savepoints only. A commit of a store is
** atomic without one, and the engine drops a transaction that breaks off. So a
** journal is private to its connection, is never synced, never found by another
** connection, and never hot. In journal_mode=TRUNCATE and PERSIST the pager keeps
** the journal open, and one buffer serves all transactions of the connection.
**
** Most of a journal are pages as of the beginning of the transaction
** (https://sqlite.org/fileformat2.html#the_rollback_journal). The engine has them as
** versions, which the writer's pin keeps. So the journal refers to the version of a
** page instead of a copy.
*/
#include "engine.h"

#define KEEP_BYTES (256<<10)   /* Bytes of each buffer that an idle connection keeps */
#define LEAST_BYTES  (4<<10)   /* The smallest buffer */

/* A page of the journal, which is a version of the engine. */
typedef struct Page Page;
struct Page {
  size_t iOfst;          /* Its offset in the journal */
  Version *v;
};

typedef struct Journal Journal;
struct Journal {
  sqlite3_file base;     /* Must be first */
  MemFile *pFile;        /* The database file */
  size_t n;              /* Size: bytes and pages */
  unsigned char *a;      /* The bytes, without the pages */
  size_t nAlloc;
  Page *aPage;           /* The pages, in order */
  size_t nPage, nPageAlloc;
  size_t szPage;         /* Size of each page */
  size_t iNumber;        /* Offset of the last write, if that was of a page number; else 0 */
};

/* The number of pages that begin before an offset. */
static size_t pagesBefore(Journal *p, size_t iOfst){
  size_t lo = 0, hi = p->nPage;
  if( hi==0 || p->aPage[hi-1].iOfst<iOfst ) return hi;
  while( lo<hi ){
    size_t m = (lo+hi)/2;
    if( p->aPage[m].iOfst<iOfst ) lo = m+1; else hi = m;
  }
  return lo;
}

/* The byte at an offset outside of pages. */
static unsigned char *byteAt(Journal *p, size_t iOfst){
  return p->a + (iOfst - pagesBefore(p, iOfst)*p->szPage);
}

/* Enlarges *pp, of *pnAlloc bytes with nUsed in use, to n bytes. False: out of memory. */
static int enlarge(void *pp, size_t *pnAlloc, size_t nUsed, size_t n){
  size_t nAlloc = *pnAlloc ? 2**pnAlloc : LEAST_BYTES;
  void *pOld, *pNew;
  while( nAlloc<n ) nAlloc *= 2;
  pNew = memvfsMalloc(nAlloc);
  if( pNew==0 ) return 0;
  memcpy(&pOld, pp, sizeof(pOld));
  if( nUsed ) memcpy(pNew, pOld, nUsed);
  memvfsFree(pOld);
  memcpy(pp, &pNew, sizeof(pNew));
  *pnAlloc = nAlloc;
  return 1;
}

static int jClose(sqlite3_file *pFile){
  Journal *p = (Journal*)pFile;
  memvfsFree(p->a);
  memvfsFree(p->aPage);
  p->a = 0;
  p->aPage = 0;
  return SQLITE_OK;
}

/*
** The checksum after a page is computed from the version. The pager may have written
** another checksum, because a page in its cache may differ from the file. A page
** that became free in an earlier transaction is not written and may stay in the
** cache (sqlite3PagerDontWrite). Its content has no meaning.
*/
static void checksum(Journal *p, const unsigned char *aPage, unsigned char *pOut){
  uint32_t n = (uint32_t)p->a[12]<<24 | (uint32_t)p->a[13]<<16 | (uint32_t)p->a[14]<<8 | p->a[15];
  for(size_t i=p->szPage-200; i>0 && i<p->szPage; i-=200) n += aPage[i];
  for(int i=0; i<4; i++) pOut[i] = (unsigned char)(n>>(24-8*i));
}

static int jRead(sqlite3_file *pFile, void *pBuf, int n, sqlite3_int64 iOfst){
  Journal *p = (Journal*)pFile;
  unsigned char *a = pBuf;
  size_t i = (size_t)iOfst, iEnd = i+n, k;
  if( p->pFile->dead ) return SQLITE_IOERR_READ;   /* Its versions may be gone */
  if( iEnd>p->n ) iEnd = p->n;
  while( i<iEnd ){
    size_t m = iEnd-i;
    const Page *pPage = 0;
    k = pagesBefore(p, i+1);
    if( k<p->nPage && p->aPage[k].iOfst-i<m ) m = p->aPage[k].iOfst-i;
    if( k>0 ) pPage = &p->aPage[k-1];
    if( pPage && i<pPage->iOfst+p->szPage ){
      size_t off = i-pPage->iOfst;
      if( m>p->szPage-off ) m = p->szPage-off;
      memcpy(a, pPage->v->aData+off, m);
    }else if( pPage && i==pPage->iOfst+p->szPage && n==4 ){
      checksum(p, pPage->v->aData, a);
    }else{
      memcpy(a, byteAt(p, i), m);
    }
    a += m;
    i += m;
  }
  if( a==(unsigned char*)pBuf+n ) return SQLITE_OK;
  /* "A VFS that fails to zero-fill short reads might seem to work. However,
  ** failure to zero-fill short reads will eventually lead to database
  ** corruption." (https://sqlite.org/c3ref/io_methods.html) */
  memset(a, 0, (size_t)n - (size_t)(a-(unsigned char*)pBuf));
  return SQLITE_IOERR_SHORT_READ;
}

static int jTruncate(sqlite3_file *pFile, sqlite3_int64 n){
  Journal *p = (Journal*)pFile;
  if( (size_t)n<p->n ){
    p->nPage = pagesBefore(p, (size_t)n);
    p->n = (size_t)n;
  }
  if( n==0 && p->nAlloc>KEEP_BYTES ){
    /* In journal_mode=PERSIST a commit writes into the buffer after this, which must
    ** not fail: see memvfsPrepare. So there is always a buffer. */
    unsigned char *a = memvfsMalloc(LEAST_BYTES);
    if( a ){
      memvfsFree(p->a);
      p->a = a;
      p->nAlloc = LEAST_BYTES;
    }
  }
  if( n==0 && p->nPageAlloc>KEEP_BYTES ){
    memvfsFree(p->aPage);
    p->aPage = 0;
    p->nPageAlloc = 0;
  }
  return SQLITE_OK;
}

/*
** The version of the page whose number was written last, if a write of n bytes at
** iOfst can be that page; else NULL.
*/
static Version *pageOf(Journal *p, size_t n, size_t iOfst){
  MemFile *f = p->pFile;
  Table *t = f->reader.pTable;
  const unsigned char *a;
  if( p->iNumber==0 || iOfst!=p->iNumber+4 || iOfst!=p->n ) return 0;
  if( f->eLock<SQLITE_LOCK_RESERVED || n!=t->nBlock ) return 0;
  if( p->nPage && n!=p->szPage ) return 0;
  a = byteAt(p, p->iNumber);
  return memvfsFind(&f->reader, t, (uint32_t)a[0]<<24 | (uint32_t)a[1]<<16 | (uint32_t)a[2]<<8 | a[3], f->reader.epoch);
}

/*
** SQLite appends. A write before the end truncates the journal there. SQLite does
** that in two cases. The last record was not finished, because memory ran out. Or the
** transaction is over in journal_mode=PERSIST, where zeros replace the header
** (zeroJournalHdr) and nothing after them is read again.
*/
static int jWrite(sqlite3_file *pFile, const void *pBuf, int n, sqlite3_int64 iOfst){
  Journal *p = (Journal*)pFile;
  size_t i = (size_t)iOfst, iEnd = i+n, nBytes, nPages;
  Version *v;
  if( i<p->n ) jTruncate(pFile, iOfst);
  if( (v = pageOf(p, (size_t)n, i))!=0 ){
    size_t nUsed = p->nPage*sizeof(Page);
    if( nUsed+sizeof(Page)>p->nPageAlloc && !enlarge(&p->aPage, &p->nPageAlloc, nUsed, nUsed+sizeof(Page)) ){
      return SQLITE_IOERR_NOMEM;
    }
    p->szPage = (size_t)n;
    p->aPage[p->nPage++] = (Page){ i, v };
    p->n = iEnd;
    return SQLITE_OK;
  }
  nPages = p->nPage*p->szPage;
  nBytes = p->n-nPages;
  if( iEnd-nPages>p->nAlloc && !enlarge(&p->a, &p->nAlloc, nBytes, iEnd-nPages) ) return SQLITE_IOERR_NOMEM;
  if( i>p->n ) memset(p->a+nBytes, 0, i-p->n);
  memcpy(p->a+(i-nPages), pBuf, n);
  p->n = iEnd;
  p->iNumber = n==4 ? i : 0;
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

void memvfsJournalOpen(sqlite3_file *pFile, MemFile *f){
  memset(pFile, 0, sizeof(Journal));
  ((Journal*)pFile)->pFile = f;
  pFile->pMethods = &journalMethods;
}
