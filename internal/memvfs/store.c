/*
** The life of a store: its name, its load, its counters, and snapshots.
*/
#include "engine.h"

/*
** The names of stores. xAccess looks them up at every SHARED lock, so they are read
** without a lock. Names are only added in front and never freed. A store that is
** created again reuses its name. The cost is one Name for each database that the
** process has ever opened. A hash table keeps the lookup short.
*/
#define NHASH 256
struct Name {
  Name *pNext;                      /* Fixed */
  int n;                            /* Fixed */
  _Atomic(memvfs_store*) pStore;    /* NULL: there is no such store. Set under memvfsNamesMutex */
  char z[];                         /* Fixed */
};
static _Atomic(Name*) aName[NHASH];

/* SQLite's own static mutex for the VFSs of applications. */
sqlite3_mutex *memvfsNamesMutex(void){
  return sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_VFS3);
}

static _Atomic(Name*) *nameHead(const char *z, int n){
  uint64_t h = (uint64_t)n, x;
  for(; n>0; n-=8, z+=8){
    x = 0;
    memcpy(&x, z, n<8 ? (size_t)n : 8);
    h = (h ^ x)*0x9e3779b97f4a7c15u;   /* The golden ratio; any odd number would do */
    h ^= h>>32;
  }
  return &aName[h%NHASH];
}

static Name *nameFind(const char *z, int n){
  Name *p;
  for(p=atomic_load(nameHead(z, n)); p; p=p->pNext){
    if( p->n==n && memcmp(p->z, z, n)==0 ) return p;
  }
  return 0;
}

static int isSuffix(const char *z){
  return strcmp(z, "-wal")==0 || strcmp(z, "-journal")==0;
}

/*
** True if z is the name of the log or the journal of a store. SQLite keeps the string
** for the life of a connection, so its address mostly identifies the store. The last
** name that was found for the address is tried first.
*/
int memvfsIsCompanion(const char *z){
  static _Atomic(Name*) aLast[64];
  _Atomic(Name*) *ppLast = &aLast[(uintptr_t)z/64%64];
  Name *p = atomic_load(ppLast);
  if( p==0 || strncmp(z, p->z, p->n)!=0 || !isSuffix(z+p->n) ){
    const char *zEnd = strrchr(z, '-');
    if( zEnd==0 || !isSuffix(zEnd) ) return 0;
    p = nameFind(z, (int)(zEnd-z));
    if( p==0 ) return 0;
    atomic_store(ppLast, p);
  }
  return atomic_load(&p->pStore)!=0;
}

/* ---- Life ---- */

int memvfs_store_create(const char *zName, uint64_t mxByte, uintptr_t owner, memvfs_store **ppStore){
  static _Atomic(int64_t) lastNumber;
  int n = (int)strlen(zName), rc = SQLITE_NOMEM;
  sqlite3_mutex *mutex = memvfsNamesMutex();
  memvfs_store *s = memvfsMalloc(sizeof(*s));
  Name *pName;
  *ppStore = 0;
  if( s==0 ) return SQLITE_NOMEM;
  s->mxByte = mxByte;
  s->owner = owner;
  s->number = atomic_fetch_add(&lastNumber, 1) + 1;
  atomic_store(&s->loading, owner!=0);
  s->epoch = 1;               /* 0 stands for none in Reader.pin */
  s->era = 1;                 /* and in Reader.walk */
  s->mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
  /* Any page size will do until the first write sets it. */
  atomic_store(&s->pTable, memvfsTableNew(s, 4096, 0));
  if( s->mutex==0 || atomic_load(&s->pTable)==0 ) goto fail;

  sqlite3_mutex_enter(mutex);
  pName = nameFind(zName, n);
  if( pName==0 && (pName = memvfsMalloc(sizeof(*pName)+n+1))!=0 ){
    _Atomic(Name*) *pp = nameHead(zName, n);
    memcpy(pName->z, zName, n+1);
    pName->n = n;
    pName->pNext = atomic_load(pp);
    atomic_store(pp, pName);
  }
  if( pName ){
    rc = SQLITE_MISUSE;
    if( memvfsDiskAttached(zName) ){
      rc = SQLITE_BUSY;   /* The store would take the journal of that file for its own */
    }else if( atomic_load(&pName->pStore)==0 ){
      s->pName = pName;
      atomic_store(&pName->pStore, s);
      rc = SQLITE_OK;
    }
  }
  sqlite3_mutex_leave(mutex);
  if( rc==SQLITE_OK ){
    *ppStore = s;
    return SQLITE_OK;
  }
fail:
  if( atomic_load(&s->pTable) ) memvfsTableFree(atomic_load(&s->pTable));
  sqlite3_mutex_free(s->mutex);
  memvfsFree(s);
  return rc;
}

