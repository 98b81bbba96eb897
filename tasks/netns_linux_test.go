package tasks

import "syscall"

// unshareNet gives the calling thread a network namespace of its own.
func unshareNet() error { return syscall.Unshare(syscall.CLONE_NEWNET) }
