package osfiletest

import (
	"os"

	"github.com/sqlite-mem/sqlite-mem/internal/osfile"
)

// PlantedFS calls the functions that are set in place of the real ones.
type PlantedFS struct {
	osfile.FS
	OnCreate    func(name string, perm os.FileMode) (osfile.File, error)
	OnOpen      func(name string) (osfile.File, error)
	OnRename    func(from, to string) error
	OnRenameNew func(from, to string) error
	OnLink      func(name, also string) error
	OnSyncDir   func(name string) error
	OnMounted   func(name string) (bool, error) // IsMountPoint
	OnLstat     func(name string) (os.FileInfo, error)
	OnFile      func(name string, f *PlantedFile) // sets functions of a new file
}

func (p *PlantedFS) Create(name string, perm os.FileMode) (osfile.File, error) {
	create := p.FS.Create
	if p.OnCreate != nil {
		create = p.OnCreate
	}
	f, err := create(name, perm)
	if err != nil || p.OnFile == nil {
		return f, err
	}
	x := &PlantedFile{File: f}
	p.OnFile(name, x)
	return x, nil
}

func (p *PlantedFS) Open(name string) (osfile.File, error) {
	if p.OnOpen != nil {
		return p.OnOpen(name)
	}
	return p.FS.Open(name)
}

func (p *PlantedFS) OpenWrite(name string) (osfile.File, error) {
	if p.OnOpen != nil {
		return p.OnOpen(name)
	}
	return p.FS.OpenWrite(name)
}

func (p *PlantedFS) Lstat(name string) (os.FileInfo, error) {
	if p.OnLstat != nil {
		return p.OnLstat(name)
	}
	return p.FS.Lstat(name)
}

func (p *PlantedFS) Rename(from, to string) error {
	if p.OnRename != nil {
		return p.OnRename(from, to)
	}
	return p.FS.Rename(from, to)
}

func (p *PlantedFS) RenameNew(from, to string) error {
	if p.OnRenameNew != nil {
		return p.OnRenameNew(from, to)
	}
	return p.FS.RenameNew(from, to)
}

func (p *PlantedFS) Link(name, also string) error {
	if p.OnLink != nil {
		return p.OnLink(name, also)
	}
	return p.FS.Link(name, also)
}

func (p *PlantedFS) SyncDir(name string) error {
	if p.OnSyncDir != nil {
		return p.OnSyncDir(name)
	}
	return p.FS.SyncDir(name)
}

func (p *PlantedFS) IsMountPoint(name string) (bool, error) {
	if p.OnMounted != nil {
		return p.OnMounted(name)
	}
	return p.FS.IsMountPoint(name)
}

type PlantedFile struct {
	osfile.File
	OnReadAt   func(p []byte, off int64) (int, error)
	OnWrite    func(p []byte) (int, error)
	OnWriteAt  func(p []byte, off int64) (int, error)
	OnSync     func() error
	OnSyncData func() error
}

func (f *PlantedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.OnReadAt != nil {
		return f.OnReadAt(p, off)
	}
	return f.File.ReadAt(p, off)
}

func (f *PlantedFile) Write(p []byte) (int, error) {
	if f.OnWrite != nil {
		return f.OnWrite(p)
	}
	return f.File.Write(p)
}

func (f *PlantedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.OnWriteAt != nil {
		return f.OnWriteAt(p, off)
	}
	return f.File.WriteAt(p, off)
}

func (f *PlantedFile) Sync() error {
	if f.OnSync != nil {
		return f.OnSync()
	}
	return f.File.Sync()
}

func (f *PlantedFile) SyncData() error {
	if f.OnSyncData != nil {
		return f.OnSyncData()
	}
	return f.File.SyncData()
}

func Nothing() error { return nil }
