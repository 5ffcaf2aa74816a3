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

// process is a worker: a process of its own that measures one contender. So its memory,
// its garbage, its crash and its standstill do not affect the others. It does one thing
// at a time, on request, so that the contenders can take turns.
type process struct {
	dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
	dead error // if set, every request returns it
}

// newWorker starts a process that keeps its files in a directory below dir. binary is
// its program. Empty: this program.
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

// limit is how long a worker may take for an answer before it is killed.
const limit = 5 * time.Minute

// ask sends a request and reads the answer into result. After an error of the
// contender, the worker can be asked again. After the worker has ended or exceeded the
// limit, every later request fails as well. Errors do not contain the directory.
func (w *process) ask(r request, result any) error {
	if w.dead != nil {
		return w.dead
	}
	var late atomic.Bool
	timer := time.AfterFunc(limit, func() {
		late.Store(true)
		_ = w.cmd.Process.Kill() // fails if it has just ended
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
		err = nil // it was reported before
	}
	_ = w.in.Close()
	_ = w.cmd.Wait() // fails if it was killed, or waited for before
	return errors.Join(err, os.RemoveAll(w.dir))
}

// serve is the worker's side of ask. If the report ends without a word, it still closes
// what it has open, so that no server is left.
func serve(dir string, in io.Reader, out io.Writer) error {
	s := &session{dir: dir}
	return errors.Join(worker.Serve(in, out, s.do), s.close())
}
