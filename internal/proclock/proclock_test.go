package proclock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sqlite-mem/sqlite-mem/internal/crash"
)

// roleEnv makes the test binary act as another process: see childMain.
const roleEnv = "PROCLOCK_TEST_ROLE"

func TestMain(m *testing.M) {
	crash.Main()
	if role := os.Getenv(roleEnv); role != "" {
		childMain(role, os.Args[1])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// childMain plays role with the database at path. It answers each thing done
// with one line on stdout, and goes on when it reads a line or EOF on stdin.
func childMain(role, path string) {
	in := bufio.NewScanner(os.Stdin)
	switch role {
	case "hold": // Owns the database until told otherwise.
		l, err := Acquire(bg, path, Server)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("owned")
		in.Scan()
		switch in.Text() {
		case "exit":
			os.Exit(3)
		case "panic":
			panic("as told")
		}
		fmt.Println("released", l.Release())
		in.Scan()

	case "share": // Shares the database until told otherwise.
		l, err := AcquireShared(path, true)
		fmt.Println("shared", err)
		in.Scan()
		fmt.Println("released", l.Release())

	case "recover": // Owns it to recover it, until told otherwise, or killed.
		l, err := Acquire(bg, path, Recovery)
		fmt.Println("recovering", err)
		in.Scan()
		fmt.Println("released", l.Release())

	case "ask": // Calls OwnerOf without a pause; tells how the answers were.
		fmt.Println("asking")
		var (
			wg   sync.WaitGroup
			stop = make(chan struct{})
			mu   sync.Mutex // guards the fields below it
			asks int
			bad  = "none"
		)
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					_, _, err := OwnerOf(path)
					mu.Lock()
					asks++
					if err != nil {
						bad = err.Error()
					}
					mu.Unlock()
				}
			})
		}
		in.Scan()
		close(stop)
		wg.Wait()
		fmt.Printf("asked %t, errors: %s\n", asks > 0, bad)

	case "contend": // Owns the database many times, and watches that it is alone.
		for range 100 {
			l, err := Acquire(bg, path, Server)
			for errors.As(err, new(*OwnedError)) {
				l, err = Acquire(bg, path, Server)
			}
			if err != nil {
				fmt.Println(err)
				return
			}
			witness, err := os.OpenFile(path+".witness", os.O_CREATE|os.O_EXCL, 0o600)
			if err == nil {
				err = errors.Join(witness.Close(), os.Remove(witness.Name()))
			}
			if err = errors.Join(err, l.Release()); err != nil {
				fmt.Println(err)
				return
			}
		}
		fmt.Println("alone")
	}
}

// child is another process.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start starts a child, which is killed at the end of the test at the latest.
func start(t *testing.T, role, path string) *child {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, path)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// read returns the next line the child writes, or "" at its end.
func (c *child) read() string {
	c.out.Scan()
	return c.out.Text()
}

func (c *child) tell(line string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, line)
	require.NoError(c.t, err)
}

// kill sends SIGKILL and waits for the death. It may be called twice.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

var bg = context.Background()

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") }

// content is that of path's lock file but for the first byte, which on Windows
// cannot be read while the file is locked.
func content(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(lockName(path))
	require.NoError(t, err)
	b, err := io.ReadAll(io.NewSectionReader(file, recordOffset, 1<<20))
	require.NoError(t, errors.Join(err, file.Close()))
	return string(b)
}

// putRecord makes record the content of path's lock file, whoever holds it, from
// where a record begins: before it is the byte that Windows locks.
func putRecord(t *testing.T, path, record string) {
	t.Helper()
	file, err := os.OpenFile(lockName(path), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte(record), recordOffset)
	require.NoError(t, errors.Join(err, file.Close()))
}

// someRecord is the record of an owner that is neither this process nor a child.
const someRecord = "1234 2026-11-23T21:00:00Z\n"

// mustAcquire acquires path until the end of the test.
func mustAcquire(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Acquire(bg, path, Server)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Release()) })
	return l
}

// requireOwned fails the test unless err says that pid owns path.
func requireOwned(t *testing.T, err error, path string, pid int) {
	t.Helper()
	owned, ok := errors.AsType[*OwnedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, path, owned.Path)
	require.Equal(t, pid, owned.PID)
	require.Equal(t, pid == 0, owned.Since.IsZero())
	require.NotErrorIs(t, err, ErrUnavailable)
}

// requireOwner fails the test unless OwnerOf names pid; 0 is for nobody.
func requireOwner(t *testing.T, path string, pid int) {
	t.Helper()
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.Equal(t, pid, owner.PID)
	require.Equal(t, pid != 0, owned)
	require.Equal(t, pid == 0, owner.Since.IsZero())
}

