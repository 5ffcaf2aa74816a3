package image

import (
	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// system is what File, Recover and RemoveLeftovers use. Tests of the process as a
// whole put something else there.
var system osfile.FS = osfile.OS{}