/* Frees tables linked by pOlder. */
static void freeTables(Table *t){
  Table *pOlder;
  for(; t; t=pOlder){
    pOlder = atomic_load(&t->pOlder);
    memvfsTableFree(t);
  }
}

int memvfs_store_destroy(memvfs_store *s){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  int busy;
  sqlite3_mutex_enter(mutex);
  memvfsEnter(s);
  busy = s->nReader>0;
  if( !busy ) atomic_store(&s->pName->pStore, 0);
  memvfsLeave(s);
  sqlite3_mutex_leave(mutex);
  if( busy ) return SQLITE_BUSY;
  freeTables(atomic_load(&s->pTable));
  freeTables(s->pDoomed);
  sqlite3_mutex_free(s->mutex);
  memvfsFree(s->aPin);
  memvfsFree(s->aChanged);
  memvfsFree(s);
  return SQLITE_OK;
}

int64_t memvfs_store_number(const memvfs_store *s){
  return s->number;
}

int memvfsHasStore(const char *z){
  Name *p = nameFind(z, (int)strlen(z));
  return p && atomic_load(&p->pStore)!=0;
}

/*
** Opens a file of the store of the name z, with that number unless it is 0.
** SQLITE_NOTFOUND: there is no such store. SQLITE_BUSY: it is being loaded.
*/
int memvfsOpen(const char *z, int64_t number, MemFile *f){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  Name *pName;
  int rc = SQLITE_NOTFOUND;
  memset(f, 0, sizeof(*f));
  sqlite3_mutex_enter(mutex);    /* So the store is not destroyed before it has the reader */
  pName = nameFind(z, (int)strlen(z));
  if( pName ) f->pStore = atomic_load(&pName->pStore);
  if( f->pStore && (number==0 || number==f->pStore->number) ){
    rc = atomic_load(&f->pStore->loading) ? SQLITE_BUSY : memvfsReaderAdd(f->pStore, &f->reader);
  }
  sqlite3_mutex_leave(mutex);
  return rc;
}

void memvfsClose(MemFile *f){
  memvfsReaderRemove(f->pStore, &f->reader);
}

/* ---- Loading ---- */

int memvfs_load_begin(memvfs_store *s, uint32_t nBlock, uint64_t nByte){
  Table *t;
  if( nBlock<512 || nBlock>65536 || (nBlock & (nBlock-1)) ) return SQLITE_MISUSE;
  if( nByte/SECTOR>UINT32_MAX ) return SQLITE_FULL;
  t = memvfsTableNew(s, nBlock, 0);
  if( t==0 ) return SQLITE_NOMEM;
  memvfsTableFree(atomic_load(&s->pTable));
  atomic_store(&s->pTable, t);
  s->nLoad = 0;
  s->mxLoad = nByte;
  return SQLITE_OK;
}

int memvfs_load_next(memvfs_store *s, size_t nMax, void **pp, size_t *pn){
  Table *t = atomic_load(&s->pTable);
  int64_t i, n = nMax/t->nBlock, nLeft = (s->mxLoad-s->nLoad)/t->nBlock;
  uint32_t pgno = (uint32_t)(s->nLoad/t->nBlock);
  Version *v;
  if( n>nLeft ) n = nLeft;
  if( n<=0 ) return SQLITE_MISUSE;
  v = memvfsPageRun(t, &n);
  if( v==0 ) return SQLITE_NOMEM;
  for(i=0; i<n; i++){
    Slot *pSlot = memvfsSlotMake(t, ++pgno);
    if( pSlot==0 ) return SQLITE_NOMEM;
    v[i].birth = 1;
    v[i].pgno = pgno;
    atomic_store_explicit(pSlot, &v[i], memory_order_relaxed);
  }
  *pp = v->aData;
  *pn = (size_t)n*t->nBlock;
  s->nLoad += *pn;
  return SQLITE_OK;
}

void memvfs_load_end(memvfs_store *s){
  Version *v = 0;
  Slot *pSlot = memvfsSlot(atomic_load(&s->pTable), 1);
  if( pSlot ) v = atomic_load(pSlot);
  if( v ){
    v->nSector = (uint32_t)(s->nLoad/SECTOR);
    memvfsNoteSeen(s, v);
  }
  atomic_store(&s->loading, 0);
}

/* ---- Counters ---- */

/*
** The page size of the database whose page 1 begins with a. It is the block size,
** except if repage() had no memory, or if the header is not SQLite's.
*/
static uint32_t pageSize(const unsigned char *a, Table *t){
  uint32_t n = memvfsHeaderPageSize(a);
  return n ? n : t->nBlock;
}

void memvfs_store_drain(memvfs_store *s){
  memvfsEnter(s);
  while( memvfsReclaim(s, PIECE) ) memvfsPause(s);
  memvfsLeave(s);
}

