package proclock

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Role is what an owner does with the database.
type Role string

// The roles of an owner.
const (
	Server   Role = "server"   // serves the database from memory
	Recovery Role = "recovery" // folds the log of a crashed server into the file
)

// Owner is the owner of a database. The zero value means that it is not known.
type Owner struct {
	PID   int       // process id
	Since time.Time // when it became the owner: UTC, in microseconds
	Role  Role
	Live  bool // a server: it serves tools through its socket, or is about to
}

// Same reports whether o and p are one owner. Live does not count, as it may change.
func (o Owner) Same(p Owner) bool { return o.PID == p.PID && o.Since.Equal(p.Since) }

// MayBeLive reports whether the owner serves tools, or may do so: the record of an owner is
// missing while its disk is full.
func (o Owner) MayBeLive() bool { return o.Live || o.PID == 0 }

// doing returns a phrase that follows the database's name: what the owner does with it.
func (o Owner) doing() string {
	switch {
	case o.PID == 0:
		return "is owned by another process"
	case o.Role == Recovery:
		return fmt.Sprintf("is being recovered by process %d since %s", o.PID, o.Since.Format(time.RFC3339))
	}
	return fmt.Sprintf("is owned by process %d since %s", o.PID, o.Since.Format(time.RFC3339))
}

// record is the content of a lock file. One line is for the owner, one for a server that
// ended uncleanly. One is for the last live server that ended with everything saved. Each may
// be missing.
//
//	1234 2026-11-23T21:00:00.000001Z recovery
//	1234 2026-11-23T21:00:00.000001Z server live
//	unclean 1200 2026-11-23T09:30:00.000001Z
//	saved 1100 2026-11-23T08:00:00.000001Z
//
// One byte comes before it, see recordOffset. A server clears its line at its end. So the
// line in a file that is not locked is that of a server that was killed. A recovery keeps
// that line, marked with a word so that it is never taken for an owner's. The line of the
// server that has saved stays until the next one that does: see SavedLast.
type record struct {
	owner   Owner
	unclean Owner
	saved   Owner
}

const (
	// recordOffset is where the record begins. On Windows the lock is on the first byte,
	// which no other descriptor can then read or write, our own second one included.
	recordOffset = 1

	// maxRecord is more than the length of a record in bytes.
	maxRecord = 256

	uncleanWord = "unclean "
	savedWord   = "saved "
	liveWord    = "live"
)

// uncleanEnd returns the server that ended without clearing its record; zero: none.
func (r record) uncleanEnd() Owner {
	if o := r.owner; o.Role == Server {
		o.Live = false
		return o
	}
	return r.unclean
}

func (r record) String() string {
	var b strings.Builder
	if o := r.owner; o.PID != 0 {
		fmt.Fprintf(&b, "%d %s %s", o.PID, o.Since.UTC().Format(time.RFC3339Nano), o.Role)
		if o.Live {
			b.WriteString(" " + liveWord)
		}
		b.WriteByte('\n')
	}
	for _, ended := range []struct {
		word string
		Owner
	}{{uncleanWord, r.unclean}, {savedWord, r.saved}} {
		if ended.PID != 0 {
			fmt.Fprintf(&b, "%s%d %s\n", ended.word, ended.PID, ended.Since.UTC().Format(time.RFC3339Nano))
		}
	}
	return b.String()
}

// parseContent reads the content of a lock file.
func parseContent(b []byte) (r record, ok bool) {
	if len(b) > recordOffset+maxRecord || b[0] != 0 && b[0] != ' ' {
		return record{}, false
	}
	return parseRecord(b[recordOffset:])
}

// parseRecord reads a record, or the beginning of one, which a crash may leave. Only whole
// lines count. It returns false for anything else.
func parseRecord(b []byte) (r record, ok bool) {
	// Blocks that did not reach the disk before a power failure are zeros.
	b = bytes.TrimRight(b, "\x00")
	for len(b) > 0 {
		line, rest, whole := strings.Cut(string(b), "\n")
		if !whole {
			return r, isTorn(line)
		}
		b = []byte(rest)
		if line == "" {
			continue
		}
		text, at := line, &r.owner
		if rest, ok := strings.CutPrefix(line, uncleanWord); ok {
			text, at = rest, &r.unclean
		} else if rest, ok := strings.CutPrefix(line, savedWord); ok {
			text, at = rest, &r.saved
		}
		o, ok := parseOwner(text)
		if !ok || at.PID != 0 {
			return record{}, false
		}
		if at != &r.owner {
			o.Role = Server
		}
		*at = o
	}
	return r, true
}

// parseOwner reads a line. A line without a role, as an earlier version wrote it, is a
// server's.
func parseOwner(line string) (Owner, bool) {
	words := strings.Split(line, " ")
	if len(words) == 2 {
		words = append(words, string(Server))
	}
	live := len(words) == 4 && words[3] == liveWord && Role(words[2]) == Server
	if len(words) != 3 && !live {
		return Owner{}, false
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil || pid <= 0 {
		return Owner{}, false
	}
	since, err := time.Parse(time.RFC3339, words[1])
	if err != nil {
		return Owner{}, false
	}
	role := Role(words[2])
	if role != Server && role != Recovery {
		return Owner{}, false
	}
	return Owner{PID: pid, Since: since.UTC(), Role: role, Live: live}, true
}

// isTorn reports whether line may be the beginning of a line of a record.
func isTorn(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, word := range []string{uncleanWord, savedWord} {
		if strings.HasPrefix(word, line) {
			return true
		}
		line = strings.TrimPrefix(line, word)
	}
	return len(line) < 64 && line[0] >= '1' && line[0] <= '9' && strings.Trim(line, "0123456789-:.TZ abcdefghijklmnopqrstuvwxyz") == ""
}
