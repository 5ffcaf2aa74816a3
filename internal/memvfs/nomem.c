/*
** Memory that fails and is counted, for tests: the engine's, and SQLite's own.
**
** For that of SQLite a layer lies between SQLite and the allocator that it would
** use. It is there only when a test has asked for it before SQLite was used at
** all. Blocks of lookaside buffers could not fail, so there are none.
*/
#include "engine.h"

int64_t memvfsFail(Fault *p, int64_t n, int forever){
  atomic_store(&p->forever, forever);
  atomic_store(&p->nUntil, n);
  return atomic_exchange(&p->nAlloc, 0);
}

int memvfsFaulty(Fault *p){
  int64_t n;
  atomic_fetch_add_explicit(&p->nAlloc, 1, memory_order_relaxed);
  if( atomic_load_explicit(&p->nUntil, memory_order_relaxed)==0 ) return 0;
  n = atomic_fetch_sub(&p->nUntil, 1);
  if( n==1 && atomic_load(&p->forever) ) atomic_store(&p->nUntil, 1);
  return n==1;
}

static sqlite3_mem_methods below;            /* Never changed after memvfs_fault_sqlite */
static Fault sqliteFault;
static _Atomic(int64_t) nLive;               /* Blocks that were not freed */

static void *faultMalloc(int n){
  void *p = memvfsFaulty(&sqliteFault) ? 0 : below.xMalloc(n);
  if( p ) atomic_fetch_add_explicit(&nLive, 1, memory_order_relaxed);
  return p;
}

/* SQLite never frees a null pointer by this. */
static void faultFree(void *p){
  atomic_fetch_sub_explicit(&nLive, 1, memory_order_relaxed);
  below.xFree(p);
}

static void *faultRealloc(void *p, int n){
  return memvfsFaulty(&sqliteFault) ? 0 : below.xRealloc(p, n);
}

int memvfs_fault_sqlite(void){
  sqlite3_mem_methods layer;
  int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below);
  if( rc!=SQLITE_OK ) return rc;
  layer = below;
  layer.xMalloc = faultMalloc;
  layer.xFree = faultFree;
  layer.xRealloc = faultRealloc;
  rc = sqlite3_config(SQLITE_CONFIG_MALLOC, &layer);
  if( rc==SQLITE_OK ) rc = sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
  return rc;
}

int64_t memvfs_fail_sqlite(int64_t n, int forever){
  return memvfsFail(&sqliteFault, n, forever);
}

int64_t memvfs_live_sqlite(void){
  return atomic_load(&nLive);
}
