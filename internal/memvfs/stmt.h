/*
** Statements are prepared, bound, stepped, fetched and reset in few calls, because a
** call from Go to C costs as much as a step. One call binds the arguments, steps, and
** fetches the first rows. One call is a whole Exec. Arguments and rows are in C
** memory, which Go reads and writes between the calls.
**
** Only the thread that uses the connection calls these functions.
*/
#ifndef MEMVFS_STMT_H
#define MEMVFS_STMT_H

#include "memvfs.h"

/*
** The facts of a statement, from the authorizer while SQLite prepared it. Triggers and
** foreign key actions are included. A fact is never removed; a statement that SQLite
** prepares again may gain some.
*/
#define MEMVFS_ASKED         0x001  /* The authorizer of stmt.c was called */
#define MEMVFS_WRITES_MAIN   0x002  /* It writes the main database */
#define MEMVFS_WRITES_OTHER  0x004  /* It writes an attached database */
#define MEMVFS_WRITES_TEMP   0x008  /* It writes the temporary database */
#define MEMVFS_PRAGMA        0x010  /* It is a pragma */
#define MEMVFS_TRANSACTION   0x020  /* BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE */
#define MEMVFS_NAMES         0x040  /* It may change the meaning of names: CREATE, DROP, ALTER, ATTACH, DETACH */
#define MEMVFS_EFFECT        0x080  /* It calls a function with a side effect */

typedef struct memvfs_value {
  int32_t type;            /* SQLITE_INTEGER and so on */
  int32_t n;               /* Bytes of a text or blob */
  union {
    int64_t i;             /* An integer; of a text or blob argument, its offset in zArg */
    double r;
    const void *p;         /* Of a row: the text or blob. Not terminated */
  } u;
} memvfs_value;

/*
** A batch of fetched rows, of one query at a time. A text or blob is in z. A large one
** is in SQLite's memory, and its row is the last one of the batch. Both stay until the
** next call for the statement.
*/
typedef struct memvfs_rows {
  memvfs_value *a;         /* nRow rows of nCol values */
  int nAlloc;              /* Values for which a has room */
  int nRow;
  int nCol;
  int nz;                  /* Bytes of z in use */
  char z[1];               /* MEMVFS_HEAP bytes */
} memvfs_rows;

#define MEMVFS_HEAP   16384  /* Bytes of texts and blobs that a batch copies */
#define MEMVFS_LARGE   1024  /* A longer value is not copied */
#define MEMVFS_STEPS  20000  /* Steps of the virtual machine after which a batch ends */
#define MEMVFS_KEEP   65536  /* Bytes of arguments, or of values, kept for the next run */

typedef struct memvfs_stmt {
  memvfs_conn *pConn;      /* Link of its connection's main database */
  sqlite3_stmt *p;         /* NULL: the text had only blanks and comments */
  int nTail;               /* Offset of the end of the statement in the text */
  int nParam;
  int nCol;                /* As of the last memvfs_columns or first step */
  int readonly;            /* sqlite3_stmt_readonly, or EXPLAIN */
  int facts;               /* MEMVFS_* above */
  memvfs_tables tables;    /* That it writes; as facts */
  int nReprepare;          /* Times that SQLite has prepared it again, as of the last query */

  memvfs_value *aArg;      /* nParam arguments. Written by Go */
  char *zArg;              /* Their texts and blobs. Written by Go */
  int64_t nzArg;           /* Bytes of zArg in use. Written by Go */
  int64_t mxArg;           /* Bytes for which zArg has room */

  const char **azCol;      /* nCol names, then nCol declared types; of memvfs_columns */
  int nAzCol;

  int64_t rowid, changes;  /* As of the last memvfs_exec */
} memvfs_stmt;

/*
** Prepares the first statement of z, which has n bytes and no zero byte, for the
** connection of a main link. Also sets *pp if the text has no statement. After an
** error *pp is NULL.
*/
int memvfs_prepare(memvfs_conn*, const char *z, int n, int persistent, memvfs_stmt **pp);

/* Frees a statement. It may have open rows. */
void memvfs_finalize(memvfs_stmt*);

/*
** Makes room for n more bytes in zArg, and keeps its content. SQLITE_TOOBIG: SQLite
** does not allow a value of that length.
*/
int memvfs_arg_room(memvfs_stmt*, int64_t n);

/*
** Fills azCol and sets nCol. The strings are SQLite's, until the next call for
** the statement.
*/
int memvfs_columns(memvfs_stmt*);

memvfs_rows *memvfs_rows_new(void);   /* NULL: out of memory */
void memvfs_rows_free(memvfs_rows*);

/*
** Binds all arguments, steps, and fetches up to nMax rows. SQLITE_ROW: there may be
** more. Otherwise the statement is reset: SQLITE_DONE, or the error that came after
** the fetched rows.
*/
int memvfs_query(memvfs_stmt*, memvfs_rows*, int nMax);

/* Fetches the next rows after SQLITE_ROW. Returns as memvfs_query does. */
int memvfs_more(memvfs_stmt*, memvfs_rows*, int nMax);

/* Binds all arguments, steps to the end and resets. SQLITE_OK or an error. */
int memvfs_exec(memvfs_stmt*);

/* Ends a query after SQLITE_ROW. */
int memvfs_reset(memvfs_stmt*);

#endif
