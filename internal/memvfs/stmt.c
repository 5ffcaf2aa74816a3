/*
** Statements, and the authorizer that notes their facts. See stmt.h.
*/
#include "engine.h"
#include "stmt.h"

/* ---- What a statement does ---- */

/*
** True for a function with a side effect. These are the functions of the driver, and
** SQLite's own that write or load. Functions of the user are not known here; the
** driver knows whether there can be any.
*/
static int hasEffect(const char *zFunc){
  return zFunc && (sqlite3_strnicmp(zFunc, "sqlite_mem_", 11)==0
      || sqlite3_stricmp(zFunc, "optimize")==0 || sqlite3_stricmp(zFunc, "load_extension")==0
      || sqlite3_stricmp(zFunc, "fts3_tokenizer")==0);
}

/* True for a function that gives the connection something that stays. */
static int registers(const char *zFunc){
  return zFunc && (sqlite3_stricmp(zFunc, "load_extension")==0 || sqlite3_stricmp(zFunc, "fts3_tokenizer")==0
      || sqlite3_stricmp(zFunc, "icu_load_collation")==0);
}

/*
** True for a pragma that only reads, and that FTS3, FTS4 and FTS5 prepare by themselves.
*/
static int isOfFTS(const char *zPragma, const char *zArg){
  return zPragma && zArg==0
      && (sqlite3_stricmp(zPragma, "page_size")==0 || sqlite3_stricmp(zPragma, "data_version")==0);
}

static int writes(const char *zSchema){
  if( zSchema==0 ) return MEMVFS_WRITES_MAIN | MEMVFS_WRITES_OTHER;
  if( sqlite3_stricmp(zSchema, "main")==0 ) return MEMVFS_WRITES_MAIN;
  if( sqlite3_stricmp(zSchema, "temp")==0 ) return MEMVFS_WRITES_TEMP;
  return MEMVFS_WRITES_OTHER;
}

/*
** True for a pragma that names a directory, or that sets a limit for all connections of
** the process.
*/
static int isProcessWide(const char *zPragma){
  return zPragma && (sqlite3_stricmp(zPragma, "temp_store_directory")==0
      || sqlite3_stricmp(zPragma, "data_store_directory")==0
      || sqlite3_stricmp(zPragma, "hard_heap_limit")==0
      || sqlite3_stricmp(zPragma, "soft_heap_limit")==0);
}

/* Notes the tables whose content an action of the authorizer changes: see watch.c. */
static void noteTables(memvfs_conn *p, int op, const char *z1, const char *zSchema){
  switch( op ){
    case SQLITE_INSERT: case SQLITE_UPDATE: case SQLITE_DELETE:
    case SQLITE_CREATE_TABLE: case SQLITE_CREATE_VIEW: case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_TABLE: case SQLITE_DROP_VIEW: case SQLITE_DROP_VTABLE:
      memvfsNoteTable(p, zSchema, z1);
      break;
    case SQLITE_ANALYZE:
      memvfsNoteTable(p, zSchema, "sqlite_stat1");
      memvfsNoteTable(p, zSchema, "sqlite_stat4");
  }
}

/*
** True if SQLite prepares the running statement again, and has rolled back the transaction
** in which the statement began. If a statement finds that the schema has changed, SQLite
** ends it, prepares it again and runs it again. If that end fails, for want of memory, SQLite
** rolls back the transaction and goes on all the same. The statement would then be a
** transaction of its own.
*/
static int lostTransaction(memvfs_conn *p){
  memvfs_stmt *s = p->pStmt;
  /* While it is busy, a function that it calls prepares another one. */
  return s && s->p && p->inTransaction && sqlite3_get_autocommit(p->db) && !sqlite3_stmt_busy(s->p);
}

