/*
** The single writer of a store: its versions of pages, their commit, and the notes
** of the pages that a commit changes.
*/
#include "engine.h"

/* The epoch up to which the file sees versions. The writer sees its own, too. */
uint64_t memvfsSeen(MemFile *f){
#ifdef MEMVFS_FAULT
  return f->reader.epoch + 1;   /* Readers see what is not committed: see fault.go */
#endif
  return f->reader.epoch + (f->eLock>=SQLITE_LOCK_RESERVED);
}

/*
** Makes the file, which has SHARED, the writer. SQLITE_BUSY: there is another writer.
** SQLITE_BUSY_SNAPSHOT: the file reads a state that is not the last. Its writes would
** undo the commits since then.
*/
int memvfsReserve(MemFile *f){
  memvfs_store *s = f->pStore;
  Reader *pNone = 0;
  if( !atomic_compare_exchange_strong(&s->pWriter, &pNone, &f->reader) ) return SQLITE_BUSY;
  if( atomic_load(&s->epoch)!=f->reader.epoch ){
    atomic_store(&s->pWriter, 0);
    return SQLITE_BUSY_SNAPSHOT;
  }
  /* Relaxed: an old value only delays the freeing. */
  if( atomic_load_explicit(&s->backlog, memory_order_relaxed) ){
    memvfsEnter(s);
    memvfsReclaim(s, 4*BACKLOG);
    memvfsLeave(s);
  }
  return SQLITE_OK;
}

/* Unlinks the writer's versions from a table that others can see. */
static void unlinkPending(MemFile *f, Table *t){
  memvfs_store *s = f->pStore;
  Version *v;
  int n = 0;
  memvfsEnter(s);
  while( (v = f->pPending)!=0 ){
    f->pPending = v->pNext;
    memvfsUnlink(t, v);
    f->nWritten++;
    if( ++n%PIECE==0 ){
      memvfsEra(s);
      memvfsPause(s);
    }
  }
  memvfsEra(s);
  memvfsBacklog(s);
  memvfsLeave(s);
}

/* Drops what the writer has made and not committed. */
static void discard(MemFile *f){
  if( f->pNewTable ){
    memvfsTableFree(f->pNewTable);   /* No other thread has seen it */
    f->pNewTable = 0;
    f->pPending = 0;
    f->reader.pTable = atomic_load(&f->pStore->pTable);
  }else if( f->pPending ){
    unlinkPending(f, f->reader.pTable);
  }
}

/* Ends the write transaction and drops what was not committed. */
void memvfsRelease(MemFile *f){
  if( f->pPending || f->pNewTable ) discard(f);
  f->reader.nSector = f->reader.pFirst ? f->reader.pFirst->nSector : 0;
  atomic_store(&f->pStore->pWriter, 0);
}

/*
** Frees as many versions as the file has superseded by commits and dropped by
** rollbacks, if they are many. So a connection that rewrites a database (VACUUM)
** does the work itself. Called after the end of its pin, which held them.
*/
void memvfsHelp(MemFile *f){
  if( f->nWritten<BACKLOG ) return;
  memvfsEnter(f->pStore);
  for(;;){
    int n = f->nWritten>PIECE ? PIECE : (int)f->nWritten;
    f->nWritten -= n;
    if( !memvfsReclaim(f->pStore, n) ) f->nWritten = 0;   /* Readers hold the rest */
    if( f->nWritten<BACKLOG ) break;
    memvfsPause(f->pStore);
  }
  memvfsLeave(f->pStore);
}

/* The limit of the size: mxByte, or the size of a database that was loaded larger. */
static uint64_t cap(MemFile *f){
  const Version *v = f->reader.pFirst;
  uint64_t nNow = v ? (uint64_t)v->nSector*SECTOR : 0;
  return nNow>f->pStore->mxByte ? nNow : f->pStore->mxByte;
}

/* Bytes of all versions. [m] */
static uint64_t bytesUsed(MemFile *f){
  memvfs_store *s = f->pStore;
  uint64_t n = memvfsTableBytes(atomic_load(&s->pTable)) + memvfsTableBytes(s->pDoomed);
  if( f->pNewTable ) n += (uint64_t)f->pNewTable->nUsed*f->pNewTable->nBlock;
  return n;
}

