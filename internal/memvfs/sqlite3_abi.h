/*
** The part of SQLite's interface that this package uses, declared by hand.
**
** github.com/mattn/go-sqlite3 compiles SQLite into the program, but its header is not
** available to other packages. A copy would have 12,000 lines, for three structs.
** All of this is SQLite's stable ABI (https://sqlite.org/c3ref/intro.html): structs
** grow only at the end, with a larger iVersion. abi_test.go compares it with the
** linked library.
*/
#ifndef MEMVFS_SQLITE3_ABI_H
#define MEMVFS_SQLITE3_ABI_H

#include <stdint.h>

typedef int64_t sqlite3_int64;
typedef uint64_t sqlite3_uint64;
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_mutex sqlite3_mutex;
typedef struct sqlite3_file sqlite3_file;
typedef struct sqlite3_vfs sqlite3_vfs;
typedef struct sqlite3_io_methods sqlite3_io_methods;
typedef struct sqlite3_mem_methods sqlite3_mem_methods;
typedef void (*sqlite3_syscall_ptr)(void);

/* https://sqlite.org/c3ref/file.html */
struct sqlite3_file {
  const sqlite3_io_methods *pMethods;
};

/* https://sqlite.org/c3ref/io_methods.html */
struct sqlite3_io_methods {
  int iVersion;
  int (*xClose)(sqlite3_file*);
  int (*xRead)(sqlite3_file*, void*, int iAmt, sqlite3_int64 iOfst);
  int (*xWrite)(sqlite3_file*, const void*, int iAmt, sqlite3_int64 iOfst);
  int (*xTruncate)(sqlite3_file*, sqlite3_int64 size);
  int (*xSync)(sqlite3_file*, int flags);
  int (*xFileSize)(sqlite3_file*, sqlite3_int64 *pSize);
  int (*xLock)(sqlite3_file*, int);
  int (*xUnlock)(sqlite3_file*, int);
  int (*xCheckReservedLock)(sqlite3_file*, int *pResOut);
  int (*xFileControl)(sqlite3_file*, int op, void *pArg);
  int (*xSectorSize)(sqlite3_file*);
  int (*xDeviceCharacteristics)(sqlite3_file*);
  int (*xShmMap)(sqlite3_file*, int iPg, int pgsz, int, void volatile**);
  int (*xShmLock)(sqlite3_file*, int offset, int n, int flags);
  void (*xShmBarrier)(sqlite3_file*);
  int (*xShmUnmap)(sqlite3_file*, int deleteFlag);
  int (*xFetch)(sqlite3_file*, sqlite3_int64 iOfst, int iAmt, void **pp);
  int (*xUnfetch)(sqlite3_file*, sqlite3_int64 iOfst, void *p);
};

/* https://sqlite.org/c3ref/vfs.html */
struct sqlite3_vfs {
  int iVersion;
  int szOsFile;
  int mxPathname;
  sqlite3_vfs *pNext;
  const char *zName;
  void *pAppData;
  int (*xOpen)(sqlite3_vfs*, const char *zName, sqlite3_file*, int flags, int *pOutFlags);
  int (*xDelete)(sqlite3_vfs*, const char *zName, int syncDir);
  int (*xAccess)(sqlite3_vfs*, const char *zName, int flags, int *pResOut);
  int (*xFullPathname)(sqlite3_vfs*, const char *zName, int nOut, char *zOut);
  void *(*xDlOpen)(sqlite3_vfs*, const char *zFilename);
  void (*xDlError)(sqlite3_vfs*, int nByte, char *zErrMsg);
  void (*(*xDlSym)(sqlite3_vfs*, void*, const char *zSymbol))(void);
  void (*xDlClose)(sqlite3_vfs*, void*);
  int (*xRandomness)(sqlite3_vfs*, int nByte, char *zOut);
  int (*xSleep)(sqlite3_vfs*, int microseconds);
  int (*xCurrentTime)(sqlite3_vfs*, double*);
  int (*xGetLastError)(sqlite3_vfs*, int, char*);
  int (*xCurrentTimeInt64)(sqlite3_vfs*, sqlite3_int64*);
  int (*xSetSystemCall)(sqlite3_vfs*, const char *zName, sqlite3_syscall_ptr);
  sqlite3_syscall_ptr (*xGetSystemCall)(sqlite3_vfs*, const char *zName);
  const char *(*xNextSystemCall)(sqlite3_vfs*, const char *zName);
};

