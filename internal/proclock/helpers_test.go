package proclock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

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

// childMain plays role with the database at path. It writes one line to stdout after each
// step, and goes on when it reads a line or EOF on stdin.
func childMain(role, path string) {
	in := bufio.NewScanner(os.Stdin)
	switch role {
	case "hold": // owns the database until it is told to end
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

	case "share": // shares the database until it is told to end
		l, err := AcquireShared(path, true)
		fmt.Println("shared", err)
		in.Scan()
		fmt.Println("released", l.Release())

	case "recover": // owns it to recover it, until it is told to end or killed
		l, err := Acquire(bg, path, Recovery)
		fmt.Println("recovering", err)
		in.Scan()
		fmt.Println("released", l.Release())

	case "ask": // calls OwnerOf without a pause, and reports the errors
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
				ask(path, stop, func(_ bool, err error) {
					mu.Lock()
					defer mu.Unlock()
					asks++
					if err != nil {
						bad = err.Error()
					}
				})
			})
		}
		in.Scan()
		close(stop)
		wg.Wait()
		fmt.Printf("asked %t, errors: %s\n", asks > 0, bad)

	case "contend": // owns the database many times, and checks that it is alone
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

// start starts a child. It is killed at the end of the test at the latest.
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

// kill sends SIGKILL and waits for the end of the process. It may be called twice.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

var bg = context.Background()

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") }

// content is the content of path's lock file without the first byte, which on Windows
// cannot be read while the file is locked.
func content(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(lockName(path))
	require.NoError(t, err)
	b, err := io.ReadAll(io.NewSectionReader(file, recordOffset, 1<<20))
	require.NoError(t, errors.Join(err, file.Close()))
	return string(b)
}

// putRecord makes record the record in path's lock file, whether or not it is locked.
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

// mustShare shares path until the end of the test.
func mustShare(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := AcquireShared(path, true)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Release()) })
	return l
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, d)
	t.Cleanup(cancel)
	return ctx
}

// requireBusy fails the test unless err is that of a wait for by that ended with cause.
func requireBusy(t *testing.T, err error, path string, by Owner, cause error) {
	t.Helper()
	busy, ok := errors.AsType[*BusyError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, path, busy.Path)
	require.Equal(t, by, busy.By)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, ErrUnavailable)
}

// roleOf is the role of the owner that err names.
func roleOf(t *testing.T, err error) Role {
	t.Helper()
	owned, ok := errors.AsType[*OwnedError](err)
	require.True(t, ok, "%v", err)
	return owned.Role
}

// ask calls OwnerOf without a pause until stop is closed, and passes each answer to told.
func ask(path string, stop <-chan struct{}, told func(owned bool, err error)) {
	for {
		select {
		case <-stop:
			return
		default:
			_, owned, err := OwnerOf(path)
			told(owned, err)
		}
	}
}

// keepAsking calls OwnerOf on another goroutine until stop is called. It fails the test if
// an answer is an error. stop returns how many answers named an owner.
func keepAsking(t *testing.T, path string) (stop func() (owned int)) {
	end, asked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		ask(path, end, func(owned bool, err error) {
			assert.NoError(t, err)
			if owned {
				n++
			}
		})
		asked <- n
	}()
	return func() int {
		close(end)
		return <-asked
	}
}

// requireRefused fails the test unless another process is refused as a server of path.
func requireRefused(t *testing.T, path string) {
	t.Helper()
	other := start(t, "hold", path)
	require.Contains(t, other.read(), "is owned by process")
}
