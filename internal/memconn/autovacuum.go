//go:build cgo

package memconn

import (
	"cmp"
	"encoding/binary"
	"strings"
)

// The values of PRAGMA auto_vacuum (https://sqlite.org/pragma.html#pragma_auto_vacuum).
const (
	autoVacuumNone = iota
	autoVacuumFull
	autoVacuumIncremental
)

// wantedAutoVacuum returns the value of _auto_vacuum, and whether it is set.
func wantedAutoVacuum(params map[string]string) (mode int, set bool) {
	// The order is go-sqlite3's.
	switch strings.ToLower(cmp.Or(params["_vacuum"], params["_auto_vacuum"])) {
	case "":
		return 0, false
	case "1", "full":
		return autoVacuumFull, true
	case "2", "incremental":
		return autoVacuumIncremental, true
	}
	return autoVacuumNone, true
}

// autoVacuumOnOpen returns what PRAGMA auto_vacuum would do on a new connection. It does
// nothing if the database is in the wanted mode: same is true. It takes the write lock if
// writes is true. Otherwise it only decides what a later VACUUM does.
//
// SQLite takes the lock for FULL and INCREMENTAL, unless the database has content and no
// auto_vacuum. Only a VACUUM can change that.
func (d *Database) autoVacuumOnOpen(want int) (same, writes bool, err error) {
	p, err := d.store.Engine.Pin()
	if err != nil {
		return false, false, err
	}
	defer p.Release()
	if p.Size() == 0 {
		// Its mode is still open. Which one it gets by default depends on how SQLite was
		// built (the tags sqlite_vacuum_full and sqlite_vacuum_incr).
		return false, want != autoVacuumNone, nil
	}
	// The largest root page, at offset 52, is not zero in both modes. The number at offset
	// 64 tells them apart (https://sqlite.org/fileformat2.html#incremental_vacuum_settings).
	var header [68]byte
	if _, err := p.ReadAt(header[:], 0); err != nil {
		return false, false, err
	}
	mode := autoVacuumNone
	if binary.BigEndian.Uint32(header[52:]) != 0 {
		mode = autoVacuumFull
		if binary.BigEndian.Uint32(header[64:]) != 0 {
			mode = autoVacuumIncremental
		}
	}
	return mode == want, want != autoVacuumNone && mode != autoVacuumNone, nil
}
