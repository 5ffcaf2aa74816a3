//go:build cgo

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/show"
	"github.com/sqlite-mem/sqlite-mem/snapshot"
)

var recoverCommand = command{
	name:     "recover",
	operands: "FILE",
	summary:  "write a log that a crash left into the file, or move it aside",
	details: `
A server with sqlite_wal keeps a log of what was committed since its last save,
FILE-memwal. After a crash the next server reads it by itself, and this command
does the same without one. It also resolves what a server refuses:

  - a log that does not belong to the file, because somebody has changed the
    file or restored an older one, is moved aside;
  - of a log that is damaged, what is before the damage is written to the file;
    the log and the file as it was are kept aside.

Nothing is deleted but a log all of which is in the file. It is refused while a
server has the file.
`,
	setUp: func(*flag.FlagSet) func(context.Context, []string, stdio) error {
		return func(ctx context.Context, operands []string, std stdio) error {
			name, err := one(operands, "FILE")
			if err != nil {
				return err
			}
			return recoverLog(ctx, name, std.out)
		}
	},
}

func recoverLog(ctx context.Context, name string, stdout io.Writer) error {
	path, err := resolve(name)
	if err != nil {
		return err
	}
	rec, err := snapshot.Recover(ctx, path)
	var b strings.Builder
	if err == nil {
		tell(&b, path, rec)
	}
	// These are there after an error, too.
	for _, name := range rec.Aside {
		fmt.Fprintf(&b, "kept aside: %s\n", name)
	}
	return errors.Join(err, say(stdout, "%s", b.String()))
}

// tell says what was recovered.
func tell(b *strings.Builder, path string, rec snapshot.Recovery) {
	if rec.Problem != nil {
		fmt.Fprintln(b, rec.Problem)
	}
	switch {
	case rec.Transactions > 0:
		fmt.Fprintf(b, "%s of the log are in %s now.\n", show.Plural(rec.Transactions, "transaction"), path)
	case rec.Problem == nil:
		fmt.Fprintf(b, "There is nothing to recover beside %s.\n", path)
	default:
		fmt.Fprintf(b, "%s was left as it is.\n", path)
	}
	if rec.Torn > 0 {
		fmt.Fprintf(b, "%s of one more were cut short by the crash.\n", show.Size(rec.Torn))
	}
}
