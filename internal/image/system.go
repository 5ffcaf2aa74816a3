package image

import "github.com/sqlite-mem/sqlite-mem/internal/osfile"

// system is the file system of this package. Tests of a whole process replace it before they
// use the package.
var system osfile.FS = osfile.OS{}
