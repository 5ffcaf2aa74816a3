/*
** The statements of the loads in a loop in C. They show the cost of SQLite alone.
**
** Each function runs on the thread that uses the connection, and returns a
** result code of SQLite, SQLITE_OK for success. A failed transaction is rolled
** back.
*/
#ifndef CLOOP_H
#define CLOOP_H

#include <stdint.h>

/* The statements. cloop_text gives each its text. */
enum {
  CLOOP_READ_ACCOUNT, CLOOP_WRITE_ACCOUNT,
  CLOOP_FIND_ACCOUNT, CLOOP_READ_QUOTA, CLOOP_READ_MAILBOX, CLOOP_INSERT_MESSAGE, CLOOP_UPDATE_MAILBOX,
  CLOOP_SCAN_ACCOUNTS, CLOOP_SUM_ACCOUNTS,
  CLOOP_INSERT_USER, CLOOP_INSERT_ARTICLE, CLOOP_INSERT_COMMENT,
  CLOOP_SCAN_USERS, CLOOP_JOIN_USER, CLOOP_JOIN_USERS,
  CLOOP_BEGIN, CLOOP_COMMIT, CLOOP_ROLLBACK,
  CLOOP_N
};

typedef struct cloop cloop;

/* Makes a loop on a connection (an sqlite3*); 0 if there is no memory. Free it
** before the connection is closed. */
cloop *cloop_new(uintptr_t db);
void cloop_free(cloop*);

/* Sets the text of a statement. It is copied, and prepared at the first run. */
int cloop_text(cloop*, int which, const char *z, int n);

/* Returns the message of the last error. It is valid until the next call. */
const char *cloop_error(cloop*);

/* Each makes n point reads, writes or deliveries, of accounts drawn at random. */
int cloop_point_read(cloop*, uint64_t seed, int n, int accounts);
int cloop_point_write(cloop*, uint64_t seed, int n, int accounts);
int cloop_deliver(cloop*, uint64_t seed, int n, int accounts, const char *zHead, int nHead);

/* Each runs a query to its end, with an integer, a text or no argument. It sets
** *pRows to the number of rows, and *pFirst to the first column of the first row. */
int cloop_query_int(cloop*, int which, int64_t arg, int64_t *pRows);
int cloop_query_text(cloop*, int which, const char *z, int n, int64_t *pRows);
int cloop_query(cloop*, int which, int64_t *pRows, int64_t *pFirst);

/* cloop_insert_blog inserts users, with articles and comments, in one
** transaction. */
typedef struct cloop_blog {
  int64_t first;                            /* Number of the first user */
  int64_t users, articles, comments;        /* Users; articles of each; comments of each */
  int64_t created;                          /* A row is created at this plus its number */
  const char *zArticle, *zComment;          /* Bodies */
  int nArticle, nComment;
} cloop_blog;
int cloop_insert_blog(cloop*, const cloop_blog*);

#endif