/*
** True if the writer may have nByte more. All versions together are limited to mxByte.
** At the limit it frees what it can, and may leave the mutex meanwhile. [m]
*/
static int mayHave(MemFile *f, uint64_t nByte, uint64_t mxByte){
  if( bytesUsed(f)+nByte<=mxByte ) return 1;
  while( memvfsReclaim(f->pStore, PIECE) ) memvfsPause(f->pStore);
  return bytesUsed(f)+nByte<=mxByte;
}

/* Number of blocks of a database of that size. */
static uint32_t blocks(Table *t, uint32_t nSector){
  return (uint32_t)(((uint64_t)nSector*SECTOR + t->nBlock-1)/t->nBlock);
}

/*
** Returns the writer's own version of a page, and makes it if there is none yet.
** With keep it is a copy, else its content is undefined. If it returns NULL, *pRc
** is the error.
**
** A block may have bytes past the end of the database. In a version that is not
** committed they are zero. In a committed version they are undefined. Nobody reads
** them, and the copy made here does not have them.
*/
static Version *pending(MemFile *f, uint32_t pgno, int keep, int *pRc){
  memvfs_store *s = f->pStore;
  Table *t = f->reader.pTable;
  uint64_t epoch = f->reader.epoch+1;
  uint64_t mxByte = s->mxByte ? 2*cap(f) : 0;
  Slot *pSlot = memvfsSlotMake(t, pgno);
  Version *v, *pHead;
  if( pSlot==0 ){
    *pRc = SQLITE_IOERR_NOMEM;
    return 0;
  }
  v = memvfsFind(&f->reader, t, pgno, epoch);
  if( v && v->birth==epoch ) return v;
  v = 0;
  memvfsEnter(s);
  if( mxByte && !mayHave(f, t->nBlock, mxByte) ){
    *pRc = SQLITE_FULL;     /* Readers hold as much as the database may have */
    goto done;
  }
  pHead = atomic_load(pSlot);   /* Not before mayHave, which may free a version that was cut off */
  if( (v = memvfsPageAlloc(t))==0 ){
    *pRc = SQLITE_IOERR_NOMEM;
    goto done;
  }
  v->birth = epoch;
  v->pgno = pgno;
  if( keep ){
    /* Bytes past the end of the database were cut off, and are zero. */
    uint64_t iOfst = (uint64_t)(pgno-1)*t->nBlock, nSize = (uint64_t)f->reader.nSector*SECTOR;
    size_t n = 0;
    if( pHead && iOfst<nSize ) n = nSize-iOfst<t->nBlock ? (size_t)(nSize-iOfst) : t->nBlock;
    if( n ) memcpy(v->aData, pHead->aData, n);
    memset(v->aData+n, 0, t->nBlock-n);
  }
  atomic_store_explicit(&v->pOlder, pHead, memory_order_relaxed);
  if( pHead ) pHead->pNewer = v;
  atomic_store(pSlot, v);
  v->pNext = f->pPending;
  f->pPending = v;
done:
  memvfsLeave(s);
  return v;
}

/* Gives an empty database another block size. */
static int reblock(MemFile *f, uint32_t nBlock){
  Table *t = memvfsTableNew(f->pStore, nBlock, f->reader.epoch+1);
  if( t==0 ) return SQLITE_IOERR_NOMEM;
  discard(f);   /* Page 1, if the database has become empty */
  f->pNewTable = f->reader.pTable = t;
  return SQLITE_OK;
}

/*
** sqlite3_backup may write a header of WAL mode. A store has no shared memory for a
** log, so nobody could open it then. So the header is changed to rollback mode. The
** change counter is in the header twice. Both are incremented, as by a commit of
** another connection. The pager that wrote the header then drops its cache.
*/
static void refuseWal(unsigned char *a){
  static const int aiCounter[] = { 24, 92 };
  if( memcmp(a, "SQLite format 3", 16) || (a[18]!=2 && a[19]!=2) ) return;
  a[18] = a[19] = 1;
  for(int i=0; i<2; i++){
    unsigned char *p = a + aiCounter[i];
    for(int j=3; j>=0 && ++p[j]==0; j--){}
  }
}

