package live

// pidOf is the process at the other end; 0: the system does not tell.
func pidOf(int) int { return 0 }
