/*
** The statements of the loads in a loop in C: what SQLite costs by itself.
**
** Each function runs on the thread that uses the connection, and returns a
** result code of SQLite, SQLITE_OK for success. A failed transaction is rolled
** back.
*/
#ifndef CLOOP_H
#define CLOOP_H

#include <stdint.h>

/* Which statement: cloop_text gives each its text. */
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

/* A loop on a connection (an sqlite3*). 0: no memory. Free it before the
** connection is closed. */
cloop *cloop_new(uintptr_t db);
void cloop_free(cloop*);

/* The text of a statement, which is copied and prepared when it is first run. */
int cloop_text(cloop*, int which, const char *z, int n);

/* The message of the last error, until the next call. */
const char *cloop_error(cloop*);

/* n point reads, writes or deliveries, of accounts drawn by chance. */
int cloop_point_read(cloop*, uint64_t seed, int n, int accounts);
int cloop_point_write(cloop*, uint64_t seed, int n, int accounts);
int cloop_deliver(cloop*, uint64_t seed, int n, int accounts, const char *zHead, int nHead);

/* A query to its end, with an integer or a text as its argument, or none. *pRows
** is how many rows it has, *pFirst the first column of the first. */
int cloop_query_int(cloop*, int which, int64_t arg, int64_t *pRows);
int cloop_query_text(cloop*, int which, const char *z, int n, int64_t *pRows);
int cloop_query(cloop*, int which, int64_t *pRows, int64_t *pFirst);

/* Users from the number first on, with articles and comments, in one transaction. */
typedef struct cloop_blog {
  int64_t first, users, articles, comments; /* Articles of a user, comments of an article */
  int64_t created;                          /* Plus the number: when a row was created */
  const char *zArticle, *zComment;          /* Bodies */
  int nArticle, nComment;
} cloop_blog;
int cloop_insert_blog(cloop*, const cloop_blog*);

#endif