/*
** The authorizer allows everything except statements that have lost their transaction, and
** file names and process-wide settings where they are refused (memvfs_conn.noFiles).
** SQLite calls it while it prepares a statement, with each action of the statement. An application's own authorizer
** replaces this one; a statement then lacks MEMVFS_ASKED.
*/
int memvfsAuthorize(void *pArg, int op, const char *z1, const char *z2, const char *zSchema, const char *zTrigger){
  memvfs_conn *p = pArg;
  int facts = MEMVFS_ASKED;
  (void)zTrigger;
  if( lostTransaction(p) ){
    p->lost = 1;
    return SQLITE_DENY;
  }
  /* The action behind CREATE TEMP TRIGGER names the schema of the trigger's table. */
  if( op==SQLITE_INSERT && p->lastOp==SQLITE_CREATE_TEMP_TRIGGER ) zSchema = "temp";
  p->lastOp = op;
  switch( op ){
    case SQLITE_INSERT: case SQLITE_UPDATE: case SQLITE_DELETE:
    case SQLITE_REINDEX: case SQLITE_ANALYZE:
      facts |= writes(zSchema);
      noteTables(p, op, z1, zSchema);
      break;
    case SQLITE_ALTER_TABLE:
      facts |= writes(z1) | MEMVFS_NAMES;
      memvfsNoteTable(p, z1, z2);
      break;
    case SQLITE_CREATE_VTABLE: case SQLITE_DROP_VTABLE:
      facts |= writes(zSchema) | MEMVFS_NAMES;
      noteTables(p, op, z1, zSchema);
      break;
    case SQLITE_PRAGMA:
      /* A pragma without a schema may be for all of them, like optimize. */
      if( p->noFiles && isProcessWide(z1) ) return SQLITE_DENY;
      facts |= MEMVFS_PRAGMA | (zSchema ? writes(zSchema) & ~MEMVFS_WRITES_MAIN : MEMVFS_WRITES_OTHER);
      break;
    case SQLITE_TRANSACTION: case SQLITE_SAVEPOINT:
      facts |= MEMVFS_TRANSACTION;
      break;
    case SQLITE_ATTACH: case SQLITE_DETACH:
      facts |= MEMVFS_NAMES;
      p->attaches = 1;
      /* VACUUM attaches a file without a name. */
      if( op==SQLITE_ATTACH && p->noFiles && (z1==0 || z1[0]) ) return SQLITE_DENY;
      break;
    case SQLITE_FUNCTION:
      if( hasEffect(z2) ) facts |= MEMVFS_EFFECT;
      if( registers(z2) ) p->altered = 1;
      /* ALTER TABLE RENAME: the new name is not told. */
      if( z2 && sqlite3_stricmp(z2, "sqlite_rename_table")==0 ) memvfsNoteTable(p, 0, 0);
      break;
    default:
      if( (op>=SQLITE_CREATE_INDEX && op<=SQLITE_CREATE_VIEW) || (op>=SQLITE_DROP_INDEX && op<=SQLITE_DROP_VIEW) ){
        facts |= writes(zSchema) | MEMVFS_NAMES;
        noteTables(p, op, z1, zSchema);
      }
  }
  /* What a new connection would not have. See memvfs_conn_altered. */
  if( op==SQLITE_ATTACH || op==SQLITE_DETACH || (op==SQLITE_PRAGMA && !isOfFTS(z1, z2)) ) p->altered = 1;
  if( p->pStmt ) p->pStmt->facts |= facts;
  return SQLITE_OK;
}

/* ---- Statements ---- */

/* Call enter() before preparing or running a statement, left() after it. */
static void enter(memvfs_stmt *s){
  memvfs_conn *p = s->pConn;
  p->pStmt = s;
  p->inTransaction = !sqlite3_get_autocommit(p->db);
  /* Relaxed: a statement that misses a change is not followed, and its commit sees that. */
  if( p->watched!=atomic_load_explicit(&memvfsWatched, memory_order_relaxed) ) memvfsFollow(p);
}
static void left(memvfs_stmt *s){
  s->pConn->pStmt = 0;
  s->pConn->autocommit = sqlite3_get_autocommit(s->pConn->db);
}

int memvfs_prepare(memvfs_conn *p, const char *z, int n, int persistent, memvfs_stmt **pp){
  memvfs_stmt *s = memvfsMalloc(sizeof(*s));
  const char *zTail = 0;
  int rc;
  *pp = 0;
  if( s==0 ) return SQLITE_NOMEM;
  s->pConn = p;
  enter(s);
  rc = sqlite3_prepare_v3(p->db, z, n, persistent ? SQLITE_PREPARE_PERSISTENT : 0, &s->p, &zTail);
  left(s);
  if( rc==SQLITE_OK ){
    s->nTail = zTail ? (int)(zTail-z) : n;
    if( s->p ){
      s->nParam = sqlite3_bind_parameter_count(s->p);
      s->nCol = sqlite3_column_count(s->p);
      s->readonly = sqlite3_stmt_readonly(s->p) || sqlite3_stmt_isexplain(s->p);
      /* SQLite sets a pragma that it explains, and makes no statement anew. */
      if( (s->facts & MEMVFS_PRAGMA) && sqlite3_stmt_isexplain(s->p) ) s->facts |= MEMVFS_NAMES;
      if( s->nParam && (s->aArg = memvfsMalloc(s->nParam*sizeof(*s->aArg)))==0 ) rc = SQLITE_NOMEM;
    }
  }
  if( rc!=SQLITE_OK ){
    memvfs_finalize(s);
    return rc;
  }
  *pp = s;
  return SQLITE_OK;
}

