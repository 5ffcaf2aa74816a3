package models

import (
	"context"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// Settings is the store of a server's settings, in a key-value table. The key of the
// setting NAME is __NAME__. Madmail keeps its settings so in the table of its passwords,
// or in a table of their own (internal/api/admin/resources/settings.go of v0.47.1).
type Settings struct {
	table *Table
}

// NewSettings returns the store of the settings in the table that spec names. It does
// not use the database. [Table.Migrate] creates the table, or another program does. An
// invalid name is an [InvalidError].
func NewSettings(db *gorm.DB, spec TableSpec) (*Settings, error) {
	table, err := NewTable(db, spec)
	if err != nil {
		return nil, err
	}
	return &Settings{table}, nil
}

// Lookup returns the value of a setting, and reports whether it is set. name has
// upper-case ASCII letters, digits and underscores. It neither begins nor ends with an
// underscore. Another name is an [InvalidError].
func (s *Settings) Lookup(ctx context.Context, name string) (value string, ok bool, err error) {
	key, err := settingKey(name)
	if err != nil {
		return "", false, err
	}
	return s.table.Lookup(ctx, key)
}

// Bool returns the value of a setting that is true or false, or byDefault if it is not
// set. Any value but "true" is false, as in Madmail.
func (s *Settings) Bool(ctx context.Context, name string, byDefault bool) (bool, error) {
	value, ok, err := s.Lookup(ctx, name)
	switch {
	case err != nil:
		return false, err
	case !ok:
		return byDefault, nil
	}
	return value == "true", nil
}

// Set stores the value of a setting, and replaces an earlier one.
func (s *Settings) Set(ctx context.Context, name, value string) error {
	key, err := settingKey(name)
	if err != nil {
		return err
	}
	return s.table.Set(ctx, key, value)
}

// SetBool stores "true" or "false" as the value of a setting.
func (s *Settings) SetBool(ctx context.Context, name string, value bool) error {
	return s.Set(ctx, name, strconv.FormatBool(value))
}

// Remove deletes a setting. A setting that is not set is no error.
func (s *Settings) Remove(ctx context.Context, name string) error {
	key, err := settingKey(name)
	if err != nil {
		return err
	}
	return s.table.Remove(ctx, key)
}

// All returns the settings that are set, by their names. It leaves out the other keys
// of the table.
func (s *Settings) All(ctx context.Context) (map[string]string, error) {
	settings := map[string]string{}
	// Settings begin with two underscores. No key from "_`" on does, as ` follows _.
	for after := "_"; ; {
		page, err := s.table.List(ctx, after, MaxPage)
		if err != nil {
			return nil, err
		}
		for _, entry := range page {
			after = string(entry.Key)
			name, begins := strings.CutPrefix(after, "__")
			name, ends := strings.CutSuffix(name, "__")
			if begins && ends && checkSetting(name) == nil {
				settings[name] = string(entry.Value)
			}
		}
		if len(page) < MaxPage || after >= "_`" {
			return settings, nil
		}
	}
}

// settingKey returns the key of a setting.
func settingKey(name string) (string, error) {
	if err := checkSetting(name); err != nil {
		return "", err
	}
	return "__" + name + "__", nil
}

// checkSetting checks the name of a setting.
func checkSetting(name string) error {
	switch {
	case name == "":
		return &InvalidError{"setting", "has an empty name"}
	case len(name) > MaxKeyBytes-4:
		return &InvalidError{"setting", "has a name of " + strconv.Itoa(len(name)) + " bytes, at most " + strconv.Itoa(MaxKeyBytes-4) + " are allowed"}
	case name[0] == '_' || name[len(name)-1] == '_':
		return &InvalidError{"setting", brief(name) + " begins or ends with an underscore; the store adds those of the key"}
	case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "":
		return &InvalidError{"setting", brief(name) + " has a character other than A-Z, 0-9 and _"}
	}
	return nil
}
