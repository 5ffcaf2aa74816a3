/*
** SQLite on a store from many threads: a bank with a constant sum, read and written
** through every path of the engine.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "stress.h"

#define NACCOUNT 400
#define TOTAL ((int64_t)NACCOUNT*1000)
#define NWRITER 2
#define NREADER 3
#define BUSY_MS 60000

typedef struct Thread {
  pthread_t id;
  Rng rng;
  int n;                  /* Its number among those of its kind */
  int nOp;
} Thread;

static memvfs_store *store, *other;
static char zStore[512], zOther[512];
static _Atomic(int) nRunning;   /* Writers that are not through */

/* ---- SQL ---- */

static sqlite3 *dbOpen(const char *zFile, const char *zSetUp){
  sqlite3 *db;
  CHECK( sqlite3_open_v2(zFile, &db, SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, MEMVFS_NAME)==SQLITE_OK );
  sqlite3_busy_timeout(db, BUSY_MS);
  if( zSetUp && sqlite3_exec(db, zSetUp, 0, 0, 0)!=SQLITE_OK ) DIE("%s: %s", zSetUp, sqlite3_errmsg(db));
  return db;
}

static void run(sqlite3 *db, const char *zSql){
  if( sqlite3_exec(db, zSql, 0, 0, 0)!=SQLITE_OK ) DIE("%s: %s", zSql, sqlite3_errmsg(db));
}

/* Runs what may meet another writer. False: it did. */
static int try(sqlite3 *db, const char *zSql){
  int rc = sqlite3_exec(db, zSql, 0, 0, 0);
  if( rc!=SQLITE_OK && rc!=SQLITE_BUSY ) DIE("%s: %s", zSql, sqlite3_errmsg(db));
  return rc==SQLITE_OK;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *zSql){
  sqlite3_stmt *p;
  if( sqlite3_prepare_v2(db, zSql, -1, &p, 0)!=SQLITE_OK ) DIE("%s: %s", zSql, sqlite3_errmsg(db));
  return p;
}

static int64_t number(sqlite3 *db, const char *zSql){
  sqlite3_stmt *p = prepare(db, zSql);
  int64_t n;
  if( sqlite3_step(p)!=SQLITE_ROW ) DIE("%s: %s", zSql, sqlite3_errmsg(db));
  n = sqlite3_column_int64(p, 0);
  sqlite3_finalize(p);
  return n;
}

static void sound(sqlite3 *db){
  sqlite3_stmt *p = prepare(db, "PRAGMA integrity_check");
  CHECK( sqlite3_step(p)==SQLITE_ROW );
  if( strcmp((const char*)sqlite3_column_text(p, 0), "ok") ) DIE("integrity_check: %s", sqlite3_column_text(p, 0));
  sqlite3_finalize(p);
}

/* ---- The link: hooks as the driver has them ---- */

/* No mutexes: the driver's are not either, and may be left by their context. */
static _Atomic(int) writeLock, otherLock;
static _Atomic(int) nAttached;

#define ATTACHED 2     /* The handle of zOther's link; the others are 0 and 1 */

static int hookLock(uintptr_t h){
  _Atomic(int) *p = h==ATTACHED ? &otherLock : &writeLock;
  int i;
  for(i=0; i<20000; i++){
    int none = 0;
    if( atomic_compare_exchange_strong(p, &none, 1) ) return SQLITE_OK;
    usleep(50);
  }
  return SQLITE_BUSY;
}

static void hookUnlock(uintptr_t h){
  CHECK( atomic_exchange(h==ATTACHED ? &otherLock : &writeLock, 0)==1 );
}

static int hookCancelled(uintptr_t h){ return (int)h; }

static uintptr_t hookAttach(uintptr_t h, uintptr_t owner, memvfs_conn *p){
  CHECK( h!=ATTACHED && owner==0 && p!=0 );
  nAttached++;
  return ATTACHED;
}

static void hookDetached(uintptr_t h){
  CHECK( h==ATTACHED && nAttached-- > 0 );
}