void memvfs_finalize(memvfs_stmt *s){
  sqlite3_finalize(s->p);
  left(s);
  memvfsFree(s->aArg);
  memvfsFree(s->zArg);
  memvfsFree(s->azCol);
  memvfsTablesFree(&s->tables);
  memvfsFree(s);
}

int memvfs_arg_room(memvfs_stmt *s, int64_t n){
  int64_t need = s->nzArg+n;
  char *z;
  if( n>sqlite3_limit(s->pConn->db, SQLITE_LIMIT_LENGTH, -1) ) return SQLITE_TOOBIG;
  if( need<=s->mxArg ) return SQLITE_OK;
  if( need<2*s->mxArg && need<MEMVFS_KEEP ) need = 2*s->mxArg;
  if( need<64 ) need = 64;
  if( (uint64_t)need>SIZE_MAX ) return SQLITE_NOMEM;
  z = memvfsMalloc((size_t)need);
  if( z==0 ) return SQLITE_NOMEM;
  if( s->nzArg ) memcpy(z, s->zArg, (size_t)s->nzArg);
  /* The bindings of the last run point into the old memory. */
  sqlite3_clear_bindings(s->p);
  memvfsFree(s->zArg);
  s->zArg = z;
  s->mxArg = need;
  return SQLITE_OK;
}

int memvfs_columns(memvfs_stmt *s){
  int i, n = sqlite3_column_count(s->p);
  if( n>s->nAzCol ){
    memvfsFree(s->azCol);
    s->nAzCol = 0;
    s->azCol = memvfsMalloc(2*n*sizeof(*s->azCol));
    if( s->azCol==0 ) return SQLITE_NOMEM;
    s->nAzCol = n;
  }
  s->nCol = n;
  for(i=0; i<n; i++){
    s->azCol[i] = sqlite3_column_name(s->p, i);
    s->azCol[n+i] = sqlite3_column_decltype(s->p, i);
    if( s->azCol[i]==0 ) return SQLITE_NOMEM;
  }
  return SQLITE_OK;
}

/* SQLite takes a null pointer for NULL, so an empty value needs another pointer. */
static const char *argument(memvfs_stmt *s, memvfs_value *v){
  return v->n ? s->zArg + v->u.i : "";
}

/* Frees arguments that are too large to keep for the next run. */
static void dropArguments(memvfs_stmt *s){
  if( s->mxArg>MEMVFS_KEEP ){
    sqlite3_clear_bindings(s->p);
    memvfsFree(s->zArg);
    s->zArg = 0;
    s->mxArg = 0;
  }
}

/*
** Binds the arguments. Texts and blobs are not copied: nothing writes to zArg before
** the statement is reset.
*/
static int bind(memvfs_stmt *s){
  int i, rc = SQLITE_OK;
  for(i=0; i<s->nParam && rc==SQLITE_OK; i++){
    memvfs_value *v = &s->aArg[i];
    switch( v->type ){
      case SQLITE_INTEGER: rc = sqlite3_bind_int64(s->p, i+1, v->u.i); break;
      case SQLITE_FLOAT:   rc = sqlite3_bind_double(s->p, i+1, v->u.r); break;
      case SQLITE_TEXT:    rc = sqlite3_bind_text64(s->p, i+1, argument(s, v), v->n, 0, SQLITE_UTF8); break;
      case SQLITE_BLOB:    rc = sqlite3_bind_blob64(s->p, i+1, argument(s, v), v->n, 0); break;
      default:             rc = sqlite3_bind_null(s->p, i+1); break;
    }
  }
  if( rc!=SQLITE_OK ) dropArguments(s);
  return rc;
}

int memvfs_reset(memvfs_stmt *s){
  int rc = sqlite3_reset(s->p);
  if( s->pConn->lost ){
    s->pConn->lost = 0;
    /* A statement that has ended has been denied nothing. Another one was, prepared by code
    ** of the user that SQLite calls behind a commit. */
    if( rc!=SQLITE_OK ) rc = SQLITE_ABORT_ROLLBACK;
  }
  left(s);
  dropArguments(s);
  return rc;
}

