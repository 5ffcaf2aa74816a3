/*
** The file methods against a model, without SQLite's pager. The model is a plain
** copy of the bytes. Reads, xFetch, snapshots and the single writer must agree with
** it, with allocations failing at random. The calls are those that the pager makes,
** and some more that a VFS must allow.
*/
#include "stress.h"

#define NFILE 5
#define NSNAP 3
#define NFETCH 64
#define MXBYTE (1<<19)

typedef struct Image {
  unsigned char *a;       /* MXBYTE bytes; zero behind n */
  uint32_t n;             /* Size */
  uint32_t ps;            /* Page size */
  uint64_t epoch;
  int nRef;
} Image;

typedef struct Fetched {
  unsigned char *p, *aCopy;
  uint32_t iOfst, n;
} Fetched;

typedef struct File {
  sqlite3_file *f;
  int eLock;              /* NONE, SHARED, or RESERVED */
  Image *seen;            /* Of SHARED */
  Image *work;            /* Of the writer: what it makes */
  int partial;            /* It wrote pieces of pages */
  Fetched aFetched[NFETCH];
  int nFetched;
} File;

static Rng rng;
static memvfs_store *store;
static sqlite3_vfs *vfs;
static const char *zName;
static Image *last;
static File aFile[NFILE];
static struct { memvfs_snapshot *p; Image *seen; } aSnap[NSNAP];
static File *writer;
static uint32_t aSeen[2]; /* Of all states: the greatest change counter and schema cookie */
static int hard;          /* No commit gets memory: blocks are not pages for a while */

static Image *imageCopy(const Image *p){
  Image *q = malloc(sizeof(*q));
  *q = *p;
  q->nRef = 1;
  q->a = malloc(MXBYTE);
  memcpy(q->a, p->a, MXBYTE);
  return q;
}

static Image *ref(Image *p){ p->nRef++; return p; }

static void unref(Image *p){
  if( p && --p->nRef==0 ){ free(p->a); free(p); }
}

static const int aiSeen[2] = { 24, 40 };   /* Where they are on page 1 */

static uint32_t get4(const unsigned char *a){
  return (uint32_t)a[0]<<24 | (uint32_t)a[1]<<16 | (uint32_t)a[2]<<8 | a[3];
}

/* Makes p the last commit. */
static void setLast(Image *p){
  int i;
  unref(last);
  last = p;
  last->epoch = memvfs_store_epoch(store);
  for(i=0; i<2 && p->n; i++){
    if( get4(p->a+aiSeen[i])>aSeen[i] ) aSeen[i] = get4(p->a+aiSeen[i]);
  }
}

static void fileOpen(File *p){
  memset(p, 0, sizeof(*p));
  p->f = calloc(1, vfs->szOsFile);
  CHECK( vfs->xOpen(vfs, zName, p->f, SQLITE_OPEN_MAIN_DB|SQLITE_OPEN_READWRITE, 0)==SQLITE_OK );
}

static void fetchedDrop(File *p, uint32_t from, uint32_t to){
  int i, j = 0;
  for(i=0; i<p->nFetched; i++){
    Fetched *x = &p->aFetched[i];
    if( x->iOfst<to && x->iOfst+x->n>from ) free(x->aCopy); else p->aFetched[j++] = *x;
  }
  p->nFetched = j;
}

static void fetchedCheck(File *p){
  int i;
  for(i=0; i<p->nFetched; i++){
    CHECK( memcmp(p->aFetched[i].p, p->aFetched[i].aCopy, p->aFetched[i].n)==0 );
  }
}

static void rollback(File *p){
  unref(p->work);
  p->work = 0;
  p->partial = 0;
  writer = 0;
  p->eLock = SQLITE_LOCK_SHARED;
  CHECK( p->f->pMethods->xUnlock(p->f, SQLITE_LOCK_SHARED)==SQLITE_OK );
}

static void unlock(File *p){
  fetchedCheck(p);
  fetchedDrop(p, 0, MXBYTE);
  if( writer==p ) rollback(p);
  CHECK( p->f->pMethods->xUnlock(p->f, SQLITE_LOCK_NONE)==SQLITE_OK );
  p->eLock = SQLITE_LOCK_NONE;
  unref(p->seen);
  p->seen = 0;
}

