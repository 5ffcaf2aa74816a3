package clients

import (
	"fmt"
	"os"

	imapsql "github.com/foxcpp/go-imap-sql"
)

// go-imap-sql opens a database with durable commits. The bodies of messages are files.
func Example_goImapSQL() {
	inTempDir(func() error {
		if err := os.Mkdir("messages", 0o700); err != nil {
			return err
		}
		store, err := imapsql.New("sqlite", "mail.db?_fk=1&sqlite_wal=commit", &imapsql.FSStore{Root: "messages"}, imapsql.Opts{})
		if err != nil {
			return err
		}
		if err := store.CreateUser("alice@example.org"); err != nil {
			return err
		}
		users, err := store.ListUsers()
		if err != nil {
			return err
		}
		fmt.Println(users)
		return store.Close()
	})
	// Output: [alice@example.org]
}
