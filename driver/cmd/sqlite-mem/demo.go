//go:build cgo

package main

import (
	"context"
	"flag"

	"github.com/sqlite-mem/sqlite-mem/driver/cmd/sqlite-mem/internal/demo"
)

var demoCommand = command{
	name:     "demo",
	operands: "[FILE]",
	summary:  "serve a database from memory, and tell how it went",
	details: `
Without FILE it makes a mail server's database; with FILE it works on a copy of
that one, any SQLite database, which is only read. It loads it into memory and
serves reads, writes and transactions from many goroutines: first as many as
possible, then so many a second, each without snapshots and with one after the
other; and tells how long the operations took. At the end SQLite itself checks
the file that was saved, and what was committed is looked for in it. Ctrl-C
ends the serving, not the report.
`,
	setUp: func(flags *flag.FlagSet) func(context.Context, []string, stdio) error {
		o := demo.NewOptions()
		flags.IntVar(&o.Goroutines, "goroutines", o.Goroutines, "serve from `N` goroutines")
		flags.Float64Var(&o.Seconds, "seconds", o.Seconds, "serve for `N` seconds")
		flags.IntVar(&o.Accounts, "accounts", o.Accounts, "make `N` accounts (without FILE)")
		flags.DurationVar(&o.Interval, "interval", 0, "`TIME` between two snapshots; 0s: one after the other")
		flags.IntVar(&o.Rate, "rate", 0, "do `N` operations a second in the second half, not a quarter")
		flags.StringVar(&o.Keep, "keep", "", "work in the folder `DIR` and leave the database there")
		return func(ctx context.Context, operands []string, std stdio) error {
			if len(operands) > 1 {
				return tooMany(operands[1])
			}
			if len(operands) == 1 {
				o.File = operands[0]
				made := false
				flags.Visit(func(f *flag.Flag) { made = made || f.Name == "accounts" })
				if made {
					return usageError("-accounts goes without FILE")
				}
			}
			if err := o.Check(); err != nil {
				return usageError(err.Error())
			}
			return demo.Run(ctx, o, std.out)
		}
	},
}