/*
** Writes into the writer's versions of the pages. Pages between the end of the
** database and iOfst become zero. After an error the transaction must not be
** committed; SQLite rolls it back.
*/
int memvfsWriteAt(MemFile *f, const unsigned char *a, size_t n, uint64_t iOfst){
  Reader *r = &f->reader;
  Table *t = r->pTable;
  uint64_t iEnd = iOfst+n, nSize = (uint64_t)r->nSector*SECTOR;
  int rc = SQLITE_OK;

  if( iEnd%SECTOR ) return SQLITE_IOERR_WRITE;   /* Not from SQLite, which writes whole pages */
  if( nSize==0 && n!=t->nBlock && (n & (n-1))==0 && n>=512 && n<=65536 ){
    if( (rc = reblock(f, (uint32_t)n))!=SQLITE_OK ) return rc;
    t = r->pTable;
  }
  if( iEnd>nSize ){
    if( iEnd/SECTOR>UINT32_MAX ) return SQLITE_FULL;
    if( f->pStore->mxByte && iEnd>cap(f) ) return SQLITE_FULL;
    /* Bytes that were cut off must not come back: in the rest of the last block,
    ** and in the blocks of the gap. */
    for(uint64_t i=nSize/t->nBlock; i<iOfst/t->nBlock; i++){
      Slot *pSlot = memvfsSlot(t, (uint32_t)i+1);
      if( pSlot && atomic_load(pSlot) && pending(f, (uint32_t)i+1, 1, &rc)==0 ) return rc;
    }
  }
  while( n>0 ){
    uint32_t off = iOfst & (t->nBlock-1);
    size_t m = t->nBlock - off;
    Version *v;
    if( m>n ) m = n;
    v = pending(f, (uint32_t)(iOfst/t->nBlock)+1, m<t->nBlock, &rc);
    if( v==0 ) return rc;
    memcpy(v->aData+off, a, m);
    if( iOfst==0 ) refuseWal(v->aData);
    a += m;
    iOfst += m;
    n -= m;
    if( iOfst>(uint64_t)r->nSector*SECTOR ) r->nSector = (uint32_t)(iOfst/SECTOR);
  }
  return SQLITE_OK;
}

/*
** Truncates the database, for the writer. It needs no memory, as the pager calls it in
** the second phase of a commit, which must not fail: see memvfsPrepare.
*/
int memvfsTruncate(MemFile *f, uint64_t nByte){
  Reader *r = &f->reader;
  Table *t = r->pTable;
  uint32_t nKeep = (uint32_t)((nByte+t->nBlock-1)/t->nBlock);
  uint32_t off = nByte & (t->nBlock-1);
  Version *v, **pp;
  int n = 0;
  if( nByte%SECTOR ) return SQLITE_IOERR_TRUNCATE;
  if( nByte>=(uint64_t)r->nSector*SECTOR ) return SQLITE_OK;
  r->nSector = (uint32_t)(nByte/SECTOR);
  memvfsEnter(f->pStore);
  for(pp=&f->pPending; (v = *pp)!=0; ){
    if( v->pgno>nKeep && v->pgno>1 ){   /* Page 1 always stays: see supersede() */
      *pp = v->pNext;
      memvfsUnlink(t, v);
      f->nWritten++;
    }else{
      if( v->pgno>nKeep ) memset(v->aData, 0, t->nBlock);
      else if( off && v->pgno==nKeep ) memset(v->aData+off, 0, t->nBlock-off);
      pp = &v->pNext;
    }
    if( ++n%PIECE==0 ){
      memvfsEra(f->pStore);
      memvfsPause(f->pStore);
    }
  }
  memvfsEra(f->pStore);
  memvfsBacklog(f->pStore);
  memvfsLeave(f->pStore);
  return SQLITE_OK;
}

/* The page size in the header on page 1; 0: none. */
uint32_t memvfsHeaderPageSize(const unsigned char *a){
  uint32_t n = (uint32_t)a[16]<<8 | a[17];
  if( n==1 ) n = 65536;
  return n>=512 && n<=65536 && (n & (n-1))==0 ? n : 0;
}

