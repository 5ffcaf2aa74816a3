//go:build !linux

package snapshot

func (f osFile) syncData() error { return f.Sync() }
