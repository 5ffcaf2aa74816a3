// Package crash runs a part of a test in a child process, kills it, and returns what the
// child acknowledged before.
//
// The child is the test binary again. It runs a program, which is registered under a name
// when the binary starts:
//
//	func TestMain(m *testing.M) {
//		crash.Main() // in a child, does not return
//		...
//	}
//
//	func init() {
//		crash.Register("saver", func(c *crash.Child) error {
//			... work in c.Dir, c.Point("before the rename"), c.Ack("saved", 1) ...
//		})
//	}
//
// A test kills it at a point, the third that begins with "rename" here,
//
//	res := crash.Run{Program: "saver", Dir: dir, Point: "rename", Nth: 3}.Do(t)
//
// at each point in turn,
//
//	crash.Sweep(t, crash.Run{Program: "saver"}, prepare, check)
//
// or from outside, some time after a number of acknowledgements:
//
//	res := crash.Run{Program: "saver", Dir: dir, Kill: true, Acks: 5, Delay: d}.Do(t)
//
// and compares the directory with res.Acked. After SIGKILL the kernel still has all that
// the child wrote. It is a crash of the process, not of the machine.
package crash

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// env carries a Run, as JSON, to the child.
const env = "SQLITE_MEM_CRASH_RUN"

var programs = map[string]func(*Child) error{}

// Register makes f the program called name. It is for init functions.
func Register(name string, f func(*Child) error) {
	if programs[name] != nil {
		panic("crash: program registered twice: " + name)
	}
	programs[name] = f
}

// Main runs the program of this process's Run, and exits. In a process that no Run has
// started, it does nothing.
func Main() {
	spec := os.Getenv(env)
	if spec == "" {
		return
	}
	c := new(Child)
	if err := json.Unmarshal([]byte(spec), &c.run); err != nil {
		panic(err)
	}
	c.Dir, c.Arg = c.run.Dir, c.run.Arg
	f := programs[c.run.Program]
	if f == nil {
		panic("crash: no program called " + c.run.Program)
	}
	if err := f(c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c.say("done", "")
	os.Exit(0)
}

// Child is a program's view of the run.
type Child struct {
	Dir, Arg string // those of the Run

	run Run
	mu  sync.Mutex
	met int // guarded by mu; number of matching points so far
}

// Ack acknowledges work: it is in Result.Acked of the parent, whatever happens to this
// process afterwards. The operands are formatted as by fmt.Sprintln.
func (c *Child) Ack(a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.say("ack", strings.TrimSuffix(fmt.Sprintln(a...), "\n"))
}

// Point is a point at which the child may die. If the parent chose it, Point does not
// return. Any goroutine may call it.
func (c *Child) Point(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !strings.HasPrefix(name, c.run.Point) {
		return
	}
	if c.met++; c.met != c.run.Nth {
		return
	}
	c.say("point", name)
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // the kill takes a moment
}

// say writes one line in one system call, so that a kill never leaves a part of it.
func (c *Child) say(verb, text string) {
	text = strings.ReplaceAll(text, "\n", " ")
	if _, err := fmt.Fprintf(os.Stdout, "%s %s\n", verb, text); err != nil {
		panic(err)
	}
}

// Run describes a child and its kill. Without Nth and Kill the child runs to its end.
type Run struct {
	Program string
	Dir     string // of the program; Child.Dir
	Arg     string

	// The child kills itself at the point number Nth, from 1, of those whose name begins
	// with Point. 0 is none.
	Point string
	Nth   int

	// Sweep sets Nth, and kills at each Step-th point; 0 is each point.
	Step int

	// If Kill is set, the parent kills it Delay after it has read Acks acknowledgements.
	Kill  bool
	Acks  int
	Delay time.Duration
}

// Result is the result of a Run.
type Result struct {
	Acked  []string // its acknowledgements, in order
	Killed bool     // it was killed before its end
	At     string   // the point at which it died; empty: at none
}

// Do runs the child until it ends or is killed. If the child fails, Do fails the test with
// the child's standard error.
func (r Run) Do(t testing.TB) (res Result) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env+"="+string(spec))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	done := false
	var timer *time.Timer
	arm := func() {
		if r.Kill && timer == nil && len(res.Acked) >= r.Acks {
			timer = time.AfterFunc(r.Delay, func() { _ = cmd.Process.Kill() }) // it may have ended
		}
	}
	arm()
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a line without an end was not written whole
		}
		switch verb, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); verb {
		case "ack":
			res.Acked = append(res.Acked, text)
			arm()
		case "point":
			res.At = text
		case "done":
			done = true
		default:
			t.Errorf("crash: the child says %q", line)
		}
	}
	err = cmd.Wait()
	if timer != nil {
		timer.Stop()
	}
	res.Killed = !done
	if cmd.ProcessState.Exited() && (err != nil || !done) || res.Killed && res.At == "" && !r.Kill {
		t.Fatalf("crash: the child failed (%v), after %q:\n%s", err, res.Acked, stderr.String())
	}
	return res
}

// Sweep runs r again and again, each time in a directory from prepare. The first child dies
// at the first point whose name begins with r.Point, the next one r.Step points later, and so
// on. check looks at each result. Sweep ends with the first child that is not killed, and
// returns the number of kills.
func Sweep(t testing.TB, r Run, prepare func() (dir string), check func(dir string, res Result)) (kills int) {
	t.Helper()
	for {
		r.Dir, r.Nth = prepare(), kills*max(r.Step, 1)+1
		res := r.Do(t)
		check(r.Dir, res)
		if !res.Killed {
			return kills
		}
		kills++
	}
}
