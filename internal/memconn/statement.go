//go:build cgo

package memconn

import (
	"strings"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
	"github.com/sqlite-mem/sqlite-mem/internal/sqltime"
)

// statement is a statement that SQLite has prepared.
type statement struct {
	memvfs.Stmt
	text string // for the logger, and the cache

	times *sqltime.Format // of the connection; nil: go-sqlite3's

	// assumed is added to the facts that the engine knows of the statement.
	assumed memvfs.Facts

	*columns
	reprepared int // the value of Reprepared when columns was read

	params map[string]int // by name; made when needed

	// hint is the number of rows that the last reader took, and one for the end.
	hint int

	// busy is true while rows of it are open.
	busy bool

	// kept is true if the cache, a stmt or the connection keeps it when it is not busy.
	kept bool

	older, newer *statement // in the cache
}

// facts returns what the statement does.
func (s *statement) facts() memvfs.Facts { return s.Facts() | s.assumed }

// writes reports whether the statement needs the write lock before it runs. SQLite does not
// tell what VACUUM or a pragma does. For them, and for a write to an attached store, the
// engine asks for the lock when SQLite comes to write.
func (s *statement) writes() bool {
	return !s.ReadOnly() && s.facts()&(memvfs.WritesMain|memvfs.Transaction) != 0
}

// statements are the statements of a connection.
type statements struct {
	open      map[*statement]struct{}    // all that SQLite has
	txControl [txControlStmts]*statement // that begin and end transactions; see control
	cache     stmtCache

	// cacheStale is true if the cache must be emptied before it is used.
	cacheStale bool

	stmts   int      // number of stmts that are not closed
	rows    *rows    // all that are not closed, linked
	batches []*batch // that no rows use
}

// maxCachedText is the longest text that the cache keeps: it bounds its memory.
const maxCachedText = 64 << 10

// stmtCache has the statements that were run last, by their text. A statement whose rows
// are open stays in it, however old it is.
type stmtCache struct {
	byText         map[string]*statement
	oldest, newest *statement
}

// statement returns the first statement of text, from the cache or prepared, and the text
// behind it. It returns nil if there are only blanks and comments. The caller gives the
// statement back by release.
func (c *conn) statement(text string) (s *statement, tail string, err error) {
	if c.tx == txOver {
		return nil, "", connerr.ErrTxOver
	}
	if c.cacheStale {
		c.dropCache()
	}
	if s = c.cache.byText[text]; s != nil && !s.busy {
		c.cache.use(s)
		return s, "", nil
	}
	busy := s != nil
	if s, tail, err = c.prepare(text); s == nil {
		return nil, "", err
	}
	// A pragma may act when it is prepared, and has to each time. A statement that changes
	// names empties the cache.
	if size := c.opts.StmtCacheSize; size > 0 && tail == "" && !busy && len(text) <= maxCachedText &&
		s.facts()&(memvfs.Asked|memvfs.Pragma|memvfs.Names) == memvfs.Asked {
		s.text = strings.Clone(text)
		c.cache.add(s)
		for e := c.cache.oldest; e != nil && len(c.cache.byText) > size; {
			next := e.newer
			if !e.busy && e != s {
				c.cache.remove(e)
				c.finalize(e)
			}
			e = next
		}
		return s, "", nil
	}
	s.kept = false
	return s, tail, nil
}

// prepare prepares the first statement of text. The caller keeps it.
func (c *conn) prepare(text string) (s *statement, tail string, err error) {
	text, _, _ = strings.Cut(text, "\x00") // SQLite reads no further
	guest := c.opts.Guest != 0
	text = rewriteAttach(text, guest)
	vacuum := false
	if guest {
		text, vacuum = rewriteVacuum(text)
	}
	locks := c.link.Locks()
	inner, n, err := c.link.Prepare(text, c.opts.StmtCacheSize > 0)
	if c.link.Locks() != locks && c.link.Attaches() {
		// SQLite has read a schema. A cached statement might now mean another table of
		// the same name, in a database that comes first.
		c.dropCache()
	}
	if err != nil {
		return nil, "", err
	}
	if inner.Empty() {
		inner.Finalize()
		return nil, "", nil
	}
	s = &statement{Stmt: inner, times: c.times, text: strings.Clone(text[:n]), hint: 2, kept: true}
	switch {
	case s.Facts()&memvfs.Asked != 0:
		c.authorizerLost = false
	case c.authorizerLost:
		s.assumed = memvfs.Anything
	}
	if vacuum {
		s.assumed |= memvfs.Names // not cached, as SQLite says nothing of VACUUM
	}
	if err := s.readColumns(); err != nil {
		inner.Finalize()
		c.cacheStale = true // a pragma may have been set
		return nil, "", err
	}
	if c.open == nil {
		c.open = make(map[*statement]struct{})
	}
	c.open[s] = struct{}{}
	// Without blanks at its end, as in go-sqlite3: SQLite keeps the text of a CREATE.
	return s, strings.TrimSpace(skipBlank(text[n:])), nil
}