memvfs_hooks threadsHooks(void){
  memvfs_hooks h = { hookLock, hookUnlock, hookCancelled, hookAttach, hookDetached, 0, 0, 0, 0 };
  return h;
}

static memvfs_conn *linkTo(sqlite3 *db, uintptr_t cancelled){
  static _Atomic(int) lastToken;
  int token = ++lastToken;
  memvfs_conn *p;
  CHECK( sqlite3_file_control(db, "main", MEMVFS_FCNTL_TOKEN, &token)==SQLITE_OK );
  p = memvfs_conn_new(store, token, cancelled);
  CHECK( p );
  p->busyTimeout = BUSY_MS;
  return p;
}

/* ---- The threads ---- */

static const char *zMmap = "PRAGMA mmap_size=1073741824";

/* The state of now, or of a moment ago, in the place of that of then. */
static void replacing(int nThread){
  char z[512];
  memvfs_snapshot *p = memvfs_snapshot_open(store);
  uint64_t n = memvfs_snapshot_size(p), i = 0;
  memvfs_store *pFrom;
  sqlite3 *db;
  int rc, wrapped;
  snprintf(z, sizeof(z), "from%d.db", nThread);
  pFrom = storeNew(z, 0);
  CHECK( memvfs_load_begin(pFrom, memvfs_snapshot_page_size(p), n)==SQLITE_OK );
  while( i<n ){
    void *a;
    size_t m;
    CHECK( memvfs_load_next(pFrom, 100000, &a, &m)==SQLITE_OK );
    memvfs_snapshot_read(p, a, m, i);
    i += m;
  }
  memvfs_load_end(pFrom);
  memvfs_snapshot_close(p);
  snprintf(z, sizeof(z), "%s/from%d.db", zDir, nThread);
  db = dbOpen(z, zMmap);
  CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
  rc = memvfs_store_replace(store, pFrom, &wrapped);
  CHECK( rc==SQLITE_BUSY || rc==SQLITE_BUSY_SNAPSHOT );   /* It is open, or somebody writes */
  CHECK( sqlite3_close(db)==SQLITE_OK );
  rc = memvfs_store_replace(store, pFrom, &wrapped);
  CHECK( (rc==SQLITE_OK && !wrapped) || rc==SQLITE_BUSY || rc==SQLITE_BUSY_SNAPSHOT );
  storeEnd(pFrom);
}

