package osfile

import (
	"runtime"
	"syscall"
)

// Niceness is the nice value of a thread in the background. Its weight is a tenth of that
// of an ordinary thread (sched(7)). At the lowest priority, 19, the weight would be a
// sixtieth. On busy processors a save would then take so long that pages which are
// rewritten meanwhile pile up. Threads that wait for a lock that it holds in the kernel
// would wait as long.
const Niceness = 10

// InBackground runs f on a thread of its own at a low priority, and waits for it. On Linux
// each thread has a priority, which it can only lower without privileges. So the thread is
// not given back. A goroutine that ends while it is locked to a thread ends the thread too.
//
// f must not run Go code for long. The garbage collector waits for every thread that does,
// even for one that the kernel lets starve. It does not wait for system calls and C.
func InBackground(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		// Nothing depends on the priority, so f runs after an error too.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), Niceness)
		f()
	}()
	<-done
}
