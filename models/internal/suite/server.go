package suite

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// serverTables creates the tables of another program. PostgreSQL folds the names to
// lower case. The table of the children comes first by its name.
func serverTables(t *testing.T, db *gorm.DB) {
	t.Helper()
	types := map[string]string{"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "blob": "BLOB", "time": "DATETIME", "float": "REAL"}
	switch db.Name() {
	case "postgres":
		types = map[string]string{"serial": "BIGSERIAL PRIMARY KEY", "blob": "BYTEA", "time": "TIMESTAMPTZ", "float": "DOUBLE PRECISION"}
	case "mysql":
		types = map[string]string{"serial": "BIGINT PRIMARY KEY AUTO_INCREMENT", "blob": "LONGBLOB", "time": "DATETIME(6)", "float": "DOUBLE"}
	}
	for _, create := range []string{
		"CREATE TABLE zBoxes (boxId {serial}, boxName VARCHAR(100) NOT NULL)",
		"CREATE TABLE aMails (boxId BIGINT NOT NULL, mailId BIGINT NOT NULL, body {blob}, seen BOOLEAN, made {time}, score {float}, note VARCHAR(100), " +
			"PRIMARY KEY (boxId, mailId), FOREIGN KEY (boxId) REFERENCES zBoxes (boxId))",
		"CREATE TABLE mFlags (mailId BIGINT, flag VARCHAR(100))",
	} {
		for name, text := range types {
			create = strings.ReplaceAll(create, "{"+name+"}", text)
		}
		if db.Name() == "mysql" {
			create += " CHARACTER SET utf8mb4" // not that of the database
		}
		require.NoError(t, db.Exec(create).Error, create)
	}
}

// fillServer writes rows to the tables of serverTables.
func fillServer(t *testing.T, db *gorm.DB, mails int) {
	t.Helper()
	exec := func(statement string, vars ...any) {
		t.Helper()
		require.NoError(t, db.Exec(statement, vars...).Error)
	}
	exec("INSERT INTO zBoxes (boxId, boxName) VALUES (3, 'INBOX'), (70, '名 ''Sent''')")
	made := time.Date(2025, 1, 31, 12, 34, 56, 789123000, time.FixedZone("", 12600))
	for i := range mails {
		exec("INSERT INTO aMails VALUES (?, ?, ?, ?, ?, ?, ?)", 3+67*(i%2), i, []byte(strings.Repeat("\x00\xff'", i)), i%3 == 0, made.Add(time.Duration(i)*time.Microsecond), float64(i)/7, fmt.Sprint("note ", i))
	}
	exec("INSERT INTO aMails (boxId, mailId) VALUES (70, 999999)")
	for range 2 {
		exec("INSERT INTO mFlags VALUES (1, 'seen'), (2, NULL), (NULL, '')")
	}
}

// mail is a row of aMails.
type mail struct {
	BoxID  int64 `gorm:"column:boxid"`
	MailID int64 `gorm:"column:mailid"`
	Body   []byte
	Seen   *bool
	Made   *time.Time
	Score  *float64
	Note   *string
}

// readServer returns the content of the tables of serverTables.
func readServer(t *testing.T, db *gorm.DB) (boxes string, mails []mail, flags []string) {
	t.Helper()
	scan := func(query string, target any) {
		t.Helper()
		require.NoError(t, db.Raw(query).Scan(target).Error)
	}
	var names []string
	scan("SELECT boxName FROM zBoxes ORDER BY boxId", &names)
	var ids []int64
	scan("SELECT boxId FROM zBoxes ORDER BY boxId", &ids)
	rows, err := db.Raw("SELECT boxId, mailId, body, seen, made, score, note FROM aMails ORDER BY boxId, mailId").Rows()
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var m mail
		require.NoError(t, rows.Scan(&m.BoxID, &m.MailID, &m.Body, &m.Seen, &m.Made, &m.Score, &m.Note))
		if m.Made != nil {
			utc := m.Made.UTC()
			m.Made = &utc
		}
		mails = append(mails, m)
	}
	require.NoError(t, rows.Err())
	scan("SELECT COALESCE(flag, 'NULL') FROM mFlags ORDER BY 1", &flags)
	return fmt.Sprint(ids, names), mails, flags
}

