/*
** Memory for page versions.
**
** Pages come from slabs that are mapped by the system, not from malloc. Many
** threads load, rewrite and vacuum a database over weeks, and each malloc arena
** would keep what its thread freed.
**
** A slab without pages in use is unmapped at once. One such slab stays, so that
** commits at the edge of a slab do not map and unmap it every time. In the other
** slabs, the memory of free pages is kept up to a sixteenth of the used pages, or
** 8 MB. A reader that loses its processor for some milliseconds holds that much,
** and frees it in one go. To return it page by page and take it again sends a
** message to all processors for each page, and cost several times the writing.
**
** A loaded database is in huge pages if the system has them, as a load otherwise
** spends most of its time on page faults. Only slabs that are filled at once are
** huge pages, so that none of the memory is idle. If a page of one is returned, the
** huge page is split.
*/
#include "engine.h"
#ifdef _WIN32
# include <windows.h>
#else
# include <sys/mman.h>
# include <unistd.h>
#endif

#define SLAB_BYTES (1<<20)   /* Page memory of one slab */
#define SLAB_MIN   16        /* Pages of one slab, at least */
#define HUGE_BYTES (2<<20)   /* The huge page of x86-64, and of ARM with pages of 4 KiB */
#define WARM_MIN   (8<<20)   /* Free bytes that are kept resident at least */

/*
** Readable bytes behind the last page of a slab. When SQLite compares the last
** record on a page from xFetch, it reads a few bytes past the end of the page. It
** does not use them. The default VFS, os_unix.c (unixFetch, nEofBuffer) leaves as many.
*/
#define OVERREAD   256

struct Slab {
  Slab *pPrev, *pNext;       /* In Table.pPartial or Table.pFull */
  size_t nByte;              /* Length of the mapping */
  int holed;                 /* Some of its memory was returned */
  int nVersion;              /* Number of places */
  int nTaken;                /* Places ever used; the places after them were never touched */
  int nUsed;                 /* Places in use */
  Version *pWarm;            /* Free places whose memory is resident */
  Version *pCold;            /* Free places whose memory was returned */
  Version aVersion[];
};

static Fault fault;          /* Of the engine's allocations */
static _Atomic(int64_t) nLive;   /* Blocks of memvfsMalloc that were not freed */

int64_t memvfs_fail_alloc(int64_t n, int forever){
  return memvfsFail(&fault, n, forever);
}

int64_t memvfs_live(void){
  return atomic_load(&nLive);
}