static void *writing(void *pArg){
  static const char *azSpill[] = {
    "UPDATE acct SET pad=hex(randomblob(40+abs(random()%200)))",
    "INSERT INTO log SELECT NULL, hex(randomblob(600)) FROM acct LIMIT 150",
    "DELETE FROM log WHERE id%3=0",
    "DELETE FROM log",
    "UPDATE acct SET bal=bal+(CASE WHEN id%2 THEN 7 ELSE -7 END)",
  };
  Thread *p = pArg;
  sqlite3 *db = dbOpen(zStore, zMmap);
  sqlite3_stmt *pMove;
  memvfs_conn *pLink = p->n%2 ? linkTo(db, 0) : 0;
  int i, j, k;
  run(db, p->n%2 ? "PRAGMA cache_size=1; PRAGMA journal_mode=TRUNCATE" : "PRAGMA journal_mode=MEMORY; PRAGMA cache_size=20");
  pMove = prepare(db, "UPDATE acct SET bal=bal+?2, n=n+1 WHERE id=?1");
  for(i=0; i<p->nOp; i++){
    int op = below(&p->rng, 100);
    if( op<60 ){           /* A transfer, sometimes given up, sometimes in part */
      if( !try(db, "BEGIN IMMEDIATE") ) continue;
      for(j=below(&p->rng, 4); j>=0; j--){
        int by = below(&p->rng, 100);
        if( j==1 ) run(db, "SAVEPOINT s");
        for(k=0; k<2; k++){
          sqlite3_bind_int(pMove, 1, 1+below(&p->rng, NACCOUNT));
          sqlite3_bind_int(pMove, 2, k ? by : -by);
          CHECK( sqlite3_step(pMove)==SQLITE_DONE );
          sqlite3_reset(pMove);
        }
        if( j==1 && below(&p->rng, 3)==0 ) run(db, "ROLLBACK TO s");
      }
      CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
      run(db, below(&p->rng, 4) ? "COMMIT" : "ROLLBACK");
    }else if( op<75 ){     /* More than the cache holds */
      if( !try(db, "BEGIN IMMEDIATE") ) continue;
      for(j=below(&p->rng, 3); j>=0; j--) run(db, azSpill[below(&p->rng, 5)]);
      run(db, "SAVEPOINT s");
      run(db, azSpill[below(&p->rng, 5)]);
      if( below(&p->rng, 2) ) run(db, "ROLLBACK TO s");
      CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
      run(db, below(&p->rng, 3) ? "COMMIT" : "ROLLBACK");
    }else if( op<90 ){     /* Commits while a SELECT of the same connection is open */
      sqlite3_stmt *pAll = prepare(db, "SELECT bal, length(pad) FROM acct");
      int64_t sum = 0, rc;
      while( (rc = sqlite3_step(pAll))==SQLITE_ROW ){
        sum += sqlite3_column_int64(pAll, 0);
        if( below(&p->rng, 20)==0 ) try(db, "UPDATE mark SET n=n+1");
        if( below(&p->rng, 100)==0 ) try(db, "UPDATE acct SET n=n+1 WHERE id%7=1");
      }
      CHECK( rc==SQLITE_DONE );
      sqlite3_finalize(pAll);
      CHECK( sum==TOTAL );
    }else if( op<96 ){
      char z[100];
      /* Before a VACUUM nothing is open, and none of a transaction of its own. */
      snprintf(z, sizeof(z), "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d", 512<<below(&p->rng, 8), below(&p->rng, 3));
      run(db, z);
      sqlite3_finalize(pMove);
      try(db, "VACUUM");
      pMove = prepare(db, "UPDATE acct SET bal=bal+?2, n=n+1 WHERE id=?1");
    }else if( op<97 ){
      replacing(p->n);
    }else if( op<98 ){
      try(db, "PRAGMA incremental_vacuum(20)");
    }else{                 /* Two stores in one transaction */
      char z[700];
      snprintf(z, sizeof(z), "ATTACH '%s' AS o", zOther);
      run(db, z);
      if( try(db, "BEGIN IMMEDIATE") ){
        run(db, "INSERT INTO o.t VALUES(1); UPDATE mark SET n=n+1000000");
        run(db, below(&p->rng, 2) ? "COMMIT" : "ROLLBACK");
      }
      run(db, "DETACH o");
    }
  }
  sqlite3_finalize(pMove);
  CHECK( sqlite3_close(db)==SQLITE_OK );
  if( pLink ) memvfs_conn_free(pLink);
  nRunning--;
  return 0;
}

/* Repeatable reads, by reference and by copy. */
static void *reading(void *pArg){
  Thread *p = pArg;
  sqlite3 *db = dbOpen(zStore, p->n ? zMmap : "PRAGMA mmap_size=0");
  int j;
  if( p->n==2 ) run(db, "PRAGMA cache_size=1");
  while( nRunning ){
    int64_t n, mark, len;
    run(db, "BEGIN");
    n = number(db, "SELECT sum(n) FROM acct");
    mark = number(db, "SELECT n FROM mark");
    len = number(db, "SELECT sum(length(x)) + count(*) FROM log");
    for(j=below(&p->rng, 4); j>=0; j--){
      CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
      CHECK( number(db, "SELECT sum(bal) FROM acct NOT INDEXED WHERE pad NOT NULL")==TOTAL );
      if( below(&p->rng, 8)==0 ) usleep(below(&p->rng, 3000));
      CHECK( number(db, "SELECT sum(n) FROM acct")==n );
      CHECK( number(db, "SELECT n FROM mark")==mark );
      CHECK( number(db, "SELECT sum(length(x)) + count(*) FROM log")==len );
    }
    run(db, "COMMIT");
  }
  CHECK( sqlite3_close(db)==SQLITE_OK );
  return 0;
}

