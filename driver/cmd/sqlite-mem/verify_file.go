//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
	"github.com/sqlite-mem/sqlite-mem/internal/proclock"
	"github.com/sqlite-mem/sqlite-mem/internal/sqlitefile"
)

// file checks the file. served is true if a server has it.
func (v *verifier) file(ctx context.Context, served bool) (err error) {
	system := osfile.OS{}
	head, size, err := osfile.ReadStart(system, v.path, sqlitefile.HeaderSize)
	if err != nil {
		return err
	}
	journal, err := sqlitefile.ReadJournal(system, v.path)
	if err != nil {
		return err
	}
	wal, err := sqlitefile.ReadWAL(system, v.path)
	if err != nil {
		return err
	}
	if size == 0 {
		v.report.Looked = append(v.report.Looked, "at the file, which is empty")
		if wal.Valid || journal.Valid && journal.Pages > 0 {
			v.wrong("file", "it is empty, but what stands beside it holds pages of it")
		} else {
			v.note("an empty file is a database without tables")
		}
		return nil
	}
	h, headErr := sqlitefile.ParseHeader(head, size)
	switch {
	case served && (journal.Live || wal.Frames):
		v.wrong("file", "a journal or -wal stands beside a file that a server has: another program writes to it")
	case wal.Foreign:
		v.wrong("file", "its -wal is in a version of the format that SQLite does not know")
	case headErr == nil && wal.Valid && !h.WAL:
		v.wrong("file", "it is not in WAL mode, so its -wal is a leftover of another file of that name: move the -wal away")
	case !served && (journal.Live || wal.Frames):
		return v.beforeRecovery(ctx, h, headErr == nil, journal)
	}
	if headErr != nil {
		v.report.Looked = append(v.report.Looked, "at the beginning of the file")
		v.wrong("file", "%v", headErr)
		return nil
	}
	if l := v.report.Log; !served && l.pending() && l.Damage == "" {
		return v.copied(ctx, l.Name, "-wal", "with "+show.Plural(l.Transactions, "transaction")+" of its log")
	}
	looked := "at the file"
	if served {
		looked = "at the file as its server saved it last"
	}
	params := "mode=rw" // a server replaces the file, so what is open stays whole
	if h.WAL || wal.Open || journal.Live || !mayWrite(v.path) {
		params = "mode=ro&immutable=1" // SQLite would make a -wal and a -shm, or roll back
	}
	v.report.Looked = append(v.report.Looked, looked)
	before, err := os.Stat(v.path)
	if err != nil {
		return err
	}
	if err := v.opened(ctx, v.path, params, "file"); err != nil {
		return err
	}
	after, err := os.Stat(v.path)
	if err == nil && os.SameFile(before, after) && (before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime())) {
		v.wrong("file", "another program has written to it while it was checked, which may explain other findings: verify it again")
	}
	return nil
}

// mayWrite reports whether this process may write to the file. It is not called while a
// connection has the file open, whose locks it would drop.
func mayWrite(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return err == nil && f.Close() == nil
}

// beforeRecovery checks a file that has a journal or a -wal that SQLite would use. If
// another program is at work, its locks are respected. If a crash has left them, SQLite
// recovers a copy.
func (v *verifier) beforeRecovery(ctx context.Context, h sqlitefile.Header, sound bool, journal sqlitefile.Journal) error {
	// SQLite reads the index of a -wal that is there, and makes none.
	const params = "mode=ro&readonly_shm=1"
	if sound {
		db, err := sql.Open("sqlite3", sqlitefile.URI(v.path)+"?"+params)
		if err != nil {
			return err
		}
		var n int
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n)
		if err := errors.Join(err, db.Close()); err == nil {
			v.report.Looked = append(v.report.Looked, "at the file, which another program may be using")
			return v.opened(ctx, v.path, params, "file")
		}
	}
	if journal.Live && !h.WAL {
		return v.copied(ctx, v.path+"-journal", "-journal", "rolled back by the journal that is beside it")
	}
	return v.copied(ctx, v.path+"-wal", "-wal", "with the -wal that is beside it")
}

// copied checks a copy of the file and of the file called side, which gets the name of the
// copy with that suffix. SQLite recovers the copy. A log has the format of a -wal.
func (v *verifier) copied(ctx context.Context, side, suffix, what string) (err error) {
	dir, err := os.MkdirTemp("", "sqlite-mem-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	to := filepath.Join(dir, "copy.db")
	err = v.copyFile(ctx, to, v.path)
	if err == nil {
		err = v.copyFile(ctx, to+suffix, side)
	}
	if err != nil {
		return fmt.Errorf("copy the database, to check it %s (TMPDIR chooses the directory): %w", what, err)
	}
	v.report.Looked = append(v.report.Looked, "at a copy of the file, "+what)
	if err := v.opened(ctx, to, "mode=rw", "copy"); err != nil {
		return err
	}
	head, size, err := osfile.ReadStart(osfile.OS{}, to, sqlitefile.HeaderSize)
	if err == nil && size > 0 {
		if _, headErr := sqlitefile.ParseHeader(head, size); headErr != nil {
			v.wrong("copy", "%v", headErr)
		}
	}
	return err
}

// copyFile copies a file, and shows how far it is.
func (v *verifier) copyFile(ctx context.Context, to, from string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.progress("copy: %s of %s", show.Size(done), show.Size(info.Size()))
		n, err := io.CopyN(dst, src, 16*osfile.Piece)
		done += n
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// opened checks the database that SQLite opens at path. The parameters let SQLite write where
// that is possible, as it does not read CHECK constraints of a database that it opens
// read-only (sqlite3AddCheckConstraint). _query_only keeps it from writing.
func (v *verifier) opened(ctx context.Context, path, params, where string) (err error) {
	db, err := sql.Open("sqlite3", sqlitefile.URI(path)+"?_query_only=yes&"+params)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return v.failed(where, "open", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if strings.HasPrefix(params, "mode=ro") {
		n := 0
		err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%check%'").Scan(&n)
		if err == nil && n > 0 { // an error is that of check
			v.note("CHECK constraints were not checked, as SQLite leaves them out of a database that it opens read-only")
		}
	}
	return v.check(ctx, conn, where)
}

// memory checks what the server has in memory, if it answers.
func (v *verifier) memory(ctx context.Context, saved bool, by proclock.Owner) (err error) {
	if saved {
		v.note("the memory of %s was not looked at (-saved)", process(by))
		return nil
	}
	// Not readOnly: see opened. Should the server end now, nothing is written to the file.
	db, err := openTarget(v.path, access{params: map[string]string{"_query_only": "yes"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	seen, _, err := db.view(ctx)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", process(by), err)
	}
	if !seen.live {
		v.note("%s does not answer tools, so its memory was not looked at", process(by))
		return nil
	}
	v.report.Looked = append(v.report.Looked, "into "+seen.sentence())
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one state for all checks
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	return v.check(ctx, tx, "memory")
}
