/*
** Tables of slots, chains of versions, readers, and the freeing of versions that
** no reader needs. engine.h explains how they work together.
*/
#include "engine.h"
#include <time.h>
#ifdef _WIN32
# include <windows.h>
#else
# include <sched.h>
#endif

/*
** Milliseconds of a monotonic clock. It is read at every SHARED lock, so it is the
** system's coarse clock if there is one.
*/
int64_t memvfsNow(void){
#if defined(_WIN32)
  return (int64_t)GetTickCount64() + 1;
#else
  struct timespec t;
# if defined(CLOCK_MONOTONIC_COARSE)
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
# else
  clock_gettime(CLOCK_MONOTONIC, &t);
# endif
  return (int64_t)t.tv_sec*1000 + t.tv_nsec/1000000 + 1;
#endif
}

/* ---- Lists ---- */

void memvfsListInit(List *p){
  p->pHead = 0;
  p->ppTail = &p->pHead;
  p->n = 0;
}

static void listAppend(List *p, Version *v){
  v->pNext = 0;
  *p->ppTail = v;
  p->ppTail = &v->pNext;
  p->n++;
}

static Version *listPop(List *p){
  Version *v = p->pHead;
  p->pHead = v->pNext;
  if( p->pHead==0 ) p->ppTail = &p->pHead;
  p->n--;
  v->pNext = 0;
  return v;
}

/* Moves all versions of pFrom to the end of p. */
void memvfsListMove(List *p, List *pFrom){
  if( pFrom->pHead==0 ) return;
  *p->ppTail = pFrom->pHead;
  p->ppTail = pFrom->ppTail;
  p->n += pFrom->n;
  memvfsListInit(pFrom);
}

/* ---- The mutex ---- */

void memvfsEnter(memvfs_store *s){
  if( sqlite3_mutex_try(s->mutex)!=SQLITE_OK ){
    atomic_fetch_add(&s->nWaiting, 1);
    sqlite3_mutex_enter(s->mutex);
    atomic_fetch_sub(&s->nWaiting, 1);
  }
}

void memvfsLeave(memvfs_store *s){
  sqlite3_mutex_leave(s->mutex);
}

/*
** Passes the mutex to waiters. Leave and enter would not do that: the running thread
** gets the mutex before a thread that has to be woken.
*/
void memvfsPause(memvfs_store *s){
  int i;
  memvfsLeave(s);
  for(i=0; i<PATIENCE && atomic_load(&s->nWaiting)>0; i++){
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
  }
  memvfsEnter(s);
}

/* ---- Tables ---- */

Table *memvfsTableNew(memvfs_store *s, uint32_t nBlock, uint64_t birth){
  Table *t = memvfsMalloc(sizeof(*t));
  if( t==0 ) return 0;
  t->pStore = s;
  t->nBlock = nBlock;
  t->birth = birth;
  memvfsListInit(&t->retired);
  memvfsListInit(&t->limbo);
  return t;
}

/* Takes the versions of t out of its lists, and frees what is in no slab. */
static void unlist(Table *t){
  Bucket *b;
  while( (b = t->pBucket)!=0 ){
    t->pBucket = b->pNext;
    memvfsFree(b);
  }
  t->nHeld = 0;
  memvfsListInit(&t->retired);
  memvfsListInit(&t->limbo);
  for(int i=0; i<NSEGMENT; i++) memvfsFree((void*)atomic_exchange(&t->aSeg[i], 0));
}

/* Frees the table and every version in it. No reader may be using them. */
void memvfsTableFree(Table *t){
  int64_t nAll = INT64_MAX;
  unlist(t);
  memvfsSlabFreeSome(t, &nAll);
  memvfsFree(t);
}

/* Bytes of the versions in t and in the tables linked by pOlder. [m] */
uint64_t memvfsTableBytes(Table *t){
  uint64_t n = 0;
  for(; t; t=atomic_load(&t->pOlder)) n += (uint64_t)t->nUsed*t->nBlock;
  return n;
}

/*
** Segments double in size, so that a table grows without moving slots, which readers
** may be using.
*/
static int segmentOf(uint32_t pgno, uint32_t *pi, uint32_t *pn){
  uint32_t i = pgno-1, j = i/SEGMENT0;
  int k;
  if( j==0 ){ *pi = i; *pn = SEGMENT0; return 0; }
  k = 32 - __builtin_clz(j);
  *pn = (uint32_t)SEGMENT0 << (k-1);
  *pi = i - *pn;
  return k;
}

Slot *memvfsSlot(Table *t, uint32_t pgno){
  uint32_t i, n;
  int k = segmentOf(pgno, &i, &n);
  /* Acquire: the zeros of calloc are visible too. */
  Slot *a = atomic_load_explicit(&t->aSeg[k], memory_order_acquire);
  return a ? &a[i] : 0;
}

