/*
** The contract of SQLite's file methods, as tables of calls: locks, short reads,
** growth, truncation, page sizes. A store differs from a file on the disk in one
** point, which the tables say: readers are never shut out.
*/
#include "stress.h"
#include "engine.h"

static sqlite3_vfs *vfs;
static char zPath[600];

static sqlite3_file *openFile(const char *zSuffix, int flags){
  char z[700];
  const char *zName;
  sqlite3_file *p = calloc(1, (size_t)vfs->szOsFile);
  int out = 0;
  snprintf(z, sizeof(z), "%s%s", zPath, zSuffix);
  /* With the zeros behind it that SQLite's own names have. */
  zName = sqlite3_create_filename(z, "", "", 0, 0);
  CHECK( vfs->xOpen(vfs, zName, p, flags|SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, &out)==SQLITE_OK );
  CHECK( out & SQLITE_OPEN_READWRITE );
  sqlite3_free_filename((char*)zName);
  return p;
}

/* The journal of a connection, by the name that its pager uses for it. */
static sqlite3_file *openJournal(sqlite3 *db){
  sqlite3_file *p = calloc(1, (size_t)vfs->szOsFile);
  int out = 0;
  CHECK( vfs->xOpen(vfs, sqlite3_filename_journal(sqlite3_db_filename(db, "main")), p,
                    SQLITE_OPEN_MAIN_JOURNAL|SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, &out)==SQLITE_OK );
  CHECK( out & SQLITE_OPEN_READWRITE );
  return p;
}

static void closeFile(sqlite3_file *p){
  CHECK( p->pMethods->xClose(p)==SQLITE_OK );
  free(p);
}

static int lock(sqlite3_file *p, int e){ return p->pMethods->xLock(p, e); }
static int unlock(sqlite3_file *p, int e){ return p->pMethods->xUnlock(p, e); }
static int commit(sqlite3_file *p){ return p->pMethods->xFileControl(p, SQLITE_FCNTL_COMMIT_PHASETWO, 0); }
static void begin(sqlite3_file *p){
  CHECK( lock(p, SQLITE_LOCK_SHARED)==SQLITE_OK );
  CHECK( lock(p, SQLITE_LOCK_RESERVED)==SQLITE_OK );
}

static sqlite3_int64 size(sqlite3_file *p){
  sqlite3_int64 n = -1;
  CHECK( p->pMethods->xFileSize(p, &n)==SQLITE_OK );
  return n;
}

/* Writes n bytes of v; an offset of 0 gets a header that tells the page size. */
static int put(sqlite3_file *p, int v, int n, sqlite3_int64 iOfst){
  unsigned char *a = malloc((size_t)n);
  int rc;
  memset(a, v, (size_t)n);
  if( iOfst==0 && n>=512 ){
    memcpy(a, "SQLite format 3", 16);
    a[16] = (unsigned char)(n>>8);
    a[17] = (unsigned char)(n==65536 ? 1 : n);
    a[18] = a[19] = 1;
  }
  rc = p->pMethods->xWrite(p, a, n, iOfst);
  free(a);
  return rc;
}

/* Reads n bytes, the first nSet of which must be v and the others 0. */
static int get(sqlite3_file *p, int v, int nSet, int n, sqlite3_int64 iOfst){
  unsigned char *a = malloc((size_t)n+1);
  int rc, i;
  memset(a, 0xaa, (size_t)n+1);
  rc = p->pMethods->xRead(p, a, n, iOfst);
  for(i=0; i<n; i++) if( a[i]!=(i<nSet ? v : 0) ) DIE("byte %d of %d at %lld is %d", i, n, (long long)iOfst, a[i]);
  CHECK( a[n]==0xaa );
  free(a);
  return rc;
}

/* ---- Locks ---- */

#define L 0       /* xLock */
#define U 1       /* xUnlock */
#define COMMIT 2  /* Write a page and commit */
#define NONE SQLITE_LOCK_NONE
#define SHARED SQLITE_LOCK_SHARED
#define RESERVED SQLITE_LOCK_RESERVED
#define PENDING SQLITE_LOCK_PENDING
#define EXCLUSIVE SQLITE_LOCK_EXCLUSIVE