static void readCheck(File *p){
  static unsigned char a[MXBYTE];
  Image *img = p->work ? p->work : p->seen ? p->seen : last;
  uint32_t iOfst = below(&rng, MXBYTE), n = 1+below(&rng, 3*img->ps);
  int rc;
  if( below(&rng, 2) ){ n = img->ps; iOfst -= iOfst%n; }
  if( iOfst+n>MXBYTE ) return;
  memset(a, 0xee, n);
  rc = p->f->pMethods->xRead(p->f, a, n, iOfst);
  CHECK( rc==(iOfst+n>img->n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK) );
  CHECK( memcmp(a, img->a+iOfst, n)==0 );
  if( p->eLock ){
    sqlite3_int64 nSize;
    CHECK( p->f->pMethods->xFileSize(p->f, &nSize)==SQLITE_OK && nSize==img->n );
  }
}

static void fetch(File *p){
  Image *img = p->work ? p->work : p->seen;
  uint32_t iOfst = below(&rng, MXBYTE/img->ps)*img->ps;
  void *pPage;
  Fetched *x = &p->aFetched[p->nFetched];
  if( p->nFetched==NFETCH || iOfst==0 ) return;   /* The pager never fetches page 1 */
  CHECK( p->f->pMethods->xFetch(p->f, iOfst, img->ps, &pPage)==SQLITE_OK );
  if( pPage==0 ) return;
  CHECK( iOfst+img->ps<=img->n );
  CHECK( memcmp(pPage, img->a+iOfst, img->ps)==0 );
  x->p = pPage;
  x->iOfst = iOfst;
  x->n = img->ps;
  x->aCopy = malloc(x->n);
  memcpy(x->aCopy, pPage, x->n);
  p->nFetched++;
}

/* Whether the next call may fail for want of memory. */
static int faulty(void){
  if( below(&rng, 6) ) return 0;
  memvfs_fail_alloc(1+below(&rng, 5), below(&rng, 2));
  return 1;
}

static int writePiece(File *p, uint32_t n, uint32_t iOfst){
  static unsigned char a[65536];
  Image *w = p->work;
  uint32_t i;
  int rc, fault;
  for(i=0; i<n; i++) a[i] = (unsigned char)rnd(&rng);
  if( iOfst==0 ){ a[16] = (unsigned char)(w->ps>>8); a[17] = (unsigned char)(w->ps>>16); }
  fault = faulty();
  rc = p->f->pMethods->xWrite(p->f, a, n, iOfst);
  memvfs_fail_alloc(0, 0);
  if( rc!=SQLITE_OK ){
    CHECK( fault && rc==SQLITE_IOERR_NOMEM );
    rollback(p);
    return 0;
  }
  memcpy(w->a+iOfst, a, n);
  if( iOfst+n>w->n ) w->n = iOfst+n;
  fetchedDrop(p, iOfst, iOfst+n);
  return 1;
}

static void writeSome(File *p){
  Image *w = p->work;
  uint32_t nPage = w->n/w->ps, mxPage = MXBYTE/w->ps, pg;
  int n = 1+below(&rng, 4);
  if( nPage==0 ) w->ps = 512u<<below(&rng, 8), mxPage = MXBYTE/w->ps;
  while( n-- ){
    /* Mostly inside or at the end, now and then with a gap before it. */
    pg = below(&rng, 8) ? below(&rng, w->n/w->ps+1) : below(&rng, mxPage);
    if( pg<mxPage && !writePiece(p, w->ps, pg*w->ps) ) return;
  }
}

/* It needs no memory. */
static void truncateSome(File *p){
  Image *w = p->work;
  uint32_t n = below(&rng, w->n/w->ps+1)*w->ps;
  if( below(&rng, 16)==0 ) n = 0;
  memvfs_fail_alloc(1, 1);
  CHECK( p->f->pMethods->xTruncate(p->f, n)==SQLITE_OK );
  memvfs_fail_alloc(0, 0);
  if( n<w->n ){
    memset(w->a+n, 0, w->n-n);
    w->n = n;
    fetchedDrop(p, n, MXBYTE);
  }
}

