/* See cloop.h. */
#include "cloop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The functions of SQLite that are used; go-sqlite3 links them. */
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
int sqlite3_prepare_v2(sqlite3*, const char*, int, sqlite3_stmt**, const char**);
int sqlite3_bind_int64(sqlite3_stmt*, int, long long int);
int sqlite3_bind_text(sqlite3_stmt*, int, const char*, int, void(*)(void*));
int sqlite3_step(sqlite3_stmt*);
int sqlite3_reset(sqlite3_stmt*);
int sqlite3_finalize(sqlite3_stmt*);
int sqlite3_column_count(sqlite3_stmt*);
int sqlite3_column_type(sqlite3_stmt*, int);
long long int sqlite3_column_int64(sqlite3_stmt*, int);
const unsigned char *sqlite3_column_text(sqlite3_stmt*, int);
int sqlite3_column_bytes(sqlite3_stmt*, int);
const char *sqlite3_errmsg(sqlite3*);
int sqlite3_get_autocommit(sqlite3*);

#define SQLITE_OK      0
#define SQLITE_NOMEM   7
#define SQLITE_EMPTY  16
#define SQLITE_ROW   100
#define SQLITE_DONE  101
#define SQLITE_INTEGER 1
#define SQLITE_TEXT    3
#define SQLITE_STATIC ((void(*)(void*))0)

struct cloop {
  sqlite3 *db;
  char *azText[CLOOP_N];
  sqlite3_stmt *aStmt[CLOOP_N];  /* 0: not prepared yet */
  int64_t sum;                   /* Of all values, so that they are fetched */
  char zText[64<<10];            /* The last text, copied as a program would */
};

cloop *cloop_new(uintptr_t db){
  cloop *p = calloc(1, sizeof(*p));
  if( p ) p->db = (sqlite3*)db;
  return p;
}

void cloop_free(cloop *p){
  int i;
  for(i=0; i<CLOOP_N; i++){
    sqlite3_finalize(p->aStmt[i]);
    free(p->azText[i]);
  }
  free(p);
}

int cloop_text(cloop *p, int which, const char *z, int n){
  char *zCopy = malloc((size_t)n+1);
  if( zCopy==0 ) return SQLITE_NOMEM;
  memcpy(zCopy, z, n);
  zCopy[n] = 0;
  p->azText[which] = zCopy;
  return SQLITE_OK;
}

const char *cloop_error(cloop *p){ return sqlite3_errmsg(p->db); }

/* Finds or prepares a statement. It is not running. */
static int stmt(cloop *p, int which, sqlite3_stmt **ppStmt){
  int rc = SQLITE_OK;
  if( p->aStmt[which]==0 ){
    rc = sqlite3_prepare_v2(p->db, p->azText[which], -1, &p->aStmt[which], 0);
  }
  *ppStmt = p->aStmt[which];
  return rc;
}

/* A pseudo-random number below n (xorshift). */
static uint64_t draw(uint64_t *pSeed, uint64_t n){
  uint64_t x = *pSeed;
  x ^= x<<13;
  x ^= x>>7;
  x ^= x<<17;
  *pSeed = x;
  return x%n;
}

/* Fetches all values of a row. */
static void take(cloop *p, sqlite3_stmt *s, int nCol){
  int i;
  for(i=0; i<nCol; i++){
    switch( sqlite3_column_type(s, i) ){
      case SQLITE_INTEGER:
        p->sum += sqlite3_column_int64(s, i);
        break;
      case SQLITE_TEXT: {
        const unsigned char *z = sqlite3_column_text(s, i);
        size_t n = (size_t)sqlite3_column_bytes(s, i);
        memcpy(p->zText, z, n<sizeof(p->zText) ? n : sizeof(p->zText));
        p->sum += (int64_t)n;
        break;
      }
    }
  }
}

/* Runs a statement to its end. *pFirst is the first column of its first row. */
static int run(cloop *p, sqlite3_stmt *s, int64_t *pRows, int64_t *pFirst){
  int nCol = sqlite3_column_count(s);
  int64_t n = 0;
  int rc;
  while( (rc = sqlite3_step(s))==SQLITE_ROW ){
    if( n==0 && pFirst ) *pFirst = sqlite3_column_int64(s, 0);
    n++;
    take(p, s, nCol);
  }
  if( pRows ) *pRows = n;
  sqlite3_reset(s);
  return rc==SQLITE_DONE ? SQLITE_OK : rc;
}

static int runOne(cloop *p, int which){
  sqlite3_stmt *s;
  int rc = stmt(p, which, &s);
  return rc ? rc : run(p, s, 0, 0);
}

/* Runs a statement with an integer as its argument. A query must have a row. */
static int runInt(cloop *p, int which, int64_t arg, int64_t *pFirst){
  sqlite3_stmt *s;
  int64_t n = 0;
  int rc = stmt(p, which, &s);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_int64(s, 1, arg);
  if( rc==SQLITE_OK ) rc = run(p, s, &n, pFirst);
  return rc==SQLITE_OK && n==0 && sqlite3_column_count(s)>0 ? SQLITE_EMPTY : rc;
}

int cloop_point_read(cloop *p, uint64_t seed, int n, int accounts){
  int rc = SQLITE_OK;
  while( rc==SQLITE_OK && n-->0 ) rc = runInt(p, CLOOP_READ_ACCOUNT, (int64_t)draw(&seed, accounts)+1, 0);
  return rc;
}

