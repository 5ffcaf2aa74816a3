//go:build cgo

package gormdialect_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sqlite-mem/sqlite-mem/gormdialect"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "gormdialect")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	db, err := gorm.Open(gormdialect.Open(filepath.Join(dir, "app.db")+"?sqlite_sync_interval=5m"), &gorm.Config{
		Logger:         logger.Discard,
		TranslateError: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	type Note struct {
		ID    uint
		Title string `gorm:"unique"`
	}
	if err := db.AutoMigrate(&Note{}); err != nil {
		log.Fatal(err)
	}
	note := Note{Title: "first"}
	fmt.Println(db.Create(&note).Error, note.ID)
	fmt.Println(errors.Is(db.Create(&Note{Title: "first"}).Error, gorm.ErrDuplicatedKey))

	pool, err := db.DB()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pool.Close()) // writes the file
	// Output:
	// <nil> 1
	// true
	// <nil>
}

func ExampleSync() {
	dir, err := os.MkdirTemp("", "gormdialect")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := gorm.Open(gormdialect.Open(filepath.Join(dir, "app.db")), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if pool, err := db.DB(); err == nil {
		defer pool.Close()
	}

	if err := db.Exec("CREATE TABLE t (x)").Error; err != nil {
		log.Fatal(err)
	}
	if err := gormdialect.Sync(context.Background(), db); err != nil {
		log.Fatal(err)
	}
	stats, err := gormdialect.Stats(db)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Role, stats.Commits, stats.Unsaved)
	// Output:
	// server 1 0
}