/*
** After a VACUUM with another page size, copies the writer's state into a table of
** blocks of that size. A page is then one block again. Without the memory for it, or
** at the limit of the size, nothing is lost. Pages are then read from several
** blocks, and the next commit tries again.
*/
static void repage(MemFile *f, uint32_t nBlock){
  memvfs_store *s = f->pStore;
  Reader *r = &f->reader;
  uint64_t nByte = (uint64_t)r->nSector*SECTOR;
  Table *t;
  if( s->mxByte ){
    uint64_t mxByte = 2*cap(f);
    int ok;
    memvfsEnter(s);
    ok = mayHave(f, nByte, mxByte);
    memvfsLeave(s);
    if( !ok ) return;
  }
  t = memvfsTableNew(s, nBlock, r->epoch+1);
  if( t==0 ) return;
  for(uint64_t i=0; i<nByte/nBlock; i++){
    Slot *pSlot = memvfsSlotMake(t, (uint32_t)i+1);
    Version *v = pSlot ? memvfsPageAlloc(t) : 0;
    if( v==0 ){
      memvfsTableFree(t);
      return;
    }
    v->birth = r->epoch+1;
    v->pgno = (uint32_t)i+1;
    memvfsReadAt(r, r->epoch+1, v->aData, nBlock, i*nBlock);
    atomic_store(pSlot, v);
  }
  if( f->pNewTable ){
    memvfsTableFree(f->pNewTable);
    f->pPending = 0;
  }else{
    unlinkPending(f, r->pTable);   /* Readers may need the old table for long */
  }
  f->pNewTable = r->pTable = t;
}

/* ---- Changes ---- */

/*
** Makes room for the notes of a commit that leaves nPage pages. False: out of memory.
** Then the commit must fail, as a change without a note would be missing in the log.
** For the writer.
*/
static int mayNote(memvfs_store *s, uint32_t nPage){
  size_t n = ((size_t)nPage+63)/64;
  uint64_t *a;
  if( !atomic_load(&s->track) || n<=s->nChanged ) return 1;
  n += n/4;
  if( (a = memvfsMalloc(n*sizeof(*a)))==0 ) return 0;
  memvfsEnter(s);
  if( s->nChanged ) memcpy(a, s->aChanged, s->nChanged*sizeof(*a));
  memvfsFree(s->aChanged);
  s->aChanged = a;
  s->nChanged = n;
  memvfsLeave(s);
  return 1;
}

/*
** Notes a page. mayNote has made room, except for a page that the transaction made
** and then cut off. [m]
*/
static void note(memvfs_store *s, uint32_t pgno){
  size_t i = (pgno-1)/64;
  if( i<s->nChanged ) s->aChanged[i] |= (uint64_t)1 << ((pgno-1)%64);
}

/*
** Puts the versions that the commit supersedes on a list. They are the versions
** behind the writer's versions, and all versions of the blocks that the database
** has lost. It had nOld blocks before. Nobody else reads Version.end of a version
** that is in no list yet.
**
** It also notes the pages that the commit changes. Until the commit is published,
** memvfs_snapshot_changes is SQLITE_BUSY (memvfs_store.noting). It would take these
** notes and pin the state before them. [m], passed on to waiters every PIECE versions.
*/
static void supersede(MemFile *f, uint32_t nOld, List *p){
  memvfs_store *s = f->pStore;
  Table *t = f->reader.pTable;
  uint64_t epoch = f->reader.epoch+1;
  int track = atomic_load(&s->track);
  uint32_t i = blocks(t, f->reader.nSector);
  Version *v;
  int64_t n = 0;
  s->noting = track;
  for(v=f->pPending; v; v=v->pNext){
    Version *pOlder = atomic_load(&v->pOlder);
    if( pOlder && pOlder->end==0 ) memvfsRetire(p, pOlder, epoch);
    if( track ) note(s, v->pgno);
    if( ++n%PIECE==0 ) memvfsPause(s);
  }
  if( track ){
    /* New pages that were not written. They are zero, whatever a page of that
    ** number was before it was cut off. */
    for(uint32_t pgno=nOld+1; pgno<=i; pgno++){
      note(s, pgno);
      if( ++n%PIECE==0 ) memvfsPause(s);
    }
  }
  /* Page 1 always stays, as it has the size, also of an empty database. */
  for(i=i ? i : 1; i<nOld; i++){
    Slot *pSlot = memvfsSlot(t, i+1);
    v = pSlot ? atomic_load(pSlot) : 0;
    if( v && v->end==0 ) memvfsRetire(p, v, epoch);
    if( ++n%PIECE==0 ) memvfsPause(s);
  }
  f->nWritten += n;
}

