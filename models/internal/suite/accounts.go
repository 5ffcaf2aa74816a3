package suite

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sqlite-mem/sqlite-mem/models"
)

func blocked(t *testing.T, open Open) {
	db := fresh(t, open)
	blocked := models.NewBlockedUsers(db)
	is := func(user string) bool {
		t.Helper()
		is, err := blocked.Blocked(ctx(t), user)
		require.NoError(t, err)
		return is
	}

	// Ensure that a user name is blocked until it is unblocked, with its last reason.
	require.False(t, is("alice"))
	before := time.Now().UTC().Truncate(time.Millisecond)
	require.NoError(t, blocked.Block(ctx(t), "alice", "spam"))
	require.NoError(t, blocked.Block(ctx(t), "alice", ""))
	require.NoError(t, blocked.Block(ctx(t), "Alice", "deleted"))
	require.True(t, is("alice") && is("Alice") && !is("ALICE"))
	rows, err := blocked.List(ctx(t), "", 0)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	for i, row := range rows {
		require.False(t, row.BlockedAt.Before(before) || row.BlockedAt.After(time.Now()))
		rows[i].BlockedAt = time.Time{}
	}
	require.Equal(t, []models.BlockedUser{{Username: "Alice", Reason: "deleted"}, {Username: "alice"}}, rows)
	require.Equal(t, []string{"Alice", "alice"}, pages(t, 1, blocked.List, func(b models.BlockedUser) models.Key { return b.Username }))
	require.NoError(t, blocked.Unblock(ctx(t), "alice"))
	require.ErrorIs(t, blocked.Unblock(ctx(t), "alice"), models.ErrNotFound)
	require.False(t, is("alice"))

	// Ensure that an invalid user name or reason is refused.
	for _, user := range []string{"", "a\x00", models.GlobalDefault} {
		requireInvalid(t, blocked.Block(ctx(t), user, ""), "username", "")
		_, err := blocked.Blocked(ctx(t), user)
		requireInvalid(t, err, "username", "")
		requireInvalid(t, blocked.Unblock(ctx(t), user), "username", "")
	}
	requireInvalid(t, blocked.Block(ctx(t), "alice", "\xff"), "reason", "UTF-8")
}

func tokens(t *testing.T, open Open) {
	db := fresh(t, open)
	tokens := models.NewRegistrationTokens(db)

	// Ensure that a token is read back as it was created, and that a generated one
	// differs each time.
	expires := time.Now().Add(time.Hour)
	created, err := tokens.Create(ctx(t), models.RegistrationToken{Token: "token", MaxUses: 2, UsedCount: 9, Comment: "for 'friends'", ExpiresAt: &expires})
	require.NoError(t, err)
	stored := expires.UTC().Truncate(time.Millisecond)
	require.Equal(t, models.RegistrationToken{Token: "token", MaxUses: 2, Comment: "for 'friends'", CreatedAt: created.CreatedAt, ExpiresAt: &stored}, created)
	found, err := tokens.Get(ctx(t), "token")
	require.NoError(t, err)
	require.Equal(t, created, found)
	_, err = tokens.Create(ctx(t), models.RegistrationToken{Token: "token", MaxUses: 1})
	require.ErrorIs(t, err, models.ErrTokenTaken)
	first, err := tokens.Create(ctx(t), models.RegistrationToken{MaxUses: 1})
	require.NoError(t, err)
	second, err := tokens.Create(ctx(t), models.RegistrationToken{MaxUses: 1})
	require.NoError(t, err)
	require.Len(t, first.Token, 26)
	require.NotEqual(t, first.Token, second.Token)
	found, err = tokens.Get(ctx(t), string(first.Token))
	require.NoError(t, err)
	require.Nil(t, found.ExpiresAt)

	// Ensure that a token registers as many accounts as it has uses. Pending uses count,
	// and so does each first login.
	quotas := newQuotas(t, db, 1)
	register := func(user string, firstLogin int64) {
		t.Helper()
		require.NoError(t, db.Save(&models.Quota{Username: models.Key(user), FirstLoginAt: firstLogin, UsedToken: "token"}).Error)
	}
	require.NoError(t, tokens.Check(ctx(t), "token"))
	register("alice", 1)
	require.NoError(t, tokens.Check(ctx(t), "token"))
	register("bob", 1)
	pending, err := tokens.Pending(ctx(t), "token")
	require.NoError(t, err)
	require.EqualValues(t, 2, pending)
	require.ErrorIs(t, tokens.Check(ctx(t), "token"), models.ErrTokenUsedUp)
	require.NoError(t, tokens.Use(ctx(t), "token"))
	register("alice", 1700000000)
	require.ErrorIs(t, tokens.Check(ctx(t), "token"), models.ErrTokenUsedUp)
	require.NoError(t, quotas.Delete(ctx(t), "bob"))
	require.NoError(t, tokens.Check(ctx(t), "token"), "an account that never logged in gives its use back")
	require.NoError(t, tokens.Use(ctx(t), "token"))
	require.ErrorIs(t, tokens.Use(ctx(t), "token"), models.ErrTokenUsedUp)
	require.ErrorIs(t, tokens.Check(ctx(t), "token"), models.ErrTokenUsedUp)

	// Ensure that exactly as many concurrent uses succeed as there are.
	_, err = tokens.Create(ctx(t), models.RegistrationToken{Token: "contended", MaxUses: 10})
	require.NoError(t, err)
	succeeded := 0
	for _, err := range atOnce(32, func(int) error { return tokens.Use(ctx(t), "contended") }) {
		if err == nil {
			succeeded++
		} else {
			require.ErrorIs(t, err, models.ErrTokenUsedUp)
		}
	}
	require.Equal(t, 10, succeeded)
	found, err = tokens.Get(ctx(t), "contended")
	require.NoError(t, err)
	require.EqualValues(t, 10, found.UsedCount)

	// Ensure that an expired token registers no account, and can be used by one that was
	// registered before.
	past := time.Now().Add(-time.Second)
	_, err = tokens.Create(ctx(t), models.RegistrationToken{Token: "past", MaxUses: 1, ExpiresAt: &past})
	require.NoError(t, err)
	require.ErrorIs(t, tokens.Check(ctx(t), "past"), models.ErrTokenExpired)
	require.NoError(t, tokens.Use(ctx(t), "past"))

	// Ensure that tokens are listed and deleted, and that a missing one is ErrNotFound.
	require.Equal(t, []string{"contended", "past", "token"}, pages(t, 2, tokens.List, func(r models.RegistrationToken) models.Key { return r.Token })[2:])
	require.NoError(t, tokens.Delete(ctx(t), "past"))
	for name, err := range map[string]error{
		"Delete": tokens.Delete(ctx(t), "past"),
		"Check":  tokens.Check(ctx(t), "past"),
		"Use":    tokens.Use(ctx(t), "past"),
		"Get":    func() error { _, err := tokens.Get(ctx(t), "past"); return err }(),
	} {
		require.ErrorIs(t, err, models.ErrNotFound, name)
		require.NotContains(t, err.Error(), "past", "no error shows a token")
	}

	// Ensure that an invalid field is refused.
	old := time.Date(999, 1, 1, 0, 0, 0, 0, time.UTC)
	for field, token := range map[string]models.RegistrationToken{
		"token":      {Token: "a\x00", MaxUses: 1},
		"max_uses":   {Token: "b"},
		"comment":    {Token: "c", MaxUses: 1, Comment: "\xff"},
		"expires_at": {Token: "d", MaxUses: 1, ExpiresAt: &old},
	} {
		_, err := tokens.Create(ctx(t), token)
		requireInvalid(t, err, field, "")
	}
	requireInvalid(t, tokens.Use(ctx(t), ""), "token", "empty")
}

