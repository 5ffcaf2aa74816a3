package proclock

import (
	"context"
	"fmt"
	"io/fs"
	"os"
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
)

// Ensure that a second process is refused, that its error and OwnerOf name the owner, and
// that a process can acquire after the release.
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

// Ensure that the end of a process, in whatever way, ends its ownership, and that its
// record does not count then.
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

// Ensure that a second Acquire in one process is refused, without harm to the first.
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

// Ensure that the record holds the process id and the time of Acquire in UTC, in a file
// of mode 0600.
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
	require.Equal(t, fmt.Sprintf(" %d %s server\n", owner.PID, owner.Since.Format(time.RFC3339Nano)), string(content))
	info, err := os.Stat(path + ".lock")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist, "the database itself must not be touched")
}

// Ensure that a process becomes the owner although its record cannot be written, as on a
// full disk. Other processes are refused without its name.
func TestAcquire_recordNotWritable(t *testing.T) {
	path := newPath(t)
	file, _, err := lockOnce(path, exclusive)
	require.NoError(t, err)
	writable := file.file
	file.file, err = os.Open(lockName(path))
	require.NoError(t, err)
	l := newLock(path, Server, false, file)
	require.Empty(t, content(t, path))
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.Zero(t, owner)
	require.NoError(t, file.file.Close())
	file.file = writable
	require.NoError(t, l.Release())
	requireOwner(t, path, 0)
}

// Ensure that the record names the last live server that ended with everything saved.
// Later owners keep it, whatever their end is, until the next one that does.
func TestReleaseSaved(t *testing.T) {
	path := newPath(t)
	requireSaved := func(want Owner) {
		t.Helper()
		got, ok, err := SavedLast(path)
		require.NoError(t, err)
		require.Equal(t, want.PID != 0, ok)
		require.True(t, want.Same(got), "%v, not %v", got, want)
	}
	live := func() *Lock {
		l, err := AcquireLive(bg, path)
		require.NoError(t, err)
		return l
	}
	requireSaved(Owner{})
	l := live()
	require.NoError(t, l.Release()) // as a server that never saves
	requireSaved(Owner{})
	l = live()
	first := l.Owner()
	require.NoError(t, l.ReleaseSaved())
	requireSaved(first)
	for _, end := range []func(*Lock) error{(*Lock).Release, (*Lock).Abandon} {
		l = live()
		require.False(t, l.Owner().Same(first))
		requireSaved(first)
		require.NoError(t, end(l))
		requireSaved(first)
	}
	l = mustAcquire(t, path) // it serves no tools
	require.NoError(t, l.ReleaseSaved())
	requireSaved(first)
	l, err := Acquire(bg, path, Recovery)
	require.NoError(t, err)
	requireSaved(first)
	require.NoError(t, l.Release())
	requireSaved(first)
	_, unclean := mustAcquire(t, path).Previous()
	require.False(t, unclean, "the line is no sign of an unclean end")
}

// Ensure that the record of a server that serves tools says so from its first moment, until
// the server takes it back or ends. A record left by a kill is no reason to wait.
func TestAcquire_live(t *testing.T) {
	path := newPath(t)
	lock, err := AcquireLive(context.Background(), path)
	require.NoError(t, err)
	owner, owned, err := OwnerOf(path)
	require.NoError(t, err)
	require.True(t, owned)
	require.True(t, owner.Live)
	_, err = AcquireShared(path, true)
	var refused *OwnedError
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.Live)
	for _, live := range []bool{false, true} {
		lock.SetLive(live)
		owner, _, err = OwnerOf(path)
		require.NoError(t, err)
		require.Equal(t, live, owner.Live)
	}
	require.NoError(t, lock.Release())
	_, owned, err = OwnerOf(path)
	require.NoError(t, err)
	require.False(t, owned)

	r := record{owner: Owner{PID: 12, Since: time.Unix(0, 0).UTC(), Role: Server, Live: true}}
	got, ok := parseRecord([]byte(r.String()))
	require.True(t, ok)
	require.Equal(t, r, got)
	require.False(t, r.uncleanEnd().Live)
	_, ok = parseRecord([]byte("12 1970-01-01T00:00:00Z recovery live\n"))
	require.False(t, ok, "a recovery serves nobody")
}

// Ensure that a partial record left by a crash refuses no Acquire. It is not taken for an
// owner while the file is locked.
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

// Ensure that a file that is not our lock file is refused by every kind of lock. The
// error names the file, and the file is left as it is.
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
			if runtime.GOOS == "windows" {
				t.Skip("symbolic links need a privilege")
			}
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

// Ensure that Acquire waits for the record of a new owner, and for the release by an owner
// that ends. It does not report an owner without a name.
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

// Ensure that Acquire succeeds at any moment while this process and another call OwnerOf
// without a pause, also beside the record of a killed owner.
func TestOwnerOf_neverDisturbs(t *testing.T) {
	rounds := 200
	if *long > 0 {
		rounds = 1000
	}
	path := newPath(t)
	putRecord(t, path, "")
	asker := start(t, "ask", path)
	require.Equal(t, "asking", asker.read())

	stop := keepAsking(t, path)
	defer stop()

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

// Ensure that at most one of several processes owns the database, and that each acquires
// it in the end.
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

// Ensure that OwnerOf makes no lock file.
func TestOwnerOf_noFile(t *testing.T) {
	path := newPath(t)
	requireOwner(t, path, 0)
	requireOwner(t, filepath.Join(path, "no", "such", "directory"), 0)
	_, err := os.Lstat(lockName(path))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Ensure that Release clears the record and keeps the file, and that another Release
// leaves the lock and the record of the next owner alone.
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

// Ensure that the error for a lock file that cannot be made or opened has its name and the
// cause, and is not an OwnedError. The tests may run as root, which a read-only directory
// does not stop, so other obstacles stand for it.
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

// Ensure that the errors of OwnerOf are like those of Acquire.
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

// Ensure that unavailable adds the lock file's name to a bare error number, and wraps the
// errors that callers look for.
func TestUnavailable(t *testing.T) {
	bare := unavailable("app.db.lock", syscall.EROFS)
	require.ErrorIs(t, bare, ErrUnavailable)
	require.ErrorIs(t, bare, syscall.EROFS)
	require.EqualError(t, bare, "process lock unavailable: lock app.db.lock: "+syscall.EROFS.Error())

	denied := unavailable("app.db.lock", &fs.PathError{Op: "open", Path: "app.db.lock", Err: syscall.EACCES})
	require.ErrorIs(t, denied, fs.ErrPermission)
	require.EqualError(t, denied, "process lock unavailable: open app.db.lock: "+syscall.EACCES.Error())
}
