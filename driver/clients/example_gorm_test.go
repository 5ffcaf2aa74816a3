package clients

import (
	"fmt"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

type note struct {
	ID   uint
	Text string
}

// A GORM program changes the line that opens the database, and closes the pool.
func Example_gorm() {
	inTempDir(func() error {
		db, err := gorm.Open(gormdialect.Open("app.db?_fk=1"), &gorm.Config{})
		if err != nil {
			return err
		}
		if err := db.AutoMigrate(&note{}); err != nil {
			return err
		}
		if err := db.Create(&note{Text: "written with this dialect"}).Error; err != nil {
			return err
		}
		return closeGORM(db)
	}, func() error {
		db, err := gorm.Open(&sqlite.Dialector{DriverName: "sqlite-mem", DSN: "app.db?_fk=1"}, &gorm.Config{})
		if err != nil {
			return err
		}
		var n note
		if err := db.Take(&n).Error; err != nil {
			return err
		}
		fmt.Println(n.Text)
		return closeGORM(db)
	})
	// Output: written with this dialect
}

func closeGORM(db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}
