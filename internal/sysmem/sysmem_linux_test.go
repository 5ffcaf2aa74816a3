package sysmem

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const mib = 1 << 20

// Ensure that the tightest of the limits counts: of the machine, of the group of the process,
// and of the groups around it, in both versions.
func TestRead(t *testing.T) {
	const meminfo = "MemTotal:       1024 kB\nMemFree: 1 kB\nMemAvailable:    512 kB\n"
	machine := Memory{mib, mib / 2, "/proc/meminfo"}
	for name, test := range map[string]struct {
		files map[string]string
		want  Memory
	}{
		"nothing": {nil, Memory{}},
		"machine": {map[string]string{"proc/meminfo": meminfo}, machine},
		"no limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "max\n", "sys/fs/cgroup/a/memory.current": "5\n",
		}, machine},
		"version 2": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "900\n", "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 300\n",
		}, Memory{1000, 400, "/sys/fs/cgroup/a/memory.max"}},
		"nested": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b/c\n",
			"sys/fs/cgroup/a/b/c/memory.max": "2000\n", "sys/fs/cgroup/a/b/c/memory.current": "100\n",
			"sys/fs/cgroup/a/b/memory.current": "100\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "990\n",
		}, Memory{1000, 10, "/sys/fs/cgroup/a/memory.max"}},
		"high": {map[string]string{
			"proc/self/cgroup":           "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.high": "500\n", "sys/fs/cgroup/a/memory.current": "600\n",
		}, Memory{500, 0, "/sys/fs/cgroup/a/memory.high"}},
		"a container that sees its group at the mount": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../kubepods/x\n",
			"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "1\n",
		}, Memory{1000, 999, "/sys/fs/cgroup/memory.max"}},
		"version 1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/z\n4:cpuset,memory:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "300\n",
			"sys/fs/cgroup/memory/docker/x/memory.stat":  "inactive_file 9\ntotal_inactive_file 100\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "300\n",
		}, Memory{1000, 800, "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes"}},
		"both versions": {map[string]string{
			"proc/self/cgroup": "4:memory:/v1\n0::/v2\n",
			"sys/fs/cgroup/memory/v1/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/v1/memory.usage_in_bytes": "300\n",
			"sys/fs/cgroup/unified/v2/memory.max": "600\n", "sys/fs/cgroup/unified/v2/memory.current": "1\n",
		}, Memory{600, 599, "/sys/fs/cgroup/unified/v2/memory.max"}},
		"nonsense": {map[string]string{"proc/meminfo": "MemTotal: many kB\n", "proc/self/cgroup": "x\n0:\n"}, Memory{}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range test.files {
				name = filepath.Join(root, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
				require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			}
			require.Equal(t, test.want, Read(root))
		})
	}
}

// Ensure that this system has a limit.
func TestRead_here(t *testing.T) {
	m := Read("/")
	require.Positive(t, m.Limit)
	require.LessOrEqual(t, m.Available, m.Limit)
}