static void commit(File *p){
  uint64_t before = memvfs_store_epoch(store);
  int fault, rc;
  /* As the pager does: a commit writes page 1, so that it needs no memory. */
  if( hard && p->work->n && !writePiece(p, p->work->ps, 0) ) return;
  fault = hard || faulty();
  if( hard ) memvfs_fail_alloc(1, 1);
  if( below(&rng, 3) ){
    /* In two phases, as the pager does: the second needs no memory. */
    rc = p->f->pMethods->xFileControl(p->f, SQLITE_FCNTL_SYNC, 0);
    memvfs_fail_alloc(0, 0);
    if( rc!=SQLITE_OK ){
      CHECK( fault && memvfs_store_epoch(store)==before );
      rollback(p);
      return;
    }
    if( below(&rng, 4)==0 ) truncateSome(p);
    memvfs_fail_alloc(1, 1);
    fault = 0;
  }
  rc = p->f->pMethods->xFileControl(p->f, SQLITE_FCNTL_COMMIT_PHASETWO, 0);
  memvfs_fail_alloc(0, 0);
  if( rc!=SQLITE_OK ){
    CHECK( fault && memvfs_store_epoch(store)==before );
    rollback(p);
    return;
  }
  if( p->partial ) fetchedDrop(p, 0, MXBYTE);
  p->partial = 0;
  setLast(imageCopy(p->work));
  CHECK( last->epoch<=before+1 );
  unref(p->seen);
  p->seen = ref(last);
}

/* As VACUUM does: the new size in the header, and pieces of that size. */
static void vacuum(File *p){
  Image *w = p->work;
  uint32_t ps = 512u<<below(&rng, 8), old = w->ps;
  int n = below(&rng, 4);
  if( w->n==0 || w->n%ps ) return;
  w->ps = ps;
  p->partial = 1;
  if( !writePiece(p, old<ps ? old : ps, 0) ) return;
  while( n-- ){
    if( !writePiece(p, ps, below(&rng, w->n/ps)*ps) ) return;
  }
  commit(p);
}

static void reserve(File *p){
  int rc = p->f->pMethods->xLock(p->f, SQLITE_LOCK_RESERVED);
  if( writer ){
    CHECK( rc==SQLITE_BUSY );
  }else if( p->seen->epoch!=last->epoch ){
    CHECK( rc==SQLITE_BUSY_SNAPSHOT );
  }else{
    CHECK( rc==SQLITE_OK );
    p->eLock = SQLITE_LOCK_RESERVED;
    p->work = imageCopy(p->seen);
    writer = p;
    if( below(&rng, 2) ) CHECK( p->f->pMethods->xLock(p->f, SQLITE_LOCK_EXCLUSIVE)==SQLITE_OK );
  }
}

/* Another database in the place of this one. */
static void replace(void){
  memvfs_store *pFrom = storeNew("from.db", 0);
  Image *img = imageCopy(last);
  uint64_t before = memvfs_store_epoch(store);
  uint32_t nPage, done = 0, i;
  int fault = 0, rc, wrapped;
  img->ps = 512u<<below(&rng, 8);
  nPage = below(&rng, MXBYTE/img->ps+1);
  img->n = nPage*img->ps;
  for(i=0; i<MXBYTE; i++) img->a[i] = i<img->n ? (unsigned char)rnd(&rng) : 0;
  img->a[16] = (unsigned char)(img->ps>>8);
  img->a[17] = (unsigned char)(img->ps>>16);
  if( nPage ) CHECK( memvfs_load_begin(pFrom, img->ps, img->n)==SQLITE_OK );
  while( done<img->n ){
    void *p;
    size_t n;
    CHECK( memvfs_load_next(pFrom, 100000, &p, &n)==SQLITE_OK );
    memcpy(p, img->a+done, n);
    done += (uint32_t)n;
  }
  memvfs_load_end(pFrom);
  if( (fault = faulty())==0 && hard ) memvfs_fail_alloc(1, fault = 1);
  rc = memvfs_store_replace(store, pFrom, &wrapped);
  memvfs_fail_alloc(0, 0);
  if( writer ){
    CHECK( rc==SQLITE_BUSY || (fault && rc==SQLITE_NOMEM) );
  }else if( nPage==0 ){
    CHECK( rc==SQLITE_MISUSE || (fault && rc==SQLITE_NOMEM) );
  }else if( rc!=SQLITE_OK ){
    CHECK( fault && rc==SQLITE_NOMEM );
  }
  storeEnd(pFrom);
  if( rc!=SQLITE_OK ){
    CHECK( memvfs_store_epoch(store)==before );
    unref(img);
    return;
  }
  CHECK( memvfs_store_epoch(store)==before+1 );
  CHECK( wrapped==(aSeen[0]==UINT32_MAX || aSeen[1]==UINT32_MAX) );
  for(i=0; i<2; i++){
    uint32_t n;
    if( aSeen[i]==UINT32_MAX ) aSeen[i] = 0;
    n = aSeen[i]+1;
    for(int j=3; j>=0; j--, n>>=8) img->a[aiSeen[i]+j] = (unsigned char)n;
  }
  memcpy(img->a+92, img->a+24, 4);
  setLast(img);
}

