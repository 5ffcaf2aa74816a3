package sysmem

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Read reads the limits as they are now. root is "/", or a directory in its place for tests.
// Of the machine and of each control group that the process is in, the one counts that has
// the least memory left. What cannot be read is left out.
func Read(root string) (least Memory) {
	add := func(m Memory) {
		if m.Limit > 0 && (least.Limit == 0 || m.Available < least.Available) {
			least = m
		}
	}
	add(machine(root))
	b, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	// Each line is ID:CONTROLLERS:PATH; of version 2 it is 0::PATH
	// (https://man7.org/linux/man-pages/man7/cgroups.7.html).
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case controllers == "":
			for _, mount := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
				groups(root, mount, group, func(dir string) { add(version2(root, dir)) })
			}
		case hasWord(controllers, "memory"):
			groups(root, "sys/fs/cgroup/memory", group, func(dir string) { add(version1(root, dir)) })
		}
	}
	return least
}

// groups calls f with the directory of a group, and of each group that it is in. A container
// may see its own group at the mount only, and the path of another place in /proc.
func groups(root, mount, group string, f func(dir string)) {
	group = path.Join("/", group) // a group outside of the namespace begins with /..
	if _, err := os.Stat(filepath.Join(root, mount, group)); err != nil {
		group = "/"
	}
	for {
		f(path.Join(mount, group))
		if group == "/" {
			return
		}
		group = path.Dir(group)
	}
}

// version2 is the limit of a group of version 2
// (https://docs.kernel.org/admin-guide/cgroup-v2.html). memory.high throttles long before
// memory.max kills. So the lower of them counts.
func version2(root, dir string) Memory {
	used, ok := number(root, dir+"/memory.current")
	if !ok {
		return Memory{} // the root group has none
	}
	used -= field(root, dir+"/memory.stat", "inactive_file")
	m := Memory{}
	for _, name := range []string{dir + "/memory.max", dir + "/memory.high"} {
		if limit, ok := number(root, name); ok && (m.Limit == 0 || limit < m.Limit) {
			m = Memory{limit, max(limit-used, 0), "/" + name}
		}
	}
	return m
}

// version1 is the limit of a group of version 1
// (https://docs.kernel.org/admin-guide/cgroup-v1/memory.html).
func version1(root, dir string) Memory {
	limit, ok1 := number(root, dir+"/memory.limit_in_bytes")
	used, ok2 := number(root, dir+"/memory.usage_in_bytes")
	if !ok1 || !ok2 || limit >= 1<<60 { // no limit is the largest number of pages
		return Memory{}
	}
	used -= field(root, dir+"/memory.stat", "total_inactive_file")
	return Memory{limit, max(limit-used, 0), "/" + dir + "/memory.limit_in_bytes"}
}

// machine is the memory of the machine.
func machine(root string) Memory {
	const name = "proc/meminfo"
	available := field(root, name, "MemAvailable:")
	if available == 0 { // Linux before 3.14 does not tell
		return Memory{}
	}
	return Memory{field(root, name, "MemTotal:") << 10, available << 10, "/" + name}
}

// number reads a file with one number. "max" is none.
func number(root, name string) (int64, bool) {
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// field reads a number behind a word at the beginning of a line; 0 if there is none.
func field(root, name, word string) int64 {
	b, _ := os.ReadFile(filepath.Join(root, name))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == word {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}