/*
** Allocates the memory that the commit needs. Called at SQLITE_FCNTL_SYNC, which the
** pager sends at the end of the first phase of a commit, whatever the value of
** PRAGMA synchronous.
**
** So a transaction over several stores (ATTACH) is all or nothing. SQLite runs the
** first phase of all files, and rolls all back if one fails. Then it runs the second
** phase of each. A failure there would leave the files before it committed and the
** others not. The second phase of a store needs no memory: memvfsTruncate, the end of
** the journal (journal.c), and memvfsCommit. A second call, in memvfsCommit, finds all
** that the first has made.
*/
int memvfsPrepare(MemFile *f){
  Reader *r = &f->reader;
  int rc = SQLITE_OK;
  /* Page 1 has the size. SQLite changes it in every commit, except for one that
  ** leaves an empty file. */
  if( pending(f, 1, 1, &rc)==0 ) return rc;
  if( f->pNewTable==0 && !mayNote(f->pStore, blocks(r->pTable, r->nSector)) ) return SQLITE_IOERR_NOMEM;
  return SQLITE_OK;
}

/*
** Offsets on page 1 of what connections compare to learn of a commit: the change
** counter, for their page caches, and the schema cookie, for their schemas and
** statements. An equal number makes them go on with what they have.
*/
static const int aiSeen[] = { 24, 40 };

static uint32_t get4(const unsigned char *a){
  return (uint32_t)a[0]<<24 | (uint32_t)a[1]<<16 | (uint32_t)a[2]<<8 | a[3];
}

static void put4(unsigned char *a, uint32_t n){
  a[0] = (unsigned char)(n>>24);
  a[1] = (unsigned char)(n>>16);
  a[2] = (unsigned char)(n>>8);
  a[3] = (unsigned char)n;
}

/*
** Notes the numbers of a state that begins, by its page 1. They do not only grow:
** PRAGMA schema_version sets the cookie.
*/
void memvfsNoteSeen(memvfs_store *s, const Version *p1){
  if( p1->nSector==0 ) return;
  for(int i=0; i<2; i++){
    uint32_t n = get4(p1->aData+aiSeen[i]);
    if( n>s->aSeen[i] ) s->aSeen[i] = n;
  }
}

/*
** Publishes the changes of the writer as one commit. Called at
** SQLITE_FCNTL_COMMIT_PHASETWO, which the pager sends after the last change of a
** commit and never in a rollback. It fails only if memvfsPrepare was not called after
** the last write, and fails here; then nothing is published.
*/
int memvfsCommit(MemFile *f){
  memvfs_store *s = f->pStore;
  Reader *r = &f->reader;
  Table *t = atomic_load(&s->pTable);
  uint64_t epoch = r->epoch+1;
  uint32_t nOld, nBlock;
  Version *p1;
  List superseded;
  int rc;

  nOld = r->pFirst ? r->pFirst->nSector : 0;
  if( f->pPending==0 && f->pNewTable==0 && nOld==r->nSector ) return SQLITE_OK;

  if( (rc = memvfsPrepare(f))!=SQLITE_OK ) return rc;
  p1 = memvfsFind(r, r->pTable, 1, epoch);
  nBlock = memvfsHeaderPageSize(p1->aData);
  if( nBlock && nBlock!=r->pTable->nBlock && (uint64_t)r->nSector*SECTOR%nBlock==0 ){
    repage(f, nBlock);
    p1 = memvfsFind(r, r->pTable, 1, epoch);
  }
  p1->nSector = r->nSector;
  memvfsNoteSeen(s, p1);
  memvfsListInit(&superseded);

  memvfsEnter(s);
  if( f->pNewTable==0 ){
    supersede(f, blocks(t, nOld), &superseded);
    memvfsListMove(&t->retired, &superseded);
  }else{
    /* The old table ends as a whole, with its versions. */
    f->nWritten += t->nUsed;
    atomic_store(&f->pNewTable->pOlder, t);
    atomic_store(&s->pTable, f->pNewTable);
    f->pNewTable = 0;
    s->changedAll = 1;
  }
  /* Without repage() a page is not one block and has no number. */
  if( nBlock!=r->pTable->nBlock ) s->changedAll = 1;
  s->noting = 0;
  f->pPending = 0;
  /* Release: the next writer sees it, and so does its memvfsReclaim. */
  atomic_store_explicit(&r->pinOwn, epoch, memory_order_release);
  atomic_store(&s->epoch, epoch);
  r->epoch = epoch;
  r->pFirst = p1;
  memvfsBacklog(s);
  memvfsLeave(s);
  if( f->pConn ) f->pConn->commit = epoch;
  if( atomic_load(&memvfsWatched) ) memvfsAnnounce(f);   /* After the epoch was stored */
  return SQLITE_OK;
}

