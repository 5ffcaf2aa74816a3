package contender

import (
	"fmt"
	"strings"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

// HasGorm reports whether there is a GORM dialect for the contender: ours, or GORM's
// own for go-sqlite3.
func (c *Contender) HasGorm() bool {
	return c.Name == Reference || c.Name == "madmail" || strings.HasPrefix(c.Name, "mattn-")
}

// Gorm opens GORM on the pool of db, with its defaults and without its log messages.
func (c *Contender) Gorm(db *DB) (*gorm.DB, error) {
	if !c.HasGorm() {
		return nil, fmt.Errorf("contender %s: GORM has no dialect for it", c.Name)
	}
	var dialect gorm.Dialector = &sqlite.Dialector{Conn: db.Pool}
	if c.Name == Reference {
		dialect = gormdialect.New(gormdialect.Config{Conn: db.Pool})
	}
	return gorm.Open(dialect, &gorm.Config{Logger: logger.Discard})
}