/* Connections that come and go, some of them with statements open. */
static void *opening(void *pArg){
  Thread *p = pArg;
  while( nRunning ){
    sqlite3 *db = dbOpen(zStore, below(&p->rng, 2) ? zMmap : 0);
    memvfs_conn *pLink = linkTo(db, 1);
    sqlite3_stmt *q = prepare(db, "SELECT sum(bal) FROM acct");
    if( below(&p->rng, 2) ){
      CHECK( sqlite3_step(q)==SQLITE_ROW && sqlite3_column_int64(q, 0)==TOTAL );
    }
    if( below(&p->rng, 4)==0 ){
      pLink->cancellable = 1;
      CHECK( sqlite3_exec(db, "SELECT count(*) FROM acct a, acct b", 0, 0, 0)==SQLITE_INTERRUPT );
    }
    if( below(&p->rng, 2) ){
      sqlite3_finalize(q);
      q = 0;
    }
    CHECK( sqlite3_close_v2(db)==SQLITE_OK );
    memvfs_conn_free(pLink);
    sqlite3_finalize(q);
    usleep(below(&p->rng, 500));
  }
  return 0;
}

static uint32_t get4(const unsigned char *a){
  return (uint32_t)a[0]<<24 | (uint32_t)a[1]<<16 | (uint32_t)a[2]<<8 | a[3];
}

/*
** Snapshots: their image is a sound database, and stays what it is. Each commit has
** added one to the change counter.
*/
static void *pinning(void *pArg){
  Thread *p = pArg;
  uint32_t base = 0;      /* The change counter less the epoch */
  while( nRunning ){
    memvfs_snapshot *s = memvfs_snapshot_open(store);
    uint64_t n = memvfs_snapshot_size(s), i;
    uint32_t ps = memvfs_snapshot_page_size(s), epoch = (uint32_t)memvfs_snapshot_epoch(s);
    unsigned char *a = sqlite3_malloc64(n), *b = malloc(n);
    sqlite3 *db;
    for(i=0; i<n; i+=50000){
      memvfs_snapshot_read(s, a+i, n-i<50000 ? n-i : 50000, i);
    }
    CHECK( memcmp(a, "SQLite format 3", 16)==0 );
    CHECK( (a[16]<<8 | a[17])==(int)(ps==65536 ? 1 : ps) );
    CHECK( n%ps==0 && get4(a+28)==n/ps );
    CHECK( get4(a+24)==get4(a+92) );
    if( base==0 ) base = get4(a+24)-epoch;
    CHECK( get4(a+24)-epoch==base );
    usleep(below(&p->rng, 5000));
    memvfs_snapshot_read(s, b, n, 0);
    CHECK( memcmp(a, b, n)==0 );
    memvfs_snapshot_close(s);
    CHECK( sqlite3_open(":memory:", &db)==SQLITE_OK );
    CHECK( sqlite3_deserialize(db, "main", a, n, n, SQLITE_DESERIALIZE_FREEONCLOSE|SQLITE_DESERIALIZE_READONLY)==SQLITE_OK );
    CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
    if( below(&p->rng, 4)==0 ) sound(db);
    CHECK( sqlite3_close(db)==SQLITE_OK );
    free(b);
  }
  return 0;
}

static void *draining(void *pArg){
  Thread *p = pArg;
  while( nRunning ){
    memvfs_stats st;
    memvfs_store_drain(store);
    memvfs_store_stats(store, &st);
    CHECK( st.size>0 && st.pageSize>=512 && st.nFile>0 );
    usleep(below(&p->rng, 2000));
  }
  return 0;
}