// Ensure that a second process is refused, that both it and whoever asks are
// told the right process, and that it is admitted after the release.
func TestAcquire_otherProcess(t *testing.T) {
	path := newPath(t)
	holder := start(t, "hold", path)
	require.Equal(t, "owned", holder.read())

	_, err := Acquire(bg, path, Server)
	requireOwned(t, err, path, holder.pid())
	requireOwner(t, path, holder.pid())

	holder.tell("release")
	require.Equal(t, "released <nil>", holder.read())
	requireOwner(t, path, 0)
	mustAcquire(t, path) // while the former holder is still alive
	requireOwner(t, path, os.Getpid())

	refused := start(t, "hold", path)
	require.Contains(t, refused.read(), fmt.Sprintf("app.db is owned by process %d since ", os.Getpid()))
}

// Ensure that a process gives its ownership up by dying, whatever way, and that
// the record it left does not count.
func TestAcquire_deadOwner(t *testing.T) {
	for _, death := range []string{"kill", "exit", "panic"} {
		t.Run(death, func(t *testing.T) {
			path := newPath(t)
			holder := start(t, "hold", path)
			require.Equal(t, "owned", holder.read())
			if death != "kill" {
				holder.tell(death)
				require.Empty(t, holder.read()) // EOF: it is dying.
				_ = holder.cmd.Wait()
			}
			holder.kill()

			require.Contains(t, content(t, path), fmt.Sprint(holder.pid()), "no stale record to try")
			requireOwner(t, path, 0)
			before, unclean := mustAcquire(t, path).Previous()
			require.True(t, unclean)
			require.Equal(t, holder.pid(), before.PID)
			requireOwner(t, path, os.Getpid())
		})
	}
}

// Ensure that a second Acquire within the process is refused as well, without
// harm to the first.
func TestAcquire_sameProcess(t *testing.T) {
	path := newPath(t)
	l := mustAcquire(t, path)
	for range 3 {
		_, err := Acquire(bg, path, Server)
		requireOwned(t, err, path, os.Getpid())
		requireOwner(t, path, os.Getpid())
	}
	require.NoError(t, l.Release())
	mustAcquire(t, path)
}

// Ensure that the record holds the process id and the time of acquisition in
// UTC, in a file that is ours alone.
func TestAcquire_record(t *testing.T) {
	path := newPath(t)
	before := time.Now().Truncate(time.Second)
	mustAcquire(t, path)
	after := time.Now()

	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.Equal(t, os.Getpid(), owner.PID)
	require.Equal(t, Server, owner.Role)
	require.False(t, owner.Since.Before(before) || owner.Since.After(after), "%v", owner.Since)
	require.Equal(t, time.UTC, owner.Since.Location())

	if runtime.GOOS == "windows" {
		return // Its first byte cannot be read, and it has no modes.
	}
	content, err := os.ReadFile(path + ".lock")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(" %d %s server\n", owner.PID, owner.Since.Format("2006-01-02T15:04:05Z")), string(content))
	info, err := os.Stat(path + ".lock")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist, "the database itself must not be touched")
}

// Ensure that what a crash may leave of a record does not keep anybody out, and
// that in a file somebody has locked it is not taken for an owner's name.
func TestAcquire_content(t *testing.T) {
	for name, left := range map[string]string{
		"empty":            "",
		"blank":            "  ",
		"zeros":            strings.Repeat("\x00", 40),
		"no end":           "1234 2026-11-23T21:00:00Z",
		"cut":              "1234 2026-11-",
		"cut in the role":  "1234 2026-11-23T21:00:00Z reco",
		"cut in the word":  "uncl",
		"only empty lines": "\n\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			putRecord(t, path, left)
			requireOwner(t, path, 0)
			l := mustAcquire(t, path)
			_, unclean := l.Previous()
			require.False(t, unclean)
			requireOwner(t, path, os.Getpid())
			require.Equal(t, fmt.Sprint(record{owner: l.self}), content(t, path), "what stood there is still there")
			require.NoError(t, l.Release())

			// An owner that has not said who it is.
			other := flock.New(lockName(path))
			ok, err := other.TryLock()
			require.True(t, ok, "%v", err)
			defer func() { require.NoError(t, other.Unlock()) }()
			putRecord(t, path, left)
			owner, owned, err := OwnerOf(path)
			require.NoError(t, err)
			require.True(t, owned)
			require.Zero(t, owner)
			synctest.Test(t, func(t *testing.T) { // Acquire's patience costs no time.
				begin := time.Now()
				_, err := Acquire(bg, path, Server)
				requireOwned(t, err, path, 0)
				require.WithinDuration(t, begin.Add(patience), time.Now(), maxPause)
				require.EqualError(t, err, path+" is owned by another process")
				begin = time.Now()
				_, err = AcquireShared(path, true)
				requireOwned(t, err, path, 0)
				require.WithinDuration(t, begin.Add(settle), time.Now(), maxPause)
			})
		})
	}
}