static void *osMap(size_t n){
#ifdef _WIN32
  return VirtualAlloc(0, n, MEM_RESERVE|MEM_COMMIT, PAGE_READWRITE);
#else
  void *p = mmap(0, n, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
  return p==MAP_FAILED ? 0 : p;
#endif
}

/*
** The system's page size, the least that can be returned. It is 4096 nearly
** everywhere, and 16 or 64 KiB on some Linux for ARM and POWER.
*/
static size_t osPage(void){
#if defined(__linux__)
  static _Atomic(long) nPage;
  long n = atomic_load_explicit(&nPage, memory_order_relaxed);
  if( n==0 ){
    n = sysconf(_SC_PAGESIZE);
    if( n<=0 ) n = 65536;
    atomic_store_explicit(&nPage, n, memory_order_relaxed);
  }
  return (size_t)n;
#else
  return 4096;
#endif
}

/*
** Memory that may be one huge page; NULL: use ordinary memory. The mapping is large
** enough to contain an aligned huge page at any address, and is cut to that.
*/
static void *osMapHuge(void){
#if defined(MADV_HUGEPAGE)
  if( osPage()!=4096 ) return 0;   /* Huge pages are up to 512 MB then */
  const size_t nAll = 2*HUGE_BYTES - osPage();
  unsigned char *a = osMap(nAll), *aHuge;
  if( a==0 ) return 0;
  aHuge = (unsigned char*)(((uintptr_t)a + HUGE_BYTES-1) & ~(uintptr_t)(HUGE_BYTES-1));
  if( aHuge>a ) munmap(a, aHuge-a);
  if( aHuge+HUGE_BYTES<a+nAll ) munmap(aHuge+HUGE_BYTES, a+nAll-aHuge-HUGE_BYTES);
  (void)madvise(aHuge, HUGE_BYTES, MADV_HUGEPAGE);   /* Fails without huge pages, which is harmless */
  return aHuge;
#else
  return 0;
#endif
}

static void osUnmap(void *p, size_t n){
#ifdef _WIN32
  (void)n;
  VirtualFree(p, 0, MEM_RELEASE);
#else
  munmap(p, n);
#endif
}

/*
** Returns the memory of one page to the system, if possible. The length n must be a
** multiple of the system's page size. Otherwise madvise rounds it up and also
** returns the pages beside it.
**
** Linux keeps all of a huge page until none of it is mapped, or until memory is
** short. Advice about a part of it (MADV_COLD, since Linux 5.4) splits it at once. A
** slab with a hole must not become a huge page again, as that would fill the hole.
*/
static int osDiscard(Slab *p, void *a, size_t n){
#if defined(__linux__)
  if( n%osPage()!=0 ) return 0;
  if( !p->holed ){
    p->holed = 1;
    /* Either may fail on an older kernel: then memory is returned later. */
# if defined(MADV_NOHUGEPAGE)
    (void)madvise(p, p->nByte, MADV_NOHUGEPAGE);
# endif
# if defined(MADV_COLD)
    (void)madvise(p, osPage(), MADV_COLD);
# endif
  }
  return madvise(a, n, MADV_DONTNEED)==0;
#else
  (void)p; (void)a; (void)n;
  return 0;
#endif
}

/*
** For the sanitizers, to which a free page of a slab is memory in use. With
** AddressSanitizer, an access to a free page is an error, except for its start, which
** SQLite may read from the page before. With ThreadSanitizer, a page is written when
** it is freed, so that a concurrent read is an error.
*/
#if defined(__SANITIZE_ADDRESS__)
# include <sanitizer/asan_interface.h>
# define PAGE_FREED(t, v) ASAN_POISON_MEMORY_REGION((v)->aData+OVERREAD, (t)->nBlock-OVERREAD)
# define PAGE_TAKEN(t, v) ASAN_UNPOISON_MEMORY_REGION((v)->aData, (t)->nBlock)
# define SLAB_FREED(p)    ASAN_UNPOISON_MEMORY_REGION((p), (p)->nByte)
#elif defined(__SANITIZE_THREAD__)
# define PAGE_FREED(t, v) ((v)->birth = 0, memset((v)->aData, 0xdd, (t)->nBlock))
# define PAGE_TAKEN(t, v) ((void)0)
# define SLAB_FREED(p)    ((void)0)
#else
# define PAGE_FREED(t, v) ((void)0)
# define PAGE_TAKEN(t, v) ((void)0)
# define SLAB_FREED(p)    ((void)0)
#endif

void *memvfsMalloc(size_t n){
  void *p = memvfsFaulty(&fault) ? 0 : calloc(1, n);
  if( p ) atomic_fetch_add_explicit(&nLive, 1, memory_order_relaxed);
  return p;
}

void memvfsFree(void *p){
  if( p ) atomic_fetch_sub_explicit(&nLive, 1, memory_order_relaxed);
  free(p);
}

static void slabLink(Slab **pp, Slab *p){
  p->pPrev = 0;
  p->pNext = *pp;
  if( *pp ) (*pp)->pPrev = p;
  *pp = p;
}

static void slabUnlink(Slab **pp, Slab *p){
  if( p->pPrev ) p->pPrev->pNext = p->pNext; else *pp = p->pNext;
  if( p->pNext ) p->pNext->pPrev = p->pPrev;
}

/* Bytes in front of the pages of a slab with n places. */
static size_t slabHead(int n){
  return (sizeof(Slab) + n*sizeof(Version) + osPage()-1) & ~(osPage()-1);
}

static size_t slabBytes(Table *t, int n){
  return slabHead(n) + (size_t)n*t->nBlock + OVERREAD;
}

/* A slab of which nWanted places will be used at once. */
static Slab *slabNew(Table *t, int64_t nWanted){
  size_t nByte = HUGE_BYTES;
  unsigned char *aData;
  int i, n = HUGE_BYTES/t->nBlock;
  Slab *p;
  while( slabBytes(t, n)>HUGE_BYTES ) n--;
  p = nWanted>=n ? osMapHuge() : 0;
  if( p==0 ){
    n = SLAB_BYTES/t->nBlock;
    if( n<SLAB_MIN ) n = SLAB_MIN;
    nByte = slabBytes(t, n);
    p = osMap(nByte);
    if( p==0 ) return 0;
  }
  p->nByte = nByte;
  p->nVersion = n;
  aData = (unsigned char*)p + slabHead(n);
  for(i=0; i<n; i++){
    p->aVersion[i].pSlab = p;
    p->aVersion[i].aData = aData + (size_t)i*t->nBlock;
  }
  slabLink(&t->pPartial, p);
  t->nSlab++;
  return p;
}

static void slabFree(Table *t, Slab *p){
  Version *v;
  for(v=p->pWarm; v; v=v->pNext) t->nWarm--;
  slabUnlink(&t->pPartial, p);
  t->nSlab--;
  SLAB_FREED(p);
  osUnmap(p, p->nByte);
}

static void slabTook(Table *t, Slab *p, int n){
  p->nUsed += n;
  t->nUsed += n;
  if( p->nUsed==p->nVersion ){
    slabUnlink(&t->pPartial, p);
    slabLink(&t->pFull, p);
  }
}

/* Resets v to a version in no chain and no list. */
static void versionClear(Version *v){
  v->birth = v->end = 0;
  atomic_store_explicit(&v->pOlder, 0, memory_order_relaxed);
  v->pNewer = v->pNext = 0;
  v->pgno = v->nSector = 0;
}

/* The content of the page is undefined. */
Version *memvfsPageAlloc(Table *t){
  Slab *p = t->pPartial;
  Version *v;
  if( memvfsFaulty(&fault) ) return 0;
  if( p==0 && (p = slabNew(t, 1))==0 ) return 0;
  if( p->pWarm ){
    v = p->pWarm;
    p->pWarm = v->pNext;
    t->nWarm--;
  }else if( p->pCold ){
    v = p->pCold;
    p->pCold = v->pNext;
  }else{
    v = &p->aVersion[p->nTaken++];
  }
  slabTook(t, p, 1);
  versionClear(v);
  PAGE_TAKEN(t, v);
  return v;
}

/*
** Takes adjacent places for the loader, which fills their memory with one read. The
** pages are zero.
*/
Version *memvfsPageRun(Table *t, int64_t *pn){
  Slab *p = t->pPartial;
  Version *v;
  int n;
  if( memvfsFaulty(&fault) ) return 0;
  if( (p==0 || p->nTaken==p->nVersion) && (p = slabNew(t, *pn))==0 ) return 0;
  n = p->nVersion - p->nTaken;
  if( *pn<n ) n = (int)*pn;
  *pn = n;
  v = &p->aVersion[p->nTaken];
  p->nTaken += n;
  slabTook(t, p, n);
  return v;
}

void memvfsPageFree(Table *t, Version *v){
  Slab *p = v->pSlab;
  int64_t mxWarm = t->nUsed/16;
  if( p->nUsed==p->nVersion ){
    slabUnlink(&t->pFull, p);
    slabLink(&t->pPartial, p);
  }
  p->nUsed--;
  t->nUsed--;
  PAGE_FREED(t, v);
  if( mxWarm<WARM_MIN/t->nBlock ) mxWarm = WARM_MIN/t->nBlock;
  if( t->nWarm>=mxWarm && osDiscard(p, v->aData, t->nBlock) ){
    v->pNext = p->pCold;
    p->pCold = v;
  }else{
    v->pNext = p->pWarm;
    p->pWarm = v;
    t->nWarm++;
  }
  /* An empty slab stays if it is the only one with a free place. */
  if( p->nUsed==0 && (p->pPrev || p->pNext) ) slabFree(t, p);
}

/*
** Frees slabs of an unused table, with the pages in them, until no slab is left or
** *pnPage pages are freed. It subtracts the freed pages from *pnPage.
*/
void memvfsSlabFreeSome(Table *t, int64_t *pnPage){
  Slab *p;
  while( *pnPage>0 && (p = t->pPartial ? t->pPartial : t->pFull)!=0 ){
    slabUnlink(t->pPartial ? &t->pPartial : &t->pFull, p);
    t->nSlab--;
    t->nUsed -= p->nUsed;
    *pnPage -= p->nVersion;
    SLAB_FREED(p);
    osUnmap(p, p->nByte);
  }
}
