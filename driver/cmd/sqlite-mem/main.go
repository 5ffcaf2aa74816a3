//go:build cgo

// Command sqlite-mem shows the driver at work, and looks into databases that a
// server with the driver owns.
//
//	sqlite-mem demo [flags] [FILE]             serve a database from memory, with snapshots
//	sqlite-mem query [flags] FILE SQL [ARG...] run SQL on a database file
//	sqlite-mem status [flags] FILE             who owns a database file, and what is beside it
//	sqlite-mem recover FILE                    write a log that a crash left into the file, or move it aside
//	sqlite-mem version                         versions of this program, Go and SQLite
//	sqlite-mem help [COMMAND]                  what a command does, and its flags
//
// The exit status is 0 when all went well, 1 when something failed, the claims
// of a demo included, and 2 when the command line is wrong.
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
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is a subcommand.
type command struct {
	name     string
	operands string // what follows the flags
	summary  string // one line
	details  string

	// setUp defines the flags and returns the function that runs when they and
	// the operands have been read.
	setUp func(*flag.FlagSet) func(ctx context.Context, operands []string, stdout io.Writer) error
}

func commands() []command {
	return []command{demoCommand, queryCommand, statusCommand, recoverCommand, versionCommand}
}

var versionCommand = command{
	name:    "version",
	summary: "tell the versions of this program, Go and SQLite",
	setUp: func(*flag.FlagSet) func(context.Context, []string, io.Writer) error {
		return func(_ context.Context, operands []string, stdout io.Writer) error {
			if len(operands) > 0 {
				return tooMany(operands[0])
			}
			own := "(unknown)"
			if info, ok := debug.ReadBuildInfo(); ok {
				own = info.Main.Version
			}
			library, _, _ := sqlite3.Version()
			_, err := fmt.Fprintf(stdout, "sqlite-mem %s\nSQLite %s\n%s %s/%s\n",
				own, library, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}
	},
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

// run is the program: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args, stdout, stderr)
	}
	cmd, ok := find(name)
	if !ok {
		fmt.Fprintf(stderr, "sqlite-mem: there is no command %q; \"sqlite-mem help\" lists them\n", name)
		return exitUsage
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	start := cmd.setUp(flags)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		cmd.usage(stdout)
		return exitOK
	}
	if err != nil {
		err = usageError(err.Error())
	} else {
		err = start(ctx, flags.Args(), stdout)
	}
	var wrong usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "sqlite-mem %s: %v\nusage: %s\n", name, err, cmd.line())
		return exitUsage
	}
	fmt.Fprintln(stderr, "sqlite-mem:", strings.TrimPrefix(err.Error(), "sqlite-mem: "))
	return exitFailed
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func help(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stdout)
		return exitOK
	}
	cmd, ok := find(args[0])
	if !ok {
		fmt.Fprintf(stderr, "sqlite-mem: there is no command %q; \"sqlite-mem help\" lists them\n", args[0])
		return exitUsage
	}
	cmd.usage(stdout)
	return exitOK
}

// usage lists the commands.
func usage(w io.Writer) {
	fmt.Fprint(w, "sqlite-mem serves a SQLite file from memory and writes it back.\n\nusage:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s\n        %s\n", c.line(), c.summary)
	}
	fmt.Fprint(w, `  sqlite-mem help [COMMAND]
        tell what a command does, and its flags

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