// Ensure that a file that is no lock file of ours is refused by its name, in every
// manner, and left as it is.
func TestAcquire_notALock(t *testing.T) {
	one := " " + someRecord
	contents := map[string]string{
		"text":            "precious content\n",
		"text of blanks":  "  precious content\n",
		"no time":         " 1234\n",
		"bad time":        " 1234 yesterday\n",
		"process id":      "1234\n", // as others write it
		"bad role":        " 1234 2026-11-23T21:00:00Z king\n",
		"pid 0":           " 0 2026-11-23T21:00:00Z\n",
		"pid negative":    " -1 2026-11-23T21:00:00Z\n",
		"pid too big":     " 99999999999999999999 2026-11-23T21:00:00Z\n",
		"two owners":      one + someRecord,
		"record and more": one + "precious content\n",
		"record and torn": one + "precious content",
		"binary":          strings.Repeat("\x00\xff", 1<<16),
		"long":            one + strings.Repeat("\n", 300),
		"first byte":      "x" + someRecord,
	}
	refused := func(t *testing.T, path string) {
		for name, lock := range map[string]func() error{
			"server":   func() error { _, err := Acquire(bg, path, Server); return err },
			"recovery": func() error { _, err := Acquire(bg, path, Recovery); return err },
			"shared":   func() error { _, err := AcquireShared(path, true); return err },
			"owner":    func() error { _, _, err := OwnerOf(path); return err },
		} {
			err := lock()
			require.ErrorIs(t, err, ErrNotALock, name)
			require.ErrorIs(t, err, ErrUnavailable, name)
			require.False(t, ReadOnly(err), name)
			require.ErrorContains(t, err, lockName(path), name)
		}
	}
	for name, text := range contents {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.WriteFile(lockName(path), []byte(text), 0o644))
			refused(t, path)
			require.Equal(t, text[1:], content(t, path))

			// Nor when its own program has locked it.
			other := flock.New(lockName(path))
			ok, err := other.TryLock()
			require.True(t, ok, "%v", err)
			defer func() { require.NoError(t, other.Unlock()) }()
			refused(t, path)
		})
	}
	t.Run("directory", func(t *testing.T) {
		path := newPath(t)
		require.NoError(t, os.Mkdir(lockName(path), 0o700))
		refused(t, path)
	})
	for name, target := range map[string]string{"link": "there", "link to nothing": "not-there"} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			dir := filepath.Dir(path)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "there"), nil, 0o600))
			require.NoError(t, os.Symlink(target, lockName(path)))
			refused(t, path)
			info, err := os.Stat(filepath.Join(dir, "there"))
			require.NoError(t, err)
			require.Zero(t, info.Size())
			_, err = os.Stat(filepath.Join(dir, "not-there"))
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
}

// Ensure that Acquire waits for an owner that is coming or going rather than
// report one without a name.
func TestAcquire_noNameYet(t *testing.T) {
	path := newPath(t)
	hold := func(t *testing.T) *flock.Flock {
		fl := flock.New(lockName(path))
		ok, err := fl.TryLock()
		require.True(t, ok, "%v", err)
		return fl
	}
	synctest.Test(t, func(t *testing.T) {
		coming := hold(t)
		time.AfterFunc(patience/2, func() { putRecord(t, path, someRecord) })
		_, err := Acquire(bg, path, Server)
		requireOwned(t, err, path, 1234)
		require.EqualError(t, err, path+" is owned by process 1234 since 2026-11-23T21:00:00Z")
		require.NoError(t, coming.Unlock())
	})
	require.NoError(t, os.Truncate(lockName(path), 0))
	synctest.Test(t, func(t *testing.T) {
		going := hold(t)
		time.AfterFunc(patience/2, func() { assert.NoError(t, going.Unlock()) })
		mustAcquire(t, path)
	})
}

// Ensure that the database can be acquired at any moment while another process
// and this one keep asking who owns it, even when a killed owner's record could
// be mistaken for an answer.
func TestOwnerOf_neverDisturbs(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	path := newPath(t)
	putRecord(t, path, "")
	asker := start(t, "ask", path)
	require.Equal(t, "asking", asker.read())

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _, err := OwnerOf(path)
				assert.NoError(t, err)
			}
		}
	})
	defer func() { close(stop); wg.Wait() }()

	for i := range rounds {
		if i%2 == 0 { // The other half finds what Release leaves.
			putRecord(t, path, someRecord)
		}
		l, err := Acquire(bg, path, Server)
		require.NoError(t, err, "round %d", i)
		requireOwner(t, path, os.Getpid())
		require.NoError(t, l.Release())
	}
	require.NoError(t, asker.in.Close())
	require.Equal(t, "asked true, errors: none", asker.read())
}

