//go:build !linux

package osfile

func (f osFile) SyncData() error { return f.Sync() }
