package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
	"github.com/sqlite-mem/sqlite-mem/bench/workload"
)

// machine describes the machine of the measurement. It has no names of hosts, users or
// directories.
type machine struct {
	Date       string
	CPU        string
	Cores      int
	MemoryMB   int
	OS, Kernel string
	Go         string
	Revision   string // of sqlite-mem
	FileSystem string
	LoadBefore string   // load average when the report began
	Libraries  []string // "module version"
	SQLite     []string // "contender: version"
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

func readMachine(dir string) machine {
	m := machine{
		Date:  today(),
		Cores: runtime.NumCPU(),
		OS:    runtime.GOOS + "/" + runtime.GOARCH,
		Go:    runtime.Version(),
		CPU:   match("/proc/cpuinfo", `(?m)^model name\s*:\s*(.+)$`),
		// The kernel's release, without the machine's name.
		Kernel:     match("/proc/sys/kernel/osrelease", `^(\S+)`),
		LoadBefore: match("/proc/loadavg", `^(\S+)`),
		FileSystem: fileSystem(dir),
	}
	fmt.Sscan(match("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB`), &m.MemoryMB)
	m.MemoryMB >>= 10
	if out, err := exec.Command("git", "-C", "..", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Revision = strings.TrimSpace(string(out))
		// Untracked files are changes, too; results are not.
		if out, err := exec.Command("git", "-C", "..", "status", "--porcelain", "--", ".", ":!bench/results").Output(); err == nil && len(out) > 0 {
			m.Revision += " with changes"
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/mattn/go-sqlite3", "github.com/ncruces/go-sqlite3", "modernc.org/sqlite", "zombiezen.com/go/sqlite", "gorm.io/gorm", "gorm.io/driver/sqlite", "github.com/foxcpp/go-imap-sql":
				m.Libraries = append(m.Libraries, d.Path+" "+d.Version)
			}
		}
	}
	// It is linked into a program of its own.
	if out, err := exec.Command("go", "list", "-m", "crawshaw.io/sqlite").Output(); err == nil {
		m.Libraries = append(m.Libraries, strings.TrimSpace(string(out)))
	}
	slices.Sort(m.Libraries)
	for _, name := range []string{contender.Reference, "mattn-memory-1conn", "modernc-memory-1conn", "ncruces-memdb"} {
		v, err := sqliteVersion(name, dir)
		if err != nil {
			v = "unknown" // the measurement reports the cause
		}
		m.SQLite = append(m.SQLite, name+": "+v)
	}
	return m
}

func sqliteVersion(name, dir string) (version string, err error) {
	c, err := contender.Named(name)
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(dir, "version-"); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	db, err := c.Open(filepath.Join(dir, name+".db"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.Read(context.Background(), func(ctx context.Context, c workload.Conn) error {
		return c.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version)
	})
	return version, err
}

// match returns the first group of a pattern in a file, or the empty string.
func match(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if m := regexp.MustCompile(pattern).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

func fileSystem(dir string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	switch uint32(st.Type) {
	case 0xEF53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	case 0x794C7630:
		return "overlayfs"
	case 0x01021994:
		return "tmpfs (not a disk: the contenders on disk are flattered)"
	}
	return fmt.Sprintf("type %#x", uint32(st.Type))
}
