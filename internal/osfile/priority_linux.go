package osfile

import (
	"runtime"
	"syscall"
)

// Niceness is the priority of a save in the background: a tenth of the weight of
// an ordinary thread (sched(7)). At the lowest, 19, it would be a sixtieth: on
// saturated processors a save would take so long that pages rewritten meanwhile
// pile up, and whoever waits for something that its thread holds in the kernel
// waits as long.
const Niceness = 10

// InBackground runs f on a thread of its own at a low priority and waits
// for it. Linux has a priority for each thread, and an unprivileged thread can
// only lower it: so the thread is not given back. A goroutine that ends while
// locked to its thread ends the thread too.
//
// Such a thread must not run Go code for long: the garbage collector waits for
// every thread that does, even for one that the kernel lets starve. f spends
// its time in system calls and in C, where the collector does not wait.
func InBackground(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		// Nothing depends on it, so an error is not worth a failed save.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), Niceness)
		f()
	}()
	<-done
}
