package kube

import "syscall"

// dieWithParent makes the kernel kill the child when the test binary goes away without running its cleanups, as on a test timeout.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
