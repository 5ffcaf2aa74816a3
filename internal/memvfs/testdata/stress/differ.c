/*
** The same random programs on a store, on a file through the VFS for the disk, and on
** a file through SQLite's own VFS. Every row, every result code, and the content of
** the databases at the end must agree. Statements and blob handles stay open across
** commits, and another connection of the store holds an old state.
*/
#include <unistd.h>
#include "stress.h"

#define PROGRAM 400       /* Operations of one program */
#define NSIDE 3
#define NHANDLE 3

/* One copy of the database. */
typedef struct Side {
  sqlite3 *db;
  sqlite3_stmt *aStmt[NHANDLE];
  sqlite3_blob *aBlob[NHANDLE];
  char zFile[600];
} Side;

static const char *const azVfs[NSIDE] = { MEMVFS_NAME, MEMVFS_DISK_NAME, 0 };
static Side aSide[NSIDE];
static Rng rng;
static sqlite3 *reader;   /* Of the store */
static char *zHeld;       /* What it saw when its transaction began; NULL: it has none */

#define STORE 0

static sqlite3 *dbOpen(const char *zFile, const char *zVfs){
  sqlite3 *db;
  CHECK( sqlite3_open_v2(zFile, &db, SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, zVfs)==SQLITE_OK );
  CHECK( sqlite3_extended_result_codes(db, 1)==SQLITE_OK );
  return db;
}

static void addRow(sqlite3_str *p, sqlite3_stmt *q){
  for(int i=0; i<sqlite3_column_count(q); i++){
    const char *z = (const char*)sqlite3_column_text(q, i);
    sqlite3_str_appendf(p, "%.60s(%d)|", z ? z : "NULL", sqlite3_column_bytes(q, i));
  }
  sqlite3_str_appendchar(p, 1, '\n');
}

/* Runs all statements of zSql. Returns the rows, and at the end the result code. */
static char *run(sqlite3 *db, const char *zSql){
  sqlite3_str *p = sqlite3_str_new(0);
  int rc = SQLITE_OK;
  char *z;
  while( rc==SQLITE_OK && zSql[0] ){
    sqlite3_stmt *q;
    rc = sqlite3_prepare_v2(db, zSql, -1, &q, &zSql);
    if( q==0 ) continue;
    while( sqlite3_step(q)==SQLITE_ROW ) addRow(p, q);
    rc = sqlite3_finalize(q);
  }
  sqlite3_str_appendf(p, "-> %d", rc);
  z = sqlite3_str_finish(p);
  CHECK( z );
  return z;
}

/* Whether what run() has returned ends with that code. */
static int ended(const char *z, int rc){
  const char *zCode = strrchr(z, '>');
  return zCode && atoi(zCode+1)==rc;
}

/* Compares what the sides have answered to an operation, and frees it. */
static void compare(const char *zWhat, char **az){
  for(int i=1; i<NSIDE; i++){
    if( strcmp(az[STORE], az[i]) ){
      DIE("%s\non the store:\n%.2000s\non side %d:\n%.2000s", zWhat, az[STORE], i, az[i]);
    }
  }
  for(int i=0; i<NSIDE; i++) sqlite3_free(az[i]);
}

/* Runs SQL on all sides. */
static void all(const char *zFormat, ...){
  char *az[NSIDE], *z;
  va_list ap;
  va_start(ap, zFormat);
  z = sqlite3_vmprintf(zFormat, ap);
  va_end(ap);
  CHECK( z );
  for(int i=0; i<NSIDE; i++) az[i] = run(aSide[i].db, z);
  compare(z, az);
  sqlite3_free(z);
}

/* The same, for what is answered differently by a store, whose journal is its own. */
static void allApart(const char *zFormat, int n){
  char *z = sqlite3_mprintf(zFormat, n);
  for(int i=0; i<NSIDE; i++) sqlite3_free(run(aSide[i].db, z));
  sqlite3_free(z);
}

static const char *zSum = "SELECT count(*), total(length(b)), total(c), total(id*c) FROM t; SELECT count(*), total(length(x)) FROM u";

/* ---- Handles that stay open ---- */

static void closeHandles(void){
  for(int i=0; i<NSIDE; i++){
    for(int k=0; k<NHANDLE; k++){
      sqlite3_finalize(aSide[i].aStmt[k]);
      sqlite3_blob_close(aSide[i].aBlob[k]);
      aSide[i].aStmt[k] = 0;
      aSide[i].aBlob[k] = 0;
    }
  }
}

