package osfile

import (
	"runtime"
	"syscall"
)

// Niceness is how much is added to the nice value of a thread in the background. Its weight is
// then a tenth of that of the other threads (sched(7)). At the lowest priority, 19, the weight
// would be a sixtieth. On busy processors a save would then take so long that pages which are
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
		// Nothing depends on the priority, so f runs after an error too. The system call
		// gives 20 minus the nice value.
		if p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(20-p+Niceness, 19))
		}
		f()
	}()
	<-done
}