void threadsRun(uint64_t seed, int nOp){
  enum { N = NWRITER+NREADER+3 };
  static Thread a[N];
  sqlite3 *db;
  int i;
  store = storeNew("bank.db", 0);
  other = storeNew("other.db", 0);
  snprintf(zStore, sizeof(zStore), "%s/bank.db", zDir);
  snprintf(zOther, sizeof(zOther), "%s/other.db", zDir);
  db = dbOpen(zOther, "CREATE TABLE t(x)");
  sqlite3_close(db);
  db = dbOpen(zStore,
    "CREATE TABLE acct(id INTEGER PRIMARY KEY, bal INT, n INT, pad);"
    "CREATE INDEX ab ON acct(bal); CREATE INDEX ap ON acct(pad);"
    "CREATE TABLE log(id INTEGER PRIMARY KEY, x); CREATE TABLE mark(n); INSERT INTO mark VALUES(0)");
  for(i=1; i<=NACCOUNT; i++){
    char z[100];
    snprintf(z, sizeof(z), "INSERT INTO acct VALUES(%d, 1000, 0, hex(randomblob(80)))", i);
    run(db, z);
  }
  nRunning = NWRITER;
  for(i=0; i<N; i++){
    void *(*x)(void*) = i<NWRITER ? writing : i<NWRITER+NREADER ? reading
                      : i==N-3 ? opening : i==N-2 ? pinning : draining;
    a[i].rng.s = seed + (uint64_t)i;
    a[i].n = i<NWRITER ? i : i-NWRITER;
    a[i].nOp = nOp;
    CHECK( pthread_create(&a[i].id, 0, x, &a[i])==0 );
  }
  for(i=0; i<N; i++) pthread_join(a[i].id, 0);
  sound(db);
  CHECK( number(db, "SELECT sum(bal) FROM acct")==TOTAL );
  CHECK( sqlite3_close(db)==SQLITE_OK );
  storeEnd(store);
  storeEnd(other);
}

/* ---- What takes C to be seen ---- */

static int64_t journalBytes(sqlite3 *db){
  sqlite3_file *p;
  sqlite3_int64 n = 0;
  CHECK( sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &p)==SQLITE_OK );
  if( p->pMethods ) p->pMethods->xFileSize(p, &n);
  return n;
}