uint64_t memvfs_store_epoch(memvfs_store *s){
  return atomic_load(&s->epoch);
}

void memvfs_store_stats(memvfs_store *s, memvfs_stats *p){
  Reader *r;
  int64_t nOldest = 0;
  Table *t;
  Version *v = 0;
  Slot *pSlot;
  int64_t nGone;
  memvfsEnter(s);
  t = atomic_load(&s->pTable);
  p->epoch = atomic_load(&s->epoch);
  /* Under [m] no version is unlinked or freed, so the chain can be walked. */
  if( (pSlot = memvfsSlot(t, 1))!=0 ) v = atomic_load(pSlot);
  while( v && v->birth>p->epoch ) v = atomic_load(&v->pOlder);
  p->size = v ? (uint64_t)v->nSector*SECTOR : 0;
  p->pageSize = p->size ? pageSize(v->aData, t) : 0;
  nGone = t->retired.n + t->limbo.n + t->nHeld;
  p->liveBytes = (uint64_t)(t->nUsed-nGone)*t->nBlock;
  p->heldBytes = (uint64_t)nGone*t->nBlock;
  p->freeBytes = (uint64_t)t->nWarm*t->nBlock;
  p->heldBytes += memvfsTableBytes(atomic_load(&t->pOlder)) + memvfsTableBytes(s->pDoomed);
  for(r=s->pReader; r; r=r->pNext){
    int64_t since = atomic_load_explicit(&r->since, memory_order_relaxed);
    if( since && (nOldest==0 || since<nOldest) ) nOldest = since;
  }
  p->nFile = s->nReader;
  memvfsLeave(s);
  p->oldestReader = nOldest ? memvfsNow()-nOldest : 0;
  /* The clock ticks every few milliseconds, and 0 means that there is no reader. */
  if( nOldest && p->oldestReader==0 ) p->oldestReader = 1;
}

/* ---- Snapshots ---- */

/* A new snapshot without a pin; NULL: out of memory. */
static memvfs_snapshot *snapshotNew(memvfs_store *s){
  memvfs_snapshot *p = memvfsMalloc(sizeof(*p));
  if( p==0 ) return 0;
  p->pStore = s;
  if( memvfsReaderAdd(s, &p->reader)!=SQLITE_OK ){
    memvfsFree(p);
    return 0;
  }
  return p;
}

static void snapshotFree(memvfs_snapshot *p){
  memvfsReaderRemove(p->pStore, &p->reader);
  memvfsFree(p);
}

memvfs_snapshot *memvfs_snapshot_open(memvfs_store *s){
  memvfs_snapshot *p = snapshotNew(s);
  if( p ) memvfsReaderBegin(s, &p->reader);
  return p;
}

void memvfs_store_track(memvfs_store *s){
  atomic_store(&s->track, 1);
}

int memvfs_snapshot_changes(
  memvfs_store *s,
  uint64_t *aWord, size_t nWord, size_t *pnWord,
  int *pAll,
  memvfs_snapshot **pp
){
  memvfs_snapshot *p = snapshotNew(s);
  int rc = SQLITE_OK;
  *pp = 0;
  if( p==0 ) return SQLITE_NOMEM;
  /* The noted pages and the pinned epoch belong together, because a commit is
  ** published under the mutex. */
  memvfsEnter(s);
  *pnWord = s->nChanged;
  if( s->noting ){
    rc = SQLITE_BUSY;
  }else if( nWord<s->nChanged ){
    rc = SQLITE_TOOBIG;
  }else{
    memvfsReaderBegin(s, &p->reader);
    for(size_t i=0; i<s->nChanged; i++) aWord[i] |= s->aChanged[i];
    if( s->nChanged ) memset(s->aChanged, 0, s->nChanged*sizeof(*s->aChanged));
    *pAll |= s->changedAll;
    s->changedAll = 0;
  }
  memvfsLeave(s);
  if( rc==SQLITE_OK ) *pp = p; else snapshotFree(p);
  return rc;
}

uint64_t memvfs_snapshot_epoch(const memvfs_snapshot *p){
  return p->reader.epoch;
}

uint64_t memvfs_snapshot_size(const memvfs_snapshot *p){
  return (uint64_t)p->reader.nSector*SECTOR;
}

uint32_t memvfs_snapshot_page_size(memvfs_snapshot *p){
  unsigned char a[18];
  memvfsReadAt(&p->reader, p->reader.epoch, a, sizeof(a), 0);
  return pageSize(a, p->reader.pTable);
}

void memvfs_snapshot_read(memvfs_snapshot *p, void *pBuf, size_t n, uint64_t iOfst){
  memvfsReadAt(&p->reader, p->reader.epoch, pBuf, n, iOfst);
}

void memvfs_snapshot_close(memvfs_snapshot *p){
  memvfsReaderEnd(&p->reader);
  snapshotFree(p);
}
