/*
** The links between a connection of Go and its files: its main database and the
** stores attached to it. They carry the write lock, which Go has, and the
** cancellation of the running statement.
*/
#include "engine.h"
#include "stmt.h"

/*
** Instructions of SQLite's virtual machine between two checks of the context. They
** take some tenths of a millisecond, much more than the call into Go.
*/
#define PROGRESS_OPS 10000

static memvfs_hooks hooks;   /* Set once, by memvfs_register */

/* The links of main databases. Guarded by memvfsNamesMutex */
static memvfs_conn *pMainList;

void memvfsConnHooks(memvfs_hooks h){
  hooks = h;
}

/*
** Makes sure that the file may become the writer. Go takes the write lock before
** it runs a statement that is known to write. Some statements get here without
** the lock: a later statement of a string, a pragma that writes, a statement of
** Conn.Raw. For these this function asks Go for the lock.
**
** A file that is opened without the driver has no link. It competes for
** memvfs_store.pWriter without the write lock, and waits by SQLite's busy handler.
*/
int memvfsConnLock(MemFile *f){
  memvfs_conn *p = f->pConn;
  int rc;
  if( p==0 ) return SQLITE_OK;
  if( p->readOnly ) return SQLITE_READONLY;
  if( p->mayWrite ) return SQLITE_OK;
  rc = hooks.xLock(p->handle);
  if( rc==SQLITE_OK ) p->borrowed = 1;
  return rc;
}

/*
** SQLite's busy handler for one call. The state of the file was stale, so it begins
** again at once and keeps the write lock.
*/
static int retry(void *pArg, int n){
  memvfs_conn *p = pArg;
  (void)n;
  p->retry = 0;
  sqlite3_busy_timeout(p->db, (p->pMain ? p->pMain : p)->busyTimeout);
  return 1;
}

/*
** The file has the write lock, but could not become the writer. Its state may be
** stale because it waited for the lock. Then SQLite drops that state, calls its
** busy handler, and tries again. The lock must be kept meanwhile. If it were
** released, the connection would wait for it again, with a stale state after
** each wait. SQLite calls no busy handler if the file has a transaction that has
** read. Then the lock is released at once.
**
** The handler is set here for one call, because PRAGMA busy_timeout sets another
** one and reads what sqlite3_busy_handler() clears. This handler replaces
** SQLite's. If the timeout of SQLite's handler is not known, the lock is released
** as well.
**
** The schema name of an attached file is not known here. So sqlite3_txn_state() is
** asked about all files. A statement that has read another file releases the lock
** and waits by SQLite's own handler.
*/
void memvfsConnRefused(MemFile *f, int rc){
  memvfs_conn *p = f->pConn;
  if( p && p->borrowed && rc==SQLITE_BUSY_SNAPSHOT && (p->pMain ? p->pMain : p)->busyTimeout>=0
   && sqlite3_txn_state(p->db, p->pMain ? 0 : "main")==SQLITE_TXN_NONE
  ){
    p->retry = 1;
    sqlite3_busy_handler(p->db, retry, p);
    return;
  }
  memvfsConnUnlock(f, 0);
}

/* The file is not the writer; with wrote set, it was until now. */
void memvfsConnUnlock(MemFile *f, int wrote){
  memvfs_conn *p = f->pConn;
  if( p && !p->retry && (p->borrowed || (p->tell && wrote)) && f->eLock<SQLITE_LOCK_RESERVED ){
    p->borrowed = 0;
    hooks.xUnlock(p->handle);
  }
}

/*
** Runs inside of a statement, on its thread, so it stops no other.
**
** SQLite also calls it after the last instruction (vdbe_return), when the statement
** has committed. An interrupt would then report a commit as an error.
*/
static int progress(void *pArg){
  memvfs_conn *p = pArg;
  if( !p->cancellable || (p->pStmt && p->pStmt->p && !sqlite3_stmt_busy(p->pStmt->p)) ) return 0;
  return hooks.xCancelled(p->handle);
}

memvfs_conn *memvfs_conn_new(memvfs_store *s, int iToken, uintptr_t handle){
  memvfs_conn *p = memvfsMalloc(sizeof(*p));
  sqlite3_mutex *mutex;
  MemFile *f = 0;
  Reader *r;
  if( p==0 ) return 0;
  memvfsEnter(s);
  for(r=s->pReader; r && f==0; r=r->pNext){
    /* Only a file has a token, so r is that of a file. */
    if( iToken && r->iToken==iToken ) f = (MemFile*)((char*)r - offsetof(MemFile, reader));
  }
  memvfsLeave(s);
  if( f==0 || f->pConn ){
    memvfsFree(p);
    return 0;
  }
  f->pConn = p;
  p->pFile = f;
  p->db = f->db;
  p->handle = handle;
  p->eLock = f->eLock;
  p->busyTimeout = -1;
  p->autocommit = sqlite3_get_autocommit(p->db);
  sqlite3_progress_handler(p->db, PROGRESS_OPS, progress, p);
  sqlite3_set_authorizer(p->db, memvfsAuthorize, p);
  mutex = memvfsNamesMutex();
  sqlite3_mutex_enter(mutex);
  p->pNext = pMainList;
  if( pMainList ) pMainList->pPrev = p;
  pMainList = p;
  sqlite3_mutex_leave(mutex);
  return p;
}

/* Removes a link from the list of main links. Under memvfsNamesMutex. */
static void unlist(memvfs_conn *p){
  if( p->pPrev ) p->pPrev->pNext = p->pNext;
  else if( pMainList==p ) pMainList = p->pNext;
  if( p->pNext ) p->pNext->pPrev = p->pPrev;
  p->pPrev = p->pNext = 0;
}

