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

	"github.com/sqlite-mem/sqlite-mem/bench/worker"
)

type (
	request = worker.Request
	sample  = worker.Sample
)

// process is a worker, a process of its own in which one contender is measured: its memory,
// its garbage, its crash and its standstill are nobody else's. It does one thing at
// a time, when it is asked to, so that the contenders can take turns.
type process struct {
	dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
	dead error // every question gets this answer from now on
}

// newWorker starts a process that keeps its files in a directory below dir. binary
// is its program; empty: this one.
func newWorker(dir, binary string) (_ *process, err error) {
	if binary == "" {
		if binary, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	w := &process{}
	if w.dir, err = os.MkdirTemp(dir, "worker-"); err != nil {
		return nil, err
	}
	w.cmd = exec.Command(binary, "-worker", w.dir)
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
func (w *process) ask(r request, result any) error {
	if w.dead != nil {
		return w.dead
	}
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		_ = w.cmd.Process.Kill() // fails if it has just ended, which is as well
	})
	defer timer.Stop()
	var a worker.Answer
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
func (w *process) stop() error {
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
	return worker.Serve(in, out, (&session{dir: dir}).do)
}