Slot *memvfsSlotMake(Table *t, uint32_t pgno){
  uint32_t i, n;
  int k = segmentOf(pgno, &i, &n);
  Slot *a = atomic_load_explicit(&t->aSeg[k], memory_order_relaxed);
  if( a==0 ){
    a = memvfsMalloc((size_t)n*sizeof(Slot));
    if( a==0 ) return 0;
    atomic_store_explicit(&t->aSeg[k], a, memory_order_release);
  }
  return &a[i];
}

/* ---- Readers ---- */

/* Adds a reader to the store. SQLITE_NOMEM: nothing has changed. */
int memvfsReaderAdd(memvfs_store *s, Reader *r){
  int rc = SQLITE_OK;
  memvfsEnter(s);
  if( 2*s->nReader==s->nPinAlloc ){   /* Two pins each */
    int n = s->nPinAlloc ? 2*s->nPinAlloc : 32;
    uint64_t *a = memvfsMalloc(n*sizeof(*a));
    if( a==0 ){
      rc = SQLITE_NOMEM;
    }else{
      memvfsFree(s->aPin);
      s->aPin = a;
      s->nPinAlloc = n;
    }
  }
  if( rc==SQLITE_OK ){
    r->pPrev = 0;
    r->pNext = s->pReader;
    if( r->pNext ) r->pNext->pPrev = r;
    s->pReader = r;
    s->nReader++;
  }
  memvfsLeave(s);
  return rc;
}

void memvfsReaderRemove(memvfs_store *s, Reader *r){
  memvfsEnter(s);
  if( r->pPrev ) r->pPrev->pNext = r->pNext; else s->pReader = r->pNext;
  if( r->pNext ) r->pNext->pPrev = r->pPrev;
  s->nReader--;
  memvfsLeave(s);
}

/*
** Pins the last commit.
**
** No version that this reader needs is freed. memvfsReclaim frees only versions
** superseded by a commit whose epoch is stored already. It reads the pins after
** that. If it does not see this pin, the pin was stored later. Then the second load
** here sees an epoch that is at least as new, and a pin that is too old is replaced.
*/
void memvfsReaderBegin(memvfs_store *s, Reader *r){
  uint64_t e = atomic_load(&s->epoch), e2;
  Table *t;
  /* Relaxed: only the statistics read it. */
  atomic_store_explicit(&r->since, memvfsNow(), memory_order_relaxed);
  for(;;){
    memvfsStressPoint(10);
    atomic_store(&r->pin, e);
    memvfsStressPoint(10);
    e2 = atomic_load(&s->epoch);
    if( e2==e || MEMVFS_PLANT==3 ) break;
    e = e2;
  }
  r->epoch = e;
  memvfsStressPoint(10);
  /* A table is published before the epoch of its first commit. An older one is not
  ** freed while a pin is before that epoch. So the walk ends at the table of e. The
  ** tables on the way may be empty: see emptyTables. */
  t = atomic_load(&s->pTable);
  while( t->birth>e ){
    memvfsStressPoint(10);
    t = atomic_load(&t->pOlder);
  }
  r->pTable = t;
  r->pFirst = memvfsFind(r, t, 1, e);
  r->nSector = r->pFirst ? r->pFirst->nSector : 0;
}

/* Ends the pin. Writers, and memvfs_store_drain, free what it held. */
void memvfsReaderEnd(Reader *r){
  atomic_store(&r->pin, 0);
  if( atomic_load_explicit(&r->pinOwn, memory_order_relaxed) ) atomic_store(&r->pinOwn, 0);
  atomic_store_explicit(&r->since, 0, memory_order_relaxed);
  r->epoch = 0;
  r->pTable = 0;
  r->pFirst = 0;
}

/*
** The version of a page as of an epoch; NULL: there is none, and the page is zero.
** r has pinned the epoch, or is the writer and makes it. The returned version stays
** until the pin ends. The versions passed in the walk stay until the walk ends:
**
** memvfsReclaim first unlinks a version, then raises the era, then reads the walks.
** If it does not see this walk, the walk was stored after that. Then the load of the
** slot below comes after the unlinking and does not find the version. If it sees the
** walk, the version stays in limbo. It stays until the walk is over, or until a walk
** of a later era has taken the walk's place.
*/
Version *memvfsFind(Reader *r, Table *t, uint32_t pgno, uint64_t epoch){
  Slot *pSlot = memvfsSlot(t, pgno);
  Version *v;
  if( pSlot==0 ) return 0;
  atomic_store(&r->walk, atomic_load(&t->pStore->era));
  memvfsStressPoint(500);
  v = atomic_load(pSlot);
  memvfsStressPoint(500);
  while( v && v->birth>epoch ){
    v = atomic_load(&v->pOlder);
    memvfsStressPoint(500);
  }
  /* Release: the reads of the walk come before its end. */
  atomic_store_explicit(&r->walk, 0, memory_order_release);
  return v;
}

