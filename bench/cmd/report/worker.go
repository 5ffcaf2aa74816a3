package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// request is what a worker is asked to do, as a line of JSON; it answers with one.
type request struct {
	Do string // a method of session

	// open, mail
	Contender   string
	Accounts    int
	Filler      int  // bytes in each row besides
	Connections int  // that are opened before anything is measured
	Files       bool // mail: the bodies are kept in files
	Users       int

	// run
	Workload    string
	Goroutines  int
	Cancellable bool
	Duration    time.Duration

	MB      int           // loadsave: the size of the file
	Repeats int           // loadsave: of each step, of which the median counts
	Quiet   time.Duration // snapshot: how long the load runs without a save
	Commits int           // growth
	Same    int           // growth: the accounts that every size has
}

type answer struct {
	Err    string          `json:",omitempty"`
	Result json.RawMessage `json:",omitempty"`
}

// worker is a process of its own in which one contender is measured: its memory,
// its garbage, its crash and its standstill are nobody else's. It does one thing at
// a time, when it is asked to, so that the contenders can take turns.
type worker struct {
	dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
	dead error // every question gets this answer from now on
}

// newWorker starts a process that keeps its files in a directory below dir.
func newWorker(dir string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{}
	if w.dir, err = os.MkdirTemp(dir, "worker-"); err != nil {
		return nil, err
	}
	w.cmd = exec.Command(self, "-worker", w.dir)
	w.cmd.Stderr = os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.enc, w.dec = json.NewEncoder(w.in), json.NewDecoder(out)
	return w, w.cmd.Start()
}

// limit is how long a worker may take for an answer before it counts as hanging.
const limit = 5 * time.Minute

// ask returns an error of the contender, which may be asked again, or that of a
// worker that has ended or does not answer, which may not. Errors do not contain
// the directory.
func (w *worker) ask(r request, result any) error {
	if w.dead != nil {
		return w.dead
	}
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		_ = w.cmd.Process.Kill() // fails if it has just ended, which is as well
	})
	defer timer.Stop()
	var a answer
	err := w.enc.Encode(r)
	if err == nil {
		err = w.dec.Decode(&a)
	}
	switch {
	case late.Load():
		w.dead = fmt.Errorf("no answer to %s within %s", r.Do, limit)
	case err != nil:
		w.dead = fmt.Errorf("its process ended while it did %s: %w", r.Do, errors.Join(err, w.cmd.Wait()))
	case a.Err != "":
		return errors.New(strings.ReplaceAll(a.Err, w.dir, "DIR"))
	case result != nil:
		return json.Unmarshal(a.Result, result)
	}
	return w.dead
}

// stop closes the contender and ends the process.
func (w *worker) stop() error {
	err := w.ask(request{Do: "close"}, nil)
	if w.dead != nil {
		err = nil // it was told when it died
	}
	_ = w.in.Close()
	_ = w.cmd.Wait() // fails if it was killed or waited for before
	return errors.Join(err, os.RemoveAll(w.dir))
}

// serve is the other side of ask.
func serve(dir string, in io.Reader, out io.Writer) error {
	s := &session{dir: dir}
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r request
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		result, err := s.do(r)
		if err == nil {
			a.Result, err = json.Marshal(result)
		}
		if err != nil {
			a = answer{Err: err.Error()}
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}