/* Some more rows of a statement. */
static void stepSome(int k){
  static const char *azSql[NHANDLE] = {
    "SELECT id, c, b FROM t ORDER BY id",
    "SELECT c, id FROM t INDEXED BY tc WHERE c>=0 ORDER BY c, id",
    "SELECT rowid, x FROM u ORDER BY rowid DESC",
  };
  char *az[NSIDE];
  int n = 1+below(&rng, 8);
  for(int i=0; i<NSIDE; i++){
    Side *p = &aSide[i];
    sqlite3_str *pRows = sqlite3_str_new(0);
    int rc = SQLITE_ROW;
    if( p->aStmt[k]==0 ) rc = sqlite3_prepare_v2(p->db, azSql[k], -1, &p->aStmt[k], 0);
    for(int j=0; j<n && p->aStmt[k] && (rc = sqlite3_step(p->aStmt[k]))==SQLITE_ROW; j++) addRow(pRows, p->aStmt[k]);
    if( rc!=SQLITE_ROW ){
      sqlite3_finalize(p->aStmt[k]);
      p->aStmt[k] = 0;
    }
    sqlite3_str_appendf(pRows, "-> %d", rc);
    az[i] = sqlite3_str_finish(pRows);
  }
  compare(azSql[k], az);
}

/* One call of a blob handle. */
static void blobCall(int k){
  static unsigned char a[4000];
  char *az[NSIDE];
  int op = below(&rng, 8), id = 1+below(&rng, 40), writes = below(&rng, 2);
  int n = 1+below(&rng, 3000), iOfst = below(&rng, 3000), fill = below(&rng, 256);
  for(int i=0; i<NSIDE; i++){
    sqlite3_blob **pp = &aSide[i].aBlob[k];
    unsigned h = 0;
    int rc;
    memset(a, fill, sizeof(a));
    if( *pp==0 ) rc = sqlite3_blob_open(aSide[i].db, "main", "t", "b", id, writes, pp);
    else if( op==0 ){ rc = sqlite3_blob_close(*pp); *pp = 0; }
    else if( op==1 ) rc = sqlite3_blob_reopen(*pp, id);
    else if( op<5 ) rc = sqlite3_blob_write(*pp, a, n, iOfst);
    else rc = sqlite3_blob_read(*pp, a, n, iOfst);
    for(int j=0; rc==SQLITE_OK && j<n; j++) h = h*31 + a[j];
    az[i] = sqlite3_mprintf("%d %u -> %d", *pp ? sqlite3_blob_bytes(*pp) : -1, h, rc);
  }
  compare("a blob handle", az);
}

/* ---- The reader of the store ---- */

/* It begins to hold a state, or looks whether that is still the same. */
static void hold(void){
  char *z;
  if( zHeld==0 ){
    z = run(reader, "BEGIN");
    CHECK( ended(z, SQLITE_OK) );
    sqlite3_free(z);
    zHeld = run(reader, zSum);
    CHECK( ended(zHeld, SQLITE_OK) );
    return;
  }
  z = run(reader, zSum);
  if( strcmp(z, zHeld) ) DIE("the state that a reader holds has changed from %s to %s", zHeld, z);
  sqlite3_free(z);
  if( below(&rng, 3)==0 ){
    z = run(reader, "COMMIT");
    CHECK( ended(z, SQLITE_OK) );
    sqlite3_free(z);
    sqlite3_free(zHeld);
    zHeld = 0;
  }
}

/* ---- Other ways in ---- */

/* A database of any page size, perhaps in WAL mode, is copied over, or a part of it. */
static void backup(void){
  char zFile[600], *z, *az[NSIDE];
  int nStep = below(&rng, 2) ? -1 : 1+below(&rng, 10), breaks = below(&rng, 3)==0;
  sqlite3 *src;
  snprintf(zFile, sizeof(zFile), "%s/source.db", zDir);
  src = dbOpen(zFile, 0);
  z = sqlite3_mprintf(
    "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA journal_mode=%s;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, b, c INT); CREATE INDEX tc ON t(c); CREATE TABLE u(x);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, zeroblob(i*37%%5000), i%%11 FROM n",
    512<<below(&rng, 8), below(&rng, 3), below(&rng, 2) ? "WAL" : "DELETE", 1+below(&rng, 200));
  CHECK( sqlite3_exec(src, z, 0, 0, 0)==SQLITE_OK );
  sqlite3_free(z);
  for(int i=0; i<NSIDE; i++){
    sqlite3_backup *b = sqlite3_backup_init(aSide[i].db, "main", src, "main");
    int rc = sqlite3_extended_errcode(aSide[i].db), n = 0;
    if( b ){
      while( (rc = sqlite3_backup_step(b, nStep))==SQLITE_OK && !(breaks && ++n>2) ){}
      sqlite3_backup_finish(b);
    }
    az[i] = sqlite3_mprintf("-> %d", rc);
  }
  compare("sqlite3_backup_step", az);
  CHECK( sqlite3_close(src)==SQLITE_OK );
  CHECK( unlink(zFile)==0 );
  allApart("PRAGMA journal_mode=DELETE", 0);   /* A file of the disk is in WAL mode now */
}

/* ---- A program ---- */

