//go:build !linux

package osfile

// SyncData is Sync: there is no portable call.
func (f osFile) SyncData() error { return f.Sync() }
