//go:build !linux

package kube

import "syscall"

// dieWithParent has no counterpart here: after a test timeout the children have to be ended by hand.
func dieWithParent() *syscall.SysProcAttr {
	return nil
}