static void step(void){
  static const char *azMode[] = { "DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "w" };
  int id = 1+below(&rng, 40), n = below(&rng, 6000);
  switch( below(&rng, 30) ){
    case 0: case 1: case 2:
      all("INSERT OR REPLACE INTO t VALUES(%d, zeroblob(%d), %d)", id, below(&rng, 8) ? n/6 : 4*n, below(&rng, 20));
      break;
    case 3: case 4: all("UPDATE t SET b=zeroblob(%d), c=c+1 WHERE id%%%d=%d", n, 2+below(&rng, 9), below(&rng, 3)); break;
    case 5: all("DELETE FROM t WHERE id%%%d=0", 2+below(&rng, 5)); break;
    case 6: all("INSERT INTO u SELECT zeroblob(%d) FROM t LIMIT %d", n/2, below(&rng, 60)); break;
    case 7: all(below(&rng, 3) ? "DELETE FROM u WHERE rowid%%3=1" : "DELETE FROM u"); break;
    case 8: all(below(&rng, 2) ? "BEGIN" : "BEGIN IMMEDIATE"); break;
    case 9: case 10: all("COMMIT"); break;
    case 11: all("ROLLBACK"); break;
    case 12: case 13: all("SAVEPOINT s%d", below(&rng, 4)); break;
    case 14: case 15: all("ROLLBACK TO s%d", below(&rng, 4)); break;
    case 16: all("RELEASE s%d", below(&rng, 4)); break;
    case 17:
      /* SQLite's own file is not asked for WAL mode, which it would take. */
      n = below(&rng, 6);
      for(int i=0; i<NSIDE-(n>3); i++){
        char *z = sqlite3_mprintf("PRAGMA journal_mode=%s", azMode[n]);
        sqlite3_free(run(aSide[i].db, z));
        sqlite3_free(z);
      }
      break;
    case 18: all("PRAGMA cache_size=%d", 1+below(&rng, 30)); break;
    case 19: allApart("PRAGMA mmap_size=%d", below(&rng, 2) ? 0 : 1<<28); break;
    case 20:
      if( below(&rng, 3) ) break;
      closeHandles();
      all("PRAGMA page_size=%d; PRAGMA auto_vacuum=%d", 512<<below(&rng, 8), below(&rng, 3));
      all("VACUUM");
      break;
    case 21: all("PRAGMA incremental_vacuum(%d)", below(&rng, 20)); break;
    case 22:
      for(int i=0; i<NSIDE; i++){
        if( id%2 ) sqlite3_db_cacheflush(aSide[i].db); else sqlite3_db_release_memory(aSide[i].db);
      }
      break;
    case 23: case 24: stepSome(below(&rng, NHANDLE)); break;
    case 25: blobCall(below(&rng, NHANDLE)); break;
    case 26: hold(); break;
    case 27: all("%s", below(&rng, 2) ? zSum : "PRAGMA page_count; PRAGMA freelist_count; PRAGMA integrity_check"); break;
    case 28:   /* Fails half-way, mostly */
      all("INSERT OR %s INTO t SELECT id+%d, zeroblob(%d), c FROM t ORDER BY id",
          below(&rng, 3) ? below(&rng, 2) ? "ABORT" : "FAIL" : "ROLLBACK", 1+below(&rng, 30), n/2);
      break;
    case 29:
      if( below(&rng, 8) ) break;
      closeHandles();
      all("ROLLBACK");
      backup();
      break;
  }
}

static void program(uint64_t seed, int nOp){
  memvfs_store *s = storeNew("differ.db", 0);
  int i, ps, vacuum;
  rng.s = seed;
  memvfs_store_track(s);
  for(i=0; i<NSIDE; i++){
    static const char *azName[NSIDE] = { "differ.db", "shim.db", "plain.db" };
    snprintf(aSide[i].zFile, sizeof(aSide[i].zFile), "%s/%s", zDir, azName[i]);
    aSide[i].db = dbOpen(aSide[i].zFile, azVfs[i]);
  }
  reader = dbOpen(aSide[STORE].zFile, MEMVFS_NAME);
  if( below(&rng, 2) ) CHECK( sqlite3_exec(reader, "PRAGMA mmap_size=1000000", 0, 0, 0)==SQLITE_OK );
  ps = 512<<below(&rng, 8);
  vacuum = below(&rng, 3);
  all("PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA synchronous=OFF;"
      "CREATE TABLE t(id INTEGER PRIMARY KEY, b, c INT); CREATE INDEX tc ON t(c); CREATE TABLE u(x);"
      "INSERT INTO t VALUES(1, zeroblob(3000), 1), (2, zeroblob(10), 2)", ps, vacuum);
  for(i=0; i<nOp; i++) step();
  closeHandles();
  all("ROLLBACK");
  while( zHeld ) hold();
  all("PRAGMA integrity_check; SELECT * FROM t ORDER BY id; SELECT * FROM u ORDER BY rowid; %s", zSum);
  CHECK( sqlite3_close(reader)==SQLITE_OK );
  for(i=0; i<NSIDE; i++){
    CHECK( sqlite3_close(aSide[i].db)==SQLITE_OK );
    if( i!=STORE ) CHECK( unlink(aSide[i].zFile)==0 );
  }
  storeEnd(s);
}

void differRun(uint64_t seed, int nOp){
  for(; nOp>0; nOp-=PROGRAM) program(seed++, nOp<PROGRAM ? nOp : PROGRAM);
}