func settings(t *testing.T, open Open) {
	db := fresh(t, open)
	table := newTable(t, db, passwords)
	settings, err := models.NewSettings(db, passwords)
	require.NoError(t, err)

	// Ensure that settings are the keys __NAME__ of a table that has other keys, too.
	require.NoError(t, table.Set(ctx(t), "__REGISTRATION_OPEN__", "true"))
	require.NoError(t, table.Set(ctx(t), "alice@example.org", "bcrypt:x"))
	value, ok, err := settings.Lookup(ctx(t), "REGISTRATION_OPEN")
	require.NoError(t, err)
	require.True(t, ok && value == "true")
	for _, c := range []struct {
		stored        string
		byDefault, is bool
	}{{"", true, true}, {"", false, false}, {"true", false, true}, {"false", true, false}, {"yes", true, false}} {
		require.NoError(t, settings.Remove(ctx(t), "TURN_ENABLED"))
		if c.stored != "" {
			require.NoError(t, settings.Set(ctx(t), "TURN_ENABLED", c.stored))
		}
		is, err := settings.Bool(ctx(t), "TURN_ENABLED", c.byDefault)
		require.NoError(t, err)
		require.Equal(t, c.is, is, "%+v", c)
	}
	require.NoError(t, settings.SetBool(ctx(t), "TURN_ENABLED", true))
	value, _, err = table.Lookup(ctx(t), "__TURN_ENABLED__")
	require.NoError(t, err)
	require.Equal(t, "true", value)

	// Ensure that All returns every setting and no other key.
	for _, other := range []string{"", "_", "__", "____", "___A__", "__a__", "__A_", "_A__", "A", "~", "__A___"} {
		require.NoError(t, table.Set(ctx(t), other, "other"))
	}
	want := map[string]string{"REGISTRATION_OPEN": "true", "TURN_ENABLED": "true"}
	for i := range 30 {
		name := fmt.Sprintf("S%d", i)
		require.NoError(t, settings.Set(ctx(t), name, name))
		want[name] = name
	}
	all, err := settings.All(ctx(t))
	require.NoError(t, err)
	require.Equal(t, want, all)

	// Ensure that an invalid name is refused.
	for _, name := range []string{"", "a", "A B", "_A", "A_", "__A__", "Ä", "A\x00", strings.Repeat("A", models.MaxKeyBytes-3)} {
		_, _, lookup := settings.Lookup(ctx(t), name)
		_, isTrue := settings.Bool(ctx(t), name, true)
		for _, err := range []error{lookup, isTrue, settings.Set(ctx(t), name, ""), settings.SetBool(ctx(t), name, true), settings.Remove(ctx(t), name)} {
			requireInvalid(t, err, "setting", "")
		}
	}
	require.NoError(t, settings.Set(ctx(t), strings.Repeat("A", models.MaxKeyBytes-4), "longest"))
	_, err = models.NewSettings(db, models.TableSpec{Name: "quota"})
	require.True(t, errors.Is(err, models.ErrInvalid))
}