/* Copies n bytes as of an epoch. Bytes past the end, or never written, are zero. */
void memvfsReadAt(Reader *r, uint64_t epoch, unsigned char *a, size_t n, uint64_t iOfst){
  Table *t = r->pTable;
  uint64_t nByte = (uint64_t)r->nSector*SECTOR;
  while( n>0 ){
    uint32_t off = iOfst & (t->nBlock-1);
    size_t m = t->nBlock - off;
    Version *v = 0;
    if( m>n ) m = n;
    if( iOfst<nByte ){
      uint32_t pgno = (uint32_t)(iOfst/t->nBlock)+1;
      if( m>nByte-iOfst ) m = nByte-iOfst;
      v = pgno==1 && epoch==r->epoch ? r->pFirst : memvfsFind(r, t, pgno, epoch);
    }
    if( v ) memcpy(a, v->aData+off, m); else memset(a, 0, m);
    a += m;
    iOfst += m;
    n -= m;
  }
}

/* ---- Freeing ---- */

/* The commit of epoch end has superseded v, or cut it off. */
void memvfsRetire(List *p, Version *v, uint64_t end){
  v->end = end;
  listAppend(p, v);
}

/* Unlinks v from its chain and puts it into limbo, as walks may still be on it. */
void memvfsUnlink(Table *t, Version *v){
  Version *pOlder = atomic_load(&v->pOlder);
  if( v->pNewer ){
    atomic_store(&v->pNewer->pOlder, pOlder);
  }else{
    atomic_store(memvfsSlot(t, v->pgno), pOlder);
  }
  if( pOlder ) pOlder->pNewer = v->pNewer;
  v->end = atomic_load(&t->pStore->era) + 1;
  listAppend(&t->limbo, v);
}

/* Begins the era with which memvfsUnlink marks the versions in limbo. */
void memvfsEra(memvfs_store *s){
  atomic_fetch_add(&s->era, 1);
}

static int pinCompare(const void *a, const void *b){
  uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return x<y ? -1 : x>y;
}

/* The oldest pin in [birth, end), 0: none. */
static uint64_t pinWithin(const uint64_t *a, int n, uint64_t birth, uint64_t end){
  int lo = 0, hi = n;
  while( lo<hi ){
    int m = (lo+hi)/2;
    if( a[m]<birth ) lo = m+1; else hi = m;
  }
  return lo<n && a[lo]<end ? a[lo] : 0;
}

/* Puts v into the bucket of a pin. False: out of memory for the bucket. */
static int hold(Table *t, Version *v, uint64_t pin){
  Bucket *b;
  for(b=t->pBucket; b && b->pin!=pin; b=b->pNext){}
  if( b==0 ){
    b = memvfsMalloc(sizeof(*b));
    if( b==0 ) return 0;
    b->pin = pin;
    memvfsListInit(&b->list);
    b->pNext = t->pBucket;
    t->pBucket = b;
  }
  listAppend(&b->list, v);
  t->nHeld++;
  return 1;
}

/*
** Checks up to *pnBudget superseded versions and unlinks those that no pin needs. It
** subtracts the checked versions from *pnBudget. False: out of memory for a bucket.
*/
static int reclaimTable(Table *t, const uint64_t *aPin, int nPin, int *pnBudget, int *pnUnlinked){
  Bucket **pp, *b;
  uint64_t pin;

  /* If the reader of a bucket has ended, its versions are checked again. */
  for(pp=&t->pBucket; (b = *pp)!=0; ){
    if( pinWithin(aPin, nPin, b->pin, b->pin+1) ){
      pp = &b->pNext;
    }else{
      t->nHeld -= b->list.n;
      memvfsListMove(&t->retired, &b->list);
      *pp = b->pNext;
      memvfsFree(b);
    }
  }

  for(; t->retired.pHead && *pnBudget>0; (*pnBudget)--){
    Version *v = listPop(&t->retired);
    /* Readers of before the table do not need it, whatever the version says. */
    uint64_t birth = v->birth>t->birth ? v->birth : t->birth;
    pin = pinWithin(aPin, nPin, birth + (MEMVFS_PLANT==1), v->end);
    if( pin==0 ){
      memvfsUnlink(t, v);
      (*pnUnlinked)++;
    }else if( !hold(t, v, pin) ){
      listAppend(&t->retired, v);
      return 0;
    }
  }
  return 1;
}

