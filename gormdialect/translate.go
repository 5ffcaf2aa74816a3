//go:build cgo

package gormdialect

import (
	"errors"
	"fmt"

	sqlite3 "github.com/mattn/go-sqlite3"
	"gorm.io/gorm"
)

// translations are the errors of SQLite that GORM has a name for.
var translations = map[sqlite3.ErrNoExtended]error{
	sqlite3.ErrConstraintPrimaryKey: gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintUnique:     gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintRowID:      gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintForeignKey: gorm.ErrForeignKeyViolated,
	sqlite3.ErrConstraintCheck:      gorm.ErrCheckConstraintViolated,
}

// Translate returns an error that is both GORM's and err, for errors.Is and
// errors.As: gorm.ErrDuplicatedKey, gorm.ErrForeignKeyViolated or
// gorm.ErrCheckConstraintViolated. Other errors are returned as they are. GORM
// calls it when gorm.Config.TranslateError is set.
func (*Dialector) Translate(err error) error {
	var sqliteErr sqlite3.Error
	if !errors.As(err, &sqliteErr) {
		return err
	}
	translated, ok := translations[sqliteErr.ExtendedCode]
	if !ok || errors.Is(err, translated) {
		return err
	}
	return fmt.Errorf("%w: %w", translated, err)
}