// Ensure that of several processes at most one owns the database, and that each
// gets it in the end.
func TestAcquire_contend(t *testing.T) {
	path := newPath(t)
	var children []*child
	for range 3 {
		children = append(children, start(t, "contend", path))
	}
	for _, c := range children {
		require.Equal(t, "alone", c.read())
	}
	requireOwner(t, path, 0)
}

// Ensure that OwnerOf leaves nothing behind where there is no lock file.
func TestOwnerOf_noFile(t *testing.T) {
	path := newPath(t)
	requireOwner(t, path, 0)
	requireOwner(t, filepath.Join(path, "no", "such", "directory"), 0)
	_, err := os.Lstat(lockName(path))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Ensure that Release clears the record, keeps the file, and that releasing
// again, from wherever, does not touch the next owner's lock or record.
func TestLock_releaseTwice(t *testing.T) {
	path := newPath(t)
	first := mustAcquire(t, path)
	inode, err := os.Stat(lockName(path))
	require.NoError(t, err)

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { assert.NoError(t, first.Release()) })
	}
	wg.Wait()
	info, err := os.Stat(lockName(path))
	require.NoError(t, err)
	require.True(t, os.SameFile(inode, info))
	require.Zero(t, info.Size())

	mustAcquire(t, path)
	require.NoError(t, first.Release())
	requireOwner(t, path, os.Getpid())
	_, err = Acquire(bg, path, Server)
	requireOwned(t, err, path, os.Getpid())
}

// Ensure that a lock file that cannot be made, opened or written gives an error
// that tells its name and its cause, and is not mistaken for an owner's. A
// read-only directory is no obstacle to root, who may run the tests: other
// obstacles stand in for it.
func TestAcquire_unavailable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "taken.db.lock"), 0o700))

	tests := map[string]struct {
		path  string
		cause error // nil: any
	}{
		"parent is missing":      {filepath.Join(dir, "none", "app.db"), fs.ErrNotExist},
		"parent is a file":       {filepath.Join(file, "app.db"), nil},
		"lock file is directory": {filepath.Join(dir, "taken.db"), ErrNotALock},
	}
	if runtime.GOOS == "linux" {
		tests["parent refuses"] = struct {
			path  string
			cause error
		}{"/sys/app.db", fs.ErrPermission}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Acquire(bg, test.path, Server)
			require.ErrorIs(t, err, ErrUnavailable)
			require.NotErrorAs(t, err, new(*OwnedError))
			require.ErrorContains(t, err, test.path+".lock")
			require.ErrorAs(t, err, new(*fs.PathError))
			if test.cause != nil {
				require.ErrorIs(t, err, test.cause)
			}
		})
	}
}

// Ensure that OwnerOf's failures are told apart like Acquire's.
func TestOwnerOf_unavailable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	path := filepath.Join(file, "app.db")
	_, owned, err := OwnerOf(path)
	if runtime.GOOS == "windows" { // There it is a path that does not exist.
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.ErrorContains(t, err, path+".lock")
	require.False(t, owned)
}

// Ensure that a bare error number is given the lock file's name, and that what
// callers look for is found through the wrapping.
func TestUnavailable(t *testing.T) {
	bare := unavailable("app.db.lock", syscall.EROFS)
	require.ErrorIs(t, bare, ErrUnavailable)
	require.ErrorIs(t, bare, syscall.EROFS)
	require.EqualError(t, bare, "process lock unavailable: lock app.db.lock: "+syscall.EROFS.Error())

	denied := unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: syscall.EACCES})
	require.ErrorIs(t, denied, fs.ErrPermission)
	require.EqualError(t, denied, "process lock unavailable: open app.db.lock: "+syscall.EACCES.Error())
}

// Ensure that neither success nor refusal nor failure leaves a descriptor open.
func TestAcquire_descriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	path := newPath(t)
	before := count()
	for range 20 {
		l, err := Acquire(bg, path, Server)
		require.NoError(t, err)
		_, err = Acquire(bg, path, Server)
		require.Error(t, err)
		requireOwner(t, path, os.Getpid())
		require.NoError(t, l.Release())
		requireOwner(t, path, 0)
	}
	require.Equal(t, before, count())
}