int cloop_point_write(cloop *p, uint64_t seed, int n, int accounts){
  int rc = SQLITE_OK;
  while( rc==SQLITE_OK && n-->0 ) rc = runInt(p, CLOOP_WRITE_ACCOUNT, (int64_t)draw(&seed, accounts)+1, 0);
  return rc;
}

/* Commits after success, rolls back after an error. */
static int end(cloop *p, int rc){
  if( rc==SQLITE_OK ) rc = runOne(p, CLOOP_COMMIT);
  if( rc!=SQLITE_OK && !sqlite3_get_autocommit(p->db) ) runOne(p, CLOOP_ROLLBACK);
  return rc;
}

static int deliver(cloop *p, uint64_t *pSeed, int accounts, const char *zHead, int nHead){
  sqlite3_stmt *s;
  int64_t id = 0, used, uid = 0, n = 0;
  char zAddress[64];
  int rc = stmt(p, CLOOP_FIND_ACCOUNT, &s);
  if( rc ) return rc;
  snprintf(zAddress, sizeof(zAddress), "account%d@example.org", (int)draw(pSeed, accounts)+1);
  if( (rc = sqlite3_bind_text(s, 1, zAddress, -1, SQLITE_STATIC)) ) return rc;
  if( (rc = run(p, s, &n, &id)) ) return rc;
  if( n==0 ) return SQLITE_EMPTY;
  if( (rc = runInt(p, CLOOP_READ_QUOTA, id, &used)) ) return rc;
  if( (rc = runInt(p, CLOOP_READ_MAILBOX, id, &uid)) ) return rc;
  if( (rc = stmt(p, CLOOP_INSERT_MESSAGE, &s)) ) return rc;
  sqlite3_bind_int64(s, 1, id);
  sqlite3_bind_int64(s, 2, uid);
  sqlite3_bind_int64(s, 3, 1000+(int64_t)draw(pSeed, 9000));
  sqlite3_bind_text(s, 4, zHead, nHead, SQLITE_STATIC);
  if( (rc = run(p, s, 0, 0)) ) return rc;
  return runInt(p, CLOOP_UPDATE_MAILBOX, id, 0);
}

int cloop_deliver(cloop *p, uint64_t seed, int n, int accounts, const char *zHead, int nHead){
  int rc = SQLITE_OK;
  while( rc==SQLITE_OK && n-->0 ){
    if( (rc = runOne(p, CLOOP_BEGIN))==SQLITE_OK ) rc = end(p, deliver(p, &seed, accounts, zHead, nHead));
  }
  return rc;
}

int cloop_query_int(cloop *p, int which, int64_t arg, int64_t *pRows){
  sqlite3_stmt *s;
  int rc = stmt(p, which, &s);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_int64(s, 1, arg);
  return rc ? rc : run(p, s, pRows, 0);
}

int cloop_query_text(cloop *p, int which, const char *z, int n, int64_t *pRows){
  sqlite3_stmt *s;
  int rc = stmt(p, which, &s);
  if( rc==SQLITE_OK ) rc = sqlite3_bind_text(s, 1, z, n, SQLITE_STATIC);
  return rc ? rc : run(p, s, pRows, 0);
}

int cloop_query(cloop *p, int which, int64_t *pRows, int64_t *pFirst){
  sqlite3_stmt *s;
  int rc = stmt(p, which, &s);
  return rc ? rc : run(p, s, pRows, pFirst);
}

/* Inserts an article or a comment. */
static int child(cloop *p, int which, const cloop_blog *b, int64_t id, int64_t parent, const char *zBody, int nBody){
  sqlite3_stmt *s;
  int rc = stmt(p, which, &s);
  if( rc ) return rc;
  sqlite3_bind_int64(s, 1, id);
  sqlite3_bind_int64(s, 2, b->created+id);
  sqlite3_bind_int64(s, 3, parent);
  sqlite3_bind_text(s, 4, zBody, nBody, SQLITE_STATIC);
  return run(p, s, 0, 0);
}

static int insertBlog(cloop *p, const cloop_blog *b){
  int64_t user, article, comment;
  sqlite3_stmt *s;
  char zEmail[64];
  int rc = stmt(p, CLOOP_INSERT_USER, &s);
  for(user=b->first; rc==SQLITE_OK && user<b->first+b->users; user++){
    snprintf(zEmail, sizeof(zEmail), "user%08lld@example.org", (long long)user);
    sqlite3_bind_int64(s, 1, user);
    sqlite3_bind_int64(s, 2, b->created+user);
    sqlite3_bind_text(s, 3, zEmail, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, 1);
    rc = run(p, s, 0, 0);
    for(article=(user-1)*b->articles+1; rc==SQLITE_OK && article<=user*b->articles; article++){
      rc = child(p, CLOOP_INSERT_ARTICLE, b, article, user, b->zArticle, b->nArticle);
      for(comment=(article-1)*b->comments+1; rc==SQLITE_OK && comment<=article*b->comments; comment++){
        rc = child(p, CLOOP_INSERT_COMMENT, b, comment, article, b->zComment, b->nComment);
      }
    }
  }
  return rc;
}

int cloop_insert_blog(cloop *p, const cloop_blog *b){
  int rc = runOne(p, CLOOP_BEGIN);
  return rc ? rc : end(p, insertBlog(p, b));
}
