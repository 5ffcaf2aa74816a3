//go:build !cgo

package main

import (
	"fmt"
	"os"

	"github.com/sqlite-mem/sqlite-mem/driver"
)

func main() {
	_, err := driver.NewConnector(&driver.Config{})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