/* https://sqlite.org/rescode.html */
#define SQLITE_OK                0
#define SQLITE_ABORT           4
#define SQLITE_BUSY              5
#define SQLITE_LOCKED            6
#define SQLITE_NOMEM             7
#define SQLITE_READONLY          8
#define SQLITE_NOTFOUND         12
#define SQLITE_FULL             13
#define SQLITE_CANTOPEN         14
#define SQLITE_TOOBIG           18
#define SQLITE_MISUSE           21
#define SQLITE_IOERR            10
#define SQLITE_READONLY_DBMOVED (SQLITE_READONLY | (4<<8))
#define SQLITE_IOERR_READ       (SQLITE_IOERR | (1<<8))
#define SQLITE_IOERR_SHORT_READ (SQLITE_IOERR | (2<<8))
#define SQLITE_IOERR_WRITE      (SQLITE_IOERR | (3<<8))
#define SQLITE_IOERR_TRUNCATE   (SQLITE_IOERR | (6<<8))
#define SQLITE_IOERR_LOCK       (SQLITE_IOERR | (15<<8))
#define SQLITE_ABORT_ROLLBACK   (SQLITE_ABORT | (2<<8))
#define SQLITE_IOERR_NOMEM      (SQLITE_IOERR | (12<<8))
#define SQLITE_BUSY_SNAPSHOT    (SQLITE_BUSY  | (2<<8))
#define SQLITE_ROW             100
#define SQLITE_DONE            101
#define SQLITE_DENY            1 /* of an authorizer */

/* https://sqlite.org/c3ref/c_open_autoproxy.html */
#define SQLITE_OPEN_READONLY      0x00000001
#define SQLITE_OPEN_CREATE        0x00000004
#define SQLITE_OPEN_MAIN_DB       0x00000100
#define SQLITE_OPEN_MAIN_JOURNAL  0x00000800
#define SQLITE_OPEN_WAL           0x00080000

/* https://sqlite.org/c3ref/c_access_exists.html */
#define SQLITE_ACCESS_EXISTS 0

/* https://sqlite.org/c3ref/c_lock_exclusive.html */
#define SQLITE_LOCK_NONE      0
#define SQLITE_LOCK_SHARED    1
#define SQLITE_LOCK_RESERVED  2

/* https://sqlite.org/c3ref/c_shm_exclusive.html */
#define SQLITE_SHM_UNLOCK     1
#define SQLITE_SHM_LOCK       2
#define SQLITE_SHM_SHARED     4
#define SQLITE_SHM_EXCLUSIVE  8

/* https://sqlite.org/c3ref/c_iocap_atomic.html */
#define SQLITE_IOCAP_SAFE_APPEND            0x00000200
#define SQLITE_IOCAP_SEQUENTIAL             0x00000400
#define SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN  0x00000800
#define SQLITE_IOCAP_POWERSAFE_OVERWRITE    0x00001000
#define SQLITE_IOCAP_SUBPAGE_READ           0x00008000

/* https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html */
#define SQLITE_FCNTL_FILE_POINTER      7
#define SQLITE_FCNTL_VFSNAME          12
#define SQLITE_FCNTL_PRAGMA           14
#define SQLITE_FCNTL_MMAP_SIZE        18
#define SQLITE_FCNTL_HAS_MOVED        20
#define SQLITE_FCNTL_SYNC             21
#define SQLITE_FCNTL_COMMIT_PHASETWO  22
#define SQLITE_FCNTL_PDB              30