memvfs_rows *memvfs_rows_new(void){
  return memvfsMalloc(sizeof(memvfs_rows) + MEMVFS_HEAP);
}

void memvfs_rows_free(memvfs_rows *b){
  memvfsFree(b->a);
  memvfsFree(b);
}

/*
** Appends the current row to the batch. Returns SQLITE_OK; SQLITE_ROW if the row must
** be the last one of the batch; SQLITE_NOMEM.
*/
static int fetch(memvfs_stmt *s, memvfs_rows *b){
  memvfs_value *v = &b->a[b->nRow*b->nCol];
  int i, rc = SQLITE_OK;
  for(i=0; i<b->nCol; i++, v++){
    sqlite3_value *x = sqlite3_column_value(s->p, i);
    const void *z;
    v->type = sqlite3_value_type(x);
    switch( v->type ){
      case SQLITE_INTEGER: v->u.i = sqlite3_value_int64(x); continue;
      case SQLITE_FLOAT:   v->u.r = sqlite3_value_double(x); continue;
      case SQLITE_TEXT:    z = sqlite3_value_text(x); break;
      case SQLITE_BLOB:    z = sqlite3_value_blob(x); break;
      default: continue;
    }
    v->n = sqlite3_value_bytes(x);
    /* An empty blob has no place. A zeroblob that could not be made has become NULL. */
    if( z==0 && (v->n || sqlite3_value_type(x)!=SQLITE_BLOB) ) return SQLITE_NOMEM;
    v->u.p = z;
    if( v->n>MEMVFS_LARGE || v->n>MEMVFS_HEAP-b->nz ){
      rc = SQLITE_ROW;
    }else if( v->n ){
      memcpy(b->z+b->nz, z, v->n);
      v->u.p = b->z+b->nz;
      b->nz += v->n;
    }
  }
  b->nRow++;
  return rc;
}

int memvfs_more(memvfs_stmt *s, memvfs_rows *b, int nMax){
  int rc, rcReset, nStep = nMax>1 ? sqlite3_stmt_status(s->p, SQLITE_STMTSTATUS_VM_STEP, 0) : 0;
  b->nRow = 0;
  b->nz = 0;
  enter(s);
  while( (rc = sqlite3_step(s->p))==SQLITE_ROW ){
    if( b->nRow==0 ){
      /* Not earlier: the first step may prepare the statement again. */
      b->nCol = sqlite3_column_count(s->p);
      if( b->nCol>b->nAlloc/nMax ){
        memvfsFree(b->a);
        b->nAlloc = 0;
        b->a = memvfsMalloc((size_t)b->nCol*nMax*sizeof(*b->a));
        if( b->a==0 ){ rc = SQLITE_NOMEM; break; }
        b->nAlloc = b->nCol*nMax;
      }
    }
    rc = fetch(s, b);
    if( rc==SQLITE_NOMEM ) break;
    if( rc==SQLITE_ROW || b->nRow>=nMax || b->nz>MEMVFS_HEAP-MEMVFS_LARGE
     || sqlite3_stmt_status(s->p, SQLITE_STMTSTATUS_VM_STEP, 0)-nStep>MEMVFS_STEPS
    ){
      left(s);
      return SQLITE_ROW;
    }
  }
  if( b->nRow==0 ) b->nCol = sqlite3_column_count(s->p);
  rcReset = memvfs_reset(s);
  if( rc==SQLITE_DONE || rcReset!=SQLITE_OK ) rc = rcReset==SQLITE_OK ? SQLITE_DONE : rcReset;
  return rc;
}

int memvfs_query(memvfs_stmt *s, memvfs_rows *b, int nMax){
  int rc;
  b->nRow = 0;
  rc = bind(s);
  if( rc!=SQLITE_OK ) return rc;
  rc = memvfs_more(s, b, nMax);
  s->nReprepare = sqlite3_stmt_status(s->p, SQLITE_STMTSTATUS_REPREPARE, 0);
  return rc;
}

int memvfs_exec(memvfs_stmt *s){
  int rc = bind(s);
  if( rc!=SQLITE_OK ) return rc;
  enter(s);
  while( sqlite3_step(s->p)==SQLITE_ROW ){}
  rc = memvfs_reset(s);
  s->nReprepare = sqlite3_stmt_status(s->p, SQLITE_STMTSTATUS_REPREPARE, 0);
  s->rowid = sqlite3_last_insert_rowid(s->pConn->db);
  s->changes = memvfsChanges(s->pConn);
  return rc;
}
