//go:build cgo

// Command sqlite-mem works on databases of the driver while a server has them in memory,
// and shows the driver at work.
//
//	sqlite-mem shell [flags] FILE              a prompt for SQL
//	sqlite-mem query [flags] FILE SQL [ARG...] run SQL on a database
//	sqlite-mem status [flags] FILE             who has a database, and what is beside its file
//	sqlite-mem verify [flags] FILE             check a database, its log, a backup
//	sqlite-mem sync FILE                       have the server save
//	sqlite-mem backup [flags] FILE NEW         write what is committed to a new file
//	sqlite-mem restore [flags] FILE FROM       replace a database by a backup of it
//	sqlite-mem recover FILE                    write a log that a crash left into the file, or move it aside
//	sqlite-mem demo [flags] [FILE]             serve a database from memory, with snapshots
//	sqlite-mem version                         versions of this program, Go and SQLite
//	sqlite-mem help [COMMAND]                  what a command does, and its flags
//
// Beside a server that answers tools, the first seven work on its memory: what was committed
// a moment ago. Else they see the file. None of them becomes a server. The environment
// variable SQLITE_MEM_DEFAULTS sets parameters of their connections, as for any program of
// package driver. What it says of a server has no effect, and it does not decide what they see.
//
// The exit status is 0 after success, 1 after a failure, and 2 if the command
// line is wrong. A demo also fails if one of its claims does not hold.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second one ends the process at once
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is a subcommand.
type command struct {
	name     string
	operands string // what follows the flags
	summary  string // one line
	details  string

	// interrupts is true if the command deals with Ctrl-C by itself. Otherwise the first
	// one ends its context, and the second one the process.
	interrupts bool

	// setUp defines the flags and returns the function that runs when they and
	// the operands have been read.
	setUp func(*flag.FlagSet) func(ctx context.Context, operands []string, std stdio) error
}

func commands() []command {
	return []command{shellCommand, queryCommand, statusCommand, verifyCommand, syncCommand, backupCommand, restoreCommand, recoverCommand, demoCommand, versionCommand}
}

var versionCommand = command{
	name:    "version",
	summary: "tell the versions of this program, Go and SQLite",
	setUp: func(*flag.FlagSet) func(context.Context, []string, stdio) error {
		return func(_ context.Context, operands []string, std stdio) error {
			if len(operands) > 0 {
				return tooMany(operands[0])
			}
			own, library := versions()
			_, err := fmt.Fprintf(std.out, "sqlite-mem %s\nSQLite %s\n%s %s/%s\n",
				own, library, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}
	},
}

// versions are those of this program and of SQLite.
func versions() (own, library string) {
	own = "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		own = info.Main.Version
	}
	library, _, _ = sqlite3.Version()
	return own, library
}

// usageError is an error of the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func tooMany(operand string) error {
	if strings.HasPrefix(operand, "-") {
		return usageError("unexpected " + operand + ": flags go before FILE")
	}
	return usageError("unexpected argument " + operand)
}

// message is the text of an error for people.
func message(err error) string {
	return escapeLines(strings.TrimPrefix(err.Error(), "sqlite-mem: "))
}

// one returns the only operand, which is called what.
func one(operands []string, what string) (string, error) {
	switch len(operands) {
	case 0:
		return "", usageError(what + " is missing")
	case 1:
		return operands[0], nil
	}
	return "", tooMany(operands[1])
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, std stdio) int {
	if len(args) == 0 {
		usage(std.err)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args, std)
	}
	cmd, ok := find(name)
	if !ok {
		fmt.Fprintf(std.err, "sqlite-mem: there is no command %q; \"sqlite-mem help\" lists them\n", name)
		return exitUsage
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	start := cmd.setUp(flags)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return help([]string{name}, std)
	}
	if err != nil {
		err = usageError(err.Error())
	} else {
		err = cmd.run(ctx, start, flags.Args(), std)
	}
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(std.err, "sqlite-mem %s: %s\nusage: %s\n", name, message(err), cmd.line())
		return exitUsage
	}
	fmt.Fprintln(std.err, "sqlite-mem:", message(err))
	return exitFailed
}

// run runs the command. No command but the demo, which sets the role again, serves a
// database, whatever the environment says.
func (c command) run(ctx context.Context, start func(context.Context, []string, stdio) error, operands []string, std stdio) (err error) {
	if err := driver.SetRole(driver.RoleTool); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.SetRole("")) }()
	if !c.interrupts {
		interruptible, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		context.AfterFunc(interruptible, stop)
		ctx = interruptible
	}
	return start(ctx, operands, std)
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func help(args []string, std stdio) int {
	var b strings.Builder
	if len(args) == 0 {
		usage(&b)
	} else if cmd, ok := find(args[0]); ok {
		cmd.usage(&b)
	} else {
		fmt.Fprintf(std.err, "sqlite-mem: there is no command %q; \"sqlite-mem help\" lists them\n", args[0])
		return exitUsage
	}
	if _, err := io.WriteString(std.out, b.String()); err != nil {
		fmt.Fprintln(std.err, "sqlite-mem:", message(err))
		return exitFailed
	}
	return exitOK
}

// usage lists the commands.
func usage(w io.Writer) {
	fmt.Fprint(w, "sqlite-mem works on SQLite databases that a server has in memory.\n\nusage: sqlite-mem COMMAND [flags] [OPERANDS]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `  help      tell what a command does, its operands and its flags

Exit status: 0 all went well, 1 something failed, 2 the command line is wrong.
`)
}

// line is how the command is called.
func (c command) line() string {
	line := "sqlite-mem " + c.name
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setUp(flags)
	any := false
	flags.VisitAll(func(*flag.Flag) { any = true })
	if any {
		line += " [flags]"
	}
	if c.operands != "" {
		line += " " + c.operands
	}
	return line
}

// usage tells what the command does, and its flags.
func (c command) usage(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n", c.line())
	if c.details != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.details))
	}
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setUp(flags)
	first := true
	flags.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nflags:\n")
			first = false
		}
		operand, text := flag.UnquoteUsage(f)
		left := "-" + f.Name
		if operand != "" {
			left += " " + operand
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-16s %s\n", left, text)
	})
}
