//go:build cgo

package gormdialect

import (
	"errors"
	"fmt"

	sqlite3 "github.com/mattn/go-sqlite3"
	"gorm.io/gorm"
)

// translations maps errors of SQLite to GORM's errors.
var translations = map[sqlite3.ErrNoExtended]error{
	sqlite3.ErrConstraintPrimaryKey: gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintUnique:     gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintRowID:      gorm.ErrDuplicatedKey,
	sqlite3.ErrConstraintForeignKey: gorm.ErrForeignKeyViolated,
	sqlite3.ErrConstraintCheck:      gorm.ErrCheckConstraintViolated,
}

// Translate wraps an error of a constraint in GORM's error for it:
// gorm.ErrDuplicatedKey, gorm.ErrForeignKeyViolated or
// gorm.ErrCheckConstraintViolated. errors.Is and errors.As find both errors. Translate
// returns other errors unchanged. GORM calls it if gorm.Config.TranslateError is set.
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