static const struct { int who, op, level, rc, after; } aLock[] = {
  /* Any number may read beside one that may write. */
  { 0, L, SHARED,    SQLITE_OK,   SHARED },
  { 1, L, SHARED,    SQLITE_OK,   SHARED },
  { 0, L, RESERVED,  SQLITE_OK,   RESERVED },
  { 1, L, RESERVED,  SQLITE_BUSY, SHARED },
  { 0, L, SHARED,    SQLITE_OK,   RESERVED },   /* Less than it has: nothing */
  { 2, L, SHARED,    SQLITE_OK,   SHARED },
  /* Readers do not keep the writer from EXCLUSIVE, nor it them from reading. */
  { 0, L, EXCLUSIVE, SQLITE_OK,   EXCLUSIVE },
  { 2, U, NONE,      SQLITE_OK,   NONE },
  { 2, L, SHARED,    SQLITE_OK,   SHARED },
  { 2, L, EXCLUSIVE, SQLITE_BUSY, SHARED },
  { 0, U, SHARED,    SQLITE_OK,   SHARED },
  { 0, U, SHARED,    SQLITE_OK,   SHARED },     /* Once more: nothing */
  { 0, U, EXCLUSIVE, SQLITE_OK,   SHARED },     /* More than it has: nothing */
  /* Nothing was committed, so who read before may write now. */
  { 1, L, EXCLUSIVE, SQLITE_OK,   EXCLUSIVE },
  { 0, L, RESERVED,  SQLITE_BUSY, SHARED },
  { 1, U, NONE,      SQLITE_OK,   NONE },
  { 1, U, NONE,      SQLITE_OK,   NONE },
  /* Who reads an old state may not, until it reads anew. */
  { 1, L, SHARED,    SQLITE_OK,   SHARED },
  { 1, L, RESERVED,  SQLITE_OK,   RESERVED },
  { 1, COMMIT, 0,    SQLITE_OK,   RESERVED },
  { 0, L, RESERVED,  SQLITE_BUSY, SHARED },
  { 1, U, NONE,      SQLITE_OK,   NONE },
  { 0, L, RESERVED,  SQLITE_BUSY_SNAPSHOT, SHARED },
  { 2, L, EXCLUSIVE, SQLITE_BUSY_SNAPSHOT, SHARED },
  { 0, U, NONE,      SQLITE_OK,   NONE },
  { 0, L, SHARED,    SQLITE_OK,   SHARED },
  { 0, L, RESERVED,  SQLITE_OK,   RESERVED },
  { 0, L, PENDING,   SQLITE_OK,   PENDING },
  { 0, L, EXCLUSIVE, SQLITE_OK,   EXCLUSIVE },
  { 0, U, NONE,      SQLITE_OK,   NONE },
  { 2, U, NONE,      SQLITE_OK,   NONE },
};

static void locks(void){
  sqlite3_file *a[3];
  int i, reserved;
  for(i=0; i<3; i++) a[i] = openFile("", SQLITE_OPEN_MAIN_DB);
  for(i=0; i<(int)(sizeof(aLock)/sizeof(*aLock)); i++){
    sqlite3_file *p = a[aLock[i].who];
    int rc = SQLITE_OK;
    switch( aLock[i].op ){
      case L: rc = lock(p, aLock[i].level); break;
      case U: rc = unlock(p, aLock[i].level); break;
      case COMMIT: rc = put(p, i, 4096, 0); if( rc==SQLITE_OK ) rc = commit(p); break;
    }
    if( rc!=aLock[i].rc || ((MemFile*)p)->eLock!=aLock[i].after ){
      DIE("row %d: result %d, want %d; lock %d, want %d", i, rc, aLock[i].rc, ((MemFile*)p)->eLock, aLock[i].after);
    }
    /* A journal beside it is never hot. */
    CHECK( p->pMethods->xCheckReservedLock(p, &reserved)==SQLITE_OK && reserved );
  }
  /* Without RESERVED nothing is written, whatever is asked. */
  CHECK( put(a[0], 1, 4096, 0)==SQLITE_IOERR_WRITE );
  CHECK( a[0]->pMethods->xTruncate(a[0], 0)==SQLITE_IOERR_TRUNCATE );
  CHECK( lock(a[0], SHARED)==SQLITE_OK && put(a[0], 1, 4096, 0)==SQLITE_IOERR_WRITE && unlock(a[0], NONE)==SQLITE_OK );
  /* Closing gives up every lock, and what was not committed. */
  begin(a[1]);
  CHECK( put(a[1], 9, 4096, 4096)==SQLITE_OK );
  for(i=1; i<3; i++) closeFile(a[i]);
  begin(a[0]);
  CHECK( size(a[0])==4096 );
  closeFile(a[0]);
}

/* ---- Reading, growing, cutting, at every page size ---- */

