package suite

import (
	"context"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/models"
)

// inputs are texts of hostile or careless clients. bad is the reason why the text is
// refused as a key, or "" if it is accepted and stored as given.
var inputs = []struct {
	name, input, bad string
}{
	{"plain", "alice@example.org", ""},
	{"single quote", "o'hara'; DROP TABLE quotas; --", ""},
	{"double quote", `a"b" OR ""="`, ""},
	{"backquote", "a`b` OR 1=1 -- ", ""},
	{"backslash", `a\' OR 1=1 \`, ""},
	{"placeholders", "? $1 @name :key ?1 %s %", ""},
	{"pattern", "%_%", ""},
	{"comment", "a/*b*/--c#d", ""},
	{"newlines", "a\r\nb\tc", ""},
	{"other controls", "\x01\x1a\x1b\x7f", ""},
	{"spaces around", "  a  ", ""},
	{"only spaces", "   ", ""},
	{"four bytes", "😀𝔘", ""},
	{"combining", "e\u0301", ""},
	{"right to left", "\u202eabc", ""},
	{"noncharacter", "\uffff", ""},
	{"byte order mark", "\ufeffa", ""},
	{"longest", strings.Repeat("x", models.MaxKeyBytes), ""},
	{"longest in four bytes", strings.Repeat("😀", models.MaxKeyBytes/4), ""},
	{"too long", strings.Repeat("x", models.MaxKeyBytes+1), "513 bytes"},
	{"1 MB", strings.Repeat("x", 1<<20), "1048576 bytes"},
	{"NUL", "a\x00b", "NUL"},
	{"NUL at the end", "alice\x00", "NUL"},
	{"broken UTF-8", "a\xffb", "UTF-8"},
	{"cut UTF-8", "a\xe2\x82", "UTF-8"},
	{"surrogate", "\xed\xa0\x80", "UTF-8"},
	{"overlong", "\xc0\xaf", "UTF-8"},
}

// rule tests the package's rule for keys and values on every method that takes one.
func rule(t *testing.T, open Open) {
	db := fresh(t, open)
	table := newTable(t, db, models.TableSpec{Name: "hostile"})
	quotas := newQuotas(t, db, 1)
	contacts := models.NewContacts(db)

	for _, in := range inputs {
		// Ensure that every method stores a key as given or refuses it with the field and
		// the reason, and leaves other rows alone.
		t.Run("key "+in.name, func(t *testing.T) {
			ctx := ctx(t)
			require.NoError(t, table.Set(ctx, "bystander", "here"))
			err := table.Set(ctx, in.input, "value of "+in.name)
			entry := models.TableEntry{Key: models.Key(in.input), Value: "by GORM"}
			errGORM := db.WithContext(ctx).Create(&entry).Error
			errQuota := quotas.Set(ctx, in.input, 42)
			if in.bad != "" {
				requireInvalid(t, err, "key", in.bad)
				requireInvalid(t, errGORM, "key", in.bad)
				requireInvalid(t, errQuota, "username", in.bad)
				_, _, err = table.Lookup(ctx, in.input)
				requireInvalid(t, err, "key", in.bad)
				requireInvalid(t, table.Remove(ctx, in.input), "key", in.bad)
				_, err = table.List(ctx, in.input, 0)
				requireInvalid(t, err, "after", in.bad)
				_, err = quotas.Limit(ctx, in.input)
				requireInvalid(t, err, "username", in.bad)
				_, err = contacts.Lookup(ctx, in.input)
				requireInvalid(t, err, "slug", in.bad)
				requireInvalid(t, contacts.Remove(ctx, in.input), "slug", in.bad)
				err = db.WithContext(ctx).Where("username = ?", models.Key(in.input)).Find(&models.Quota{}).Error
				requireInvalid(t, err, "key", in.bad)
				return
			}
			require.NoError(t, err)
			require.NoError(t, errGORM)
			require.NoError(t, errQuota)
			value, ok, err := table.Lookup(ctx, in.input)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "value of "+in.name, value)
			keys, err := table.Keys(ctx)
			require.NoError(t, err)
			require.Equal(t, 1, count(keys, in.input))
			row, err := quotas.Get(ctx, in.input)
			require.NoError(t, err)
			require.Equal(t, models.Quota{Username: models.Key(in.input), MaxStorage: 42}, row)
			var back models.TableEntry
			require.NoError(t, db.WithContext(ctx).First(&back, models.TableEntry{Key: models.Key(in.input)}).Error)
			require.Equal(t, entry, back)
			require.NoError(t, table.Remove(ctx, in.input))
			_, ok, err = table.Lookup(ctx, in.input)
			require.NoError(t, err)
			require.False(t, ok)
			_, ok, err = table.Lookup(ctx, "bystander")
			require.NoError(t, err)
			require.True(t, ok)
		})

		// Ensure that a value is stored as given or refused by the same rule, with
		// another limit of its length.
		t.Run("value "+in.name, func(t *testing.T) {
			ctx := ctx(t)
			bad := in.bad
			if utf8.ValidString(in.input) && !strings.Contains(in.input, "\x00") {
				bad = ""
			}
			requireValue(t, table, in.input, bad)
			entry := models.TableEntry{Key: models.Key("gorm " + in.name), Value: models.Text(in.input)}
			err := db.WithContext(ctx).Create(&entry).Error
			if bad != "" {
				requireInvalid(t, err, "text", bad)
				return
			}
			require.NoError(t, err)
			var back models.TableEntry
			require.NoError(t, db.WithContext(ctx).First(&back, models.TableEntry{Key: entry.Key}).Error)
			require.Equal(t, entry, back)
		})
	}

	// Ensure that the empty key and the empty value are stored, and that an empty user
	// name or slug is refused.
	t.Run("empty", func(t *testing.T) {
		ctx := ctx(t)
		require.NoError(t, table.Set(ctx, "", "value of nothing"))
		value, ok, err := table.Lookup(ctx, "")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "value of nothing", value)
		keys, err := table.Keys(ctx)
		require.NoError(t, err)
		require.Equal(t, "", keys[0])
		require.NoError(t, table.Remove(ctx, ""))
		requireValue(t, table, "", "")
		requireInvalid(t, quotas.Set(ctx, "", 1), "username", "empty")
		_, err = contacts.Lookup(ctx, "")
		requireInvalid(t, err, "slug", "empty")
	})

	// Ensure that the longest value is read back whole, even if every byte is escaped,
	// and that a longer one is refused.
	t.Run("huge", func(t *testing.T) {
		for _, char := range []string{"x", "'", `\`, "😀"} {
			requireValue(t, table, strings.Repeat(char, models.MaxValueBytes/len(char)), "")
		}
		requireValue(t, table, strings.Repeat("x", models.MaxValueBytes+1), "4194305 bytes")
	})
}

// requireValue requires that a value is stored and read back, or is refused for bad.
func requireValue(t *testing.T, table *models.Table, value, bad string) {
	t.Helper()
	err := table.Set(ctx(t), "key", value)
	if bad != "" {
		requireInvalid(t, err, "value", bad)
		return
	}
	require.NoError(t, err)
	back, ok, err := table.Lookup(ctx(t), "key")
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, value == back, "%d bytes came back as %d", len(value), len(back))
}

// names tests the rule for names of tables and columns.
func names(t *testing.T, open Open) {
	db := fresh(t, open)

	// Ensure that an invalid name does not reach the database.
	for _, bad := range []string{
		"", " ", "a b", "a;b", "a'b", `a"b`, "a`b", "a.b", "a-b", "a--", "a/*", "a(b)", "a\x00", "a\xff",
		"Users", "näme", "1a", "quotas; DROP TABLE quotas", `x" (k text); DROP TABLE quotas; --`, "x` (k int); -- ",
		strings.Repeat("x", models.MaxNameBytes+1), strings.Repeat("x", 1<<20),
	} {
		_, err := models.NewTable(db, models.TableSpec{Name: bad})
		requireInvalid(t, err, "table", "")
		if bad != "" { // the default
			_, err = models.NewTable(db, models.TableSpec{Name: "fine", KeyColumn: bad})
			requireInvalid(t, err, "key column", "")
			_, err = models.NewTable(db, models.TableSpec{Name: "fine", ValueColumn: bad})
			requireInvalid(t, err, "value column", "")
		}
	}
	for _, spec := range []models.TableSpec{
		{Name: "quotas"}, {Name: "contacts"}, {Name: "sqlite_master"},
		{Name: "fine", KeyColumn: "same", ValueColumn: "same"}, {Name: "fine", KeyColumn: "value"},
	} {
		_, err := models.NewTable(db, spec)
		require.ErrorIs(t, err, models.ErrInvalid, "%v", spec)
	}

	// Ensure that keywords of SQL and names of the largest length work.
	for _, spec := range []models.TableSpec{
		{Name: "select", KeyColumn: "from", ValueColumn: "where"},
		{Name: "table", KeyColumn: "primary", ValueColumn: "order"},
		{Name: "user", KeyColumn: "group", ValueColumn: "key"},
		{Name: "_1", KeyColumn: "k", ValueColumn: "v"},
		{Name: strings.Repeat("x", models.MaxNameBytes), KeyColumn: strings.Repeat("k", models.MaxNameBytes), ValueColumn: strings.Repeat("v", models.MaxNameBytes)},
	} {
		table := newTable(t, db, spec)
		require.Equal(t, spec, table.Spec())
		require.NoError(t, table.Set(ctx(t), "a", "1"))
		require.NoError(t, table.Set(ctx(t), "a", "2"))
		requireValue(t, table, "x", "")
		keys, err := table.Keys(ctx(t))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "key"}, keys)
		entries, err := table.List(ctx(t), "a", 1)
		require.NoError(t, err)
		require.Equal(t, []models.TableEntry{{Key: "key", Value: "x"}}, entries)
		require.NoError(t, table.Remove(ctx(t), "a"))
	}
}

// order tests that keys are compared and sorted by their bytes.
func order(t *testing.T, open Open) {
	db := fresh(t, open)
	table := newTable(t, db, models.TableSpec{Name: "ordered"})
	quotas := newQuotas(t, db, 1)
	contacts := models.NewContacts(db)
	const url = "https://i.delta.chat/#0123456789ABCDEF0123456789ABCDEF01234567"

	// Ensure that keys which are equal in some collation are different keys. Their order
	// is the same on every database, also in pages.
	keys := []string{"a", "A", "a ", " a", "á", "a\u0301", "ä", "ae", "æ", "ss", "ß", "b", "B", "_", "-", "~", "'", `"`, "1", "10", "2",
		"日本", "😀", "\uffff", "i", "I", "ı", "İ", "z", "Z"}
	for i, key := range keys {
		require.NoError(t, table.Set(ctx(t), key, strings.Repeat("x", i)))
		require.NoError(t, quotas.Set(ctx(t), key, int64(i+1)))
	}
	sorted := slices.Sorted(slices.Values(keys))
	all, err := table.Keys(ctx(t))
	require.NoError(t, err)
	require.Equal(t, sorted, all)
	for i, key := range keys {
		value, ok, err := table.Lookup(ctx(t), key)
		require.NoError(t, err)
		require.True(t, ok && len(value) == i, "%q", key)
		limit, err := quotas.Limit(ctx(t), key)
		require.NoError(t, err)
		require.Equal(t, models.Limit{Bytes: int64(i + 1), Source: models.FromUser}, limit)
	}

	require.Equal(t, sorted, pages(t, 7, table.List, func(e models.TableEntry) models.Key { return e.Key }))
	require.Equal(t, sorted, pages(t, 7, quotas.List, func(q models.Quota) models.Key { return q.Username }))

	slugs := []string{"abc", "ABC", "a-c", "a_c", "a0c", "Abc", "abcd"}
	for _, slug := range slugs {
		_, err := contacts.Create(ctx(t), slug, url, "")
		require.NoError(t, err)
	}
	slices.Sort(slugs)
	require.Equal(t, slugs, pages(t, 2, contacts.List, func(c models.Contact) models.Key { return c.Slug }))

	// Ensure that a page has as many rows as its limit or the default allows, and that a
	// negative limit is refused.
	for i := range models.MaxPage + 5 {
		require.NoError(t, db.Create(&models.TableEntry{Key: models.Key("k" + strings.Repeat("x", i%500) + string(rune('a'+i/500)))}).Error)
	}
	entries, err := models.NewTable(db, models.TableSpec{Name: "table_entries"})
	require.NoError(t, err)
	for limit, want := range map[int]int{0: models.DefaultPage, 1: 1, models.MaxPage: models.MaxPage, models.MaxPage + 1: models.MaxPage} {
		page, err := entries.List(ctx(t), "", limit)
		require.NoError(t, err)
		require.Len(t, page, want)
	}
	_, err = entries.List(ctx(t), "", -1)
	requireInvalid(t, err, "limit", "negative")
	_, err = quotas.List(ctx(t), "", -1)
	requireInvalid(t, err, "limit", "negative")
	_, err = contacts.List(ctx(t), "", -1)
	requireInvalid(t, err, "limit", "negative")
}

// pages lists all rows in pages of a size, and returns their keys.
func pages[T any](t *testing.T, size int, list func(context.Context, string, int) ([]T, error), key func(T) models.Key) (keys []string) {
	t.Helper()
	for after := ""; ; after = keys[len(keys)-1] {
		page, err := list(ctx(t), after, size)
		require.NoError(t, err)
		for _, row := range page {
			keys = append(keys, string(key(row)))
		}
		if len(page) < size {
			return keys
		}
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
