/*
** The engine under sanitizers: see the script beside this file.
**
**   stress slab|unit|conform|model|alloc|differ|threads SEED OPERATIONS
*/
#include <sys/mman.h>
#include <unistd.h>
#include "stress.h"
#include "engine.h"

const char *zDir;

memvfs_store *storeNew(const char *zName, uint64_t mxByte){
  char z[512];
  memvfs_store *s;
  snprintf(z, sizeof(z), "%s/%s", zDir, zName);
  CHECK( memvfs_store_create(z, mxByte, 0, &s)==SQLITE_OK );
  return s;
}

void storeEnd(memvfs_store *s){
  memvfs_stats st;
  memvfs_store_drain(s);
  memvfs_store_drain(s);
  memvfs_store_stats(s, &st);
  CHECK( st.heldBytes==0 && st.nFile==0 && st.oldestReader==0 );
  CHECK( memvfs_store_destroy(s)==SQLITE_OK );
}

/* Stops the thread one time in n, sometimes long enough for others to get far. */
static int stopping;
void memvfsStressPoint(int n){
  static _Thread_local Rng r;
  if( !stopping ) return;
  if( r.s==0 ) r.s = (uint64_t)(uintptr_t)&r;
  if( below(&r, n)==0 ) usleep((useconds_t)below(&r, below(&r, 4) ? 200 : 4000));
}

/* ---- A system with large pages ---- */

/*
** The program is linked so that these functions replace the system's. They
** imitate 64 KiB pages, as some Linux for ARM has them. madvise rounds the
** length up to them.
*/
static size_t nOsPage;
long __real_sysconf(int name);
int __real_madvise(void *p, size_t n, int advice);

/* clang links the sanitizer's own calls to them as well, before it is set up. */
#define BARE __attribute__((no_sanitize("thread", "address", "undefined")))

BARE long __wrap_sysconf(int name){
  return name==_SC_PAGESIZE && nOsPage ? (long)nOsPage : __real_sysconf(name);
}

BARE int __wrap_madvise(void *p, size_t n, int advice){
  if( nOsPage==0 ) return __real_madvise(p, n, advice);
  if( (uintptr_t)p%nOsPage ) return -1;
  return __real_madvise(p, (n+nOsPage-1)/nOsPage*nOsPage, advice);
}

/*
** Ensure that giving back free pages leaves the pages in use alone. Some
** slabs were loaded at once, others grew page by page.
*/
void slabRun(void){
  enum { N = 4000, NGROW = 1000 };
  static Version *a[N];
  int nBlock, i;
  memvfs_store s;
  nOsPage = 65536;
  for(nBlock=512; nBlock<=65536; nBlock*=2){
    Table *t = memvfsTableNew(&s, (uint32_t)nBlock, 0);
    for(i=0; i<N; ){
      int64_t n = (4<<20)/nBlock, j;
      Version *v;
      if( n>N-NGROW-i ) n = N-NGROW-i;
      v = n>0 ? memvfsPageRun(t, &n) : memvfsPageAlloc(t);
      CHECK( v!=0 );
      if( n<1 ) n = 1;
      for(j=0; j<n; j++, i++){
        CHECK( v[j].aData==v->aData+j*nBlock );
        a[i] = &v[j];
        memset(a[i]->aData, 1+i%255, (size_t)nBlock);
      }
    }
    for(i=0; i<N; i++) if( i%3 ) memvfsPageFree(t, a[i]);
    for(i=0; i<N; i+=3){
      CHECK( a[i]->aData[0]==1+i%255 && memcmp(a[i]->aData, a[i]->aData+1, (size_t)nBlock-1)==0 );
    }
    memvfsTableFree(t);
  }
}

/* ---- */

static int noLock(uintptr_t h){ (void)h; return SQLITE_OK; }
static void noUnlock(uintptr_t h){ (void)h; }
static int hookCancelled(uintptr_t h){ return (int)h; }

int main(int argc, char **argv){
  memvfs_hooks hooks = { noLock, noUnlock, hookCancelled, 0, 0, 0, 0, 0, 0 };   /* Nothing is attached by a link, files may be written */
  uint64_t seed;
  int n;
  if( argc!=4 || (zDir = getenv("STRESS_DIR"))==0 ){
    fprintf(stderr, "usage: STRESS_DIR=dir %s slab|unit|conform|model|alloc|differ|threads seed operations\n", argv[0]);
    return 2;
  }
  seed = strtoull(argv[2], 0, 10);
  n = atoi(argv[3]);
  if( strcmp(argv[1], "slab")==0 ){
    slabRun();        /* Before anything asks for the page size */
    return 0;
  }
  if( strcmp(argv[1], "threads")==0 ){
    hooks = threadsHooks();
    stopping = 1;
  }
  CHECK( memvfs_register(hooks)==SQLITE_OK );
  if( strcmp(argv[1], "unit")==0 ) unitRun();
  else if( strcmp(argv[1], "conform")==0 ) conformRun();
  else if( strcmp(argv[1], "model")==0 ) modelRun(seed, n);
  else if( strcmp(argv[1], "alloc")==0 ) allocRun(seed, n);
  else if( strcmp(argv[1], "differ")==0 ) differRun(seed, n);
  else if( strcmp(argv[1], "threads")==0 ) threadsRun(seed, n);
  else return 2;
  sqlite3_shutdown();
  return 0;
}
