/*
** Memory for page versions.
**
** Pages come from slabs taken straight from the system, not from malloc: a
** database is loaded, rewritten and vacuumed by many threads over weeks, and
** malloc's arenas would each keep what that thread freed. A slab whose pages
** are all free goes back to the system at once (but for one, so that a commit
** at the edge of a slab does not map and unmap it every time); of the free
** pages in the others at most a sixteenth of what is used stays resident, or 8
** MB: a reader that the system takes off its processor for some milliseconds
** holds as much, all of which comes free at once. To give that back page by page
** and take it again, each time with a message to all processors, cost several
** times what the writing itself does.
**
** A loaded database lies in huge pages where the system has them: most of the
** time of a load is else what its page faults cost. Only slabs that are filled
** at once are made of them, so that none of it is idle at first; when a page of
** one goes back, the huge page is split.
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
#define HUGE_BYTES (2<<20)   /* A huge page of x86-64, and of ARM with pages of 4 KiB */
#define WARM_MIN   (8<<20)   /* Free bytes that are always kept resident */

/*
** Readable bytes behind the last page of a slab. SQLite reads a few bytes past
** the end of a page that xFetch handed out, when it compares the last record on
** it, and does not use them; os_unix.c (unixFetch, nEofBuffer) leaves as many.
*/
#define OVERREAD   256

struct Slab {
  Slab *pPrev, *pNext;       /* In Table.pPartial or Table.pFull */
  size_t nByte;              /* Of the mapping */
  int holed;                 /* Memory of it went back */
  int nVersion;              /* Places */
  int nTaken;                /* Places ever used: those behind were never touched */
  int nUsed;                 /* Places in use now */
  Version *pWarm;            /* Free places whose memory is resident */
  Version *pCold;            /* Free places whose memory went back */
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
** The system's page: what it takes back at the least. It is 4096 nearly
** everywhere, but 16 or 64 KiB on some Linux for ARM and POWER.
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
** Memory that may be one huge page; NULL: ordinary memory will do. The system
** is asked for as much as has an aligned piece in it wherever it begins.
*/
static void *osMapHuge(void){
#if defined(MADV_HUGEPAGE)
  if( osPage()!=4096 ) return 0;   /* Huge pages are as large as 512 MB then */
  const size_t nAll = 2*HUGE_BYTES - osPage();
  unsigned char *a = osMap(nAll), *aHuge;
  if( a==0 ) return 0;
  aHuge = (unsigned char*)(((uintptr_t)a + HUGE_BYTES-1) & ~(uintptr_t)(HUGE_BYTES-1));
  if( aHuge>a ) munmap(a, aHuge-a);
  if( aHuge+HUGE_BYTES<a+nAll ) munmap(aHuge+HUGE_BYTES, a+nAll-aHuge-HUGE_BYTES);
  (void)madvise(aHuge, HUGE_BYTES, MADV_HUGEPAGE);   /* Fails where there are none: no harm */
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
** Gives back the memory of one page, if the system can do that. It would give
** back the neighbours as well if it were asked for a part of a page of its own:
** madvise rounds the length up.
**
** Of a huge page Linux keeps all until none of it is mapped, or until memory is
** short. Advice about a part of it (MADV_COLD, since Linux 5.4) has it split at
** once. A slab with a hole is not to become a huge page again, which would fill
** the hole.
*/
static int osDiscard(Slab *p, void *a, size_t n){
#if defined(__linux__)
  if( n%osPage()!=0 ) return 0;
  if( !p->holed ){
    p->holed = 1;
    /* Either may fail, on an older kernel: then memory goes back later. */
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
** For the sanitizers, which take a page that goes back to its slab for memory
** in use: with AddressSanitizer its content may not be touched until it is
** taken again (but for the start, which SQLite may read from the page before),
** with ThreadSanitizer it is written, so that who still reads it is seen.
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

/* What is in front of the pages of a slab of n places. */
static size_t slabHead(int n){
  return (sizeof(Slab) + n*sizeof(Version) + osPage()-1) & ~(osPage()-1);
}

static size_t slabBytes(Table *t, int n){
  return slabHead(n) + (size_t)n*t->nBlock + OVERREAD;
}

/* A slab of which nWanted places are going to be used at once. */
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

/* Makes the bookkeeping of v that of a version in no chain and no list. */
static void versionClear(Version *v){
  v->birth = v->end = 0;
  atomic_store_explicit(&v->pOlder, 0, memory_order_relaxed);
  v->pNewer = v->pNext = 0;
  v->pgno = v->nSector = 0;
}

/* The content of the page returned is undefined. */
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
** Takes neighbouring places for the loader, which fills their memory, one
** piece, by a single read. The pages are zero.
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
  /* The last empty slab stays, if it is the only one with room. */
  if( p->nUsed==0 && (p->pPrev || p->pNext) ) slabFree(t, p);
}

/*
** Frees slabs of a table that nobody uses, with whatever is in them, until
** there is none or *pnPage pages are freed, of which it counts down.
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