/* ---- Another database in the place of this one ---- */

/*
** Makes the table of pFrom the one that the commit of the writer will publish. After
** SQLITE_OK pFrom is an empty database. After an error nothing has changed.
*/
static int takeTable(MemFile *f, memvfs_store *pFrom, int *pWrapped){
  memvfs_store *s = f->pStore;
  Reader *r = &f->reader;
  Table *t = atomic_load(&pFrom->pTable), *pEmpty;
  Slot *pSlot = memvfsSlot(t, 1);
  Version *p1 = pSlot ? atomic_load(pSlot) : 0;
  int rc = SQLITE_OK;

  /* Only what a load has made. So each page has one version, in no list. */
  if( p1==0 || p1->nSector==0 || atomic_load(&pFrom->epoch)!=1 || t->limbo.n ) return SQLITE_MISUSE;
  if( s->mxByte ){
    if( (uint64_t)p1->nSector*SECTOR>cap(f) ) return SQLITE_FULL;
    memvfsEnter(s);
    if( !mayHave(f, (uint64_t)t->nUsed*t->nBlock, 2*cap(f)) ) rc = SQLITE_FULL;
    memvfsLeave(s);
    if( rc!=SQLITE_OK ) return rc;
  }
  if( (pEmpty = memvfsTableNew(pFrom, 4096, 0))==0 ) return SQLITE_NOMEM;
  /* The readers of pFrom use its table. One that comes later finds an empty one. */
  memvfsEnter(pFrom);
  if( pFrom->nReader>0 ) rc = SQLITE_BUSY; else atomic_store(&pFrom->pTable, pEmpty);
  memvfsLeave(pFrom);
  if( rc!=SQLITE_OK ){
    memvfsTableFree(pEmpty);
    return rc;
  }
  for(int i=0; i<2; i++){
    if( s->aSeen[i]==UINT32_MAX ){
      s->aSeen[i] = 0;
      *pWrapped = 1;
    }
    put4(p1->aData+aiSeen[i], s->aSeen[i]+1);
  }
  memcpy(p1->aData+92, p1->aData+24, 4);   /* The change counter for which the size on page 1 is right */
  /* The other versions keep the birth 1, which is before every pin: see reclaimTable. */
  t->pStore = s;
  t->birth = p1->birth = r->epoch+1;
  r->nSector = p1->nSector;
  f->pNewTable = r->pTable = t;
  return SQLITE_OK;
}

int memvfs_store_replace(memvfs_store *s, memvfs_store *pFrom, int *pWrapped){
  MemFile *f = memvfsMalloc(sizeof(*f));   /* A writer that is no file of SQLite's */
  int rc;
  *pWrapped = 0;
  if( f==0 ) return SQLITE_NOMEM;
  f->pStore = s;
  if( (rc = memvfsReaderAdd(s, &f->reader))!=SQLITE_OK ){
    memvfsFree(f);
    return rc;
  }
  memvfsReaderBegin(s, &f->reader);
  if( (rc = memvfsReserve(f))==SQLITE_OK ){
    if( (rc = takeTable(f, pFrom, pWrapped))==SQLITE_OK ) rc = memvfsCommit(f);
    memvfsRelease(f);
  }
  memvfsReaderEnd(&f->reader);
  memvfsReaderRemove(s, &f->reader);
  memvfsFree(f);
  return rc;
}