/* https://sqlite.org/c3ref/c_blob.html */
#define SQLITE_INTEGER  1
#define SQLITE_FLOAT    2
#define SQLITE_TEXT     3
#define SQLITE_BLOB     4
#define SQLITE_NULL     5

/* https://sqlite.org/c3ref/c_any.html */
#define SQLITE_UTF8  1

/* https://sqlite.org/c3ref/c_deterministic.html */
#define SQLITE_INNOCUOUS  0x000200000

/* https://sqlite.org/c3ref/c_prepare_dont_log.html */
#define SQLITE_PREPARE_PERSISTENT  0x01

/* https://sqlite.org/c3ref/c_stmtstatus_counter.html */
#define SQLITE_STMTSTATUS_VM_STEP    4
#define SQLITE_STMTSTATUS_REPREPARE  5

/* https://sqlite.org/c3ref/c_limit_attached.html */
#define SQLITE_LIMIT_LENGTH  0

/* https://sqlite.org/c3ref/c_alter_table.html */
#define SQLITE_CREATE_INDEX         1
#define SQLITE_CREATE_TABLE         2
#define SQLITE_CREATE_TEMP_TRIGGER  5
#define SQLITE_CREATE_VIEW          8
#define SQLITE_DELETE               9
#define SQLITE_DROP_INDEX          10
#define SQLITE_DROP_TABLE          11
#define SQLITE_DROP_VIEW           17
#define SQLITE_INSERT              18
#define SQLITE_PRAGMA              19
#define SQLITE_TRANSACTION         22
#define SQLITE_UPDATE              23
#define SQLITE_ATTACH              24
#define SQLITE_DETACH              25
#define SQLITE_ALTER_TABLE         26
#define SQLITE_REINDEX             27
#define SQLITE_ANALYZE             28
#define SQLITE_CREATE_VTABLE       29
#define SQLITE_DROP_VTABLE         30
#define SQLITE_FUNCTION            31
#define SQLITE_SAVEPOINT           32

/* https://sqlite.org/c3ref/c_txn_none.html */
#define SQLITE_TXN_NONE   0
#define SQLITE_TXN_WRITE  2

/* https://sqlite.org/c3ref/c_trace.html */
#define SQLITE_TRACE_STMT 0x01

/* https://sqlite.org/c3ref/c_mutex_fast.html */
#define SQLITE_MUTEX_FAST         0
#define SQLITE_MUTEX_STATIC_VFS3  13

/* https://sqlite.org/c3ref/c_config_covering_index_scan.html */
#define SQLITE_CONFIG_MALLOC      4
#define SQLITE_CONFIG_GETMALLOC   5
#define SQLITE_CONFIG_MEMSTATUS   9
#define SQLITE_CONFIG_LOOKASIDE  13

/* https://sqlite.org/c3ref/mem_methods.html */
struct sqlite3_mem_methods {
  void *(*xMalloc)(int);
  void (*xFree)(void*);
  void *(*xRealloc)(void*, int);
  int (*xSize)(void*);
  int (*xRoundup)(int);
  int (*xInit)(void*);
  void (*xShutdown)(void*);
  void *pAppData;
};

