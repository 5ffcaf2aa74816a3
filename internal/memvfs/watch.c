/*
** The tables that a commit may have changed, for those who watch the commits.
**
** The authorizer notes the tables of a statement while SQLite prepares it, whether
** anybody watches or not: the statement may be kept until somebody does. While
** somebody watches, each connection has a trace callback, by which SQLite tells of each
** statement that it begins to run. That adds the tables of the statement to those of
** the running transaction. It also tells of the statements that SQLite runs inside of
** it, which are those of a virtual table. A commit passes the tables to Go.
**
** Where not every write is known, a commit may have changed any table. So it is with a
** transaction that wrote before anybody watched, and after memvfs_conn_user_code.
**
** Nothing of this may fail a statement. Without memory for a set it has any table.
*/
#include "engine.h"
#include "stmt.h"

_Atomic(unsigned) memvfsWatched;

static void (*xCommit)(uintptr_t, uint64_t, const char*, int, int);   /* Set once, by memvfs_register */

void memvfsWatchHook(void (*x)(uintptr_t, uint64_t, const char*, int, int)){
  xCommit = x;
}

void memvfs_watch(unsigned number){
  atomic_store(&memvfsWatched, number);
}

/* ---- A set of tables ---- */

/* The set may have any table. */
static void setAll(memvfs_tables *t){
  t->all = 1;
  t->n = 0;
}

void memvfsTablesFree(memvfs_tables *t){
  if( t->z!=t->aFirst ) memvfsFree(t->z);
  t->z = 0;
}

/* Adds the table zTable of the database zSchema. NULL is any table of any database. */
void memvfsTablesAdd(memvfs_tables *t, const char *zSchema, const char *zTable){
  int i, nSchema, need;
  if( t->all ) return;
  if( zSchema==0 || zTable==0 ){
    setAll(t);
    return;
  }
  for(i=0; i<t->n; i+=(int)strlen(t->z+i)+1){
    int same = strcmp(t->z+i, zSchema)==0;
    i += (int)strlen(t->z+i)+1;
    if( same && strcmp(t->z+i, zTable)==0 ) return;
  }
  nSchema = (int)strlen(zSchema)+1;
  need = t->n + nSchema + (int)strlen(zTable)+1;
  if( need>MEMVFS_TABLES ){
    setAll(t);
    return;
  }
  if( need>t->mx ){
    int mx = need>(int)sizeof(t->aFirst) ? 2*need : (int)sizeof(t->aFirst);
    char *z = mx>(int)sizeof(t->aFirst) ? memvfsMalloc(mx) : t->aFirst;
    if( z==0 ){
      setAll(t);
      return;
    }
    if( t->n ) memcpy(z, t->z, t->n);
    memvfsTablesFree(t);
    t->z = z;
    t->mx = mx;
  }
  memcpy(t->z+t->n, zSchema, nSchema);
  memcpy(t->z+t->n+nSchema, zTable, need-t->n-nSchema);
  t->n = need;
}

/* The next of a set, from *pi on. False: there is none. */
static int next(const memvfs_tables *t, int *pi, const char **pzSchema, const char **pzTable){
  if( *pi>=t->n ) return 0;
  *pzSchema = t->z+*pi;
  *pi += (int)strlen(*pzSchema)+1;
  *pzTable = t->z+*pi;
  *pi += (int)strlen(*pzTable)+1;
  return 1;
}

/* ---- Statements and transactions ---- */

/*
** The statement that is prepared, or prepared again as it runs, writes a table. SQLite
** calls the trace callback once for a run, before it prepares the statement again. So what
** it finds then goes to the transaction as well.
*/
void memvfsNoteTable(memvfs_conn *p, const char *zSchema, const char *zTable){
  if( p->pStmt==0 ) return;
  if( zSchema && zSchema[0]=='t' && strcmp(zSchema, "temp")==0 ) return;
  if( zTable && zTable[0]=='s' ){
    if( strcmp(zTable, "sqlite_master")==0 ) zTable = "sqlite_schema";
    if( strcmp(zTable, "sqlite_dbpage")==0 ) zTable = 0;   /* The pages of the file */
  }
  memvfsTablesAdd(&p->pStmt->tables, zSchema, zTable);
  if( p->pStmt->p ) memvfsTablesAdd(&p->changed, zSchema, zTable);
}

/*
** A statement begins to run. If no database is being written, nothing has been changed yet.
** Otherwise the statements before it were seen here too, or changedIn tells that they were
** not.
*/
static int trace(unsigned mask, void *pArg, void *pStmt, void *pText){
  memvfs_conn *p = pArg;
  memvfs_stmt *s = p->pStmt;
  int i = 0;
  const char *zSchema, *zTable;
  (void)mask; (void)pText;
  if( s==0 || s->p!=pStmt ){
    /* SQLite runs it inside of another */
    if( !sqlite3_stmt_readonly(pStmt) ) setAll(&p->changed);
    return 0;
  }
  if( sqlite3_txn_state(p->db, 0)!=SQLITE_TXN_WRITE ){
    p->changed.n = p->changed.all = 0;
    p->changedIn = p->watched;
  }
  if( s->readonly ) return 0;
  if( (s->facts & MEMVFS_ASKED)==0 || s->tables.all ) setAll(&p->changed);
  while( next(&s->tables, &i, &zSchema, &zTable) ) memvfsTablesAdd(&p->changed, zSchema, zTable);
  return 0;
}

void memvfsFollow(memvfs_conn *p){
  p->watched = atomic_load(&memvfsWatched);
  /* Without the file nobody would end it before the link is freed. */
  if( !p->userCode && p->pFile ) sqlite3_trace_v2(p->db, p->watched ? SQLITE_TRACE_STMT : 0, trace, p);
}

void memvfs_conn_user_code(memvfs_conn *p){
  memvfsUnfollow(p);
  p->userCode = 1;
}

void memvfsUnfollow(memvfs_conn *p){
  if( !p->userCode && p->watched ) sqlite3_trace_v2(p->db, 0, 0, 0);
  p->watched = p->changedIn = 0;
}

/*
** The file has published a commit, and is still the writer. So commits are announced in
** their order.
*/
void memvfsAnnounce(MemFile *f){
  unsigned now = atomic_load(&memvfsWatched);
  uintptr_t owner = f->pStore->owner;
  memvfs_conn *p = f->pConn && f->pConn->pMain ? f->pConn->pMain : f->pConn;
  const char *zSchema, *zTable, *zLast = 0;
  sqlite3_file *pFile = 0;
  int i = 0, n = 0;
  char *z;
  if( now==0 || owner==0 || xCommit==0 ) return;
  if( p==0 || p->userCode || p->changedIn!=now || p->changed.all || (z = memvfsMalloc(p->changed.n+1))==0 ){
    xCommit(owner, f->reader.epoch, 0, 0, 1);
    return;
  }
  while( next(&p->changed, &i, &zSchema, &zTable) ){
    size_t nTable = strlen(zTable)+1;
    if( zLast==0 || strcmp(zLast, zSchema) ){
      pFile = 0;
      (void)sqlite3_file_control(p->db, zSchema, SQLITE_FCNTL_FILE_POINTER, &pFile);
      zLast = zSchema;
    }
    if( pFile!=&f->base ) continue;
    memcpy(z+n, zTable, nTable);
    n += (int)nTable;
  }
  xCommit(owner, f->reader.epoch, z, n, 0);
  memvfsFree(z);
}