void unitRun(void){
  sqlite3 *db, *disk;
  sqlite3_stmt *q;
  sqlite3_file *p, *pDirect;
  memvfs_conn *pLink;
  memvfs_stats st;
  unsigned char *a;
  sqlite3_int64 n;
  char z[1100];
  int on;
  store = storeNew("unit.db", 0);
  snprintf(zStore, sizeof(zStore), "%s/unit.db", zDir);
  db = dbOpen(zStore, "CREATE TABLE acct(id INTEGER PRIMARY KEY, bal)");

  /* A long transaction's journal is given back in every mode that keeps it open. */
  run(db, "PRAGMA journal_mode=PERSIST; PRAGMA cache_size=5");
  run(db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500)"
          "INSERT INTO acct SELECT i, hex(randomblob(500)) FROM c");
  run(db, "BEGIN; UPDATE acct SET bal=hex(randomblob(500))");
  CHECK( journalBytes(db)>(256<<10) );
  run(db, "COMMIT");
  CHECK( journalBytes(db)<1000 );
  run(db, "BEGIN; UPDATE acct SET bal=1; ROLLBACK");
  CHECK( number(db, "SELECT min(length(bal)) FROM acct")==1000 );

  /* A link outlives the connection's being closed with a statement open, and
  ** the connection its link. */
  pLink = linkTo(db, 1);
  q = prepare(db, "SELECT count(*) FROM acct a, acct b");
  pLink->cancellable = 1;
  CHECK( sqlite3_step(q)==SQLITE_INTERRUPT );
  CHECK( sqlite3_close_v2(db)==SQLITE_OK );
  memvfs_conn_free(pLink);
  sqlite3_reset(q);
  CHECK( sqlite3_step(q)==SQLITE_ROW );
  sqlite3_finalize(q);
  memvfs_store_stats(store, &st);
  CHECK( st.nFile==0 );

  /* A file that sqlite3_deserialize() takes away takes the hooks with it. */
  db = dbOpen(zStore, 0);
  pLink = linkTo(db, 1);
  pLink->cancellable = 1;
  a = sqlite3_serialize(db, "main", &n, 0);
  CHECK( sqlite3_deserialize(db, "main", a, n, n, SQLITE_DESERIALIZE_FREEONCLOSE)==SQLITE_OK );
  memvfs_store_stats(store, &st);
  CHECK( st.nFile==0 && pLink->db==db && pLink->eLock==SQLITE_LOCK_NONE );
  memvfs_conn_free(pLink);
  CHECK( number(db, "SELECT count(*) FROM acct a, acct b")==250000 );
  sqlite3_close(db);

  /* A store attached to a database on the disk gets no log on the disk. */
  snprintf(z, sizeof(z), "%s/disk.db", zDir);
  disk = dbOpen(z, "CREATE TABLE t(x); PRAGMA locking_mode=EXCLUSIVE");
  snprintf(z, sizeof(z), "ATTACH '%s' AS o; SELECT count(*) FROM o.acct", zStore);
  run(disk, z);
  sqlite3_exec(disk, "PRAGMA o.locking_mode=EXCLUSIVE; PRAGMA o.journal_mode=WAL", 0, 0, 0);
  sqlite3_exec(disk, "PRAGMA journal_mode=WAL", 0, 0, 0);
  sqlite3_exec(disk, "UPDATE o.acct SET bal=7 WHERE id=1", 0, 0, 0);
  sqlite3_close(disk);
  snprintf(z, sizeof(z), "%s-wal", zStore);
  CHECK( access(z, F_OK)!=0 );

  /* SQLITE_DBCONFIG_RESET_DATABASE, and a file that is cut to nothing while
  ** an older state is held. */
  db = dbOpen(zStore, zMmap);
  disk = dbOpen(zStore, zMmap);
  n = number(db, "SELECT count(*) FROM acct");
  run(disk, "BEGIN; SELECT * FROM acct");
  CHECK( sqlite3_db_config(db, SQLITE_DBCONFIG_RESET_DATABASE, 1, &on)==SQLITE_OK );
  run(db, "VACUUM");
  CHECK( sqlite3_db_config(db, SQLITE_DBCONFIG_RESET_DATABASE, 0, &on)==SQLITE_OK );
  CHECK( number(db, "SELECT count(*) FROM sqlite_schema")==0 );
  CHECK( number(disk, "SELECT count(*) FROM acct")==n );
  CHECK( sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &p)==SQLITE_OK );
  pDirect = p;
  CHECK( pDirect->pMethods->xLock(p, SQLITE_LOCK_SHARED)==SQLITE_OK );
  CHECK( pDirect->pMethods->xLock(p, SQLITE_LOCK_RESERVED)==SQLITE_OK );
  CHECK( pDirect->pMethods->xTruncate(p, 0)==SQLITE_OK );
  CHECK( pDirect->pMethods->xFileControl(p, SQLITE_FCNTL_COMMIT_PHASETWO, 0)==SQLITE_OK );
  CHECK( pDirect->pMethods->xUnlock(p, SQLITE_LOCK_NONE)==SQLITE_OK );
  memvfs_store_drain(store);
  memvfs_store_stats(store, &st);
  CHECK( st.size==0 );
  CHECK( number(disk, "SELECT count(*) FROM acct")==n );
  run(disk, "COMMIT");
  CHECK( number(disk, "SELECT count(*) FROM sqlite_schema")==0 );
  sqlite3_close(disk);
  sqlite3_close(db);
  storeEnd(store);
}

/* ---- Allocations that fail ---- */

