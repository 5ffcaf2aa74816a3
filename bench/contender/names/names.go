// Package names frees the driver name "sqlite3". Both github.com/mattn/go-sqlite3 and
// github.com/ncruces/go-sqlite3 register it, and database/sql panics at the second.
// Each has a variable for the name, meant for the linker's -X. This package sets both,
// so that plain "go test" and "go run" work. Package contender registers the name
// again.
//
// Go initialises packages in the order of their paths, each after its imports. This
// package imports nothing. The drivers import reflect, whose path comes after this one,
// so this package is first. If that ever changes, the program panics at its start; no
// figure can be wrong.
package names

import _ "unsafe" // for linkname

//go:linkname mattn github.com/mattn/go-sqlite3.driverName
var mattn string

//go:linkname ncruces github.com/ncruces/go-sqlite3/driver.driverName
var ncruces string

func init() { mattn, ncruces = "", "" }