func requireServer(t *testing.T, from, to *gorm.DB) {
	t.Helper()
	boxes, mails, flags := readServer(t, from)
	gotBoxes, gotMails, gotFlags := readServer(t, to)
	require.Equal(t, boxes, gotBoxes)
	require.Equal(t, flags, gotFlags)
	require.Len(t, gotMails, len(mails))
	for i := range mails {
		require.True(t, bytes.Equal(mails[i].Body, gotMails[i].Body) && (mails[i].Body == nil) == (gotMails[i].Body == nil), "body %d", i)
		mails[i].Body, gotMails[i].Body = nil, nil
		require.Equal(t, mails[i], gotMails[i])
	}
}

// copyServer tests the copy of tables of other programs.
func copyServer(t *testing.T, openFrom, openTo Open) {
	options := models.CopyOptions{BatchRows: 50}
	const mails = 120

	// Ensure that the tables of another program are copied in the order of their foreign
	// keys, and that a second run writes nothing. A dry run reports the same numbers and
	// writes nothing. New keys follow the copied ones.
	t.Run("whole", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		fill(t, from, 5)
		for _, db := range []*gorm.DB{from, to} {
			serverTables(t, db)
		}
		fillServer(t, from, mails)
		recorder := NewRecorder()
		dry := models.CopyOptions{BatchRows: 50, DryRun: true, Tables: []models.TableSpec{passwords}}
		planned, err := models.Copy(ctx(t), from, to.Session(&gorm.Session{Logger: recorder}), dry)
		require.NoError(t, err)
		require.Empty(t, recorder.Writes())
		require.False(t, to.Migrator().HasTable("quotas"))

		opts := options
		opts.Tables = dry.Tables
		report, err := models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		require.Equal(t, planned, report)
		require.Len(t, report.Tables, len(tables)+4)
		for table, rows := range map[string]int64{"zboxes": 2, "amails": mails + 1, "mflags": 6} {
			require.Equal(t, rows, foldedReport(t, report, table).Inserted, table)
		}
		requireServer(t, from, to)
		requireEqual(t, read(t, from), read(t, to))

		report, err = models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		for _, table := range report.Tables {
			require.Equal(t, models.TableReport{Table: table.Table, Rows: table.Rows, Equal: table.Rows}, table)
		}
		require.NoError(t, to.Exec("INSERT INTO zBoxes (boxName) VALUES ('next')").Error)
		var next int64
		require.NoError(t, to.Raw("SELECT boxId FROM zBoxes WHERE boxName = 'next'").Scan(&next).Error)
		require.Greater(t, next, int64(70))

		_, err = models.Copy(ctx(t), from, to, opts)
		require.ErrorIs(t, err, models.ErrConflict)
		opts.Prune, opts.Overwrite = true, true
		require.NoError(t, to.Exec("UPDATE aMails SET note = 'other' WHERE mailId < 10").Error)
		require.NoError(t, to.Exec("INSERT INTO aMails (boxId, mailId) VALUES (?, 5)", next).Error)
		_, err = models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		requireServer(t, from, to)
	})

	// Ensure that a table without a key is copied into an empty one or compared, and that
	// other rows are an error.
	t.Run("no key", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		for _, db := range []*gorm.DB{from, to} {
			serverTables(t, db)
			fillServer(t, db, 0)
		}
		report, err := models.Copy(ctx(t), from, to, options)
		require.NoError(t, err)
		require.EqualValues(t, 6, foldedReport(t, report, "mflags").Equal)
		require.NoError(t, to.Exec("UPDATE mFlags SET flag = 'x' WHERE flag = ''").Error)
		opts := options
		opts.Overwrite, opts.Prune = true, true
		_, err = models.Copy(ctx(t), from, to, opts)
		require.ErrorIs(t, err, models.ErrConflict)
		require.ErrorContains(t, folded(err), "flags has no primary key")
	})

	// Ensure that tables and columns which only the source has are an error that names all
	// of them before anything is written. Exclude leaves them out.
	t.Run("schemas", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		for _, db := range []*gorm.DB{from, to} {
			serverTables(t, db)
		}
		fillServer(t, from, 3)
		for _, statement := range []string{"CREATE TABLE only_here (id BIGINT PRIMARY KEY)", "ALTER TABLE mFlags ADD COLUMN lost BIGINT"} {
			require.NoError(t, from.Exec(statement).Error)
		}
		require.NoError(t, to.Exec("ALTER TABLE zBoxes ADD COLUMN needed BIGINT NOT NULL DEFAULT 5").Error)
		opts := options
		for _, dry := range []bool{true, false} {
			opts.DryRun = dry
			_, err := models.Copy(ctx(t), from, to, opts)
			require.ErrorIs(t, err, models.ErrInvalid)
			require.ErrorContains(t, err, "source table only_here is not in the target")
			require.ErrorContains(t, folded(err), "flags has a column lost")
			require.False(t, to.Migrator().HasTable("quotas"))
		}
		opts.Exclude = []string{"ONLY_HERE", "mflags.lost", "nothing"}
		_, err := models.Copy(ctx(t), from, to, opts)
		requireInvalid(t, err, "CopyOptions.Exclude", `"nothing"`)
		opts.Exclude = opts.Exclude[:2]
		_, err = models.Copy(ctx(t), from, to, opts)
		require.NoError(t, err)
		requireServer(t, from, to)
	})

	// Ensure that a value which the target's type cannot hold is an error that names the
	// row before anything is written.
	t.Run("values", func(t *testing.T) {
		from, to := openFrom(t, config()), openTo(t, config())
		for i, db := range []*gorm.DB{from, to} {
			kinds := []string{"VARCHAR(100)", "BIGINT"}
			require.NoError(t, db.Exec("CREATE TABLE numbers (id BIGINT PRIMARY KEY, n "+kinds[i]+")").Error)
		}
		require.NoError(t, from.Exec("INSERT INTO numbers VALUES (1, '42'), (2, NULL), (3, '-9223372036854775808')").Error)
		_, err := models.Copy(ctx(t), from, to, options)
		require.NoError(t, err)
		var sum int64
		require.NoError(t, to.Raw("SELECT n FROM numbers WHERE id = 1").Scan(&sum).Error)
		require.EqualValues(t, 42, sum)
		require.NoError(t, from.Exec("INSERT INTO numbers VALUES (4, '1e3'), (5, '9223372036854775808'), (6, '7')").Error)
		_, err = models.Copy(ctx(t), from, to, options)
		require.ErrorIs(t, err, models.ErrInvalid)
		require.ErrorContains(t, err, `source table numbers, row "4": n is "1e3", which is no integer`)
		require.ErrorContains(t, err, `row "5"`)
		require.NotContains(t, err.Error(), `row "6"`)
		var n int64
		require.NoError(t, to.Table("numbers").Count(&n).Error)
		require.EqualValues(t, 3, n)
	})
}

// folded returns an error with its text in the case in which PostgreSQL folds names.
func folded(err error) error { return fmt.Errorf("%s", strings.ToLower(err.Error())) }

// foldedReport returns the report for a table whose name is given in lower case.
func foldedReport(t *testing.T, report models.CopyReport, table string) models.TableReport {
	t.Helper()
	for i := range report.Tables {
		if strings.ToLower(report.Tables[i].Table) == table {
			return report.Tables[i]
		}
	}
	require.Fail(t, "no report", table)
	return models.TableReport{}
}
