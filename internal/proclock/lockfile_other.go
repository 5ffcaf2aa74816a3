//go:build !unix

package proclock

import "os"

const openFlags = 0

func alive(int) bool { return true }

// giveAway does nothing: the file inherits the permissions of its directory.
func giveAway(*os.File, string) {}

func adopt(*os.File, string) {}