// release gives back a statement that has run and whose rows are closed.
func (c *conn) release(s *statement) {
	s.busy = false
	if !s.kept {
		c.finalize(s)
	}
}

// finalize frees a statement that nobody uses.
func (c *conn) finalize(s *statement) {
	delete(c.open, s)
	s.Finalize()
}

// claim comes before a statement runs. It takes the write lock if the statement is known to
// need it.
func (c *conn) claim(s *statement) (err error) {
	c.now = s
	switch {
	case c.tx == txReadOnly:
		// The engine refuses what writes to it.
		if !s.ReadOnly() && s.facts()&memvfs.WritesOther != 0 {
			c.wroteDisk = true
		}
	case !c.locked && s.writes():
		err = c.lockFirst(s.text)
	}
	if c.slow != nil {
		c.slow.runs(s)
	}
	if c.owner.Held() > 0 {
		c.owner.Last.Store(&s.text)
	}
	return err
}

// ran comes after a statement has run. It follows what the statement has changed. After an
// error the columns are not known, and are read again behind the next run.
func (c *conn) ran(s *statement) error {
	if c.attaching != nil {
		c.endAttaching()
	}
	again := s.Reprepared() != s.reprepared
	if s.facts()&memvfs.Names != 0 || s.facts()&memvfs.Asked == 0 || again && c.link.Attaches() {
		c.cacheStale = true
	}
	if again {
		return s.readColumns()
	}
	return nil
}

// exec runs a statement, whose arguments are set, to its end.
func (c *conn) exec(s *statement, res *result) error {
	if err := c.claim(s); err != nil {
		return err
	}
	var err error
	if code := s.Exec(); code != 0 {
		err = c.link.Err(code)
	} else {
		c.done = true
		if res != nil {
			res.id, res.changes = s.LastInsertRowID(), s.Changes()
		}
	}
	_ = c.ran(s) // nobody wants the columns, and the statement may have committed
	return err
}

// result is what a statement has done.
type result struct{ id, changes int64 }

// LastInsertId returns the rowid that the connection has inserted last.
func (r *result) LastInsertId() (int64, error) { return r.id, nil }

// RowsAffected returns the number of rows that the last INSERT, UPDATE or DELETE of the
// connection has changed.
func (r *result) RowsAffected() (int64, error) { return r.changes, nil }

// dropCache empties the cache, and forgets how to begin a transaction that writes.
func (c *conn) dropCache() {
	c.cacheStale = false
	for _, i := range []int{stmtBeginImmediate, stmtBeginExclusive} {
		if s := c.txControl[i]; s != nil {
			c.finalize(s)
			c.txControl[i] = nil
		}
	}
	for e := c.cache.oldest; e != nil; {
		next := e.newer
		c.cache.remove(e)
		if e.kept = false; !e.busy {
			c.finalize(e)
		}
		e = next
	}
}

// forgetAll forgets everything without a call of SQLite.
func (s *statements) forgetAll() { *s = statements{} }

// finalizeAll frees everything, in use or not.
func (s *statements) finalizeAll() {
	for r := s.rows; r != nil; r = r.next {
		r.orphan()
	}
	for st := range s.open {
		st.Finalize()
	}
	for _, b := range s.batches {
		b.Free()
	}
	*s = statements{}
}

func (l *stmtCache) add(s *statement) {
	if l.byText == nil {
		l.byText = make(map[string]*statement)
	}
	l.byText[s.text] = s
	l.link(s)
}

func (l *stmtCache) remove(s *statement) {
	delete(l.byText, s.text)
	l.unlink(s)
}

// use makes s the newest.
func (l *stmtCache) use(s *statement) {
	if l.newest != s {
		l.unlink(s)
		l.link(s)
	}
}

func (l *stmtCache) link(s *statement) {
	s.older, s.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
}

func (l *stmtCache) unlink(s *statement) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		l.newest = s.older
	}
	s.older, s.newer = nil, nil
}

// skipBlank skips the blanks, comments and empty statements in front. If it misses some,
// SQLite prepares them and finds no statement.
func skipBlank(s string) string {
	for {
		s = skipSpace(s)
		if s == "" || s[0] != ';' {
			return s
		}
		s = s[1:]
	}
}

// skipSpace is skipBlank within a statement.
func skipSpace(s string) string {
	for len(s) > 0 {
		switch c := s[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			s = s[1:]
		case strings.HasPrefix(s, "--"):
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, "/*") && len(s) > len("/*"):
			_, s, _ = strings.Cut(s[2:], "*/")
		case strings.HasPrefix(s, "\ufeff"): // SQLite skips a byte order mark too
			s = s[len("\ufeff"):]
		default:
			return s
		}
	}
	return s
}
