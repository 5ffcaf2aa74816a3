// Package names frees the name "sqlite3", which both github.com/mattn/go-sqlite3
// and github.com/ncruces/go-sqlite3 register themselves by: database/sql panics
// at the second. Each has a variable for it, meant for the linker's -X; setting
// them from here lets plain "go test" and "go run" work. Package contender
// registers the name again.
//
// Go initialises packages in the order of their paths once what they import is
// initialised. This package imports nothing and those drivers import reflect,
// which comes after this package's path, so this one is first. If that ever
// changes the program panics at its start; no figure can be wrong.
package names

import _ "unsafe" // for linkname

//go:linkname mattn github.com/mattn/go-sqlite3.driverName
var mattn string

//go:linkname ncruces github.com/ncruces/go-sqlite3/driver.driverName
var ncruces string

func init() { mattn, ncruces = "", "" }
