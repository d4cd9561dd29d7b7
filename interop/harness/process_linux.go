package harness

import "syscall"

// childAttributes makes the kernel end the server when the test binary dies without running its cleanup.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