static void pages(int nPage){
  sqlite3_file *p = openFile("", SQLITE_OPEN_MAIN_DB), *old = openFile("", SQLITE_OPEN_MAIN_DB);
  void *a = 0, *b = 0;
  unsigned char *copy = malloc((size_t)nPage);
  int i;

  /* Growth, over a gap of pages that were never written. */
  begin(p);
  CHECK( size(p)==0 && get(p, 0, 0, 100, 0)==SQLITE_IOERR_SHORT_READ );
  CHECK( put(p, 1, nPage, 0)==SQLITE_OK );
  CHECK( put(p, 5, nPage, 4*(sqlite3_int64)nPage)==SQLITE_OK );
  CHECK( size(p)==5*(sqlite3_int64)nPage );
  CHECK( get(p, 0, 0, nPage, nPage)==SQLITE_OK );      /* The gap is zeros */
  CHECK( lock(old, SHARED)==SQLITE_OK && size(old)==0 );   /* Nobody else sees it */
  CHECK( commit(p)==SQLITE_OK && unlock(p, NONE)==SQLITE_OK );
  CHECK( size(old)==0 && unlock(old, NONE)==SQLITE_OK );

  const struct { int nSet, n; sqlite3_int64 iOfst; int rc; } aRead[] = {
    { nPage,   nPage,   4*(sqlite3_int64)nPage,     SQLITE_OK },
    { 16,      16,      4*(sqlite3_int64)nPage+24,  SQLITE_OK },      /* The change counter's place, of another page */
    { 1,       1,       5*(sqlite3_int64)nPage-1,   SQLITE_OK },
    { 1,       2,       5*(sqlite3_int64)nPage-1,   SQLITE_IOERR_SHORT_READ },
    { nPage-8, nPage,   4*(sqlite3_int64)nPage+8,   SQLITE_IOERR_SHORT_READ },
    { 0,       nPage,   5*(sqlite3_int64)nPage,     SQLITE_IOERR_SHORT_READ },
    { 0,       100,     99*(sqlite3_int64)nPage,    SQLITE_IOERR_SHORT_READ },
    { nPage,   2*nPage, 4*(sqlite3_int64)nPage,     SQLITE_IOERR_SHORT_READ },
    { 0,       2*nPage, 1*(sqlite3_int64)nPage,     SQLITE_OK },      /* Over two pages */
  };
  CHECK( lock(old, SHARED)==SQLITE_OK && size(old)==5*(sqlite3_int64)nPage );
  for(i=0; i<(int)(sizeof(aRead)/sizeof(*aRead)); i++){
    CHECK( get(old, 5, aRead[i].nSet, aRead[i].n, aRead[i].iOfst)==aRead[i].rc );
  }

  /* A page that is handed out stays as it is while the lock is held. */
  CHECK( old->pMethods->xFetch(old, 4*(sqlite3_int64)nPage, nPage, &a)==SQLITE_OK && a );
  memcpy(copy, a, (size_t)nPage);
  CHECK( old->pMethods->xFetch(old, 5*(sqlite3_int64)nPage, nPage, &b)==SQLITE_OK && b==0 );
  CHECK( old->pMethods->xFetch(old, 8, nPage, &b)==SQLITE_OK && b==0 );
  CHECK( old->pMethods->xFetch(old, nPage, 2*nPage, &b)==SQLITE_OK && b==0 );

  /* Cutting, on a page and in the middle of one, and growing again: what was
  ** cut off does not come back. */
  for(i=0; i<2; i++){
    sqlite3_int64 nCut = i ? 2*(sqlite3_int64)nPage : 4*(sqlite3_int64)nPage + (nPage>512 ? nPage/2 : 0);
    begin(p);
    CHECK( put(p, 7, nPage, 3*(sqlite3_int64)nPage)==SQLITE_OK );
    CHECK( put(p, 7, nPage, 4*(sqlite3_int64)nPage)==SQLITE_OK );
    CHECK( p->pMethods->xTruncate(p, nCut+1)==SQLITE_IOERR_TRUNCATE );     /* Never asked for */
    CHECK( p->pMethods->xTruncate(p, nCut)==SQLITE_OK && size(p)==nCut );
    CHECK( p->pMethods->xTruncate(p, 9*(sqlite3_int64)nPage)==SQLITE_OK && size(p)==nCut );   /* Only ever less */
    CHECK( put(p, 6, nPage, 6*(sqlite3_int64)nPage)==SQLITE_OK && size(p)==7*(sqlite3_int64)nPage );
    CHECK( get(p, 0, 0, (int)(5*(sqlite3_int64)nPage-nCut), nCut)==SQLITE_OK );
    CHECK( get(old, 5, nPage, nPage, 4*(sqlite3_int64)nPage)==SQLITE_OK && size(old)==5*(sqlite3_int64)nPage );
    if( i==0 ){
      CHECK( unlock(p, NONE)==SQLITE_OK );           /* A rollback */
      begin(p);
      CHECK( size(p)==5*(sqlite3_int64)nPage && get(p, 5, nPage, nPage, 4*(sqlite3_int64)nPage)==SQLITE_OK );
    }else{
      CHECK( commit(p)==SQLITE_OK );
    }
    CHECK( unlock(p, NONE)==SQLITE_OK );
  }
  CHECK( memcmp(a, copy, (size_t)nPage)==0 );
  CHECK( old->pMethods->xUnfetch(old, 4*(sqlite3_int64)nPage, a)==SQLITE_OK );
  CHECK( unlock(old, NONE)==SQLITE_OK && lock(old, SHARED)==SQLITE_OK );
  CHECK( size(old)==7*(sqlite3_int64)nPage && get(old, 6, nPage, nPage, 6*(sqlite3_int64)nPage)==SQLITE_OK );
  CHECK( get(old, 0, 0, nPage, 4*(sqlite3_int64)nPage)==SQLITE_OK );
  closeFile(old);
  closeFile(p);
  free(copy);
}