static void snapshot(int i){
  static unsigned char a[MXBYTE];
  if( aSnap[i].p==0 ){
    int fault = faulty();
    aSnap[i].p = memvfs_snapshot_open(store);
    memvfs_fail_alloc(0, 0);
    CHECK( aSnap[i].p || fault );
    if( aSnap[i].p ) aSnap[i].seen = ref(last);
    return;
  }
  CHECK( memvfs_snapshot_size(aSnap[i].p)==aSnap[i].seen->n );
  CHECK( memvfs_snapshot_epoch(aSnap[i].p)==aSnap[i].seen->epoch );
  if( aSnap[i].seen->n && aSnap[i].seen->a[16]+aSnap[i].seen->a[17] ){
    CHECK( memvfs_snapshot_page_size(aSnap[i].p)==aSnap[i].seen->ps );
  }
  memset(a, 0xee, sizeof(a));
  memvfs_snapshot_read(aSnap[i].p, a, sizeof(a), 0);
  CHECK( memcmp(a, aSnap[i].seen->a, MXBYTE)==0 );
  if( below(&rng, 3)==0 ){
    memvfs_snapshot_close(aSnap[i].p);
    unref(aSnap[i].seen);
    aSnap[i].p = 0;
    aSnap[i].seen = 0;
  }
}

static void step(void){
  File *p = &aFile[below(&rng, NFILE)];
  int op = below(&rng, 16);
  if( writer && below(&rng, 3)==0 ) p = writer;
  switch( p->eLock ){
    case SQLITE_LOCK_NONE:
      if( op<3 ){
        readCheck(p);
      }else if( op==3 ){
        CHECK( p->f->pMethods->xClose(p->f)==SQLITE_OK );
        free(p->f);
        fileOpen(p);
      }else{
        CHECK( p->f->pMethods->xLock(p->f, SQLITE_LOCK_SHARED)==SQLITE_OK );
        p->eLock = SQLITE_LOCK_SHARED;
        p->seen = ref(last);
      }
      break;
    case SQLITE_LOCK_SHARED:
      if( op<5 ) readCheck(p);
      else if( op<8 ) fetch(p);
      else if( op<12 ) reserve(p);
      else if( op<14 ) fetchedCheck(p);
      else unlock(p);
      break;
    default:
      if( op<2 ) readCheck(p);
      else if( op<4 ) fetch(p);
      else if( op<8 ) writeSome(p);
      else if( op<9 ) truncateSome(p);
      else if( op<10 ) vacuum(p);
      else if( op<12 ) commit(p);
      else if( op<13 ) fetchedCheck(p);
      else if( op<15 ){ fetchedCheck(p); rollback(p); }
      else unlock(p);
  }
  if( below(&rng, 400)==0 ) hard = !hard;
  op = below(&rng, 64);
  if( op<NSNAP ) snapshot(op);
  else if( op<6 ) memvfs_store_drain(store);
  else if( op==6 && below(&rng, 4)==0 ) replace();
  if( op==7 ){
    memvfs_stats st;
    memvfs_store_stats(store, &st);
    CHECK( st.size==last->n && st.epoch==last->epoch );
  }
}

void modelRun(uint64_t seed, int nOp){
  memvfs_stats st;
  char z[512];
  int i;
  rng.s = seed;
  store = storeNew("model.db", 0);
  vfs = sqlite3_vfs_find(MEMVFS_NAME);
  snprintf(z, sizeof(z), "%s/model.db", zDir);
  zName = sqlite3_create_filename(z, "", "", 0, 0);
  last = calloc(1, sizeof(*last));
  last->a = calloc(1, MXBYTE);
  last->ps = 4096;
  last->epoch = memvfs_store_epoch(store);
  last->nRef = 1;
  for(i=0; i<NFILE; i++) fileOpen(&aFile[i]);
  for(i=0; i<nOp; i++) step();
  for(i=0; i<NFILE; i++){
    if( aFile[i].eLock ) unlock(&aFile[i]);
    aFile[i].f->pMethods->xClose(aFile[i].f);
    free(aFile[i].f);
  }
  for(i=0; i<NSNAP; i++){
    if( aSnap[i].p==0 ) continue;
    memvfs_snapshot_close(aSnap[i].p);
    unref(aSnap[i].seen);
    aSnap[i].p = 0;
  }
  memvfs_store_drain(store);
  memvfs_store_stats(store, &st);
  CHECK( st.liveBytes<=((uint64_t)last->n|65535)+1 );
  unref(last);
  sqlite3_free_filename((sqlite3_filename)zName);
  storeEnd(store);
}