int sqlite3_config(int, ...);
int sqlite3_initialize(void);
int sqlite3_libversion_number(void);
int sqlite3_complete(const char*);
int sqlite3_threadsafe(void);
char *sqlite3_mprintf(const char*, ...);
int sqlite3_stricmp(const char*, const char*);
int sqlite3_strnicmp(const char*, const char*, int);
int sqlite3_uri_boolean(const char*, const char*, int);
const char *sqlite3_uri_parameter(const char*, const char*);
sqlite3_int64 sqlite3_uri_int64(const char*, const char*, sqlite3_int64);
sqlite3_file *sqlite3_database_file_object(const char*);
sqlite3_vfs *sqlite3_vfs_find(const char *zVfsName);
int sqlite3_vfs_register(sqlite3_vfs*, int makeDflt);
sqlite3_mutex *sqlite3_mutex_alloc(int);
void sqlite3_mutex_free(sqlite3_mutex*);
void sqlite3_mutex_enter(sqlite3_mutex*);
int sqlite3_mutex_try(sqlite3_mutex*);
void sqlite3_mutex_leave(sqlite3_mutex*);
void sqlite3_progress_handler(sqlite3*, int, int(*)(void*), void*);
int sqlite3_get_autocommit(sqlite3*);
const char *sqlite3_db_filename(sqlite3*, const char *zSchema);
int sqlite3_txn_state(sqlite3*, const char *zSchema);
sqlite3_int64 sqlite3_last_insert_rowid(sqlite3*);
void sqlite3_set_last_insert_rowid(sqlite3*, sqlite3_int64);
sqlite3_int64 sqlite3_changes64(sqlite3*);
sqlite3_int64 sqlite3_total_changes64(sqlite3*);
int sqlite3_busy_handler(sqlite3*, int(*)(void*, int), void*);
int sqlite3_busy_timeout(sqlite3*, int ms);
int sqlite3_set_authorizer(sqlite3*, int (*xAuth)(void*, int, const char*, const char*, const char*, const char*), void*);
int sqlite3_limit(sqlite3*, int id, int newVal);
int sqlite3_trace_v2(sqlite3*, unsigned uMask, int(*xCallback)(unsigned, void*, void*, void*), void *pArg);
int sqlite3_file_control(sqlite3*, const char *zSchema, int op, void*);

int sqlite3_create_function_v2(sqlite3*, const char *zName, int nArg, int flags, void *pArg, void (*xFunc)(sqlite3_context*, int, sqlite3_value**), void (*xStep)(sqlite3_context*, int, sqlite3_value**), void (*xFinal)(sqlite3_context*), void (*xDestroy)(void*));
sqlite3 *sqlite3_context_db_handle(sqlite3_context*);
void sqlite3_result_int64(sqlite3_context*, sqlite3_int64);

sqlite3_mutex *sqlite3_db_mutex(sqlite3*);
sqlite3_stmt *sqlite3_next_stmt(sqlite3*, sqlite3_stmt*);
int sqlite3_stmt_busy(sqlite3_stmt*);
int sqlite3_prepare_v3(sqlite3*, const char *zSql, int nByte, unsigned int prepFlags, sqlite3_stmt **ppStmt, const char **pzTail);
int sqlite3_finalize(sqlite3_stmt*);
int sqlite3_step(sqlite3_stmt*);
int sqlite3_reset(sqlite3_stmt*);
int sqlite3_clear_bindings(sqlite3_stmt*);
int sqlite3_stmt_readonly(sqlite3_stmt*);
int sqlite3_stmt_isexplain(sqlite3_stmt*);
int sqlite3_stmt_status(sqlite3_stmt*, int op, int resetFlg);
int sqlite3_bind_parameter_count(sqlite3_stmt*);
const char *sqlite3_bind_parameter_name(sqlite3_stmt*, int);
int sqlite3_bind_int64(sqlite3_stmt*, int, sqlite3_int64);
int sqlite3_bind_double(sqlite3_stmt*, int, double);
int sqlite3_bind_null(sqlite3_stmt*, int);
int sqlite3_bind_text64(sqlite3_stmt*, int, const char*, sqlite3_uint64, void(*)(void*), unsigned char encoding);
int sqlite3_bind_blob64(sqlite3_stmt*, int, const void*, sqlite3_uint64, void(*)(void*));
int sqlite3_column_count(sqlite3_stmt*);
const char *sqlite3_column_name(sqlite3_stmt*, int);
const char *sqlite3_column_decltype(sqlite3_stmt*, int);
sqlite3_value *sqlite3_column_value(sqlite3_stmt*, int);
int sqlite3_value_type(sqlite3_value*);
sqlite3_int64 sqlite3_value_int64(sqlite3_value*);
double sqlite3_value_double(sqlite3_value*);
const void *sqlite3_value_blob(sqlite3_value*);
const unsigned char *sqlite3_value_text(sqlite3_value*);
int sqlite3_value_bytes(sqlite3_value*);

#endif