/* Releases all that the file holds, before or instead of its close. */
static void giveUp(MemFile *f, int rc){
  if( f->eLock>=SQLITE_LOCK_RESERVED ){
    f->eLock = SQLITE_LOCK_SHARED;
    memvfsRelease(f);
  }
  if( f->eLock>SQLITE_LOCK_NONE || f->pinned ) memvfsReaderEnd(&f->reader);
  f->eLock = SQLITE_LOCK_NONE;
  f->pinned = 0;
  f->dead = rc;
  memvfsClose(f);    /* SQLite may never close it, and the store must not wait for that */
}

/*
** The link of the connection's main database; NULL: it has none. It is not freed
** before the caller returns, as the caller is inside of a call of the connection.
*/
memvfs_conn *memvfsMainLink(sqlite3 *db){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  memvfs_conn *p;
  sqlite3_mutex_enter(mutex);
  for(p=pMainList; p && p->db!=db; p=p->pNext){}
  sqlite3_mutex_leave(mutex);
  return p;
}

uintptr_t memvfs_conn_handle(sqlite3 *db){
  memvfs_conn *p = memvfsMainLink(db);
  return p ? p->handle : 0;
}

/*
** The file has got its connection. If that connection has a link for its main
** database already, the file is a store that is being attached. It gets a link of
** its own, and Go is told. The store then stays while it is attached, and is
** written under its own write lock. If Go refuses, every call of the file returns
** SQLITE_IOERR, and the ATTACH fails.
*/
void memvfsConnAttach(MemFile *f){
  memvfs_conn *pMain = memvfsMainLink(f->db), *p;
  int rc = SQLITE_IOERR_NOMEM;
  if( pMain==0 || f->pConn ) return;
  p = memvfsMalloc(sizeof(*p));
  if( p ){
    p->db = f->db;
    p->pFile = f;
    p->pMain = pMain;
    p->handle = hooks.xAttach(pMain->handle, f->pStore->owner, p);
    if( p->handle ){
      f->pConn = p;
      return;
    }
    memvfsFree(p);
    rc = SQLITE_IOERR_LOCK;
  }
  giveUp(f, rc);
}

void memvfs_conn_abandon(memvfs_conn *p){
  MemFile *f = p->pFile;
  sqlite3_mutex *mutex = memvfsNamesMutex();
  if( f==0 || f->dead ) return;
  sqlite3_mutex_enter(mutex);
  unlist(p);
  sqlite3_mutex_leave(mutex);
  f->pConn = 0;
  giveUp(f, SQLITE_IOERR_LOCK);
  p->eLock = SQLITE_LOCK_NONE;
  p->pFile = 0;
}

int memvfs_conn_entered(memvfs_conn *p){
  sqlite3_mutex *mutex = sqlite3_db_mutex(p->db);
  if( mutex==0 ) return 0;
  if( sqlite3_mutex_try(mutex)!=SQLITE_OK ) return 1;
  sqlite3_mutex_leave(mutex);
  return 0;
}

int memvfs_conn_busy(memvfs_conn *p){
  sqlite3_stmt *s = 0;
  while( (s = sqlite3_next_stmt(p->db, s))!=0 ){
    if( sqlite3_stmt_busy(s) ) return 1;
  }
  return 0;
}

void memvfs_conn_pin(memvfs_conn *p){
  MemFile *f = p->pFile;
  if( f==0 || f->pinned ) return;
  if( f->eLock==SQLITE_LOCK_NONE ) memvfsReaderBegin(f->pStore, &f->reader);
  f->pinned = 1;
}

void memvfs_conn_unpin(memvfs_conn *p){
  MemFile *f = p->pFile;
  if( f==0 || !f->pinned ) return;
  f->pinned = 0;
  if( f->eLock==SQLITE_LOCK_NONE ) memvfsReaderEnd(&f->reader);
}

static void freeLink(memvfs_conn *p){
  if( p ) memvfsTablesFree(&p->changed);
  memvfsFree(p);
}

/*
** Go has finished with the link. SQLite may not have finished. A connection that
** was closed with open statements lives until the last one is finalized, on any
** thread, at any time. Then the link is freed with its file.
*/
void memvfs_conn_free(memvfs_conn *p){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  sqlite3_mutex_enter(mutex);
  unlist(p);
  if( p->pFile ){
    p->cancellable = 0;
    p->pFile->pConn = 0;
    p->pFile->pOrphan = p;
    p = 0;
  }
  sqlite3_mutex_leave(mutex);
  freeLink(p);
}

/*
** SQLite closes the file, on a thread that has the mutex of the connection. Returns
** the handle for memvfsConnDetached; 0: none.
*/
uintptr_t memvfsConnClose(MemFile *f){
  sqlite3_mutex *mutex = memvfsNamesMutex();
  memvfs_conn *p = f->pConn ? f->pConn : f->pOrphan;
  uintptr_t handle = 0;
  /* After sqlite3_deserialize() the connection goes on without its file. */
  if( p && p->pMain==0 ){
    sqlite3_progress_handler(f->db, 0, 0, 0);
    sqlite3_set_authorizer(f->db, 0, 0);
    memvfsUnfollow(p);
  }
  sqlite3_mutex_enter(mutex);
  if( (p = f->pConn)!=0 ){
    p->pFile = 0;
    unlist(p);
    if( p->pMain ){
      handle = p->handle;
      memvfsFree(p);
    }
  }
  freeLink(f->pOrphan);
  f->pConn = f->pOrphan = 0;
  sqlite3_mutex_leave(mutex);
  return handle;
}

/* The file of an attached store is closed. */
void memvfsConnDetached(uintptr_t handle){
  hooks.xDetached(handle);
}