/*
** One thread, a connection that writes and one that reads an older state. At
** random an allocation of the engine fails, or all do from one on: then the
** statement fails, and the database is what it was. Some transactions change a
** second store as well: they are committed in both or in neither.
*/
void allocRun(uint64_t seed, int nOp){
  static const char *azSql[] = {
    "UPDATE acct SET bal=bal+1, pad=pad||'x' WHERE id%5=1",
    "INSERT INTO acct(bal, n, pad) SELECT bal, n, hex(randomblob(100)) FROM acct LIMIT 300",
    "DELETE FROM acct WHERE id%4=2",
    "DELETE FROM acct WHERE id>200",
    "PRAGMA page_size=512; VACUUM",
    "PRAGMA page_size=4096; VACUUM",
    "PRAGMA page_size=65536; VACUUM",
    "PRAGMA incremental_vacuum",
    "BEGIN; UPDATE acct SET n=n+1; SAVEPOINT a; DELETE FROM acct; ROLLBACK TO a; COMMIT",
    "BEGIN; INSERT INTO acct SELECT NULL, 0, 0, zeroblob(3000) FROM acct; ROLLBACK",
    "PRAGMA auto_vacuum=FULL; VACUUM",
    "PRAGMA o.page_size=512; VACUUM o",
    "PRAGMA o.page_size=8192; VACUUM o",
    "BEGIN; UPDATE acct SET n=n+1 WHERE id%3=0; INSERT INTO o.acct SELECT NULL, 1, 1, zeroblob(700) FROM o.acct; COMMIT",
    "BEGIN; INSERT INTO acct(bal, n, pad) SELECT bal, n, hex(randomblob(60)) FROM acct LIMIT 200; UPDATE o.acct SET pad=zeroblob(900) WHERE id%2; COMMIT",
    "BEGIN; DELETE FROM acct WHERE id%3=1; DELETE FROM o.acct WHERE id>8; PRAGMA incremental_vacuum; PRAGMA o.incremental_vacuum; COMMIT",
  };
  const char *zSum = "SELECT total(bal)*3 + total(n)*5 + total(length(pad))*7 + count(*)"
    " + 11*(SELECT total(bal)*3 + total(n)*5 + total(length(pad))*7 + count(*) FROM o.acct) FROM main.acct";
  char z2[700];
  Rng r = { seed };
  sqlite3 *db, *old;
  int i, nFailed = 0;
  store = storeNew("alloc.db", 0);
  other = storeNew("alloc2.db", 0);
  memvfs_store_track(store);
  memvfs_store_track(other);
  snprintf(zStore, sizeof(zStore), "%s/alloc.db", zDir);
  snprintf(z2, sizeof(z2), "ATTACH '%s/alloc2.db' AS o", zDir);
  db = dbOpen(zStore, z2);
  /* The first two seeds in a row have the journal modes of the driver and of SQLite. */
  run(db, seed%2 ? "PRAGMA main.journal_mode=TRUNCATE; PRAGMA main.synchronous=OFF" : "PRAGMA journal_mode=PERSIST; PRAGMA o.synchronous=OFF");
  run(db, "PRAGMA cache_size=5; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA o.auto_vacuum=INCREMENTAL;"
    "CREATE TABLE main.acct(id INTEGER PRIMARY KEY, bal INT, n INT, pad); CREATE INDEX main.ap ON acct(pad);"
    "CREATE TABLE o.acct(id INTEGER PRIMARY KEY, bal INT, n INT, pad);"
    "INSERT INTO o.acct VALUES(1, 1, 1, 'x'); INSERT INTO main.acct VALUES(1, 1, 1, 'x'), (2, 2, 2, 'y')");
  run(db, zMmap);
  old = dbOpen(zStore, zMmap);
  run(old, z2);
  for(i=0; i<nOp; i++){
    const char *z = azSql[below(&r, sizeof(azSql)/sizeof(*azSql))];
    int64_t before = number(db, zSum), nAlloc;
    int rc, inTx;
    run(old, "BEGIN");
    CHECK( number(old, zSum)==before );
    memvfs_fail_alloc(1+below(&r, 1<<below(&r, 9)), below(&r, 2));
    rc = sqlite3_exec(db, z, 0, 0, 0);
    inTx = !sqlite3_get_autocommit(db);
    nAlloc = memvfs_fail_alloc(0, 0);
    CHECK( nAlloc>=0 );
    if( inTx ) run(db, "ROLLBACK");
    CHECK( number(old, zSum)==before );
    if( rc!=SQLITE_OK ){
      if( rc!=SQLITE_NOMEM && rc!=SQLITE_IOERR ) DIE("%s: %s", z, sqlite3_errmsg(db));
      nFailed++;
      CHECK( number(db, zSum)==before );
    }
    run(old, "COMMIT");
    CHECK( number(old, zSum)==number(db, zSum) );
    if( i%50==0 ) sound(old);
  }
  if( nOp>=100 ) CHECK( nFailed>nOp/20 );
  sqlite3_close(db);
  sqlite3_close(old);
  storeEnd(store);
  storeEnd(other);
}
