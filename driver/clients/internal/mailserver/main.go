// Command mailserver opens go-imap-sql as maddy does, under the name "sqlite3". The file
// sqlite3.go is what maddy's file of that name becomes. A test builds it with the flag for
// the linker, and runs it as a server and as a command line:
//
//	mailserver DSN run            serves until SIGTERM
//	mailserver DSN create NAME    creates an account
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	imapsql "github.com/foxcpp/go-imap-sql"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]...); err != nil {
		log.Fatal(err)
	}
}

func run(dsn, command string, args ...string) (err error) {
	path, _, _ := strings.Cut(dsn, "?")
	bodies := &imapsql.FSStore{Root: filepath.Join(filepath.Dir(path), "messages")}
	store, err := imapsql.New("sqlite3", dsn, bodies, imapsql.Opts{DisableRecent: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if command == "create" {
		return store.CreateUser(args[0])
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	st, err := driver.ReadStats(store.DB)
	fmt.Println(st.Role)
	<-ctx.Done()
	return err
}
