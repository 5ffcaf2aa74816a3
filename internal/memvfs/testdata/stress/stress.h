/*
** What the parts of the stress program share. sqlite3_abi.h is replaced by
** SQLite's own header, so that the engine's declarations are held against it.
*/
#ifndef STRESS_H
#define STRESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sqlite3-binding.h"
#define MEMVFS_SQLITE3_ABI_H
#include "memvfs.h"

#define DIE(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), \
                  fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), abort())
#define CHECK(x) ((x) ? (void)0 : DIE("not so: %s", #x))

/* splitmix64, one state a thread: the same seed gives the same operations. */
typedef struct Rng { uint64_t s; } Rng;
static inline uint64_t rnd(Rng *p){
  uint64_t z = (p->s += 0x9e3779b97f4a7c15u);
  z = (z ^ (z>>30))*0xbf58476d1ce4e5b9u;
  z = (z ^ (z>>27))*0x94d049bb133111ebu;
  return z ^ (z>>31);
}
static inline int below(Rng *p, int n){ return (int)(rnd(p)%(uint64_t)n); }

extern const char *zDir;         /* A directory of our own */

memvfs_store *storeNew(const char *zName, uint64_t mxByte);
void storeEnd(memvfs_store*);    /* Nothing may be held, nothing may be open */

void modelRun(uint64_t seed, int nOp);
void slabRun(void);
void unitRun(void);
void conformRun(void);
memvfs_hooks threadsHooks(void);
void threadsRun(uint64_t seed, int nOp);
void allocRun(uint64_t seed, int nOp);
void differRun(uint64_t seed, int nOp);

#endif