/*
** Frees the tables that no reader reads, but for the newest. A table is read at the
** epochs from its birth up to, not including, the birth of the next one.
**
** A table without a pin in that range is empty from then on. No reader gets into it
** later. Its range has ended: the next table has been published, and the epoch of that
** was stored, before the pins were read here. So a reader whose pin was not seen loads
** an epoch past the range after it has stored its pin, and pins that instead: see
** memvfsReaderBegin. A reader that has left the table has also ended its walks in it,
** before it cleared its pin. So no version there has to wait in limbo.
**
** A reader that begins may be on its way through the table to an older one, which it
** has pinned. It does not say so. It loads birth and pOlder of the tables that it
** passes, and nothing else of them. So the Table itself stays until there is no pin
** before it. No walk goes past the table of its pin, and that of the oldest pin is the
** last one to stay. A reader whose pin was not seen needs none but the newest table.
**
** Frees about *pnFree pages at most, and reduces it. memvfs_store.emptying tells whether
** there is more.
*/
static void emptyTables(memvfs_store *s, const uint64_t *aPin, int nPin, int64_t *pnFree){
  Table *t = atomic_load(&s->pTable), *pOlder, *pLast = t;
  /* A reader that begins may show a pin for which there is no table any more. */
  while( pLast && nPin>0 && aPin[0]<pLast->birth ) pLast = atomic_load(&pLast->pOlder);
  if( pLast && (pOlder = atomic_load(&pLast->pOlder))!=0 ){
    atomic_store(&pLast->pOlder, 0);
    for(pLast=pOlder; atomic_load(&pLast->pOlder); pLast=atomic_load(&pLast->pOlder)){}
    atomic_store(&pLast->pOlder, s->pDoomed);
    s->pDoomed = pOlder;
  }
  s->emptying = 0;
  for(; (pOlder = atomic_load(&t->pOlder))!=0; t=pOlder){
    if( pOlder->nSlab==0 || pinWithin(aPin, nPin, pOlder->birth + (MEMVFS_PLANT==4), t->birth) ) continue;
    unlist(pOlder);
    memvfsSlabFreeSome(pOlder, pnFree);
    if( pOlder->nSlab>0 ) s->emptying = 1;
  }
}

/*
** Checks up to nBudget superseded versions, and frees at most twice as many. Returns
** true if there is more to do now. A version is checked when it is superseded, and
** again when the reader that needed it has ended. So the work is in proportion to
** what is written, not to what is held. [m]
*/
int memvfsReclaim(memvfs_store *s, int nBudget){
  Table *t;
  uint64_t *aPin = s->aPin, minWalk = UINT64_MAX, pin;
  int64_t nFree = 2*(int64_t)nBudget;
  int nPin = 0, nUnlinked = 0, more = 0;
  Reader *r;

  for(r=s->pReader; r; r=r->pNext){
    if( (pin = atomic_load(&r->pin))!=0 ) aPin[nPin++] = pin;
    if( (pin = atomic_load(&r->pinOwn))!=0 ) aPin[nPin++] = pin;
  }
  if( nPin>1 ) qsort(aPin, nPin, sizeof(*aPin), pinCompare);

  emptyTables(s, aPin, nPin, &nFree);

  for(t=atomic_load(&s->pTable); t; t=atomic_load(&t->pOlder)){
    if( reclaimTable(t, aPin, nPin, &nBudget, &nUnlinked) && t->retired.pHead ) more = 1;
  }
  if( nUnlinked ) memvfsEra(s);

  /* Walks are read after the unlinking and the new era: see memvfsFind. */
  for(r=s->pReader; r; r=r->pNext){
    uint64_t walk = atomic_load(&r->walk);
    if( walk && walk<minWalk && MEMVFS_PLANT!=2 ) minWalk = walk;
  }
  for(t=atomic_load(&s->pTable); t; t=atomic_load(&t->pOlder)){
    for(; t->limbo.pHead && t->limbo.pHead->end<=minWalk; nFree--){
      if( nFree<=0 ){ more = 1; break; }
      memvfsPageFree(t, listPop(&t->limbo));
    }
  }
  while( nFree>0 && (t = s->pDoomed)!=0 ){
    memvfsSlabFreeSome(t, &nFree);
    if( t->nSlab==0 ){
      s->pDoomed = atomic_load(&t->pOlder);
      memvfsTableFree(t);
    }
  }

  memvfsBacklog(s);
  return more || s->pDoomed || s->emptying;
}

/* Notes whether there is enough to free for the next writer. */
void memvfsBacklog(memvfs_store *s){
  int64_t n = 0;
  for(Table *t=atomic_load(&s->pTable); t; t=atomic_load(&t->pOlder)) n += t->retired.n + t->limbo.n;
  /* Relaxed: a late note only delays the freeing. */
  atomic_store_explicit(&s->backlog, n>=BACKLOG || s->pDoomed || s->emptying, memory_order_relaxed);
}
