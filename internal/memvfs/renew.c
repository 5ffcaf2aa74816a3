/*
** Makes a used connection as good as a new one, so that a pool can have it again.
**
** SQLite counts the changes of a connection from its open on, and has no call that
** sets the counters back. So the link remembers the count as of the last renewal,
** and SQL gets functions that subtract it.
*/
#include "engine.h"

/*
** Changes of the last INSERT, UPDATE or DELETE since the renewal. The total grows
** with each change, so an equal total means that there was none.
**
** One case differs from a new connection. The first statement since the renewal that
** changes rows fires triggers more than once: two of them, or one for two rows. A
** trigger that is not the first to run asks for changes() before it changes anything, or
** the statement itself does. SQLite has restored its count from before the statement by
** then. So that is the count of the connection's last user, and not 0.
**
** Raw is the other one: go-sqlite3 asks sqlite3_changes64() itself. A statement through
** Raw that changes no rows, as the first of a user, has the count of the last user.
*/
int64_t memvfsChanges(memvfs_conn *p){
  return sqlite3_total_changes64(p->db)==p->nRenewed ? 0 : sqlite3_changes64(p->db);
}

/* SQL's changes() */
static void changes(sqlite3_context *pCtx, int n, sqlite3_value **ap){
  sqlite3 *db = sqlite3_context_db_handle(pCtx);
  memvfs_conn *p = memvfsMainLink(db);
  (void)n; (void)ap;
  sqlite3_result_int64(pCtx, p ? memvfsChanges(p) : sqlite3_changes64(db));
}

/* SQL's total_changes() */
static void totalChanges(sqlite3_context *pCtx, int n, sqlite3_value **ap){
  sqlite3 *db = sqlite3_context_db_handle(pCtx);
  memvfs_conn *p = memvfsMainLink(db);
  (void)n; (void)ap;
  sqlite3_result_int64(pCtx, sqlite3_total_changes64(db) - (p ? p->nRenewed : 0));
}

int memvfs_conn_renewable(memvfs_conn *p){
  int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
  int rc = sqlite3_create_function_v2(p->db, "changes", 0, flags, 0, changes, 0, 0, 0);
  if( rc==SQLITE_OK ){
    rc = sqlite3_create_function_v2(p->db, "total_changes", 0, flags, 0, totalChanges, 0, 0, 0);
  }
  p->altered = 0;
  return rc;
}

/*
** SQLite opens the temporary database when a statement first names it, also to read, and
** PRAGMA database_list lists it from then on. Until then it has no file name.
*/
int memvfs_conn_altered(memvfs_conn *p){
  return p->altered || sqlite3_db_filename(p->db, "temp")!=0;
}

void memvfs_conn_renew(memvfs_conn *p){
  p->nRenewed = sqlite3_total_changes64(p->db);
  sqlite3_set_last_insert_rowid(p->db, 0);
}
