package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

var passwords = models.TableSpec{Name: "passwords", KeyColumn: "login", ValueColumn: "hash"}

// content is the content of a database, for comparison.
type content struct {
	Quotas    []models.Quota
	Contacts  []models.Contact
	Entries   []models.TableEntry
	Blocked   []models.BlockedUser
	Tokens    []models.RegistrationToken
	Passwords []models.TableEntry
}

// fill writes rows of every kind. It uses all hostile inputs that the rule accepts, as
// keys and as values. It adds a server default, a reservation, and n plain quotas.
func fill(t *testing.T, db *gorm.DB, n int) {
	t.Helper()
	require.NoError(t, models.Migrate(ctx(t), db))
	table := newTable(t, db, passwords)
	entries := newTable(t, db, models.TableSpec{Name: "table_entries"})
	quotas := newQuotas(t, db, 1)
	contacts := models.NewContacts(db)
	for i, in := range inputs {
		if in.bad != "" {
			continue
		}
		require.NoError(t, quotas.Set(ctx(t), in.input, int64(i+1)))
		require.NoError(t, table.Set(ctx(t), in.input, strings.Repeat(in.input, 3)))
		require.NoError(t, entries.Set(ctx(t), in.input, in.input))
	}
	require.NoError(t, table.Set(ctx(t), "", ""))
	require.NoError(t, table.Set(ctx(t), "large", strings.Repeat("y", models.MaxValueBytes)))
	require.NoError(t, table.Set(ctx(t), "large too", strings.Repeat("'", models.MaxValueBytes)))
	require.NoError(t, quotas.SetDefault(ctx(t), 1<<40))
	_, err := contacts.Reserve(ctx(t), "reserved", "")
	require.NoError(t, err)
	_, err = contacts.Create(ctx(t), "Reserved", webURL, "名 'quoted'")
	require.NoError(t, err)
	require.NoError(t, db.Create(&models.Contact{Slug: "old", URL: appURL}).Error)
	require.NoError(t, db.Model(&models.Contact{}).Where("slug = ?", "old").Update("created_at", nil).Error)
	require.NoError(t, models.NewBlockedUsers(db).Block(ctx(t), "blocked@example.org", "名 'quoted'"))
	tokens := models.NewRegistrationTokens(db)
	expires := time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 12600))
	for _, token := range []models.RegistrationToken{{Token: "forever", MaxUses: 1}, {Token: "expires", MaxUses: 1 << 40, Comment: "c", ExpiresAt: &expires}} {
		_, err := tokens.Create(ctx(t), token)
		require.NoError(t, err)
	}
	require.NoError(t, tokens.Use(ctx(t), "forever"))
	var rows []models.Quota
	for i := range n {
		rows = append(rows, models.Quota{Username: models.Key(fmt.Sprintf("user%05d@example.org", i)), MaxStorage: int64(i), CreatedAt: 1700000000 + int64(i),
			FirstLoginAt: int64(i % 2), LastLoginAt: int64(i), UsedToken: models.Key(fmt.Sprint("token", i))})
	}
	require.NoError(t, db.CreateInBatches(rows, 500).Error)
}

func read(t *testing.T, db *gorm.DB) (c content) {
	t.Helper()
	require.NoError(t, db.Find(&c.Quotas).Error)
	require.NoError(t, db.Find(&c.Contacts).Error)
	for i := range c.Contacts {
		c.Contacts[i].CreatedAt = c.Contacts[i].CreatedAt.UTC()
	}
	c.Entries = readTable(t, db, models.TableSpec{Name: "table_entries"})
	var err error
	c.Blocked, err = models.NewBlockedUsers(db).List(ctx(t), "", models.MaxPage)
	require.NoError(t, err)
	c.Tokens, err = models.NewRegistrationTokens(db).List(ctx(t), "", models.MaxPage)
	require.NoError(t, err)
	if db.Migrator().HasTable(passwords.Name) {
		c.Passwords = readTable(t, db, passwords)
	}
	return c
}

func readTable(t *testing.T, db *gorm.DB, spec models.TableSpec) []models.TableEntry {
	t.Helper()
	table, err := models.NewTable(db, spec)
	require.NoError(t, err)
	entries, err := table.List(ctx(t), "", models.MaxPage)
	require.NoError(t, err)
	return entries
}

// requireEqual compares two databases. Its failures are short.
func requireEqual(t *testing.T, want, got content) {
	t.Helper()
	require.ElementsMatch(t, want.Quotas, got.Quotas)
	require.ElementsMatch(t, want.Contacts, got.Contacts)
	require.Equal(t, want.Blocked, got.Blocked)
	require.Equal(t, want.Tokens, got.Tokens)
	for _, c := range []struct{ want, got []models.TableEntry }{{want.Entries, got.Entries}, {want.Passwords, got.Passwords}} {
		require.Len(t, c.got, len(c.want))
		for i := range c.want {
			require.True(t, c.want[i] == c.got[i], "%.80q and %.80q differ", c.want[i].Key, c.got[i].Key)
		}
	}
}

