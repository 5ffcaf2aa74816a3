package mailstore

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/measure"
)

// Ensure that go-imap-sql runs on each contender with a MailStore, with bodies in
// memory and in files. It must return the messages that several goroutines stored, and
// leave a sound file.
func TestStore(t *testing.T) {
	const users, deliveries = 8, 60
	for _, c := range contender.General() {
		if c.MailStore == "" {
			continue
		}
		for _, bodies := range []string{"", t.TempDir()} {
			t.Run(c.Name+"/files="+map[bool]string{true: "yes", false: "no"}[bodies != ""], func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "mail.db")
				s, err := Open(strings.Replace(c.MailStore, "PATH", path, 1), bodies, users)
				require.NoError(t, err)
				for _, w := range Workloads(bodies != "") {
					_, err := measure.Run(nil, w.Op(s), measure.Load{Goroutines: 4, Ops: deliveries})
					require.NoError(t, err, w.Name)
				}
				stored, err := s.fetch(user(0))
				require.NoError(t, err)
				require.Len(t, stored, fetched)
				for _, body := range stored {
					require.Equal(t, string(message), string(body))
				}
				require.NoError(t, c.Rest(t.Context(), s.Pool()))
				require.NoError(t, s.Close())

				saved, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
				require.NoError(t, err)
				defer saved.Close()
				var check string
				require.NoError(t, saved.QueryRow("PRAGMA integrity_check").Scan(&check))
				require.Equal(t, "ok", check)
				var n int
				require.NoError(t, saved.QueryRow("SELECT count(*) FROM msgs").Scan(&n))
				require.Equal(t, users/2*Messages+deliveries, n)
				require.NoError(t, saved.QueryRow("SELECT sum(msgsCount) FROM mboxes").Scan(&n))
				require.Equal(t, users/2*Messages+deliveries, n, "no update of a counter is lost")
			})
		}
	}
}
