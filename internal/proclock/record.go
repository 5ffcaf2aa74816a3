package proclock

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Role is what an exclusive owner does with the database.
type Role string

// The roles of an owner.
const (
	Server   Role = "server"   // serves the database from memory
	Recovery Role = "recovery" // writes what a crash has left into the file
)

// Owner is an exclusive owner. The zero value: not known.
type Owner struct {
	PID   int       // process id
	Since time.Time // when it became the owner: UTC, in whole seconds
	Role  Role
}

// doing says in words what the owner does with a database, whose name goes before.
func (o Owner) doing() string {
	switch {
	case o.PID == 0:
		return "is owned by another process"
	case o.Role == Recovery:
		return fmt.Sprintf("is being recovered by process %d since %s", o.PID, o.Since.Format(time.RFC3339))
	}
	return fmt.Sprintf("is owned by process %d since %s", o.PID, o.Since.Format(time.RFC3339))
}

// record is the content of a lock file: a line for the owner, and one for a server
// that has ended uncleanly. Either may be missing.
//
//	1234 2026-11-23T21:00:00Z recovery
//	unclean 1200 2026-11-23T09:30:00Z
//
// Before it there is one byte, see recordOffset. A server clears its line when it
// ends, so one that stands in a file nobody has locked is that of a server that
// was killed. A recovery is no server: it hands the line on, marked so that it is
// never taken for an owner's.
type record struct {
	owner   Owner
	unclean Owner
}

const (
	// recordOffset is where the record begins. On Windows the lock forbids
	// everybody else, our own second descriptor included, to read or write the
	// byte that is locked: the first.
	recordOffset = 1

	// maxRecord is more bytes than a record takes.
	maxRecord = 256

	uncleanWord = "unclean "
)

// uncleanEnd is the server that ended without clearing its record; zero: none.
func (r record) uncleanEnd() Owner {
	if r.owner.Role == Server {
		return r.owner
	}
	return r.unclean
}

func (r record) String() string {
	var b strings.Builder
	if o := r.owner; o.PID != 0 {
		fmt.Fprintf(&b, "%d %s %s\n", o.PID, o.Since.UTC().Format(time.RFC3339), o.Role)
	}
	if o := r.unclean; o.PID != 0 {
		fmt.Fprintf(&b, uncleanWord+"%d %s\n", o.PID, o.Since.UTC().Format(time.RFC3339))
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

// parseRecord reads what String made, or the beginning of it, which a crash may
// leave: only whole lines count. False: it is something else.
func parseRecord(b []byte) (r record, ok bool) {
	// Blocks that a power failure has kept from the disk are zeros.
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
		text, unclean := strings.CutPrefix(line, uncleanWord)
		o, ok := parseOwner(text)
		switch {
		case !ok || r.unclean.PID != 0 || !unclean && r.owner.PID != 0:
			return record{}, false
		case unclean:
			o.Role = Server
			r.unclean = o
		default:
			r.owner = o
		}
	}
	return r, true
}

// parseOwner reads a line. One without a role is a server's, as it was written at
// first.
func parseOwner(line string) (Owner, bool) {
	words := strings.Split(line, " ")
	if len(words) == 2 {
		words = append(words, string(Server))
	}
	if len(words) != 3 {
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
	return Owner{PID: pid, Since: since.UTC(), Role: role}, true
}

// isTorn reports whether line may be the beginning of a line.
func isTorn(line string) bool {
	line = strings.TrimLeft(line, " ")
	if strings.HasPrefix(uncleanWord, line) {
		return true
	}
	line = strings.TrimPrefix(line, uncleanWord)
	return len(line) < 64 && line[0] >= '1' && line[0] <= '9' && strings.Trim(line, "0123456789-:TZ abcdefghijklmnopqrstuvwxyz") == ""
}