// reportOf returns the report for a table.
func reportOf(t *testing.T, report models.CopyReport, table string) models.TableReport {
	t.Helper()
	n := slices.IndexFunc(report.Tables, func(r models.TableReport) bool { return r.Table == table })
	require.GreaterOrEqual(t, n, 0, table)
	return report.Tables[n]
}

// RunCopy tests models.Copy from one kind of database to another.
func RunCopy(t *testing.T, openFrom, openTo Open) {
	options := func() models.CopyOptions {
		return models.CopyOptions{Tables: []models.TableSpec{passwords}, BatchRows: 100}
	}

	// Ensure that every row is copied with equal content, that the source is unchanged,
	// and that a second run writes nothing. The report and the progress add up.
	t.Run("whole", func(t *testing.T) {
		const plain = 250
		from, to := openFrom(t, config()), openTo(t, config())
		fill(t, from, plain)
		before := read(t, from)
		opts := options()
		var steps []models.CopyProgress
		opts.Progress = func(p models.CopyProgress) { steps = append(steps, p) }
		report, err := models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		requireEqual(t, before, read(t, to))
		requireEqual(t, before, read(t, from))

		want := map[string]int{"quotas": len(before.Quotas), "contacts": len(before.Contacts), "table_entries": len(before.Entries),
			"blocked_users": 1, "registration_tokens": 2, "passwords": len(before.Passwords)}
		require.Greater(t, want["quotas"], plain)
		require.Len(t, report.Tables, len(want))
		for _, table := range report.Tables {
			n := int64(want[table.Table])
			require.Equal(t, models.TableReport{Table: table.Table, Rows: n, Inserted: n}, table)
		}
		var phases []models.CopyPhase
		done, batches := map[string]int64{}, map[string]int{}
		for _, p := range steps {
			if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
			key := string(p.Phase) + " " + p.Table
			require.Greater(t, p.Done, done[key])
			require.LessOrEqual(t, p.Done, p.Total)
			require.LessOrEqual(t, p.Done-done[key], int64(100))
			done[key] = p.Done
			batches[key]++
		}
		require.Less(t, want["passwords"], 100)
		require.Greater(t, batches["write passwords"], 1, "large values are not in one batch")
		require.Equal(t, []models.CopyPhase{models.CopyCheck, models.CopyWrite, models.CopyVerify}, phases)
		require.EqualValues(t, want["quotas"], done["verify quotas"])
		require.EqualValues(t, want["passwords"], done["write passwords"])

		report, err = models.Copy(ctx(t), from, to, options())
		require.NoError(t, err)
		for _, table := range report.Tables {
			n := int64(want[table.Table])
			require.Equal(t, models.TableReport{Table: table.Table, Rows: n, Equal: n}, table)
		}
	})

	// Ensure that a run which is interrupted after any batch leaves whole batches, and
	// that later runs complete the copy.
	t.Run("interrupted", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		fill(t, from, 250)
		var total int64
		for after := 1; ; after++ {
			opts := options()
			stop, cancel := context.WithCancel(ctx(t))
			writes := 0
			opts.Progress = func(p models.CopyProgress) {
				if p.Phase == models.CopyWrite {
					if writes++; writes == after {
						cancel()
					}
				}
			}
			report, err := models.Copy(stop, from, to, opts)
			cancel()
			var inserted, equal int64
			for _, table := range report.Tables {
				inserted += table.Inserted
				equal += table.Equal
			}
			require.Equal(t, total, equal, "a run finds the rows of earlier runs")
			total += inserted
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.Canceled)
		}
		requireEqual(t, read(t, from), read(t, to))
	})

	// Ensure that other rows in the target are an error that names them before any row
	// is written, and that the options resolve the conflict.
	t.Run("conflicts", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		fill(t, from, 10)
		require.NoError(t, models.Migrate(ctx(t), to))
		quotas := newQuotas(t, to, 1)
		require.NoError(t, quotas.Set(ctx(t), "user00003@example.org", 12345))
		require.NoError(t, quotas.Set(ctx(t), "stranger", 1))
		there := newTable(t, to, passwords)
		require.NoError(t, there.Set(ctx(t), "stranger's", "x"))
		before := read(t, to)

		_, err := models.Copy(ctx(t), from, to, options())
		require.ErrorIs(t, err, models.ErrConflict)
		var conflict *models.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, models.ConflictError{Table: "quotas", Differ: 1, Extra: 1, Keys: []string{"user00003@example.org", "stranger"}}, *conflict)
		for _, word := range []string{"user00003", "stranger's", "passwords", "Overwrite", "Prune", "Merge"} {
			require.ErrorContains(t, err, word)
		}
		requireEqual(t, before, read(t, to))

		opts := options()
		opts.Overwrite = true
		_, err = models.Copy(ctx(t), from, to, opts)
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, models.ConflictError{Table: "quotas", Extra: 1, Keys: []string{"stranger"}}, *conflict)
		requireEqual(t, before, read(t, to))

		opts.Merge = true
		report, err := models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		require.EqualValues(t, 1, reportOf(t, report, "quotas").Replaced)
		require.EqualValues(t, 1, reportOf(t, report, "quotas").Kept)
		require.EqualValues(t, 1, reportOf(t, report, "passwords").Kept)
		limit, err := quotas.Limit(ctx(t), "stranger")
		require.NoError(t, err)
		require.EqualValues(t, 1, limit.Bytes)

		opts.Merge, opts.Prune = false, true
		report, err = models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		require.EqualValues(t, 1, reportOf(t, report, "quotas").Removed)
		require.EqualValues(t, 1, reportOf(t, report, "passwords").Removed)
		requireEqual(t, read(t, from), read(t, to))
	})

	// Ensure that rows which break the rule are an error that names table, row and field
	// before any row is written. Each database holds other such rows.
	t.Run("rule", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		require.NoError(t, models.Migrate(ctx(t), from))
		long := strings.Repeat("x", models.MaxContactNameBytes+1)
		insert := func(slug, name, created string) {
			t.Helper()
			require.NoError(t, from.Exec("INSERT INTO contacts (slug, url, name, created_at) VALUES (?, 'reserved', ?, ?)", slug, name, created).Error)
		}
		insert("valid", "short", "2025-01-01 00:00:00")
		insert("old", "short", "0512-01-01 00:00:00")
		for i := range 25 {
			insert(fmt.Sprintf("row %02d", i), long, "2025-01-01 00:00:00")
		}
		want := []string{`contacts, row "old": created_at is in the year 512`, `contacts, row "row 00": name is 1025 bytes long`, "contacts has 26 rows"}
		if from.Name() == "sqlite" {
			for i, in := range inputs {
				key := fmt.Sprintf("row %02d %s", i, in.name)
				require.NoError(t, from.Exec("INSERT INTO table_entries (key, value) VALUES (?, ?)", key, in.input).Error)
				if in.bad != "" && !strings.Contains(in.bad, "bytes") { // not too long for a value
					want = append(want, fmt.Sprintf(`table_entries, row "%s": value`, key), in.bad)
				}
			}
		}
		_, err := models.Copy(ctx(t), from, to, models.CopyOptions{})
		require.ErrorIs(t, err, models.ErrInvalid)
		for _, want := range want {
			require.ErrorContains(t, err, want)
		}
		require.NotContains(t, err.Error(), `"valid"`)
		require.NotContains(t, err.Error(), ` plain"`)
		require.Less(t, len(err.Error()), 4000)
		require.Empty(t, read(t, to).Contacts)
		require.Empty(t, read(t, to).Entries)
	})

	// Ensure that a copy without a table, of a missing table, onto itself, or with
	// contradictory options is an error.
	t.Run("refused", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		_, err := models.Copy(ctx(t), from, to, models.CopyOptions{})
		require.ErrorIs(t, err, models.ErrNotFound)
		require.NoError(t, models.Migrate(ctx(t), from))
		_, err = models.Copy(ctx(t), from, to, options())
		require.ErrorIs(t, err, models.ErrNotFound)
		require.ErrorContains(t, err, "passwords")
		_, err = models.Copy(ctx(t), from, from.Session(&gorm.Session{}), models.CopyOptions{})
		require.ErrorIs(t, err, models.ErrInvalid)
		for _, opts := range []models.CopyOptions{
			{Prune: true, Merge: true},
			{BatchRows: -1},
			{BatchRows: 5001},
			{Tables: []models.TableSpec{{Name: "quotas"}}},
			{Tables: []models.TableSpec{{Name: "a; DROP TABLE quotas"}}},
			{Tables: []models.TableSpec{{Name: "a"}, {Name: "a"}}},
			{Tables: []models.TableSpec{{Name: "table_entries", KeyColumn: "other"}}},
		} {
			_, err = models.Copy(ctx(t), from, to, opts)
			require.ErrorIs(t, err, models.ErrInvalid, "%+v", opts)
		}
		require.False(t, to.Migrator().HasTable("quotas"), "nothing was made")

		// Empty tables are copied, and table_entries may be named.
		report, err := models.Copy(ctx(t), from, to, models.CopyOptions{Tables: []models.TableSpec{{Name: "table_entries"}}})
		require.NoError(t, err)
		require.Len(t, report.Tables, len(tables))
		for _, table := range tables {
			require.Equal(t, models.TableReport{Table: table}, reportOf(t, report, table))
		}
	})

	// Ensure that Copy leaves a table of the target alone if the source does not have it.
	// It leaves out a column only if it is excluded by name.
	t.Run("other schemas", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		// An early version of Madmail has these columns.
		require.NoError(t, from.Exec("CREATE TABLE quotas (username varchar(100) PRIMARY KEY, max_storage bigint, created_at bigint)").Error)
		require.NoError(t, from.Exec("INSERT INTO quotas VALUES ('alice', 7, NULL)").Error)
		fill(t, to, 0)
		require.NoError(t, to.Where("1 = 1").Delete(&models.Quota{}).Error)
		before := read(t, to)
		report, err := models.Copy(ctx(t), from, to, models.CopyOptions{Prune: true, Overwrite: true})
		require.NoError(t, err)
		require.Equal(t, models.TableReport{Table: "quotas", Rows: 1, Inserted: 1}, reportOf(t, report, "quotas"))
		for _, table := range tables[1:] {
			require.Equal(t, models.TableReport{Table: table, Missing: true}, reportOf(t, report, table))
		}
		before.Quotas = []models.Quota{{Username: "alice", MaxStorage: 7}}
		requireEqual(t, before, read(t, to))

		require.NoError(t, from.Exec("ALTER TABLE quotas ADD COLUMN shoe_size bigint").Error)
		_, err = models.Copy(ctx(t), from, to, models.CopyOptions{})
		require.ErrorIs(t, err, models.ErrInvalid)
		require.ErrorContains(t, err, "shoe_size")
		_, err = models.Copy(ctx(t), from, to, models.CopyOptions{Exclude: []string{"quotas.SHOE_size"}})
		require.NoError(t, err)
		require.NoError(t, from.Exec("CREATE TABLE passwords (login varchar(100), hash text)").Error)
		_, err = models.Copy(ctx(t), from, to, models.CopyOptions{Exclude: []string{"quotas.shoe_size", "passwords"}})
		require.NoError(t, err)
	})

	// Ensure that Madmail's table quota is copied to quotas, and to quota where the target
	// has one.
	t.Run("quota", func(t *testing.T) {
		from := openFrom(t, config())
		require.NoError(t, from.AutoMigrate(&madmailQuota{}))
		row := models.Quota{Username: "alice", MaxStorage: 5, CreatedAt: 6, FirstLoginAt: 7, LastLoginAt: 8, UsedToken: "9"}
		require.NoError(t, from.Table("quota").Create(&row).Error)
		for _, table := range []string{"quotas", "quota"} {
			to := openTo(t, config())
			if table == "quota" {
				require.NoError(t, to.AutoMigrate(&madmailQuota{}))
			}
			report, err := models.Copy(ctx(t), from, to, models.CopyOptions{})
			require.NoError(t, err)
			require.Equal(t, models.TableReport{Table: table, Rows: 1, Inserted: 1}, reportOf(t, report, table))
			var copied models.Quota
			require.NoError(t, to.Table(table).Take(&copied).Error)
			require.Equal(t, row, copied)
			require.Equal(t, table == "quotas", to.Migrator().HasTable("quotas"))
		}
	})

	t.Run("server", func(t *testing.T) { copyServer(t, openFrom, openTo) })

	// Ensure that a write of another program to the target during the copy is an error.
	t.Run("changed meanwhile", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		fill(t, from, 10)
		for phase, want := range map[models.CopyPhase]error{models.CopyCheck: models.ErrConflict, models.CopyWrite: models.ErrNotEqual} {
			opts := options()
			opts.Overwrite = phase == models.CopyWrite
			opts.Progress = func(p models.CopyProgress) {
				if p.Phase == phase && p.Table == passwords.Name {
					require.NoError(t, newQuotas(t, to, 1).Set(ctx(t), "user00003@example.org", time.Now().UnixNano()))
				}
			}
			_, err := models.Copy(ctx(t), from, to, opts)
			require.ErrorIs(t, err, want)
		}
		opts := options()
		opts.Overwrite = true
		opts.Progress = func(p models.CopyProgress) {
			if p.Phase == models.CopyWrite && p.Table == passwords.Name {
				require.NoError(t, newQuotas(t, to, 1).Set(ctx(t), "intruder", 1))
			}
		}
		_, err := models.Copy(ctx(t), from, to, opts)
		require.ErrorIs(t, err, models.ErrNotEqual)
		require.ErrorContains(t, err, "in the target")
	})
}
