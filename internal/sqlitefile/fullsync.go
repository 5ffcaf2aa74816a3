package sqlitefile

import "runtime"

// FullSync are statements for a new connection of SQLite to files on the disk; "" on most
// systems. On macOS fsync leaves data in the cache of the disk, which a power failure empties.
// Go's File.Sync asks for F_FULLFSYNC there, and SQLite only with these pragmas: for its
// journals and databases, and for the checkpoint of a -wal. It is a variable for tests.
var FullSync = fullSync(runtime.GOOS)

func fullSync(system string) string {
	if system == "darwin" || system == "ios" {
		return "PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON"
	}
	return ""
}