/* ---- The rest ---- */

static void others(void){
  sqlite3_file *p = openFile("", SQLITE_OPEN_MAIN_DB), *j;
  int there = 9, flags;
  sqlite3 *db;
  char z[700], zOut[700];
  CHECK( p->pMethods->iVersion>=3 && p->pMethods->xShmMap==0 );   /* No WAL mode */
  CHECK( p->pMethods->xSectorSize(p)==512 );
  flags = p->pMethods->xDeviceCharacteristics(p);
  CHECK( flags & SQLITE_IOCAP_POWERSAFE_OVERWRITE );              /* A commit is all or nothing */
  CHECK( !(flags & (SQLITE_IOCAP_IMMUTABLE|SQLITE_IOCAP_ATOMIC|SQLITE_IOCAP_BATCH_ATOMIC)) );
  CHECK( p->pMethods->xSync(p, SQLITE_SYNC_FULL)==SQLITE_OK );
  CHECK( p->pMethods->xFileControl(p, 12345, 0)==SQLITE_NOTFOUND );

  /* A journal is its connection's alone, and nobody finds it. */
  CHECK( sqlite3_open_v2(zPath, &db, SQLITE_OPEN_READWRITE, MEMVFS_NAME)==SQLITE_OK );
  j = openJournal(db);
  CHECK( put(j, 3, 100, 50)==SQLITE_OK && size(j)==150 );
  CHECK( get(j, 0, 0, 50, 0)==SQLITE_OK && get(j, 3, 100, 100, 50)==SQLITE_OK );
  CHECK( get(j, 3, 10, 20, 140)==SQLITE_IOERR_SHORT_READ && get(j, 0, 0, 20, 1000)==SQLITE_IOERR_SHORT_READ );
  CHECK( j->pMethods->xTruncate(j, 60)==SQLITE_OK && size(j)==60 );
  CHECK( put(j, 4, 1, 79)==SQLITE_OK && get(j, 0, 0, 19, 60)==SQLITE_OK && size(j)==80 );
  snprintf(z, sizeof(z), "%s-journal", zPath);
  CHECK( vfs->xAccess(vfs, z, SQLITE_ACCESS_EXISTS, &there)==SQLITE_OK && there==0 );
  CHECK( vfs->xDelete(vfs, z, 1)==SQLITE_OK && size(j)==80 );
  /* The end of a commit in journal_mode=PERSIST, behind a long journal: it needs
  ** no memory, as it must not fail. */
  CHECK( put(j, 5, 300<<10, 0)==SQLITE_OK );
  memvfs_fail_alloc(1, 1);
  CHECK( put(j, 0, 28, 0)==SQLITE_OK && size(j)==28 );
  memvfs_fail_alloc(0, 0);
  closeFile(j);
  j = openJournal(db);
  CHECK( size(j)==0 );
  closeFile(j);
  CHECK( sqlite3_close(db)==SQLITE_OK );
  CHECK( vfs->xFullPathname(vfs, zPath, sizeof(zOut), zOut)==SQLITE_OK && strcmp(zOut, zPath)==0 );
  closeFile(p);
}

void conformRun(void){
  memvfs_store *s;
  int n;
  vfs = sqlite3_vfs_find(MEMVFS_NAME);
  snprintf(zPath, sizeof(zPath), "%s/conform.db", zDir);
  for(n=512; n<=65536; n*=2){
    s = storeNew("conform.db", 0);
    pages(n);
    storeEnd(s);
  }
  s = storeNew("conform.db", 0);
  locks();
  others();
  storeEnd(s);
}
