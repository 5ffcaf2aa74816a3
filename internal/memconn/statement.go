//go:build cgo

package memconn

import (
	"strings"

	"github.com/sqlite-mem/sqlite-mem/internal/connerr"
	"github.com/sqlite-mem/sqlite-mem/internal/memvfs"
)

// statement is a statement that SQLite has prepared.
type statement struct {
	memvfs.Stmt
	text string // for the log, and the cache

	// assumed is added to what SQLite told of the statement.
	assumed memvfs.Facts

	*columns
	reprepared int // as of columns

	params map[string]int // by name; made when needed

	// hint is how many rows the last reader took, and one for the end.
	hint int

	// busy: rows of it are open.
	busy bool

	// kept: the cache, a stmt or the connection keeps it when it is not busy.
	kept bool

	older, newer *statement // in the cache
}

// facts are what the statement does.
func (s *statement) facts() memvfs.Facts { return s.Facts() | s.assumed }

// writes reports whether the statement needs the write lock before it runs. If
// SQLite does not tell what it does (VACUUM, a pragma), or if it writes an
// attached store, the engine asks for the lock when it comes to write.
func (s *statement) writes() bool {
	return !s.ReadOnly() && s.facts()&(memvfs.WritesMain|memvfs.Transaction) != 0
}

// statements are the statements of a connection.
type statements struct {
	open   map[*statement]struct{}  // all that SQLite has
	begins [controlStmts]*statement // that begin and end transactions
	cache  stmtCache

	// forget: the cache must be emptied before it is used.
	forget bool

	rows    *rows         // all that are not closed, linked
	buffers []memvfs.Rows // memory for rows, free
}

// maxCachedText is the longest text that the cache keeps: it bounds its memory.
const maxCachedText = 64 << 10

// stmtCache are the statements that were run last, by their text. Those whose
// rows are open stay in it, and do not count as the oldest.
type stmtCache struct {
	byText         map[string]*statement
	oldest, newest *statement
}

// statement returns the first statement of text, from the cache or prepared,
// and what follows it; nil if there are only blanks and comments. It is given
// back by release.
func (c *conn) statement(text string) (s *statement, tail string, err error) {
	if c.tx == txOver {
		return nil, "", connerr.ErrTxOver
	}
	if c.forget {
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
	// Pragmas may act when they are prepared, and have to each time. What changes
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
	text, _, _ = strings.Cut(text, "\x00") // where SQLite stops to read
	text = rewriteAttach(text)
	locks := c.link.Locks()
	inner, n, err := c.link.Prepare(text, c.opts.StmtCacheSize > 0)
	if c.link.Locks() != locks && c.link.Attaches() {
		// SQLite has read a schema. Prepared anew, a cached statement might mean a
		// table by now that is in a database which comes first.
		c.dropCache()
	}
	if err != nil {
		return nil, "", err
	}
	if inner.Empty() {
		inner.Finalize()
		return nil, "", nil
	}
	s = &statement{Stmt: inner, text: strings.Clone(text[:n]), hint: 2, kept: true}
	switch {
	case s.Facts()&memvfs.Asked != 0:
		c.replaced = false
	case c.replaced:
		s.assumed = memvfs.Anything
	}
	if err := s.readColumns(); err != nil {
		inner.Finalize()
		return nil, "", err
	}
	if c.open == nil {
		c.open = make(map[*statement]struct{})
	}
	c.open[s] = struct{}{}
	return s, skipBlank(text[n:]), nil
}

// release gives back a statement that has run, and whose rows are closed.
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

// claim comes before a statement runs: it takes the write lock if that is known
// to be needed.
func (c *conn) claim(s *statement) error {
	switch {
	case c.tx == txReadOnly:
		// The engine refuses what writes to it.
		if !s.ReadOnly() && s.facts()&memvfs.WritesOther != 0 {
			c.elsewhere = true
		}
	case !c.locked && s.writes():
		return c.lock(c.statementContext(), s.text)
	}
	return nil
}

// ran comes after a statement has run, with the code that it returned.
func (c *conn) ran(s *statement) error {
	if c.attaching != nil {
		c.endAttaching()
	}
	again := s.Reprepared() != s.reprepared
	if s.facts()&memvfs.Names != 0 || s.facts()&memvfs.Asked == 0 || again && c.link.Attaches() {
		c.forget = true
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
	code := s.Exec()
	if code != 0 {
		err := c.link.Err(code)
		_ = c.ran(s) // an error of its own would be that there is no memory
		return err
	}
	if res != nil {
		res.id, res.changes = s.LastInsertRowID(), s.Changes()
	}
	return c.ran(s)
}

// result is what a statement has done.
type result struct{ id, changes int64 }

// LastInsertId is the rowid that the connection has inserted last.
func (r *result) LastInsertId() (int64, error) { return r.id, nil }

// RowsAffected is the number of rows that the last INSERT, UPDATE or DELETE of
// the connection has changed.
func (r *result) RowsAffected() (int64, error) { return r.changes, nil }

// dropCache empties the cache.
func (c *conn) dropCache() {
	c.forget = false
	for e := c.cache.oldest; e != nil; {
		next := e.newer
		c.cache.remove(e)
		if e.kept = false; !e.busy {
			c.finalize(e)
		}
		e = next
	}
}

// lose forgets everything without a call of SQLite.
func (s *statements) lose() { *s = statements{} }

// finalizeAll frees everything, also what is in use.
func (s *statements) finalizeAll() {
	for r := s.rows; r != nil; r = r.next {
		r.orphan()
	}
	for st := range s.open {
		st.Finalize()
	}
	for _, b := range s.buffers {
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

// skipBlank skips the blanks, comments and empty statements in front. What it
// does not know SQLite will prepare, and find to be nothing.
func skipBlank(s string) string {
	for len(s) > 0 {
		switch c := s[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == ';':
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
