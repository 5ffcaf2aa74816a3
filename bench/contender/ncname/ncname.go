// Package ncname takes the name "sqlite3" from github.com/ncruces/go-sqlite3, so
// that it can be in one program with github.com/mattn/go-sqlite3, which registers
// itself by the same name: database/sql panics at the second. That driver has
// the variable for it, meant for the linker's -X; setting it from here lets
// plain "go test" and "go run" work.
//
// Go initialises packages in the order of their paths once what they import is
// initialised. This package imports nothing and that driver imports net/url,
// which comes after this package's path, so this one is first. If that ever
// changes the program panics at its start; no figure can be wrong.
package ncname

import _ "unsafe" // for linkname

//go:linkname driverName github.com/ncruces/go-sqlite3/driver.driverName
var driverName string

func init() { driverName = "" }
