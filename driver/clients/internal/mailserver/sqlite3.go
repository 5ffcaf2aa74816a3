package main

import (
	"errors"
	"os"
	"slices"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func init() {
	role := driver.RoleTool
	if slices.Contains(os.Args, "run") {
		role = driver.RoleServer
	}
	if err := errors.Join(driver.RegisterAs("sqlite3"), driver.SetRole(role)); err != nil {
		panic(err)
	}
}
